"""grain over ArrayRecord files: a global shuffle by random access.

https://google-grain.readthedocs.io, Dataset API: `MapDataset.source(...).shuffle().map().batch()`
and `to_iter_dataset(ReadOptions)`. ArrayRecord files with `group_size:1`, which random access asks
for; uncompressed, which was faster than the default zstd. `num_threads=0`, which ReadOptions
recommends for data "already loaded in memory" (here: in the page cache); the default of 16
threads was eight times slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grain
import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from work import Batch, Source

SAMPLE_SHAPE = (128, 32)


def prepare(folder: Path, source: Source) -> None:
    for subject, (_, blocks) in enumerate(source.subjects()):
        path = folder / f"s{subject + 1:02d}.array_record"
        writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
        for x, ids in blocks:
            for sample, y in zip(x, ids, strict=True):
                writer.write(sample.tobytes() + y.tobytes())
        writer.close()


def _parse(record: bytes) -> Batch:
    x = np.frombuffer(record, np.float32, count=int(np.prod(SAMPLE_SHAPE)))
    return x.reshape(SAMPLE_SHAPE), np.frombuffer(record, np.int64, offset=x.nbytes)[0]


@cache
def _open(folder: Path) -> ArrayRecordDataSource:
    return ArrayRecordDataSource(sorted(str(path) for path in folder.glob("*.array_record")))


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    samples = grain.MapDataset.source(_open(folder)).shuffle(seed=epoch).map(_parse)
    options = grain.ReadOptions(num_threads=0)
    yield from samples.batch(batch_size).to_iter_dataset(options)
