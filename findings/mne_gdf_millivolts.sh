#!/usr/bin/env bash
# MNE reads millivolts of GDF 1 as volts: they are a thousand times too large.
#
# Expected: 50 uV, 50 mV and 50 V of a GDF file are 5e-5, 5e-2 and 50 V.
# Seen (MNE 1.13.2): 5e-5, 50 and 50 V. Of the units of GDF 1 only "uV" is known, all others are taken
# for volts; in GDF 2, whose units are codes, and in EDF, millivolts are right.
# Source: mne/io/edf/edf.py, _read_gdf_header. The format: arxiv.org/abs/cs/0608052.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    mne==1.13.2 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 jinja2==3.1.6 lazy-loader==0.4 \
    markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
import struct
from importlib.metadata import version
from pathlib import Path

import mne
import numpy as np

print("mne", version("mne"))


def texts(items, width):
    return b"".join(it.encode().ljust(width) for it in items)


def gdf_1(names, units, counts, gain):
    """Return a GDF 1.25 file of records of a second; `counts`: int16 (rows, channels)."""
    n, rate = len(names), 100
    low, high = np.full(n, -32768), np.full(n, 32767)
    head = b"GDF 1.25" + b"X X".ljust(80) + bytes(80).replace(b"\0", b" ") + b"2020010112000000"
    head += struct.pack("<q", 256 * (n + 1)) + bytes(44)
    head += struct.pack("<qIII", len(counts) // rate, 1, 1, n)
    table = texts(names, 16) + bytes(80 * n) + texts(units, 8)
    table += (low * gain).astype("<f8").tobytes() + (high * gain).astype("<f8").tobytes()
    table += low.astype("<i8").tobytes() + high.astype("<i8").tobytes() + bytes(80 * n)
    table += np.full(n, rate, "<i4").tobytes() + np.full(n, 3, "<i4").tobytes() + bytes(32 * n)
    records = counts.reshape(-1, rate, n).transpose(0, 2, 1).astype("<i2").tobytes()
    events = struct.pack("<B3sI", 1, rate.to_bytes(3, "little"), 0)
    return head + table + records + events


units = ["uV", "mV", "V"]
Path("a.gdf").write_bytes(gdf_1(["c0", "c1", "c2"], units, np.full((300, 3), 100, "i2"), 0.5))
volts = mne.io.read_raw_gdf("a.gdf", verbose="error").get_data()[:, 10]
for unit, value in zip(units, volts):
    print(f"50 {unit} -> {value:g} V")
assert np.allclose(volts, [5e-5, 50, 50])
EOF
