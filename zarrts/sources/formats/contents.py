"""The arrays of an opened file."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import Description, RowReader, SeriesList


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Annotations of a file, whose times are counted from when it started.

    Attributes
    ----------
    annotations : tuple of Annotation
    first_s : float
        When its first record starts.
    started : function, or None
        Returns date and time of the start; SourceError if they cannot be read.
    """

    annotations: tuple[Annotation, ...]
    first_s: float = 0.0
    started: Callable[[], datetime] | None


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The arrays of one file, or of one group in it; only headers have been read.

    Attributes
    ----------
    names : tuple of str
        Of all arrays, in the order of the file; "0", "1", ... where they have none.
    found : str
        What was recognised, such as "an .npz file of two arrays".
    is_named : bool
        False where the arrays have nothing but their order.
    shape : function of a name
        Returns the shape of an array; SourceError if it is damaged.
    summary : function of a name
        Returns name, shape and dtype of an array, whatever state it is in.
    reader : function of a name, a role and options
        Returns what reads the array's rows, or a list of series; SourceError if it cannot serve
        as that.
    description : function of a name and options
        Returns what the columns and rows of the array mean; see `undescribed`.
    lists : dict
        Names of lists of series, each with the names of the arrays that it consists of; they stand
        for these unless somebody asks for one by its name.
    scoring : function, optional
        Returns the annotations, where the file can have some.
    mask, gaps : function of a name and options, optional
        Return the rows of an array that are no good, and those before which something is missing;
        None where there are none. See `SourceRecording`.
    first_s : function of a name, optional
        Returns when the first row of an array was, in seconds from a moment that all arrays of the
        file share, where these need not start together.
    side_by_side : function of options, optional
        Returns x and what its columns mean, where each name is only one column of it; SourceError
        if options name none.
    is_of_signals : bool
        Whether x is those signals of the file that options choose, several inputs among them, and
        not an array by its name.
    more_paths : list of str
        Other files that arrays take values from; filled by `reader`.
    name : str
        Of the recording, where it has another one than its file: that of its folder.
    notes : tuple of str
        Clauses on what a user should know of the file, such as which channels are bad.
    """

    names: tuple[str, ...]
    found: str
    is_named: bool = True
    shape: Callable[[str], tuple[int, ...]]
    summary: Callable[[str], str]
    reader: Callable[[str, Role, SourceOptions], RowReader | SeriesList]
    description: Callable[[str, SourceOptions], Description]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scoring: Callable[[], Scoring] | None = None
    mask: Callable[[str, SourceOptions], RowReader | None] | None = None
    gaps: Callable[[str, SourceOptions], Gaps | None] | None = None
    first_s: Callable[[str], float] | None = None
    side_by_side: Callable[[SourceOptions], tuple[RowReader, Description]] | None = None
    is_of_signals: bool = False
    more_paths: list[str] = field(default_factory=list)
    name: str = ""
    notes: tuple[str, ...] = ()

    def names_for(self, asked: Iterable[str | None]) -> tuple[str, ...]:
        """Return the names to choose from, where some are asked for already.

        Lists stand for what they consist of where no such array is asked for, and others remain.
        """
        members = {name for some in self.lists.values() for name in some}
        if members & {*asked} or not {*self.names} - members:
            return self.names
        return (*self.lists, *(name for name in self.names if name not in members))


def undescribed(name: str, options: SourceOptions) -> Description:
    """Return the description of arrays in files that say nothing about columns and rows."""
    return Description.unknown()


Opener = Callable[[SourceFile], AbstractContextManager[Contents]]
"""Opens a file for reading its headers; raises SourceError where it is damaged."""
