"""Convert tables of pandas or Parquet, one file a subject, one line a time step.

python examples/recording_tables.py tables/ tables.zarr

A column "label" holds the label of each time step, all others are channels. CSV is read whole, a
file at a time; of Parquet, only the rows that are written next, whatever the size of the file.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", default="tables", type=Path)
parser.add_argument("store", nargs="?", default="tables.zarr", type=Path)
args = parser.parse_args()


class ParquetRows:
    """Rows of some columns: shape, dtype, and a call with start and stop are all that is needed."""

    def __init__(self, path: Path, columns: list[str], dtype: type) -> None:
        self.path, self.columns, self.dtype = str(path), columns, np.dtype(dtype)
        self.shape = (pq.ParquetFile(path).metadata.num_rows, len(columns))

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Return rows `start` to `stop`."""
        parts, first = [], 0
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                if first < stop and last > start:
                    table = file.read_row_group(group, columns=self.columns)
                    columns = [table[name].to_numpy() for name in self.columns]
                    rows = np.stack(columns, axis=1).astype(self.dtype)
                    parts.append(rows[max(0, start - first) : stop - first])
                first = last
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), self.dtype)


def read(path: Path) -> zarrts.Recording:
    """Return the recording of one file."""
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        signals = table.drop(columns="label").to_numpy(np.float32)
        return zarrts.Recording(path.stem, signals, table["label"].to_numpy())
    names = [name for name in pq.read_schema(path).names if name != "label"]
    labels = pq.read_table(path, columns=["label"])["label"].to_numpy()
    return zarrts.Recording(path.stem, ParquetRows(path, names, np.float32), labels)


paths = sorted(it for it in args.folder.iterdir() if it.suffix in (".csv", ".parquet"))
store = zarrts.convert([read(path) for path in paths], args.store, kind="ragged")
print(f"{store.n_samples} recordings of {', '.join(store.subjects)}: {store.class_names}")
