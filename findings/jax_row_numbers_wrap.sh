#!/usr/bin/env bash
# JAX turns row numbers beyond 2,147,483,647 into negative ones, without an error.
#
# Expected: an error, or a warning as for float64.
# Seen (JAX 0.12.0.1): an int64 array becomes int32 on the way to the device, and numbers wrap around.
# A Python integer of that size is an OverflowError. jax_enable_x64 keeps them.
# Source: JAX has 32-bit types unless jax_enable_x64 is set.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    jax==0.12.0.1 jaxlib==0.12.0.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings

import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)
rows = np.array([3, 2**31 + 5])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    on_device = jax.device_put(rows)
print(rows, "->", on_device, on_device.dtype, f"{len(caught)} warnings")
assert on_device.tolist() == [3, -(2**31) + 5] and not caught
try:
    jnp.asarray(2**31 + 5)
except OverflowError as error:
    print("a Python integer: OverflowError:", error)
else:
    raise AssertionError("a Python integer is taken now")
EOF
