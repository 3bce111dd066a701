"""Arrays of a ragged segment with an entry for each recording: offsets, and labels of all of it."""

from collections.abc import Callable, Sequence

import numpy as np

from zarrts.conversion.tasks import encode_labels
from zarrts.errors import SourceError
from zarrts.labels.scheme import LabelScheme
from zarrts.storage.location import Location
from zarrts.storage.segments import Segment, part_of
from zarrts.storage.shards import ShardWriter, WrittenShard
from zarrts.types import AnyArray, ArraySpec, IntArray, SourceRecording


def recordwise_arrays(segment: Segment) -> dict[str, ArraySpec]:
    """Return the arrays of a segment that no task writes, each of them one chunk."""
    return {name: spec for name, spec in segment.arrays.items() if name not in segment.row_arrays}


def write_recordwise(
    root: Location,
    segment: Segment,
    starts: IntArray,
    recordings: Sequence[SourceRecording],
    labels: LabelScheme,
) -> list[WrittenShard]:
    """Write the arrays that no task writes; nothing for a dense segment.

    Parameters
    ----------
    starts : int64, shape (n_recordings + 1,)
        First row of each recording, and the number of rows.
    recordings : sequence of SourceRecording
        All of the segment; of labels per row, none is read.
    """
    written = []
    for name, spec in recordwise_arrays(segment).items():
        values = starts if name == "offsets" else part_of(labels_of(recordings, labels), name)
        written.append(write_one_chunk(root, spec, values))
    return written


def labels_of(recordings: Sequence[SourceRecording], labels: LabelScheme) -> AnyArray:
    """Return the one label of each recording, as it is stored.

    Raises
    ------
    SourceError
        If a label cannot be read, or was not there before.
    """
    found = []
    for it in recordings:
        try:
            found.append(encode_labels(labels, it.y.read(0, 1), it))
        except OSError as error:
            raise SourceError(f"{it.origin}: cannot be read ({error}).") from error
        finally:
            it.y.close()
    return np.concatenate(found)


def write_one_chunk(
    root: Location,
    spec: ArraySpec,
    values: AnyArray,
    is_wanted: Callable[[WrittenShard], bool] = lambda shard: True,
) -> WrittenShard:
    """Write an array of one chunk; `is_wanted` is asked before the file takes its place."""
    with ShardWriter(root, spec, 0) as writer:
        writer.append(np.ascontiguousarray(values, spec.dtype))
        written = writer.finish()
        return writer.commit() if is_wanted(written) else written
