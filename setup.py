"""Build the compiled loops where a C compiler is there; without one, zarrts runs on NumPy.

All else is in pyproject.toml. The environment variable ZARRTS_COMPILED says what is wanted:
"require" (of releases and tests: whatever stops the build is an error), "0" (leave it out), or
nothing: a trial decides. `Extension(optional=True)` would not do: a wheel without the library would
still be tagged as if it had one, and pip would keep and reuse it.
"""

import os
import sys
import sysconfig
import tempfile

from setuptools import Distribution, Extension, errors, setup

VARIABLE = "ZARRTS_COMPILED"
SOURCES = ["zarrts/loops/_compiled.c", "zarrts/loops/_chunks.c"]
OLDEST = "cp311"  # one library is for this Python and all later ones
BUILDS = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"}
IS_MSVC = sys.platform == "win32" and "GCC" not in sys.version

# Sums keep their order, and multiplications and additions stay apart: the results have to have
# the bits of NumPy's. Without -fno-trapping-math gcc vectorizes only half of the loops.
FLAGS = (
    ["/O2", "/fp:precise"]
    if IS_MSVC
    else [
        "-O3",
        "-g0",
        "-std=c11",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-fno-trapping-math",
        "-fno-math-errno",
    ]
)


def library(*flags: str) -> Extension:
    """Return the library, in the limited API."""
    return Extension(
        "zarrts.loops._compiled",
        SOURCES,
        depends=["setup.py"],
        extra_compile_args=[*FLAGS, *flags],
        py_limited_api=True,
    )


def reason_against() -> str:
    """Return why there can be no library on this Python or with this compiler; "" if it can."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} has no stable ABI"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "free-threaded Python has no stable ABI"
    if sys.maxsize < 2**32:
        return "32-bit processors round sums otherwise"
    with tempfile.TemporaryDirectory() as folder:
        trial = library("/Od" if IS_MSVC else "-O0")
        build = Distribution({"name": "trial", "ext_modules": [trial]}).get_command_obj("build_ext")
        build.build_lib = build.build_temp = folder
        try:
            build.ensure_finalized()
            build.run()
        except (errors.BaseError, errors.CCompilerError, OSError) as error:
            return str(error) or repr(error)
    return ""


def extensions() -> list[Extension]:
    """Return the library, or nothing; whatever is not built now is part of a source archive."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "0", "1", "require"):
        raise SystemExit(f"{VARIABLE}={wanted!r} is unknown; use 0, 1 or require.")
    if not BUILDS & set(sys.argv) or wanted == "require":
        return [library()]
    if wanted == "0":
        return []
    reason = reason_against()
    if reason:
        print(f"zarrts is built without compiled loops: {reason}", file=sys.stderr)
        return []
    return [library()]


found = extensions()
setup(
    ext_modules=found,
    options={"bdist_wheel": {"py_limited_api": OLDEST}} if found else {},
)
