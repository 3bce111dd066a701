"""What has to be read of the sources before a conversion: their labels, and a few samples."""

import hashlib
import time
from collections.abc import Sequence

import numpy as np

from zarrts.conversion.casting import cast_rows
from zarrts.conversion.plan import Layout
from zarrts.conversion.publish import trial_spec
from zarrts.labels.scheme import LabelCounter
from zarrts.stats.moments import measure
from zarrts.storage.shards import encode_chunk
from zarrts.types import SourceRecording

_LABEL_BLOCK_BYTES = 1 << 20
_N_TRIAL_CHUNKS = 8


def count_labels(recording: SourceRecording) -> tuple[LabelCounter, str]:
    """Return the labels of a recording, and a digest of those that had to be read."""
    # A fingerprint samples large files, and would not see that a few labels were corrected.
    digest = hashlib.blake2b(digest_size=16)
    reader = recording.y
    counter = LabelCounter(reader.dtype, reader.shape[1:])
    if reader.dtype.kind == "f" and not counter.is_one_hot:
        return counter, digest.hexdigest()
    row_bytes = max(1, int(np.prod(reader.shape[1:], dtype=np.int64)) * reader.dtype.itemsize)
    step = max(1, _LABEL_BLOCK_BYTES // row_bytes)
    for start in range(0, reader.shape[0], step):
        if counter.can_stop:
            break
        block = reader.read(start, min(start + step, reader.shape[0]))
        counter.add(block)
        digest.update(block.tobytes())
    reader.close()
    return counter, digest.hexdigest()


def try_chunks(
    recordings: Sequence[SourceRecording], layout: Layout, codec: str
) -> tuple[float, float]:
    """Return (stored bytes per raw byte, raw bytes per second) of a few chunks."""
    spec = trial_spec((layout.chunk_rows, *layout.row_shape), layout.dtype, codec)
    filled = [it for it in recordings if it.x.shape[0]]
    step = max(1, len(filled) // _N_TRIAL_CHUNKS)
    raw, stored, started = 0, 0, time.perf_counter()
    for recording in filled[::step][:_N_TRIAL_CHUNKS]:
        reader = recording.x
        rows = min(layout.chunk_rows, reader.shape[0])
        # The first rows of a recording are often silence; a stream gives no others cheaply.
        start = 0 if reader.is_sequential else (reader.shape[0] - rows) // 2
        block = cast_rows(reader.read(start, start + rows), layout.dtype, recording.origin)
        measure(block)
        raw += block.nbytes
        stored += sum(map(len, encode_chunk(spec, np.ascontiguousarray(block))))
        reader.close()
    return stored / raw, raw / max(time.perf_counter() - started, 1e-9)
