"""Compare what is in a store with its table of recordings, and with its sources."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from zarrts.conversion.comparison import StoredRecording
from zarrts.conversion.encoding import Encoding, Measuring
from zarrts.conversion.stored import StoredRows
from zarrts.conversion.tasks import close_rows
from zarrts.errors import ReadError, ZarrtsError
from zarrts.labels.scheme import LabelScheme
from zarrts.stats.moments import Moments
from zarrts.storage.chunks import ChunkReader, open_chunks
from zarrts.storage.location import Location
from zarrts.storage.segments import Segment, input_path
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import RecordingTable
from zarrts.types import SourceRecording
from zarrts.upkeep.matching import Sources, match_sources, refuse_unused_labels
from zarrts.upkeep.problems import Problem, SourcePlaces

_TOLERANCE = 1e-9


def check_content(
    root: Location,
    segment: Segment,
    labels: LabelScheme,
    table: RecordingTable,
    places: SourcePlaces,
    pool: ThreadPoolExecutor,
) -> Iterator[Problem]:
    """Decode every chunk of a segment, and compare labels, owners and statistics with the table."""
    yield from _check_recordwise(root, segment, labels, table)
    readers = {name: open_chunks(root, spec) for name, spec in segment.row_arrays.items()}

    def check(number: int) -> list[Problem]:
        return _RecordingCheck(segment, labels, table, number, readers, places).problems()

    try:
        for problems in pool.map(check, range(len(table.subject))):
            yield from problems
    finally:
        for reader in readers.values():
            reader.close()


def _check_recordwise(
    root: Location, segment: Segment, labels: LabelScheme, table: RecordingTable
) -> Iterator[Problem]:
    """Compare the arrays with one entry for each recording with the table."""
    for name, spec in segment.arrays.items():
        if name in segment.row_arrays:
            continue
        rows = StoredRows(open_chunks(root, spec), 0, spec.shape[0])
        try:
            stored = rows.read(0, spec.shape[0])
        except ReadError:
            yield Problem(f"{spec.path}: cannot be read.", segment.name)
            continue
        finally:
            rows.close()
        if name == "offsets":
            if not np.array_equal(stored, table.starts):
                yield Problem(f"{spec.path}: not where the recordings start.", segment.name)
        elif name == "y" and labels.n_classes is not None and table.label_counts is not None:
            classes = labels.classes_of(stored).reshape(len(stored), -1)
            codes = np.arange(table.label_counts.shape[1])
            counts = (classes[..., None] == codes).sum(axis=1)
            for number in np.flatnonzero((counts != table.label_counts).any(axis=1)).tolist():
                yield Problem(
                    f"{spec.path}: the label of {table.source[number]} is not the one that was "
                    "counted.",
                    segment.name,
                )


class _RecordingCheck:
    """Compares the samples of one recording with what the table says of it."""

    def __init__(
        self,
        segment: Segment,
        labels: LabelScheme,
        table: RecordingTable,
        number: int,
        readers: Mapping[str, ChunkReader],
        places: SourcePlaces,
    ) -> None:
        self._segment, self._labels, self._table = segment, labels, table
        self._number, self._places = number, places
        self._start, self._stop = (int(it) for it in table.starts[number : number + 2])
        self._rows = {
            name: StoredRows(reader, self._start, self._stop) for name, reader in readers.items()
        }
        self._encoding = Encoding.of(segment, table)
        self._moments: Moments | None = None
        n_classes = labels.n_classes
        self._counts = None if n_classes is None else np.zeros(n_classes, np.int64)

    def problems(self) -> list[Problem]:
        """Read all of its samples; the statistics are compared if all could be read."""
        step = self._segment.x.chunk_rows
        found: list[Problem] = []
        # Along the chunks, so that each is read once, or once by each recording that is in it.
        cuts = range((self._start // step + 1) * step, self._stop, step)
        for low, high in itertools.pairwise([self._start, *cuts, self._stop]):
            found += [
                Problem(text, self._segment.name, low // self._segment.x.shard_rows)
                for text in self._check_rows(low, high)
            ]
        return found or [Problem(text, self._segment.name) for text in self._check_table()]

    def _check_rows(self, low: int, high: int) -> Iterator[str]:
        name = self._segment.name
        where = self._places.samples(name, low, high)
        try:
            rows = {
                name: it.read(low - self._start, high - self._start)
                for name, it in self._rows.items()
            }
        except ReadError:
            yield f"{where} cannot be read."
            return
        # Of counts as converting does: means of rounded values are not those of exact ones.
        inputs = {it: rows[input_path(it)] for it in self._segment.inputs}
        measuring = Measuring(self._encoding, self._number)
        measuring.add(inputs)
        moments = measuring.moments()
        self._moments = moments if self._moments is None else self._moments.merge(moments)
        if "recording" in rows and (rows["recording"] != self._number).any():
            yield f"{name}/recording: wrong for {where}."
        if self._counts is not None and "y" in rows:
            classes = self._labels.classes_of(rows["y"]).reshape(-1)
            lowest = -1 if self._labels.allows_missing else 0
            if ((classes < lowest) | (classes >= len(self._counts))).any():
                yield f"{name}/y: a label that is not a class, in {where}."
                return
            present = classes[classes >= 0]
            self._counts += np.bincount(present, minlength=len(self._counts))

    def _check_table(self) -> Iterator[str]:
        where = f"{self._segment.name}/table, {self._table.source[self._number]}"
        if self._moments is not None and not _agree(
            self._moments, self._table.moments.row(self._number)
        ):
            yield f"{where}: the statistics are not those of its samples."
        if "y" not in self._rows:
            return
        if self._counts is not None and self._table.label_counts is not None:
            counted = self._table.label_counts[self._number]
            # Classes that were added to the store later are not in this table.
            if not np.array_equal(self._counts[: len(counted)], counted):
                yield f"{where}: the counts of classes are not those of its labels."


def _agree(one: Moments, other: Moments) -> bool:
    """Return whether statistics are the same but for rounding."""
    if not all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in ("count", "nan_count", "min", "max")
    ):
        return False
    spread = np.maximum(np.abs(other.max), np.abs(other.min))
    with np.errstate(invalid="ignore"):
        scale = np.where(np.isfinite(spread), spread, 1)
    return np.allclose(
        one.mean, other.mean, rtol=_TOLERANCE, atol=_TOLERANCE * float(scale.max()), equal_nan=True
    ) and np.allclose(
        one.m2,
        other.m2,
        rtol=1e-6,
        atol=_TOLERANCE * float((scale**2 * np.maximum(other.count, 1)).max()),
        equal_nan=True,
    )


# Where it came from -------------------------------------------------------------------------------


def check_sources(
    root: Location,
    header: StoreHeader,
    tables: Mapping[str, RecordingTable | None],
    source: Sources,
    places: SourcePlaces,
) -> Iterator[Problem]:
    """Compare every sample and label of a store with the files that it was made from."""
    refuse_unused_labels(source, header)
    for segment in header.segments:
        table = tables[segment.name]
        if table is None:
            continue
        matched = match_sources(source, segment, table, header.description)
        yield from (Problem(it, segment.name, is_of_sources=True) for it in matched.problems)
        for number, recording in matched.recordings.items():
            yield from _compare(root, segment, header.labels, table, number, recording, places)


def _compare(
    root: Location,
    segment: Segment,
    labels: LabelScheme,
    table: RecordingTable,
    number: int,
    recording: SourceRecording,
    places: SourcePlaces,
) -> Iterator[Problem]:
    """Compare every sample and label of a recording with its source."""
    first = int(table.starts[number])
    encoding = Encoding.of(segment, table)
    stored = StoredRecording(root, segment, labels, number, table.starts, encoding)
    wrong: dict[int, list[int]] = defaultdict(list)
    try:
        for rows in stored.compare(recording):
            if rows.error is not None:
                shard = (first + rows.start) // segment.x.shard_rows
                yield Problem(str(rows.error), segment.name, shard)
            for row in (first + rows.start + np.flatnonzero(~rows.is_same)).tolist():
                wrong[row // segment.x.shard_rows].append(row)
        if not stored.has_label_of(recording):
            yield Problem(f"{recording.origin}: its label in the store is another.", segment.name)
    except ZarrtsError as error:
        yield Problem(f"{recording.origin}: {error}", segment.name)
    finally:
        stored.close()
        close_rows(recording)
    for shard, rows_of_shard in wrong.items():
        where = places.samples(segment.name, rows_of_shard[0], rows_of_shard[-1] + 1)
        yield Problem(
            f"{recording.origin}: {len(rows_of_shard):,} samples of the store differ from it, "
            f"among {where}.",
            segment.name,
            shard,
        )
