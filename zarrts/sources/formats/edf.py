"""EDF and BDF files: long recordings, whose annotations are the labels of their rows.

The annotations are those of the file, or of a hypnogram beside it, as in Sleep-EDF
(SC4001E0-PSG.edf and SC4001EC-Hypnogram.edf). Files are read by pieces, without a library: of
pyEDFlib and MNE, the first keeps files open in tables of its own, and the second may load all.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.contents import Contents, Scoring
from zarrts.sources.formats.drafts import Draft, Findings, NoInputsError
from zarrts.sources.formats.edf_header import (
    Annotation,
    Signal,
    read_annotations,
    read_header,
    refuse_limits,
)
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.formats.edf_pairs import pair_up, shared_name
from zarrts.sources.formats.edf_rows import EdfRows
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.signal_inputs import (
    Picked,
    fastest,
    named_inputs,
    names_by_rate,
    notes_by_rate,
    refuse_several_rates,
    shown_rates,
    together,
    unlike_inputs,
)
from zarrts.sources.rows.files import SourceFile, Stamp, ahead, opened
from zarrts.sources.rows.label_rows import IntervalRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import RowReader

SIGNALS, ANNOTATIONS = "signals", "annotations"

_SAME_S = 1e-3
"""Records that are so near to each other follow each other."""


class _Recording:
    """The signals of an open file, and its annotations; used within one `with` block."""

    def __init__(self, file: SourceFile, stream: Any, stamp: Stamp) -> None:
        self.file, self.stream, self.stamp = file, stream, stamp
        self.header = read_header(stream, self.stamp.size, file.origin)

    def contents(self) -> Contents:
        """Return signals and annotations, one label for each row."""
        header = self.header
        has = ((SIGNALS, header.signals), (ANNOTATIONS, header.annotations))
        records = f"({header.n_records:,} records of {header.duration_s:g} s)"
        return Contents(
            names=tuple(name for name, some in has if some),
            found=self.found,
            shape=lambda name: (header.n_records,),
            summary=lambda name: f"{name} {records}",
            reader=self.reader,
            description=lambda name, options: self.picked(options)[1],
            scoring=self.scoring,
            gaps=lambda name, options: self.gaps(self.timed(options)),
            is_of_signals=True,
        )

    def scoring(self) -> Scoring:
        """Return the annotations, and when they count from."""
        annotations, starts = self.annotations()
        return Scoring(
            annotations=tuple(annotations),
            first_s=starts[0] if starts else 0.0,
            started=partial(self.header.started_at, self.file.origin),
        )

    @property
    def found(self) -> str:
        """The kind of file, for messages."""
        return f"an EDF file of {len(self.header.signals)} signals"

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader:
        """See `Contents`."""
        if name == SIGNALS:
            if role == "y":
                raise SourceError(f"{self.file.origin}: its signals cannot be labels.")
            return self.picked(options)[0]
        return self.labels(self.timed(options), *self.annotations(), options)

    def picked(self, options: SourceOptions) -> Picked:
        """Return what reads the signals, and what they mean: of one rate, or several inputs."""
        inputs = self.inputs(options)
        return inputs[""] if "" in inputs else together(inputs, self.file.origin)

    def timed(self, options: SourceOptions) -> EdfRows:
        """Return the signals for whose samples labels are: of several inputs, the fastest."""
        rows = fastest(*self.picked(options))
        assert isinstance(rows, EdfRows)
        return rows

    def inputs(self, options: SourceOptions) -> dict[str, Picked]:
        """Return the inputs that `x=` names, or those of each rate; "" is the only one."""
        origin = self.file.origin
        if isinstance(options.x, Mapping):
            return named_inputs(self._of_one_rate, options, origin)
        chosen = self._chosen(options)
        names = names_by_rate([self.header.rate_hz(it) for it in chosen])
        is_named = bool(options.inputs) and {*options.inputs} <= {*names.values()}
        has_channels = options.channels is not None and not isinstance(options.channels, Mapping)
        if options.inputs and not (is_named or has_channels):
            return named_inputs(self._of_one_rate, options, origin)  # which says what to do
        if has_channels or (len(names) == 1 and not is_named):
            return {"": self._of_one_rate(options)}
        refuse_limits(chosen, origin)
        found = {}
        for rate_hz, name in names.items():
            own = tuple(it for it in chosen if self.header.rate_hz(it) == rate_hz)
            found[name] = self._picked(own, is_by_hand=False)
        return {name: found[name] for name in options.inputs or found}

    def _of_one_rate(self, options: SourceOptions) -> Picked:
        """Return the signals that `channels=` names, or all, as one array."""
        chosen = self._chosen(options)
        refuse_several_rates(self._rates(chosen), self.file.origin)
        refuse_limits(chosen, self.file.origin)
        return self._picked(chosen, is_by_hand=options.channels is not None)

    def _picked(self, signals: tuple[Signal, ...], *, is_by_hand: bool) -> Picked:
        rows = EdfRows(self.stamp, self.header, signals, self.stamp.path)
        return rows, rows.description(is_by_hand=is_by_hand)

    def _rates(self, signals: Sequence[Signal]) -> list[tuple[str, float]]:
        return [(it.name, self.header.rate_hz(it)) for it in signals]

    def _chosen(self, options: SourceOptions) -> tuple[Signal, ...]:
        """Return the signals that `channels=` names, or those of the first step, or all."""
        origin, header = self.file.origin, self.header
        if options.axes is not None:
            raise SourceError(f"{origin}: axes= is not needed: EDF is always (time, channel).")
        if not header.signals:
            raise NoInputsError(f"{origin}: holds no signals; leave it out.")
        by_name = {signal.name: signal for signal in header.signals}
        chosen, names = header.signals, options.channels
        if names is not None and not isinstance(names, Mapping):  # else of inputs, by name
            wrong = [name for name in names if name not in by_name]
            is_renamed = "channels" in options.override and len(names) == len(chosen)
            if wrong and not is_renamed:
                numbered = [name for name in by_name if name.rpartition("#")[0] in wrong]
                raise SourceError(
                    f"{origin}: has not exactly one signal named {listed(wrong)}; it holds "
                    f"{shown_rates(self._rates(chosen))}."
                    + (
                        f" Of those of one name, say which: channels=['{numbered[0]}', ...] "
                        "(--channels)."
                        if numbered
                        else ""
                    )
                )
            # All of them in another order are put in order where files are compared.
            if not wrong and len(names) < len(chosen):
                chosen = tuple(by_name[name] for name in names)
        elif options.picked is not None:
            chosen = tuple(it for it in chosen if it.name in options.picked) or chosen
        return chosen

    def gaps(self, rows: EdfRows) -> Gaps | None:
        """Return the rows before which records are missing.

        Raises
        ------
        SourceError
            If a record starts before the one before has ended.
        """
        header = self.header
        if not header.is_discontinuous:
            return None
        _, starts = self.annotations()
        missing = np.diff(starts) - header.duration_s
        back = np.flatnonzero(missing < -_SAME_S)
        if len(back):
            number = int(back[0]) + 1
            end_s = starts[number - 1] + header.duration_s
            raise SourceError(
                f"{self.file.origin}: record {number:,} starts at {starts[number]:g} s, but the "
                f"one before ends at {end_s:g} s; correct the file."
            )
        after = np.flatnonzero(missing > _SAME_S)
        return Gaps.of((after + 1) * rows.signals[0].n_samples, missing[after])

    def annotations(self) -> tuple[list[Annotation], list[float]]:
        """Return annotations, and when each record starts."""
        return read_annotations(self.stream, self.header, self.file.origin)

    def labels(
        self,
        rows: EdfRows,
        annotations: Sequence[Annotation],
        starts: Sequence[float],
        options: SourceOptions,
        about_times: str = "",
    ) -> IntervalRows:
        """Return one label a row; see `labels_of`."""
        rate_hz = self.header.rate_hz(rows.signals[0])
        first_s = starts[0] if starts else 0.0
        moved = [replace(it, onset_s=it.onset_s - first_s) for it in annotations]
        where, gaps = self.file.origin, self.gaps(rows)
        return labels_of(moved, rate_hz, rows.shape[0], options, where, about_times, gaps)


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give signals and annotations of a file, one label for each row.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    with _opened(file) as recording:
        yield recording.contents()


@contextlib.contextmanager
def _opened(file: SourceFile) -> Iterator[_Recording]:
    with opened(file.path, file.origin) as (stream, stamp):
        yield _Recording(file, stream, stamp)


def _find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    """Find the recordings in files; those without signals are hypnograms of recordings beside."""
    signals: list[SourceFile] = []
    hypnograms: list[SourceFile] = []
    for file in ahead(files):
        with findings.noting("file"), _opened(file) as opened:
            (signals if opened.header.signals else hypnograms).append(file)
    pairs, problems = pair_up(signals, hypnograms)
    findings.note("file", problems)
    drafts = []
    for file in signals:
        with findings.noting("file"):
            drafts.append(_draft(file, pairs.get(file.origin), options))
    findings.note("file", unlike_inputs(drafts))
    findings.drafts += drafts


def _draft(file: SourceFile, hypnogram: SourceFile | None, options: SourceOptions) -> Draft:
    with _opened(file) as recording:
        rows, description = recording.picked(options)
        timed = recording.timed(options)
        labels = _labels(recording, timed, hypnogram, options)
        paths = [file.path] if hypnogram is None else [file.path, hypnogram.path]
        more = "with annotations" if hypnogram is None else "and a hypnogram"
        name = shared_name(file)
        return Draft(
            origin=file.origin,
            name=name,
            path_name="/".join(part for part in (file.folder, name) if part),
            paths=tuple(paths),
            x=rows,
            y=labels,
            x_name=SIGNALS,
            y_name=ANNOTATIONS,
            found=f"{recording.found} {more}",
            description=description,
            labels_per="row",
            labels_from="" if hypnogram is None else hypnogram.origin,
            gaps=recording.gaps(timed),
            notes=notes_by_rate(description, options),
        )


def _labels(
    recording: _Recording, rows: EdfRows, hypnogram: SourceFile | None, options: SourceOptions
) -> IntervalRows:
    if hypnogram is None:
        return recording.labels(rows, *recording.annotations(), options)
    with _opened(hypnogram) as scored:
        annotations, _ = scored.annotations()
        scored_at = scored.header.started_at(hypnogram.origin)
        started_at = recording.header.started_at(recording.file.origin)
        later = scored_at - started_at
    _, starts = recording.annotations()
    moved = [replace(it, onset_s=it.onset_s + later.total_seconds()) for it in annotations]
    about_times = f" ({hypnogram.origin} starts at {scored_at}, the recording at {started_at})"
    return recording.labels(rows, moved, starts, options, about_times)


FORMAT = Format(name="EDF, BDF", suffixes=(".edf", ".bdf"), open=open_contents, group=_find_drafts)
