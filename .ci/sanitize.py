"""Run the tests of the compiled loops with gcc's sanitizers of addresses and undefined behaviour.

The library is built into a copy of the package, in a folder that goes away.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/test_loops.py", "tests/test_moments.py", "tests/test_chunks_at_once.py")
SANITIZERS = "-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all"


def runtime(compiler: str, name: str) -> str:
    """Return the path of one of the compiler's libraries."""
    run = subprocess.run(
        [*compiler.split(), f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return str(Path(run.stdout.strip()).resolve())


def main() -> int:
    """Build and test; return the exit status of the tests."""
    compiler = os.environ.get("CC", "gcc")
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "source"), Path(folder, "built")
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / "zarrts", source / "zarrts", ignore=ignored)
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        environment = {
            **os.environ,
            "CC": compiler,
            "CFLAGS": f"{SANITIZERS} -fno-omit-frame-pointer",
            "LDFLAGS": SANITIZERS,
            "ZARRTS_COMPILED": "require",
        }
        build = [sys.executable, "setup.py", "-q", "build", "--build-lib", str(built)]
        subprocess.run(build, cwd=source, env=environment, check=True)
        # Python itself is not built with them: their library has to be there first.
        preloaded = [runtime(compiler, name) for name in ("libasan.so", "libstdc++.so")]
        environment |= {
            "LD_PRELOAD": ":".join(preloaded),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps memory until it ends
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONPATH": str(built),
        }
        # What a sanitizer says before it ends the process would be lost in what pytest captures.
        tests = [sys.executable, "-I", "-c", RUN, str(built), "-q", "-s", *TESTS, *sys.argv[1:]]
        return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode


# The folder of the build comes first, whatever is installed; and that is checked.
RUN = """
import sys
built = sys.argv.pop(1)
sys.path.insert(0, built)
import pytest
import zarrts.loops._compiled as compiled
assert compiled.__file__.startswith(built), compiled.__file__
sys.exit(pytest.main(sys.argv[1:]))
"""

if __name__ == "__main__":
    sys.exit(main())
