"""Several inputs of one recording, each with rows of its own, and as records of one timeline."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.counted import Counted, counted_of
from zarrts.sources.rows.records import NamedReaders, RecordRows, check_names
from zarrts.sources.rows.views import DerivedRows, OneSample, PartOfRows
from zarrts.timeline import Gaps
from zarrts.types import AnyArray, RowReader


@dataclass(frozen=True)
class InputTime:
    """The times of the steps of one of several inputs.

    Attributes
    ----------
    start_s : float
        Of its first step, in seconds from a moment that all inputs of the recording share.
    gaps : Gaps, or None
        Steps before which something is missing.
    """

    start_s: float
    gaps: Gaps | None = None


@dataclass(frozen=True)
class InputRows(NamedReaders):
    """Several inputs as they are found, before it is known which of their rows belong together.

    Their names are sorted, as the arrays are found in a store. It has the shape of the longest of
    them, and cannot be read: `study.aligning.align` makes what can.

    Attributes
    ----------
    times : dict
        By name, of inputs that need not start together; "y" is that of labels, where it is said.
        Empty where all start together, and have the gaps of the recording.
    masks, gaps : dict
        Masks of the rows of some inputs, and rows of these before which something is missing, where
        steps were taken on them; else the recording has those of the input that is longest.
    fixed : frozenset of str, or None
        Those that are known not to change in time, of one row; None: their shapes say it.
    """

    times: Mapping[str, InputTime] = field(default_factory=dict)
    masks: Mapping[str, RowReader] = field(default_factory=dict)
    gaps: Mapping[str, Gaps] = field(default_factory=dict)
    fixed: frozenset[str] | None = None

    label = "several inputs"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input that is longest in time."""
        return max((it.shape for it in self.readers), key=lambda it: (len(it) > 1, it[0], len(it)))

    def each(self, readers: Mapping[str, RowReader]) -> "InputRows":
        """Return the same inputs with other readers."""
        return replace(self, readers=tuple(readers[name] for name in self.names))

    def some(self, names: Iterable[str]) -> "InputRows":
        """Return some of the inputs."""
        chosen = sorted(names)
        return replace(
            self,
            names=tuple(chosen),
            readers=tuple(self.by_name[name] for name in chosen),
            fixed=self.fixed and self.fixed & {*chosen},
        )

    def _read(self, start: int, stop: int) -> AnyArray:
        raise TypeError("several inputs are read once they are aligned")


def input_rows(
    readers: Mapping[str, RowReader], origin: str, times: Mapping[str, InputTime] | None = None
) -> InputRows:
    """Return several inputs of one recording; `times` say when each was, if it is said.

    Raises
    ------
    SourceError
        If a name cannot be that of an array in a store.
    """
    check_names(tuple(readers), origin, "an input")
    ordered = dict(sorted(readers.items()))
    return InputRows(tuple(ordered), tuple(ordered.values()), dict(times or {}))


def each_input(rows: RowReader, function: Callable[[RowReader], RowReader]) -> RowReader:
    """Return rows with a function called on them; of several inputs, on those of each."""
    if isinstance(rows, InputRows):
        return rows.each({name: function(it) for name, it in rows.by_name.items()})
    return function(rows)


def part_of_rows(rows: RowReader, start: int, stop: int) -> RowReader:
    """Return rows `start` to `stop`; of several inputs, of each that has rows of its own.

    Raises
    ------
    SourceError
        If inputs have not as many rows each.
    """
    if not isinstance(rows, InputRows):
        return PartOfRows(rows, start, stop)
    if rows.times:
        raise SourceError(
            "its inputs have times of their own, and no rows in which to part them; give a "
            "recording for each part."
        )
    n_rows, parts = rows.shape[0], {}
    for name, it in rows.by_name.items():
        is_of_rows = it.shape[0] == n_rows
        if not is_of_rows and len(it.shape) > 1 and it.shape[0] != 1:
            raise SourceError(
                f"{name} has {it.shape[0]:,} rows and another input {n_rows:,}: a part of their "
                "rows can be chosen where all have as many."
            )
        parts[name] = PartOfRows(it, start, stop) if is_of_rows else it
    return rows.each(parts)


@dataclass(frozen=True)
class PiecesOfRows(DerivedRows):
    """Pieces of another reader, one after the other, as (first row, the one after the last)."""

    pieces: tuple[tuple[int, int], ...]

    label = "pieces"

    @property
    def shape(self) -> tuple[int, ...]:
        """As many rows as the pieces have."""
        return (sum(stop - start for start, stop in self.pieces), *self.rows.shape[1:])

    @property
    def block_rows(self) -> int:
        """As of all rows, but no more than there are."""
        return max(1, min(self.rows.block_rows, self.shape[0]))

    @property
    def counted(self) -> Counted | None:
        """The counts behind these rows."""
        found = counted_of(self.rows)
        return found and replace(found, rows=PiecesOfRows(found.rows, self.pieces))

    def _read(self, start: int, stop: int) -> AnyArray:
        parts, done = [], 0
        for first, end in self.pieces:
            low, high = max(start, done), min(stop, done + end - first)
            if low < high:
                parts.append(self.rows.read(first + low - done, first + high - done))
            done += end - first
        if len(parts) == 1:
            return parts[0]
        empty = np.empty((0, *self.rows.shape[1:]), self.rows.dtype)
        return np.concatenate([empty, *parts])


@dataclass(frozen=True)
class GroupedRows(DerivedRows):
    """Rows of `steps` rows each of another reader; what is left behind the last is none."""

    steps: int

    label = "steps in a row"

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first, then their steps."""
        n_rows, *inner = self.rows.shape
        return (n_rows // self.steps, self.steps, *inner)

    @property
    def block_rows(self) -> int:
        """As many of these as hold a block of the others."""
        return max(1, -(-self.rows.block_rows // self.steps))

    @property
    def counted(self) -> Counted | None:
        """The counts behind these rows."""
        found = counted_of(self.rows)
        return found and replace(found, rows=GroupedRows(found.rows, self.steps))

    def _read(self, start: int, stop: int) -> AnyArray:
        block = self.rows.read(start * self.steps, stop * self.steps)
        return block.reshape(stop - start, self.steps, *block.shape[1:])


@dataclass(frozen=True)
class StepsOfRows(DerivedRows):
    """The steps of rows of another reader, which are on axis 1: the inverse of `GroupedRows`."""

    label = "steps of rows"

    @property
    def steps(self) -> int:
        """Steps in a row of the other reader."""
        return self.rows.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps first."""
        n_rows, steps, *inner = self.rows.shape
        return (n_rows * steps, *inner)

    @property
    def block_rows(self) -> int:
        """As many as are in a block of the others."""
        return max(1, self.rows.block_rows * self.steps)

    @property
    def counted(self) -> Counted | None:
        """The counts behind these steps."""
        found = counted_of(self.rows)
        return found and replace(found, rows=StepsOfRows(found.rows))

    def _read(self, start: int, stop: int) -> AnyArray:
        first, last = start // self.steps, -(-stop // self.steps)
        block = self.rows.read(first, last) if stop > start else self.rows.read(first, first)
        steps = block.reshape(-1, *block.shape[2:])
        return steps[start - first * self.steps : stop - first * self.steps]


@dataclass(frozen=True)
class WorstOfRows(DerivedRows):
    """The greatest value of each row of another reader, such as of the masks of its steps."""

    label = "the mask of rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis."""
        return self.rows.shape[:1]

    def _read(self, start: int, stop: int) -> AnyArray:
        return np.asarray(self.rows.read(start, stop).max(axis=1, initial=0))


@dataclass(frozen=True)
class RepeatedValue(DerivedRows):
    """The only row of another reader, `n_rows` times: a value that does not change in time."""

    n_rows: int

    label = "a value of all rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (self.n_rows, *self.rows.shape[1:])

    @property
    def is_sequential(self) -> bool:
        """Never: there is one row."""
        return False

    @property
    def block_rows(self) -> int:
        """1: there is one row."""
        return 1

    def _read(self, start: int, stop: int) -> AnyArray:
        return np.repeat(self.rows.read(0, 1), stop - start, axis=0)


@dataclass(frozen=True)
class AlignedRows(RecordRows):
    """Records of one timeline, with a field for each of several inputs, of at least `n_rows` rows.

    Attributes
    ----------
    steps : tuple of int
        Steps in time of each input in a row: 1; more, which are axis 1 of its reader; or 0, where
        its value does not change in time.
    n_rows : int
    """

    steps: tuple[int, ...]
    n_rows: int

    label = "several inputs"

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis; what an input has beside rows is in its field."""
        return (self.n_rows,)


def records_of(
    inputs: Mapping[str, RowReader], steps: Mapping[str, int], n_rows: int
) -> AlignedRows:
    """Return `n_rows` rows of several inputs as records; `steps` are as in `AlignedRows`."""
    readers: dict[str, RowReader] = {}
    for name, it in inputs.items():
        if steps[name] == 0:
            is_row = len(it.shape) > 1 and it.shape[0] == 1
            readers[name] = RepeatedValue(it if is_row else OneSample(it), n_rows)
        else:
            readers[name] = it if steps[name] == 1 else GroupedRows(it, steps[name])
    every = tuple(steps[name] for name in readers)
    return AlignedRows(tuple(readers), tuple(readers.values()), every, n_rows)


def steps_of(rows: RowReader) -> dict[str, int]:
    """Return the steps in time of each of several inputs in a row; of one input, nothing."""
    if not isinstance(rows, AlignedRows):
        return {}
    return dict(zip(rows.names, rows.steps, strict=True))


def readers_of(rows: RowReader) -> dict[str, RowReader]:
    """Return the reader of each of several inputs by name; of one input, that without a name."""
    return rows.by_name if isinstance(rows, AlignedRows) else {"": rows}


def with_readers(rows: RowReader, readers: Mapping[str, RowReader]) -> RowReader:
    """Return the same inputs with other readers, which are as those of `readers_of`."""
    if not isinstance(rows, AlignedRows):
        return readers[""]
    return replace(rows, readers=tuple(readers[name] for name in rows.names))
