"""A pass over the chunks that hold selected samples: their statistics, each row as often as it
occurs.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from zarrts.moments import Moments, measure_repeated, merge_all
from zarrts.occurrences import count_occurrences
from zarrts.order import UNITS_PER_PART, filled_units
from zarrts.sample_reader import SampleReader
from zarrts.system import count_cpus
from zarrts.types import AnyArray, IntArray

Part = TypeVar("Part")
_MAX_THREADS = 8
_PARTS_PER_POOL = 256


def measure_samples(reader: SampleReader, workers: int | None = None) -> Moments:
    """Return the statistics of x of all selected samples, at least one, of one length.

    Each chunk is decoded once; the memory taken is that of some chunks a thread.
    """
    found: list[Moments] = []
    for part in pass_over(reader, lambda rows, counts, _: measure_repeated(rows, counts), workers):
        found.append(part)
        if len(found) == _PARTS_PER_POOL:
            found = [merge_all(found)]
    return merge_all(found)


def pass_over(
    reader: SampleReader,
    measure: Callable[[AnyArray, IntArray, int], Part],
    workers: int | None = None,
) -> Iterator[Part]:
    """Yield what `measure` finds in each chunk that holds x of selected samples, in order.

    Parameters
    ----------
    measure : callable
        Called in several threads with the rows of a chunk (memory that is used again), how often
        each of them occurs, and the number of the first one, counted through the store.
    """
    n_threads = workers or min(_MAX_THREADS, count_cpus())
    buffers = threading.local()

    def work(place: tuple[int, int]) -> Part | None:
        segment, chunk = place
        chunks = reader.readers.x[segment]
        spec = chunks.spec
        low = reader.units.first_row_of(segment) + chunk * spec.chunk_rows
        n_rows = spec.rows_of(chunk)
        counts = count_occurrences(
            reader.units.index, reader.units.selection, reader.cut, low, low + n_rows
        )
        if not counts.any():
            return None
        memory: AnyArray | None = getattr(buffers, "memory", None)
        if memory is None or memory.shape != spec.chunk_shape:
            memory = buffers.memory = np.empty(spec.chunk_shape, spec.dtype)
        chunks.read_into(chunk, memory)
        return measure(memory[:n_rows], counts, low)

    with ThreadPoolExecutor(n_threads, thread_name_prefix="zarrts-measure") as threads:
        places = _places(reader)
        # No more at once than are worked on: what waits to be taken is memory too.
        while some := list(itertools.islice(places, 4 * n_threads)):
            yield from (part for part in threads.map(work, some) if part is not None)


def _places(reader: SampleReader) -> Iterator[tuple[int, int]]:
    """Yield (segment, chunk) of the chunks that may hold rows of selected samples, once each."""
    last_segment, done = -1, 0
    units = filled_units(reader.units)
    for start in range(0, len(units), UNITS_PER_PART):
        some = units[start : start + UNITS_PER_PART].astype(np.int64)
        segments, firsts, counts, _ = (it.tolist() for it in reader.units.chunks(some))
        for segment, first, count in zip(segments, firsts, counts, strict=True):
            low = max(first, done) if segment == last_segment else first
            yield from ((segment, chunk) for chunk in range(low, first + count))
            last_segment, done = segment, max(low, first + count)
