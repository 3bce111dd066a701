"""Recordings as files hold them, before it is known whose they are."""

from dataclasses import dataclass

from zarrts.errors import SourceError
from zarrts.sources.rows.files import SourcePath
from zarrts.types import Description, LabelsPer, RowReader, SeriesList


class NoInputsError(SourceError):
    """A file holds no inputs, as a hypnogram beside its recording does."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A recording without its subject.

    Attributes
    ----------
    origin : str
        How messages and the store name it.
    name : str
        The subject unless something else is said or another recording has the same name.
    path_name : str
        `name` with its folders.
    paths : tuple of str or RemoteFile
        Absolute, of all files that hold it.
    x, y : RowReader or SeriesList
        Inputs and labels; see `series.settle`.
    x_name, y_name : str
        What the arrays are called in the source.
    found : str
        What was recognised, such as "an .npz file of two arrays".
    description : Description
        What the columns and rows of x mean.
    subject : str, or None
        Whose it is, where a folder, a group or a table says so.
    owners : tuple of str
        Whose each row (or series) is, or all of them, where the file says so; see `owners`.
    part : str
        Which part of the files it is, where they hold several recordings.
    first_row : int
        Row of the array in the file that is the recording's first.
    labels_per : str
        See `SourceRecording`.
    """

    origin: str
    name: str
    path_name: str
    paths: tuple[SourcePath, ...]
    x: RowReader | SeriesList
    y: RowReader | SeriesList
    x_name: str
    y_name: str
    found: str
    description: Description
    subject: str | None = None
    owners: tuple[str, ...] = ()
    part: str = ""
    first_row: int = 0
    labels_per: LabelsPer = "sample"
