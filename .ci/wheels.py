"""Build both wheels from a source archive, and test each: with the compiled loops, and without.

Run in an environment that has the tests' requirements; zarrts is installed into it.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("test_loops.py", "test_moments.py")
LIBRARY = "zarrts/loops/_compiled"

# Variables of the build, the tag that the wheel has to have, and variables of its tests.
CASES = (
    ({"ZARRTS_COMPILED": "require"}, "-cp311-abi3-", {"ZARRTS_COMPILED": "require"}),
    ({"ZARRTS_COMPILED": "0"}, "-py3-none-any", {"ZARRTS_COMPILED": "1"}),
    ({"ZARRTS_COMPILED": "", "CC": "no-such-compiler"}, "-py3-none-any", {"ZARRTS_COMPILED": "1"}),
)


def run(*command: str, cwd: Path, **environment: str) -> None:
    """Run a program that has to succeed."""
    subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, check=True)


def checked(wheel: Path, tag: str) -> Path:
    """Return a wheel with the tag, and the library if and only if the tag says so."""
    assert tag in wheel.name, f"{wheel.name} is not tagged {tag}"
    names = zipfile.ZipFile(wheel).namelist()
    libraries = [it for it in names if it.startswith(LIBRARY) and not it.endswith(".pyi")]
    assert len(libraries) == ("abi3" in tag), libraries
    assert not any(it.endswith(".c") for it in names), names
    assert f"{LIBRARY}.pyi" in names, names
    return wheel


def main() -> None:
    """Build, check, install and test each wheel."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--no-cache-dir")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(
            sys.executable, "-m", "build", "--sdist", "--outdir", str(folder), str(ROOT), cwd=folder
        )
        (archive,) = folder.glob("*.tar.gz")
        for number, (build, tag, test) in enumerate(CASES):
            out = folder / str(number)
            run(*pip, "wheel", "--no-deps", "-w", str(out), str(archive), cwd=folder, **build)
            (wheel,) = out.iterdir()
            checked(wheel, tag)
            run(*pip, "install", str(wheel), cwd=folder)  # with what it depends on
            run(*pip, "install", "--force-reinstall", "--no-deps", str(wheel), cwd=folder)
            print(f"== {wheel.name}", flush=True)
            tests = [str(ROOT / "tests" / it) for it in TESTS]
            # In another folder, because Python would import zarrts from this one.
            run(
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)),
                *tests,
                cwd=folder,
                **test,
            )


if __name__ == "__main__":
    main()
