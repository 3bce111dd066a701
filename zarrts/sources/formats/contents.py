"""Which of the arrays in one file are inputs and labels, whatever kind of file it is."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from zarrts.errors import SourceError
from zarrts.sources.formats import array_names as names
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.formats.owners import array_of_owners, read_owners
from zarrts.sources.rows.files import SourceFile, ahead
from zarrts.sources.rows.records import NamedRows, named_rows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import RowReader, SeriesList

Carried = Callable[[str], tuple[tuple[str, ...] | None, float | None]]


class Contents(Protocol):
    """The arrays of one file, or of one group in it; only headers have been read."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all arrays, in the order of the file; "0", "1", ... where they have none."""
        ...

    @property
    def is_named(self) -> bool:
        """False where the arrays have nothing but their order."""
        ...

    @property
    def found(self) -> str:
        """What was recognised, such as "an .npz file of two arrays"."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array; SourceError if it is damaged."""
        ...

    def describe(self, name: str) -> str:
        """Return name, shape and dtype of an array, whatever state it is in."""
        ...

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
        """Return what reads the array's rows, or a list of series.

        SourceError if it cannot serve as `role`.
        """
        ...


Opener = Callable[[SourceFile], AbstractContextManager[Contents]]


def draft_of(
    file: SourceFile,
    contents: Contents,
    options: SourceOptions,
    *,
    group: str = "",
    carried: Carried = lambda name: (None, None),
    more_paths: Sequence[str] = (),
) -> Draft:
    """Return the recording that a file (or a group in it) holds.

    Parameters
    ----------
    group : str
        Path of the group in the file, which then names the subject; "" for all of the file.
    carried : callable
        Gives the names of channels and the rate that belong to an array.
    more_paths : sequence of str
        Other files that arrays take values from, once their readers are made.

    Raises
    ------
    SourceError
        If inputs and labels cannot be told, or cannot be used.
    """
    origin = f"{file.origin}/{group}" if group else file.origin
    x_name, y_name = _pick(contents, options, origin)
    path_name = "/".join(part for part in (file.folder, file.stem, group) if part)
    x = contents.reader(x_name, "x", options)
    y: RowReader | SeriesList
    if options.label_names:
        y, y_name = _several(contents, options, origin), ", ".join(options.label_names)
    else:
        y = contents.reader(y_name, "y", options)
    channels, rate_hz = carried(x_name)
    owner = array_of_owners(contents.names)
    owners: tuple[str, ...] = ()
    if owner is not None and owner not in (x_name, y_name, *options.label_names):
        owners = read_owners(contents.reader(owner, "y", options), f"{origin}: {owner}")
    return Draft(
        origin=origin,
        name=group.rpartition("/")[2] or file.stem,
        path_name=path_name,
        paths=tuple(dict.fromkeys((file.path, *more_paths))),
        x=x,
        y=y,
        x_name=x_name,
        y_name=y_name,
        found=contents.found,
        channels=channels,
        rate_hz=rate_hz,
        owners=owners,
        part=group,
    )


def draft_each(
    files: Sequence[SourceFile], options: SourceOptions, open_contents: Opener
) -> tuple[list[Draft], list[str]]:
    """Return the recording that each of some files holds, and a sentence per bad file."""
    drafts: list[Draft] = []
    problems: list[str] = []
    for file in ahead(files):
        try:
            with open_contents(file) as contents:
                drafts.append(draft_of(file, contents, options))
        except SourceError as error:
            problems.append(str(error))
    return drafts, problems


def _several(contents: Contents, options: SourceOptions, origin: str) -> NamedRows | SeriesList:
    """Return what several arrays of labels hold; of lists of arrays, for each series."""
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
    describe = contents.describe
    owner = array_of_owners(contents.names)
    asked = (options.x, options.label_name, *options.label_names)
    candidates = [name for name in contents.names if name != owner or name in asked]
    if options.label_names:
        first, *others = options.label_names
        lacking = [name for name in others if name not in contents.names]
        rest = [name for name in candidates if name not in others]
        # One that is not there is named as the only one would be.
        wanted = lacking[0] if lacking else first
        return names.pick(rest, x=options.x, y=wanted, origin=origin, describe=describe)
    is_obvious = len(contents.names) == 2 and options.x is None and options.label_name is None
    if contents.is_named or not is_obvious:
        return names.pick(
            candidates, x=options.x, y=options.label_name, origin=origin, describe=describe
        )
    first, second = contents.names
    n_first, n_second = len(contents.shape(first)), len(contents.shape(second))
    if n_first >= n_second:
        return first, second
    if n_first == 1:
        return second, first
    raise SourceError(
        f"{origin}: holds {contents.describe(first)} and {contents.describe(second)}, and inputs "
        "usually come first and have more axes than labels; say which is which with x= and y=."
    )
