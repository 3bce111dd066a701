"""The recordings of a store: whose they are, where they came from, what they hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.indexing.units import Ranges
from zarrts.keywords import unknown_names
from zarrts.stats.moments import Moments
from zarrts.stats.sketches import Sketch
from zarrts.storage.table import RecordingTable
from zarrts.timeline import Gaps
from zarrts.types import IntArray


@dataclass(frozen=True)
class RecordingInfo:
    """The source of some consecutive samples of the store.

    Attributes
    ----------
    subject : str
    source : str
        File, relative to the folder that was converted.
    start, stop : int
        Sample ids: start <= id < stop.
    source_start : int
        Row of the file that is the first of these.
    n_rows : int
        Rows of the store that they are: time steps where the store is ragged, else samples.
    groups : dict of str
        What the study said of it, by the name of a column, such as {"site": "Leiden"}.
    """

    subject: str
    source: str
    start: int
    stop: int
    source_start: int
    n_rows: int
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)


class Catalog:
    """The tables of recordings of all segments, one after the other.

    Parameters
    ----------
    tables : sequence of RecordingTable
        In the order of the segments.
    n_classes : int, or None
        Where labels are classes.
    is_ragged : bool
        A recording is one sample, and not as many as it has rows.
    """

    def __init__(
        self, tables: Sequence[RecordingTable], n_classes: int | None, *, is_ragged: bool = False
    ) -> None:
        self._tables, self._n_classes = tuple(tables), n_classes
        self._is_ragged = is_ragged

    @cached_property
    def subjects(self) -> list[str]:
        """Names of the subjects, in order of first appearance."""
        return list(dict.fromkeys(name for table in self._tables for name in table.subject))

    @cached_property
    def codes(self) -> dict[str, int]:
        """Position in `subjects` of each name."""
        return {name: code for code, name in enumerate(self.subjects)}

    @cached_property
    def recordings(self) -> tuple[RecordingInfo, ...]:
        """The sources of the samples, in their order."""
        names = (pair for it in self._tables for pair in zip(it.subject, it.source, strict=True))
        rows = (row for table in self._tables for row in table.source_starts.tolist())
        nothing: Mapping[str, str] = {}
        groups = (
            it for table in self._tables for it in table.groups or [nothing] * len(table.subject)
        )
        return tuple(
            RecordingInfo(subject, source, start, stop, row, n_rows, said)
            for (subject, source), start, stop, row, n_rows, said in zip(
                names,
                self.starts[:-1].tolist(),
                self.starts[1:].tolist(),
                rows,
                np.diff(self.row_starts).tolist(),
                groups,
                strict=True,
            )
        )

    @cached_property
    def starts(self) -> IntArray:
        """First sample id of each recording, and the number of samples."""
        return np.arange(len(self.row_starts)) if self._is_ragged else self.row_starts

    @cached_property
    def row_starts(self) -> IntArray:
        """First row of each recording, counted through all segments, and the number of rows."""
        lengths = [np.diff(table.starts) for table in self._tables]
        return np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)

    @cached_property
    def gaps(self) -> Gaps | None:
        """Rows before which something is missing, counted through all segments."""
        firsts = np.cumsum([0, *(int(it.starts[-1]) for it in self._tables)]).tolist()
        return Gaps.joined(zip(firsts, (it.gaps for it in self._tables), strict=False))

    @cached_property
    def subject_codes(self) -> IntArray:
        """Position in `subjects` of each recording's subject."""
        codes = self.codes
        names = (name for table in self._tables for name in table.subject)
        return np.array([codes[name] for name in names], np.int64)

    @cached_property
    def class_counts(self) -> IntArray | None:
        """Labels of each class in each recording; None where labels are not classes."""
        if self._n_classes is None:
            return None
        # None where no recording of a segment had a label.
        counts = [
            np.zeros((len(table.subject), 0), np.int64)
            if table.label_counts is None
            else table.label_counts
            for table in self._tables
        ]
        widths = [(0, self._n_classes - it.shape[1]) for it in counts]
        return np.concatenate(
            [np.pad(it, ((0, 0), width)) for it, width in zip(counts, widths, strict=True)]
        )

    @cached_property
    def moments(self) -> Moments:
        """Statistics of each recording, shape (n_recordings, n_channels)."""
        return Moments.joined([table.moments for table in self._tables])

    def sketch(self, recordings: IntArray, channels: slice = slice(None)) -> Sketch | None:
        """Return values that stand for those of some recordings; None where none are kept."""
        parts, start = [], 0
        for table in self._tables:
            stop = start + len(table.subject)
            some = recordings[(recordings >= start) & (recordings < stop)] - start
            sketch = table.points() if len(some) else None
            if len(some) and sketch is None:
                return None
            if sketch is not None:
                points = sketch[some][..., channels]
                counts = table.moments.count[some][..., channels]
                if points.dtype.kind == "f" and (np.isnan(points[:, 0]) & (counts > 0)).any():
                    return None  # only NaN happened to be drawn
                parts.append(Sketch.of_points(points, counts))
            start = stop
        return Sketch.joined(parts)

    @cached_property
    def subject_runs(self) -> tuple[IntArray, IntArray]:
        """Return first row and subject code of each run of rows of one subject."""
        changes = np.concatenate([[True], np.diff(self.subject_codes) != 0])
        return self.row_starts[:-1][changes], self.subject_codes[changes]

    def recordings_of(self, names: Sequence[str] | str) -> NDArray[np.bool_]:
        """Return for each recording whether it is of one of some subjects.

        Raises
        ------
        SampleError
            If a name is unknown.
        """
        names = [names] if isinstance(names, str) else list(names)
        codes = self.codes
        unknown = [str(name) for name in names if name not in codes]
        if unknown:
            raise SampleError(unknown_names("No subject", unknown, self.subjects))
        return np.isin(self.subject_codes, [codes[name] for name in names])

    def samples_of(self, names: Sequence[str] | str) -> Ranges:
        """Return the samples, as they were stored, of some subjects; as `recordings_of`."""
        chosen = self.recordings_of(names)
        return Ranges.of_bounds(self.starts[:-1][chosen], self.starts[1:][chosen])
