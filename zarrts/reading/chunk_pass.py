"""A pass over the chunks that hold selected samples: their statistics, each row as often as it
occurs.
"""

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from zarrts.errors import AccessError, ReadError
from zarrts.indexing.occurrences import count_occurrences
from zarrts.ordering.order import UNITS_PER_PART, filled_units
from zarrts.progress import show_count
from zarrts.reading.sample_reader import SampleInput, SampleReader
from zarrts.stats.moments import Moments, measure_repeated, merge_all
from zarrts.stats.sketches import Sketch, draw, places
from zarrts.system import count_cpus
from zarrts.types import AnyArray, IntArray

Part = TypeVar("Part")
_MAX_THREADS = 8
_PARTS_PER_POOL = 256
_MIN_DRAWN, _MAX_DRAWN, _DRAWN_VALUES = 1 << 10, 1 << 16, 1 << 21


def measure_samples(reader: SampleReader, one: SampleInput) -> Moments:
    """Return the statistics of one input of all selected samples, at least one.

    Each chunk is decoded once; the memory taken is that of some chunks a thread.
    """

    def measure(rows: AnyArray, counts: IntArray, first: int) -> Moments:
        return measure_repeated(rows, counts)

    found: list[Moments] = []
    with show_count("statistics, by reading once", lambda: _count_places(reader)) as on_chunks:
        for part in pass_over(reader, one, one.cut.x_steps, measure):
            found.append(part)
            on_chunks(1)
            if len(found) == _PARTS_PER_POOL:
                found = [merge_all(found)]
    return merge_all(found)


def sketch_samples(reader: SampleReader, one: SampleInput) -> Sketch:
    """Return values drawn from one input of all selected samples, by how often they occur."""
    units = reader.units
    row_shape, n_channels = one.spec.row_shape, one.n_channels
    n_rows = units.index.count_rows(units.selection.starts, units.selection.stops)
    n_values = n_rows * (math.prod(row_shape) // n_channels)
    step = max(1, n_values // max(_MIN_DRAWN, min(_MAX_DRAWN, _DRAWN_VALUES // n_channels)))

    def measure(rows: AnyArray, counts: IntArray, first: int) -> Sketch:
        values = draw(rows, first, step)
        per_row = math.prod(rows.shape[1:]) // n_channels
        low = first * per_row
        weights = counts[(places(low, low + len(rows) * per_row, step) - low) // per_row]
        used = weights > 0
        weighted = np.repeat(weights[used, None], n_channels, axis=1).astype(np.float64)
        return Sketch(values[used].astype(np.float64), weighted)

    found = []
    with show_count("quantiles, by reading once", lambda: _count_places(reader)) as on_chunks:
        for part in pass_over(reader, one, one.cut.x_steps, measure):
            found.append(part)
            on_chunks(1)
    return Sketch.joined(found)


def pass_over(
    reader: SampleReader,
    one: SampleInput,
    steps: IntArray | None,
    measure: Callable[[AnyArray, IntArray, int], Part],
    *,
    skips_damage: bool = False,
) -> Iterator[Part]:
    """Yield what `measure` finds in each chunk that holds rows of selected samples, in order.

    Parameters
    ----------
    one : SampleInput
        The input whose rows these are.
    steps : int64, or None
        Which rows of a sample are meant, counted from its first one; None: all.
    measure : callable
        Called in several threads with the rows of a chunk (memory that is used again), how often
        each of them occurs, and the number of the first one, counted through the store.
    skips_damage : bool
        Leave out what cannot be read.
    """
    n_threads = min(_MAX_THREADS, count_cpus())
    if reader.readers.is_remote:
        n_threads = 2 * _MAX_THREADS  # most of which wait for an answer
    buffers = threading.local()

    def work(place: tuple[int, int]) -> Part | None:
        segment, chunk = place
        chunks = one.readers[segment]
        spec = chunks.spec
        low = reader.units.first_row_of(segment) + chunk * spec.chunk_rows
        n_rows = spec.rows_of(chunk)
        counts = count_occurrences(
            reader.units.index, reader.units.selection, steps, low, low + n_rows
        )
        if not counts.any():
            return None
        memory: AnyArray | None = getattr(buffers, "memory", None)
        if memory is None or memory.shape != spec.chunk_shape:
            memory = buffers.memory = np.empty(spec.chunk_shape, spec.dtype)
        try:
            chunks.read_into(chunk, memory)
        except AccessError:
            raise
        except ReadError:
            if skips_damage:
                return None
            raise
        return measure(memory[:n_rows], counts, low)

    with ThreadPoolExecutor(n_threads, thread_name_prefix="zarrts-measure") as threads:
        places = _places(reader)
        # No more at once than are worked on: what waits to be taken is memory too.
        while some := list(itertools.islice(places, 4 * n_threads)):
            yield from (part for part in threads.map(work, some) if part is not None)


def _count_places(reader: SampleReader) -> int:
    return sum(1 for _ in _places(reader))


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
