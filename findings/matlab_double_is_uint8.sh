#!/usr/bin/env bash
# scipy reads a MATLAB array of doubles as uint8, in which 100 - 200 is 156.
#
# Expected: float64, which MATLAB shows and whosmat says.
# Seen (scipy 1.17.1): MATLAB stores doubles that are small whole numbers as 1 or 2 bytes each, to
# save space. loadmat gives an array of that type, and a logical one as uint8. mat_dtype=True gives
# float64 and bool.
# Source: "MAT-File Format" of The MathWorks, on numeric compression; loadmat's mat_dtype=False.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import struct
import warnings
from importlib.metadata import version

import scipy.io

print("scipy", version("scipy"))


def element(kind, content):
    """Return tag, content and padding of an element of a MAT-file of version 5."""
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def variable(name, values, matlab_class, flags=0):
    """Return a row of numbers that are stored as bytes."""
    parts = (element(6, struct.pack("<II", matlab_class | flags << 8, 0)),
             element(5, struct.pack("<ii", 1, len(values))), element(1, name), element(2, bytes(values)))
    return element(14, b"".join(parts))


with open("small.mat", "wb") as file:
    file.write(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM")
    file.write(variable(b"x", [100, 200], 6) + variable(b"asleep", [1, 0], 9, flags=2))
it = scipy.io.loadmat("small.mat")
told = scipy.io.loadmat("small.mat", mat_dtype=True)
warnings.simplefilter("ignore")
difference = it["x"][0, 0] - it["x"][0, 1]
print(scipy.io.whosmat("small.mat"))
print("loadmat:", it["x"].dtype, it["asleep"].dtype, "| 100 - 200 =", difference)
print("mat_dtype=True:", told["x"].dtype, told["asleep"].dtype)
assert it["x"].dtype == it["asleep"].dtype == "uint8" and difference == 156
assert told["x"].dtype == "float64" and told["asleep"].dtype == "bool"
EOF
