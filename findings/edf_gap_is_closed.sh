#!/usr/bin/env bash
# MNE and edfio read an EDF+ file with a gap as if there were none; pyEDFlib refuses it.
#
# Expected: the gap is annotated, filled, or refused by all.
# Seen (MNE 1.13.2, edfio 0.4.18, pyEDFlib 0.1.42): in an interrupted recording (EDF+D) each record
# says when it starts. MNE and edfio join the records: the samples after a gap of 10 s lie 10 s early,
# annotations keep their times, so that one in the second half is left out or lies over other samples.
# Source: section 2.1.3.3 of EDF+, at edfplus.info; only pyEDFlib's C library looks at the field.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    mne==1.13.2 edfio==0.4.18 pyedflib==0.1.42 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 \
    jinja2==3.1.6 lazy-loader==0.4 markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
from importlib.metadata import version

import edfio
import mne
import numpy as np
import pyedflib

print(*(f"{it} {version(it)}" for it in ("mne", "edfio", "pyedflib")))


def field(*items):
    return b"".join(str(text).encode().ljust(width) for text, width in items)


def write_with_gap(path):
    """Write 5 records of 1 s, a gap of 10 s, and 5 records more."""
    head = field(("0", 8), ("X X X X", 80), ("Startdate 02-JAN-2020 X X X", 80), ("02.01.20", 8),
                 ("22.00.00", 8), (256 * 3, 8), ("EDF+D", 44), (10, 8), (1, 8), (2, 4))
    head += field(("EEG", 16), ("EDF Annotations", 16), ("", 160), ("uV", 8), ("", 8),
                  (-32768, 8), (-1, 8), (32767, 8), (1, 8), (-32768, 8), (-32768, 8),
                  (32767, 8), (32767, 8), ("", 160), (100, 8), (30, 8), ("", 64))
    body = b""
    for record in range(10):
        start = record if record < 5 else record + 10
        text = b"+%d\x14\x14\x00" % start
        if record in (1, 6):
            text += b"+%d\x151\x14Sleep stage %d\x14\x00" % (start, record)
        body += np.arange(record * 100, record * 100 + 100, dtype="<i2").tobytes()
        body += text.ljust(60, b"\x00")
    with open(path, "wb") as file:
        file.write(head + body)


write_with_gap("gap.edf")
raw = mne.io.read_raw_edf("gap.edf", verbose="error")
edf = edfio.read_edf("gap.edf")
print("mne:", raw.n_times, "samples,", raw.times[-1], "s,", list(raw.annotations.description))
print("edfio:", len(edf.signals[0].data), "samples,", edf.duration, "s,", edf.annotations)
assert raw.n_times == 1000 and raw.times[-1] == 9.99
assert not [it for it in raw.annotations.description if it.startswith(("BAD", "EDGE"))]
assert list(raw.annotations.description) == ["Sleep stage 1"]  # the other is at 16 s
assert len(edf.signals[0].data) == 1000 and edf.duration == 10
try:
    pyedflib.EdfReader("gap.edf")
except OSError as error:
    print("pyedflib:", error)
else:
    raise AssertionError("pyedflib reads it now")
EOF
