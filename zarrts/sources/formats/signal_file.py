"""Files of signals with annotations, read through a library that knows their format.

The library opens a file by its header; what reads rows is small, picklable, and asks the library
for pieces. Whatever the library raises becomes a SourceError that names the file.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.contents import Contents, Scoring
from zarrts.sources.formats.drafts import Draft, Findings, draft_of
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.signal_inputs import (
    Picked,
    fastest,
    named_inputs,
    options_of_labels,
    together,
)
from zarrts.sources.rows.files import FileStamp, SourceFile, ahead
from zarrts.sources.rows.inputs import InputTime
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import Description, RowReader

SIGNALS, ANNOTATIONS = "signals", "annotations"


@dataclass(frozen=True, kw_only=True)
class SignalFile:
    """An opened file of signals, of which only headers have been read.

    Attributes
    ----------
    origin : str
        Names it in messages.
    found : str
        What was recognised, such as "a BrainVision recording of 32 channels".
    pick : function of options
        Returns what reads the signals that `channels` names (or all), and their description.
    annotations : function of options
        Returns the annotations, with onsets from the first row.
    names_file : function of options
        Returns whether `annotations=` is the suffix of a file of annotations, and not a choice
        among texts.
    started : function, optional
        Returns date and time of the first row.
    name : str
        Of the recording, where it has another one than its file.
    gaps : Gaps, optional
        Rows before which something is missing.
    first_s : function of options, optional
        Returns when the first row of the signals that `channels` names was, in seconds, where
        signals of several rates need not start together.
    paths : tuple of str
        All files that it consists of, absolute.
    notes : tuple of str
        What a user should know of it, such as which channels are bad; a clause each.
    """

    origin: str
    found: str
    pick: Callable[[SourceOptions], tuple[RowReader, Description]]
    annotations: Callable[[SourceOptions], Sequence[Annotation]]
    names_file: Callable[[SourceOptions], bool] = lambda options: False
    started: Callable[[], datetime] | None = None
    name: str = ""
    gaps: Gaps | None = None
    first_s: Callable[[SourceOptions], float] | None = None
    paths: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def contents(self) -> Contents:
        """Return signals and annotations as the arrays of a file."""
        everything = SourceOptions()
        return Contents(
            names=(SIGNALS, ANNOTATIONS),
            found=self.found,
            shape=lambda name: self.pick(everything)[0].shape,
            summary=lambda name: name,
            reader=self._reader,
            description=lambda name, options: self._picked(options)[1],
            scoring=self._scoring,
            gaps=lambda name, options: self.gaps,
            is_of_signals=True,
            more_paths=list(self.paths),
            name=self.name,
            notes=self.notes,
        )

    def _scoring(self) -> Scoring:
        """Return the annotations for a table, which cannot say which of several files is meant."""
        try:
            annotations = tuple(self.annotations(SourceOptions()))
        except SourceError:
            annotations = ()  # labels are in another file, or labels_of says that there are none
        return Scoring(annotations=annotations, started=self.started)

    def _reader(self, name: str, role: Role, options: SourceOptions) -> RowReader:
        if options.axes is not None:
            raise SourceError(
                f"{self.origin}: axes= is not needed: such files are always (time, channel)."
            )
        rows, description = self._picked(options)
        if name == SIGNALS:
            if role == "y":
                raise SourceError(f"{self.origin}: its signals cannot be labels.")
            return rows
        rate_hz = description.rate_hz
        assert rate_hz is not None
        annotations = self.annotations(options_of_labels(description, options))
        if self.names_file(options):
            options = replace(options, annotations=None)
        n_rows = fastest(rows, description).shape[0]
        return labels_of(annotations, rate_hz, n_rows, options, self.origin, gaps=self.gaps)

    def _picked(self, options: SourceOptions) -> Picked:
        """Return the signals that `channels=` names, or the inputs that `x=` names."""
        if not options.inputs or not (options.channels is None or isinstance(options.x, Mapping)):
            return self.pick(options)
        inputs = named_inputs(self.pick, options, self.origin)
        first_s = self.first_s
        times = first_s and {it: InputTime(first_s(options.of_signals(it))) for it in inputs}
        return together(inputs, self.origin, times)


def chosen(
    names: Sequence[str], options: SourceOptions, origin: str
) -> tuple[tuple[int, ...], frozenset[str]]:
    """Return the positions of the channels that `channels=` names, and what is given by hand.

    All of them, as they are, where it names none, or gives all of them other names
    (`override=["channels"]`).

    Raises
    ------
    SourceError
        If a name is not there once.
    """
    every = tuple(range(len(names)))
    wanted = options.channels
    if wanted is None:
        return every, frozenset()
    by_hand = frozenset(["channels"])
    if "channels" in options.override and len(wanted) == len(names):
        return every, by_hand
    wrong = [name for name in wanted if names.count(name) != 1]
    if wrong:
        raise SourceError(
            f"{origin}: has not exactly one signal named {listed(wrong)}; it holds {listed(names)}."
        )
    return tuple(names.index(name) for name in wanted), by_hand


def is_remote(file: SourceFile) -> bool:
    """Return whether a file lies at an address, where libraries do not read."""
    return not isinstance(file.path, str)


def stamps_of(paths: Sequence[str], where: str) -> tuple[FileStamp, ...]:
    """Return the stamps of files as they are now."""
    found = []
    for path in paths:
        try:
            with open(path, "rb") as stream:
                found.append(FileStamp.of(path, stream))
        except OSError as error:
            raise SourceError(f"{where}: {path} cannot be read ({error}).") from error
    return tuple(found)


def refuse_changes(stamps: Sequence[FileStamp]) -> None:
    """Raise SourceError if a file is not the one that was seen before."""
    for stamp in stamps:
        stamp.open().close()


def signal_format(read: Callable[[SourceFile], Contents], **fields: Any) -> Format:
    """Return a format whose files are a recording each; its annotations label its rows.

    Parameters
    ----------
    read : function of a file
        Returns its contents, with its headers read and no more. Raises SourceError where the file
        is damaged, or a library that reads it is not installed.
    **fields
        Of the format.
    """

    @contextlib.contextmanager
    def open_contents(file: SourceFile) -> Iterator[Contents]:
        yield read(file)

    def group(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
        def draft(file: SourceFile) -> list[Draft]:
            return [replace(draft_of(file, read(file), options), labels_per="row")]

        findings.drafts += findings.collect("file", ahead(files), draft)

    return Format(open=open_contents, group=group, **fields)
