#!/usr/bin/env bash
# MNE reads a stretch that a FIF file skips as two annotations, and its samples as zeros.
#
# Expected: a file that was saved and read has the annotations that it had, and NaN where nothing is.
# Seen (MNE 1.13.2): save writes the stretch as skipped, and its annotation as well; reading makes an
# annotation of each. Code that sums durations, or cuts out what is bad, counts the gap twice.
# Source: mne/io/fiff/raw.py, Raw.__init__.
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
from importlib.metadata import version

import mne
import numpy as np

print("mne", version("mne"))
signal = np.random.default_rng(0).normal(size=(2, 2000)) + 100
raw = mne.io.RawArray(signal, mne.create_info(2, 100.0, "misc"), verbose="error")
raw.set_annotations(mne.Annotations([5], [3], ["BAD_ACQ_SKIP"]))
raw.save("a_raw.fif", buffer_size_sec=1, fmt="double", verbose="error")
again = mne.io.read_raw_fif("a_raw.fif", verbose="error")
for name, it in (("saved", raw), ("read", again)):
    shown = [(str(a["description"]), float(a["onset"]), float(a["duration"])) for a in it.annotations]
    print(name, shown)
values = again.get_data()[0]
print("in the gap:", np.unique(values[500:800]), "after it:", values[800])
assert len(raw.annotations) == 1 and len(again.annotations) == 2
assert set(again.annotations.description) == {"BAD_ACQ_SKIP"}
assert (values[500:800] == 0).all() and np.array_equal(values[800:], signal[0, 800:])
EOF
