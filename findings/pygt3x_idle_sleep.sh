#!/usr/bin/env bash
# Where an ActiGraph slept, pygt3x repeats its last value; where seconds were lost, rows are missing.
#
# Expected: NaN in both, or missing rows in both.
# Seen (pygt3x 0.7.1): "idle sleep mode" of 10 s becomes 10 s of rows that repeat the last sample, a
# person lying perfectly still, marked in a column; 7 s without records become no rows at all, so that
# row number times period is no longer the time.
# Source: pygt3x/reader.py, _fill_ism.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    pygt3x==0.7.1 pandas==2.3.3 numpy==2.4.6

venv/bin/python - <<'EOF'
import struct
import zipfile
from importlib.metadata import version

import numpy as np
from pygt3x.reader import FileReader

print("pygt3x", version("pygt3x"))
RATE_HZ, START = 30, 1_577_836_800
ACTIVITY, EVENT, PARAMETERS = 0, 3, 21


def record(kind, second, payload):
    """Return one record of log.bin, with its checksum."""
    content = struct.pack("<BBLH", 0x1E, kind, START + second, len(payload)) + payload
    checksum = 0xFF
    for byte in content:
        checksum ^= byte
    return content + bytes([checksum])


def packed(values):
    """Return integers as 12 bits each."""
    pairs = np.asarray(values).reshape(-1, 2) & 0xFFF
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())


def second_of(number):
    """Return one second of (y, x, z), y of which is the number of the second."""
    return packed([(number, 0, 341)] * RATE_HZ)


log = record(PARAMETERS, 0, bytes([0, 0, 2, 0, 4, 0, 0, 0]))  # idle sleep mode is on
log += b"".join(record(ACTIVITY, it, second_of(it)) for it in range(5))
log += record(EVENT, 5, b"\x08") + record(EVENT, 15, b"\x09")
log += b"".join(record(ACTIVITY, it, second_of(it)) for it in (15, 16, 24, 25))
with zipfile.ZipFile("wrist.gt3x", "w") as file:
    file.writestr("info.txt", "Serial Number: A\nSample Rate: 30\nAcceleration Scale: 341.0\n")
    file.writestr("log.bin", log)
with FileReader("wrist.gt3x") as reader:
    table = reader.to_pandas(calibrate=False)
seconds = (table.index.to_numpy() - START).astype(int)
by_second = {int(it): float(table["Y"].to_numpy()[seconds == it][0]) for it in np.unique(seconds)}
print("y by second:", by_second)
asleep = table["IdleSleepMode"].to_numpy()
print(asleep.sum() // RATE_HZ, "s marked as idle;", len(table) // RATE_HZ, "of 26 s have rows")
assert all(by_second[it] == 4.0 for it in range(5, 15)) and asleep.sum() == 10 * RATE_HZ
assert 17 not in by_second and 23 not in by_second and by_second[24] == 24
EOF
