"""Events in the recordings of a store or of new data: from annotations, a table or a function."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zarrts.errors import OptionError, SampleError
from zarrts.indexing.events import EventRecording, Events, LazyRows
from zarrts.keywords import first_names
from zarrts.labels.scheme import LabelScheme
from zarrts.reading.selection import Selection
from zarrts.storage.chunks import ChunkReader, read_rows
from zarrts.tables import Columns, columns_of, first_of, numbers_of
from zarrts.timeline import part_of_gaps
from zarrts.types import AnyArray, IntArray, RowReader

ANNOTATIONS = "annotations"
_LABELS = ("label", "labels", "trial_type", "event", "description", "annotation", "stage", "text")
_SECONDS = ("onset", "onset_s", "time", "time_s", "seconds", "start")
_ROWS = ("row", "sample")
_FILES = ("file", "source", "recording")
_PIECE_ROWS = 1 << 18


def recordings_of(selection: Selection) -> list[EventRecording]:
    """Return the recordings of a store, selected or not, in which to look for events."""
    store = selection.store
    catalog, scheme = store.catalog, store.header.labels
    starts = catalog.row_starts
    firsts = np.cumsum([0, *(it.n_rows for it in store.header.segments)])
    found = []
    for number, it in enumerate(catalog.recordings):
        low, high = int(starts[number]), int(starts[number + 1])
        segment = int(np.searchsorted(firsts, low, "right")) - 1
        segment = min(segment, len(store.header.segments) - 1)
        x, first = store.readers.x[segment], low - int(firsts[segment])
        labels = None
        if store.header.labels_per == "row" and scheme.class_names is not None:
            labels = _runs_of(store.readers.y[segment], first, first + high - low, scheme)
        found.append(
            EventRecording(
                subject=it.subject,
                source=it.source,
                rate_hz=store.rate_hz,
                x=LazyRows((high - low, *x.spec.row_shape), x.spec.dtype, _rows_of(x, first)),
                labels=labels,
                gaps=part_of_gaps(catalog.gaps, low, high),
            )
        )
    return found


def _rows_of(reader: ChunkReader, first: int) -> Callable[[int, int], AnyArray]:
    return lambda start, stop: read_rows(reader, first + start, first + stop)


def _runs_of(
    reader: ChunkReader, first: int, stop: int, scheme: LabelScheme
) -> Callable[[], tuple[IntArray, AnyArray]]:
    """Return what finds the runs of rows of one class, in the labels of a recording."""

    def find() -> tuple[IntArray, AnyArray]:
        pieces = (
            scheme.classes_of(read_rows(reader, low, min(low + _PIECE_ROWS, stop)))
            for low in range(first, stop, _PIECE_ROWS)
        )
        rows, codes = runs_of_classes(pieces)
        return rows, np.array(scheme.class_names)[codes] if len(codes) else np.zeros(0, "U1")

    return find


def runs_of_classes(pieces: Any) -> tuple[IntArray, IntArray]:
    """Return first row and class of each run of rows with one label; -1 is none.

    Parameters
    ----------
    pieces : iterable of int64 arrays
        Classes of rows that follow each other.
    """
    rows, codes, done, before = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, -2
    for classes in pieces:
        changed = np.flatnonzero(np.diff(classes, prepend=before))
        rows.append(changed + done)
        codes.append(classes[changed])
        done += len(classes)
        before = int(classes[-1]) if len(classes) else before
    found, values = np.concatenate(rows), np.concatenate(codes)
    return found[values >= 0], values[values >= 0]


def runs_of_labels(y: RowReader) -> tuple[IntArray, AnyArray]:
    """Return first row and label of each run of rows of a source with one label."""
    rows, labels, before = [], [], None
    for low in range(0, y.shape[0], _PIECE_ROWS):
        piece = y.read(low, min(low + _PIECE_ROWS, y.shape[0]))
        is_new = np.ones(len(piece), bool)
        is_new[1:] = piece[1:] != piece[:-1]
        is_new[0] = before is None or bool(piece[0] != before)
        is_missing = piece == "" if piece.dtype.kind == "U" else piece != piece
        changed = np.flatnonzero(is_new & ~is_missing)
        rows.append(changed + low)
        labels.append(piece[changed])
        before = piece[-1]
    y.close()
    return np.concatenate([np.zeros(0, np.int64), *rows]), np.concatenate(labels or [np.zeros(0)])


def events_of(at: Any, recordings: Sequence[EventRecording]) -> list[Events]:
    """Return the events of each of some recordings.

    Parameters
    ----------
    at : "annotations", function or table
        See `Samples.windows`.

    Raises
    ------
    SampleError
        If events cannot be told from it; names what was met.
    """
    try:
        if isinstance(at, str) and at == ANNOTATIONS:
            return [_of_annotations(it) for it in recordings]
        if callable(at):
            return [_of_function(at, it) for it in recordings]
        return _of_table(columns_of(at, "at="), recordings)
    except OptionError as error:
        raise SampleError(f"at=: {error}") from error


def _of_annotations(recording: EventRecording) -> Events:
    if recording.labels is None:
        raise SampleError(
            f"at='annotations' takes the rows at which a label begins, but {recording.source} has "
            "no classes for its rows; give a table or a function."
        )
    rows, labels = recording.labels()
    return Events(rows=rows, labels=labels)


def _of_function(at: Callable[[EventRecording], Any], recording: EventRecording) -> Events:
    found = at(recording)
    name = f"at={getattr(at, '__qualname__', repr(at))}"
    labels: AnyArray | None = None
    if isinstance(found, Events):
        return found
    if isinstance(found, Mapping):
        return _of_columns(columns_of(found, name), recording, name)
    if isinstance(found, tuple):
        if len(found) != 2:
            raise SampleError(
                f"{name} returned {len(found)} values for {recording.source}; return rows, or "
                "(rows, labels)."
            )
        labels = np.asarray(found[1])
        found = found[0]
    places = np.asarray(found)
    if places.size == 0:
        return Events(rows=np.zeros(0, np.int64))
    if places.ndim != 1 or places.dtype.kind not in "iuf":
        raise SampleError(
            f"{name} returned {places.dtype} of shape {places.shape} for {recording.source}; "
            "return rows (whole numbers) or seconds (floats), one for each event."
        )
    if labels is not None and labels.shape != places.shape:
        raise SampleError(
            f"{name} returned {len(places):,} events and labels of shape {labels.shape} for "
            f"{recording.source}; each event needs one."
        )
    rows = recording.rows_at(places) if places.dtype.kind == "f" else places.astype(np.int64)
    return Events(rows=rows, labels=labels)


def _of_table(columns: Columns, recordings: Sequence[EventRecording]) -> list[Events]:
    owner = first_of(columns, _FILES) or first_of(columns, ("subject",))
    if owner is None:
        if len(recordings) > 1:
            raise SampleError(
                f"at=: the table has the columns {first_names([*columns])}, but with "
                f"{len(recordings):,} recordings it needs a column file or subject."
            )
        return [_of_columns(columns, recordings[0], "at=")]
    numbers = _owners(columns[owner].astype(np.str_), owner, recordings)
    return [
        _of_columns({name: it[numbers == number] for name, it in columns.items()}, one, "at=")
        for number, one in enumerate(recordings)
    ]


def _owners(names: AnyArray, column: str, recordings: Sequence[EventRecording]) -> IntArray:
    """Return the number of the recording that each line is about; -1 where there is none."""
    known: dict[str, list[int]] = {}
    for number, it in enumerate(recordings):
        source = it.source.replace("\\", "/")
        base = source.rpartition("/")[2]
        keys = {source, base, base.rpartition(".")[0] or base}
        if column == "subject":
            keys = {it.subject or ""}
        for key in keys:
            known.setdefault(key, []).append(number)
    values, which = np.unique(names, return_inverse=True)
    found, several = np.full(len(values), -1, np.int64), []
    for position, value in enumerate(values.tolist()):
        numbers = known.get(value.replace("\\", "/") if column != "subject" else value, [])
        if len(numbers) > 1:
            several.append(value)
        elif numbers:
            found[position] = numbers[0]
    if several:
        raise SampleError(
            f"at=: {first_names(several)} in column {column!r} names several recordings; name each "
            "by its file, as in store.recordings, in a column `file`."
        )
    if (found < 0).all():
        there = [it.subject or it.source if column == "subject" else it.source for it in recordings]
        raise SampleError(
            f"at=: column {column!r} names {first_names(values.tolist())}, but the recordings are "
            f"{first_names(there)}."
        )
    return np.asarray(found[which])


def _of_columns(columns: Columns, recording: EventRecording, name: str) -> Events:
    row, onset = first_of(columns, _ROWS), first_of(columns, _SECONDS)
    if row is None and onset is None:
        raise SampleError(
            f"{name}: the table has the columns {first_names([*columns])}, but events need onset "
            "(in seconds) or row."
        )
    if row is not None:
        places = np.rint(numbers_of(columns[row], row, name)).astype(np.int64)
    else:
        assert onset is not None
        seconds = numbers_of(columns[onset], onset, name)
        places = recording.rows_at(seconds) if len(seconds) else np.zeros(0, np.int64)
    label = first_of(columns, _LABELS)
    return Events(rows=places, labels=None if label is None else columns[label])


def scheme_of_events(
    labels: AnyArray, known: LabelScheme, name: str = "at="
) -> tuple[AnyArray, LabelScheme]:
    """Return labels of events as stored labels are, and what they mean.

    Text that names classes of the store only is of these; other text is of classes of its own, and
    so are whole numbers. Other numbers are no classes.
    """
    if labels.dtype.kind == "U":
        present = np.unique(labels[labels != ""]).tolist()
        if known.encoding == "codes" and known.merges is None and not known.parts:
            names = known.class_names or ()
            if present and {*present} <= {*names}:
                return known.encode(labels), known
        scheme = LabelScheme(
            encoding="codes",
            dtype=np.dtype(np.int32),
            class_names=tuple(present),
            allows_missing=True,
        )
        return scheme.encode(labels), scheme
    if labels.dtype.kind in "iub":
        values = tuple(np.unique(labels).tolist())
        return labels, LabelScheme(encoding="numbers", dtype=labels.dtype, class_names=values)
    if labels.dtype.kind != "f":
        raise SampleError(f"{name} gives labels of {labels.dtype}; give text or numbers.")
    return labels, LabelScheme(encoding="numbers", dtype=labels.dtype, class_names=None)
