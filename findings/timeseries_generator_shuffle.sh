#!/usr/bin/env bash
# TimeseriesGenerator's shuffle draws windows with replacement, and forgets its stride.
#
# Expected: each window once an epoch, in random order.
# Seen (Keras 3.15.1 under TensorFlow 2.21.0): of 9 windows some come twice and others never; with
# stride=3 windows begin at any row.
# Source: TimeseriesGenerator.__getitem__, which draws random rows when shuffle=True.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6

TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - <<'EOF'
import numpy as np
import tensorflow as tf

print("tensorflow", tf.__version__, "keras", tf.keras.__version__)
rows = np.arange(3003.0)


def targets(**options):
    """Return the targets of one epoch."""
    it = tf.keras.preprocessing.sequence.TimeseriesGenerator(rows, rows, length=3, **options)
    return np.concatenate([it[number][1] for number in range(len(it))])


np.random.seed(0)
shuffled, strided = targets(shuffle=True), targets(shuffle=True, stride=3)
n_missed = 3000 - len(np.unique(shuffled))
n_off = int((strided % 3 != 0).sum())
print(f"of 3000 windows {n_missed} were never shown; of {len(strided)} with stride 3, {n_off} are off it")
assert len(np.unique(targets())) == 3000 and not (targets(stride=3) % 3).any()
assert n_missed > 500 and n_off > 0
EOF
