"""Recordings as files hold them, before it is known whose they are, and what is wrong with them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats import array_names
from zarrts.sources.formats.array_inputs import arrays_of_inputs, times_of_inputs
from zarrts.sources.formats.carried import description_of
from zarrts.sources.formats.contents import Contents, Opener
from zarrts.sources.formats.subject_arrays import read_subjects, subject_array
from zarrts.sources.rows.files import SourceFile, SourcePath, ahead
from zarrts.sources.rows.inputs import input_rows, part_of_rows
from zarrts.sources.rows.records import NamedRows, named_rows
from zarrts.sources.rows.views import ConstantRows, PartOfRows, count_rows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.timeline import Gaps, part_of_gaps
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
        Inputs and labels; see `study.ragged`.
    x_name, y_name : str
        What the arrays are called in the source.
    found : str
        What was recognised, such as "an .npz file of two arrays".
    description : Description
        What the columns and rows of x mean.
    subject : str, or None
        Whose it is, where a folder, a group or a table says so.
    row_subjects : tuple of str
        Whose each row (or series) is, or all of them, where the file says so; see `row_subjects`.
    part : str
        Which part of the files it is, where they hold several recordings.
    first_row : int
        Row of the array in the file that is the recording's first.
    labels_per, labels_from : str
        See `SourceRecording`.
    notes : tuple of str
        See `Contents`.
    groups : dict of str
        See `SourceRecording`.
    mask, gaps
        See `SourceRecording`; None of a list of series.
    first_s : float, or None
        The time stamp of its first row; of dates, in seconds since 1970.
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
    row_subjects: tuple[str, ...] = ()
    part: str = ""
    first_row: int = 0
    labels_per: LabelsPer = "sample"
    labels_from: str = ""
    notes: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    mask: RowReader | None = None
    gaps: Gaps | None = None
    first_s: float | None = None

    def rows(self, start: int, stop: int) -> "Draft":
        """Return rows `start` to `stop` of it, which is not a list; labels stay as they are."""
        assert not isinstance(self.x, SeriesList)
        return replace(
            self,
            x=part_of_rows(self.x, start, stop),
            mask=None if self.mask is None else PartOfRows(self.mask, start, stop),
            gaps=part_of_gaps(self.gaps, start, stop),
        )


Kind = Literal["place", "file", "subject", "series", "content", "array", "study", "meaning"]
"""The subjects of problems, in the order in which problems are reported."""

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


@dataclass
class Findings:
    """Collects the recordings of a study, and the problems that are met on the way.

    Attributes
    ----------
    drafts : list of Draft
    names_subjects : bool
        Whether `subject` is the name of a column, which said whose each recording is.
    problems : dict
        By `Kind`, one complete sentence for each thing that cannot be used.
    """

    drafts: list[Draft] = field(default_factory=list)
    problems: dict[Kind, list[str]] = field(default_factory=dict)
    names_subjects: bool = False

    def note(self, kind: Kind, sentences: Iterable[str]) -> None:
        """Add problems."""
        self.problems.setdefault(kind, []).extend(sentences)

    @contextlib.contextmanager
    def noting(self, kind: Kind, where: str = "") -> Iterator[None]:
        """Note a SourceError that is raised inside `with`, as what is wrong `where`."""
        try:
            yield
        except SourceError as error:
            self.note(kind, [f"{where}{error}"])

    def collect(
        self, kind: Kind, items: Iterable[_Item], find: Callable[[_Item], Iterable[_Found]]
    ) -> list[_Found]:
        """Return what a function finds in each item; where it raises SourceError, note that."""
        found: list[_Found] = []
        for item in items:
            with self.noting(kind):
                found += find(item)
        return found

    def sentences(self) -> tuple[str, ...]:
        """Return all problems, by kind; those of files sorted, whatever order they are met in."""
        self.problems.get("file", []).sort()
        kinds: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
        return tuple(it for kind in kinds for it in self.problems.get(kind, ()))


def draft_of(
    file: SourceFile,
    contents: Contents,
    options: SourceOptions,
    *,
    group: str = "",
) -> Draft:
    """Return the recording that a file (or a group in it) holds.

    Parameters
    ----------
    group : str
        Path of the group in the file, which then names the subject; "" for all of the file.

    Raises
    ------
    SourceError
        If inputs and labels cannot be told, or cannot be used.
    """
    origin = f"{file.origin}/{group}" if group else file.origin
    if options.inputs and not contents.is_of_signals:
        return _draft_of_several(file, contents, options, group=group)
    x_name, y_name = (
        (input_name(contents, options.input_name, origin), "y")
        if options.is_unlabelled
        else _pick(contents, options, origin)
    )
    stem = "" if contents.name and file.folder else contents.name or file.stem
    path_name = "/".join(part for part in (file.folder, stem, group) if part)
    x = contents.reader(x_name, "x", options)
    y: RowReader | SeriesList
    if options.is_unlabelled:
        y = ConstantRows("", count_rows(x))
    elif options.label_names:
        y, y_name = _several(contents, options, origin), ", ".join(options.label_names)
    else:
        y = contents.reader(y_name, "y", options)
    owner = subject_array(contents.names)
    row_subjects: tuple[str, ...] = ()
    if owner is not None and owner not in (x_name, y_name, *options.label_names):
        row_subjects = read_subjects(contents.reader(owner, "y", options), f"{origin}: {owner}")
    return Draft(
        origin=origin,
        name=group.rpartition("/")[2] or contents.name or file.stem,
        path_name=path_name,
        paths=tuple(dict.fromkeys((file.path, *contents.more_paths))),
        x=x,
        y=y,
        x_name=x_name,
        y_name=y_name,
        found=contents.found,
        description=description_of(contents, x_name, options),
        row_subjects=row_subjects,
        part=group,
        notes=contents.notes,
        mask=mask_of(contents, x_name, options),
        gaps=gaps_of(contents, x_name, options),
    )


def _draft_of_several(
    file: SourceFile, contents: Contents, options: SourceOptions, *, group: str
) -> Draft:
    """Return the recording that a file holds as several inputs."""
    origin = f"{file.origin}/{group}" if group else file.origin
    arrays = arrays_of_inputs(contents, options, origin)
    moving = [it for it in arrays.values() if contents.shape(it)]
    first = moving[0] if moving else next(iter(arrays.values()))
    others = [it for it in arrays.values() if it != first]
    # All else is found as it is beside the first of them.
    shown = replace(contents, names=tuple(name for name in contents.names if name not in others))
    draft = draft_of(file, shown, replace(options, x=first), group=group)
    readers: dict[str, RowReader] = {}
    for name, array in arrays.items():
        # A single value is read as the single label of a recording is.
        role: Role = "x" if contents.shape(array) else "y"
        rows = draft.x if array == first else contents.reader(array, role, options)
        if isinstance(rows, SeriesList):
            raise SourceError(
                f"{origin}: {name!r} is a list of arrays, and several inputs (x=) are arrays: save "
                "a file for each recording."
            )
        readers[name] = rows
    # What small arrays beside them say is said of all, so that of several rates none is.
    parts = {
        name: contents.description(array, options.of_input(name)) for name, array in arrays.items()
    }
    times = times_of_inputs(contents, arrays, options)
    label_rate = None
    if times and not options.is_unlabelled:  # which are moments of the first of them
        of_first = next(name for name, array in arrays.items() if array == first)
        times["y"], label_rate = times[of_first], parts[of_first].rate_hz
    return replace(
        draft,
        x=input_rows(readers, origin, times),
        x_name=", ".join(arrays.values()),
        paths=tuple(dict.fromkeys((*draft.paths, *contents.more_paths))),
        description=replace(Description.unknown(), parts=parts, rate_hz=label_rate),
        gaps=None if times else draft.gaps,
    )


def unlabelled_series(draft: Draft, options: SourceOptions) -> Draft:
    """Return a recording without labels whose rows follow in time, unless rows are samples."""
    if options.kind == "dense" or isinstance(draft.x, SeriesList):
        return draft
    return replace(draft, y=ConstantRows("", 1), labels_per="recording")


def mask_of(contents: Contents, x_name: str, options: SourceOptions) -> RowReader | None:
    """Return which rows of an array are no good, where the file says it."""
    return None if contents.mask is None else contents.mask(x_name, options)


def gaps_of(contents: Contents, x_name: str, options: SourceOptions) -> Gaps | None:
    """Return the rows of an array before which something is missing."""
    return None if contents.gaps is None else contents.gaps(x_name, options)


def draft_each(
    files: Sequence[SourceFile], options: SourceOptions, findings: Findings, opener: Opener
) -> None:
    """Find the recording that each of some files holds."""

    def draft(file: SourceFile) -> list[Draft]:
        with opener(file) as contents:
            return [draft_of(file, contents, options)]

    findings.drafts += findings.collect("file", ahead(files), draft)


def input_name(contents: Contents, x: str | None, origin: str) -> str:
    """Return which array of a file is the inputs, where no labels are asked for.

    The array that `x` names, the only one, the one with a usual name, or of two without names the
    one of more axes.

    Raises
    ------
    SourceError
        If it cannot be told.
    """
    names = contents.names
    if x is not None and x in names:
        return x
    usual = array_names.with_usual_name(names, array_names.X_NAMES)
    if x is None and len(names) == 1:
        return names[0]
    if x is None and len(usual) == 1:
        return usual[0]
    if x is None and len(names) == 2 and not contents.is_named:
        # As where both are read: inputs have more axes than labels.
        more, fewer = sorted(names, key=lambda it: -len(contents.shape(it)))
        if len(contents.shape(more)) > len(contents.shape(fewer)):
            return more
    what = "it is not clear which array is the inputs" if x is None else f"none is called {x!r}"
    raise SourceError(
        f"{origin}: holds {listed(map(contents.summary, names))}, and {what}; name it with x=."
    )


def _several(contents: Contents, options: SourceOptions, origin: str) -> NamedRows | SeriesList:
    """Return several arrays of labels as one reader; of lists of arrays, one for each series."""
    plain: dict[str, RowReader] = {}
    lists: dict[str, SeriesList] = {}
    for name in options.label_names:
        rows = contents.reader(name, "y", options)
        if isinstance(rows, SeriesList):
            lists[name] = rows
        else:
            plain[name] = rows
    if not lists:
        return named_rows(plain, origin)
    counts = {name: len(it.readers) for name, it in lists.items()}
    if plain or len(set(counts.values())) > 1:
        shown = [f"{count:,} in {name!r}" for name, count in counts.items()]
        raise SourceError(
            f"{origin}: of its labels, {', '.join([*lists])} are lists of arrays "
            f"({', '.join(shown)})"
            + (
                f", but {', '.join(plain)} {'is' if len(plain) == 1 else 'are'} not"
                if plain
                else ""
            )
            + "; each needs an array for each series, or one label for each."
        )
    return SeriesList(
        tuple(
            named_rows(dict(zip(lists, each, strict=True)), f"{origin}[{number}]")
            for number, each in enumerate(zip(*(it.readers for it in lists.values()), strict=True))
        )
    )


def _pick(contents: Contents, options: SourceOptions, origin: str) -> tuple[str, str]:
    describe = contents.summary
    asked = (options.input_name, options.label_name, *options.label_names)
    names = contents.names_for(asked)
    owner = subject_array(names)
    candidates = [name for name in names if name != owner or name in asked]
    if options.label_names:
        first, *others = options.label_names
        lacking = [name for name in others if name not in contents.names]
        rest = [name for name in candidates if name not in others]
        # One that is not there is named as the only one would be.
        wanted = lacking[0] if lacking else first
        return array_names.pick(
            rest, x=options.input_name, y=wanted, origin=origin, describe=describe
        )
    is_obvious = len(contents.names) == 2 and options.x is None and options.label_name is None
    if contents.is_named or not is_obvious:
        return array_names.pick(
            candidates, x=options.input_name, y=options.label_name, origin=origin, describe=describe
        )
    first, second = contents.names
    n_first, n_second = len(contents.shape(first)), len(contents.shape(second))
    if n_first >= n_second:
        return first, second
    if n_first == 1:
        return second, first
    raise SourceError(
        f"{origin}: holds {contents.summary(first)} and {contents.summary(second)}, and inputs "
        "usually come first and have more axes than labels; say which is which with x= and y=."
    )
