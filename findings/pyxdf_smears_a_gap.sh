#!/usr/bin/env bash
# pyxdf spreads a gap of 3 s over the whole recording, where no sample is at its time any more.
#
# Expected: time stamps jump by 3 s where they jumped in the file.
# Seen (pyxdf 1.17.5): a gap breaks a stream only if it is longer than 1 s *and* than 500 samples; at
# 100 Hz that is 5 s. Below, one straight line is laid through all stamps: samples are up to 1.5 s off,
# and the rate is said to be 87 Hz. A gap of 6 s is kept. dejitter_timestamps=False keeps all stamps.
# Source: load_xdf, jitter_break_threshold_seconds and jitter_break_threshold_samples.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    pyxdf==1.17.5 numpy==2.4.6

venv/bin/python - <<'EOF'
import struct
from importlib.metadata import version

import numpy as np
import pyxdf

print("pyxdf", version("pyxdf"))


def chunk(tag, content):
    """Return one chunk of an XDF file."""
    return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content


def write(path, stamps):
    """Write one stream of one channel at 100 Hz."""
    stream = struct.pack("<I", 1)
    info = (b"<?xml version='1.0'?><info><name>EEG</name><type>EEG</type><channel_count>1"
            b"</channel_count><nominal_srate>100</nominal_srate><channel_format>int16"
            b"</channel_format></info>")
    samples = b"".join(b"\x08" + struct.pack("<dh", at, 0) for at in stamps)
    count = b"\x04" + struct.pack("<I", len(stamps))
    with open(path, "wb") as file:
        file.write(b"XDF:" + chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>"))
        file.write(chunk(2, stream + info) + chunk(3, stream + count + samples))
        file.write(chunk(6, stream + b"<?xml version='1.0'?><info></info>"))


seen = {}
for gap_s in (3, 6):
    stamps = np.arange(3000) / 100
    stamps[1500:] += gap_s
    write("gap.xdf", stamps)
    for dejitter in (True, False):
        stream = pyxdf.load_xdf("gap.xdf", dejitter_timestamps=dejitter)[0][0]
        off_s = np.abs(stream["time_stamps"] - stamps).max()
        longest_s = np.diff(stream["time_stamps"]).max()
        seen[gap_s, dejitter] = (off_s, longest_s)
        print(f"gap of {gap_s} s, dejitter {dejitter}: samples up to {off_s:.3f} s off, "
              f"longest step {longest_s:.3f} s, rate {stream['info']['effective_srate']:.1f} Hz")
assert seen[3, True][0] > 1.4 and seen[3, True][1] < 0.02
assert seen[6, True][0] < 1e-6 and seen[3, False][0] < 1e-6
EOF
