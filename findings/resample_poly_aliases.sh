#!/usr/bin/env bash
# scipy's resample_poly lets frequencies above the new Nyquist frequency through, folded.
#
# Expected: an anti-alias filter of some 60 dB, as the word polyphase *filtering* promises.
# Seen (scipy 1.17.1): from 256 to 100 Hz a tone of 55 Hz (1.1 of the new Nyquist) is 23 dB down only,
# one of 50.5 Hz 7 dB; it comes out at 45 Hz and 49.5 Hz. A constant of 1000 comes out with a ripple
# of 0.05. A longer filter, given as window=, mends both.
# Source: the default window, Kaiser with beta 5 over 20 input samples at these rates.
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
from importlib.metadata import version

import numpy as np
from scipy.signal import resample_poly

print("scipy", version("scipy"))
times = np.arange(60 * 256) / 256
left_db = {}
for hz in (50.5, 55, 75):
    left = resample_poly(np.sin(2 * np.pi * hz * times), 100, 256)[500:-500]
    left_db[hz] = 20 * np.log10(np.abs(left).max())
    print(f"{hz:g} Hz at a new Nyquist frequency of 50 Hz: {left_db[hz]:.1f} dB")
constant = resample_poly(np.full(len(times), 1000.0), 100, 256)[500:-500]
ripple = np.abs(constant - 1000).max()
print(f"1000 becomes 1000 +- {ripple:.3f}")
assert -9 < left_db[50.5] < -5 and -26 < left_db[55] < -20 and left_db[75] < -60
assert ripple > 0.01
EOF
