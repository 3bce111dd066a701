#!/usr/bin/env bash
# A CSV file of one column loses its missing values when pyarrow reads what pyarrow wrote.
#
# Expected: as many rows as were written.
# Seen (pyarrow 26.0.1): a missing value in the only column is an empty line, and empty lines are
# passed over. Heart rates slide up against labels in another file. With two columns all rows are
# there; ParseOptions(ignore_empty_lines=False) keeps them.
# Source: ParseOptions, ignore_empty_lines=True by default.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    pyarrow==26.0.1

venv/bin/python - <<'EOF'
import pyarrow
import pyarrow.csv

print("pyarrow", pyarrow.__version__)
rates = [60, None, 62, None, 64]
pyarrow.csv.write_csv(pyarrow.table({"heart_rate": rates}), "one.csv")
pyarrow.csv.write_csv(pyarrow.table({"heart_rate": rates, "second": range(5)}), "two.csv")
one = pyarrow.csv.read_csv("one.csv")["heart_rate"].to_pylist()
two = pyarrow.csv.read_csv("two.csv")["heart_rate"].to_pylist()
keep = pyarrow.csv.ParseOptions(ignore_empty_lines=False)
kept = pyarrow.csv.read_csv("one.csv", parse_options=keep)["heart_rate"].to_pylist()
print("written:", rates, "| read:", one, "| with another column:", two, "| told:", kept)
assert one == [60, 62, 64] and two == kept == rates
EOF
