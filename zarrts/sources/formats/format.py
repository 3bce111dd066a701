"""A file format, as the registry knows it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from zarrts.sources.formats.contents import Opener
from zarrts.sources.formats.drafts import Findings, draft_each
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.source_options import SourceOptions

Group = Callable[[Sequence[SourceFile], SourceOptions, Findings], None]
"""Finds the recordings in files of one format, and adds them to the findings."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format: its suffixes, and the functions that read its files.

    Another package adds one by an entry point of the group "zarrts.formats" that names such a
    value; see `registry.formats`.

    Attributes
    ----------
    suffixes : tuple of str
        Ends of the names of its files, in lower case and with the point, such as (".npz",).
        Whole names, such as "eda.csv", will do.
    open : function of a SourceFile
        Opens a file: a context manager that gives its `Contents`, with its headers read and no
        more. Raises SourceError where the file is damaged.
    group : function of files, options and findings, optional
        Finds the recordings, where a file is not one recording by itself: pairs of files, files
        of several recordings.
    parts : function of files, optional
        Returns the origins of those files, of whatever kind, that belong to another one, which is
        read in their place: data beside a header, the rest of a recording that is split.
    recognises : function of a file, optional
        Returns whether a file of these suffixes is of this format, where others have the same; by
        default each is. Others are passed over, as files of other kinds are.
    name : str
        What users call it; by default the name of the entry point.
    needs : tuple of str
        Modules that are imported to read it, where they are not always there.
    extra : str
        The extra of zarrts that installs them, or else what to install.
    partial : str
        Which of its files need them, where it is not all.
    family : str
        Files of formats of one family may be in one study; others could be the same recordings
        twice, and are refused together. By default a format is a family of its own.
    """

    suffixes: tuple[str, ...]
    open: Opener
    group: Group | None = None
    parts: Callable[[Sequence[SourceFile]], Collection[str]] | None = None
    recognises: Callable[[SourceFile], bool] | None = None
    name: str = ""
    needs: tuple[str, ...] = ()
    extra: str = ""
    partial: str = ""
    family: str = ""

    def find(self, files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
        """Find the recordings in files of this format."""
        if self.group is not None:
            self.group(files, options, findings)
        else:
            draft_each(files, options, findings, self.open)
