#!/usr/bin/env bash
# A text array of Zarr is of a NumPy type that most code for text does not expect.
#
# Expected: fixed-width text ("<U2") or objects, which can be saved and swapped as ever.
# Seen (zarr 3.4.2, NumPy 2.4.6): it is StringDType. np.save pickles it, with a warning, so that np.load with
# its defaults refuses the file; newbyteorder, a buffer and astype("U") are TypeErrors or ValueErrors.
# Source: NumPy's StringDType keeps text outside of the array.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    zarr==3.4.2 numcodecs==0.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings

import numpy as np
import zarr

print("zarr", zarr.__version__, "numpy", np.__version__)
array = zarr.create_array("stages.zarr", shape=(3,), dtype=str)
array[:] = np.array(["W", "N1", "REM"])
stages = array[:]
print(repr(stages.dtype))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    np.save("stages.npy", stages)
print("np.save:", *(it.message for it in caught))


def refused(what, call):
    """Print and return the error of `call`."""
    try:
        call()
    except (TypeError, ValueError) as error:
        print(f"{what}: {type(error).__name__}: {error}")
        return True
    return False


assert isinstance(stages.dtype, np.dtypes.StringDType)
assert refused("np.load", lambda: np.load("stages.npy"))
assert refused("newbyteorder", lambda: stages.dtype.newbyteorder("<"))
assert refused("memoryview", lambda: memoryview(stages))
assert refused('astype("U")', lambda: stages.astype("U"))
assert stages.astype(object).tolist() == ["W", "N1", "REM"]
EOF
