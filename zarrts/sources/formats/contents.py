"""Which of the arrays in one file are inputs and labels, whatever kind of file it is."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from zarrts.errors import SourceError
from zarrts.sources.formats import array_names as names
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.formats.owners import array_of_owners, read_owners
from zarrts.sources.rows.files import SourceFile, ahead
from zarrts.sources.rows.records import NamedRows, named_rows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import Description, RowReader, SeriesList


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
    more_paths : list of str
        Other files that arrays take values from; filled by `reader`.
    """

    names: tuple[str, ...]
    found: str
    is_named: bool = True
    shape: Callable[[str], tuple[int, ...]]
    summary: Callable[[str], str]
    reader: Callable[[str, Role, SourceOptions], RowReader | SeriesList]
    description: Callable[[str, SourceOptions], Description]
    more_paths: list[str] = field(default_factory=list)


def undescribed(name: str, options: SourceOptions) -> Description:
    """Return the description of arrays in files that say nothing about columns and rows."""
    return Description.unknown()


Opener = Callable[[SourceFile], AbstractContextManager[Contents]]


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
    x_name, y_name = _pick(contents, options, origin)
    path_name = "/".join(part for part in (file.folder, file.stem, group) if part)
    x = contents.reader(x_name, "x", options)
    y: RowReader | SeriesList
    if options.label_names:
        y, y_name = _several(contents, options, origin), ", ".join(options.label_names)
    else:
        y = contents.reader(y_name, "y", options)
    owner = array_of_owners(contents.names)
    owners: tuple[str, ...] = ()
    if owner is not None and owner not in (x_name, y_name, *options.label_names):
        owners = read_owners(contents.reader(owner, "y", options), f"{origin}: {owner}")
    return Draft(
        origin=origin,
        name=group.rpartition("/")[2] or file.stem,
        path_name=path_name,
        paths=tuple(dict.fromkeys((file.path, *contents.more_paths))),
        x=x,
        y=y,
        x_name=x_name,
        y_name=y_name,
        found=contents.found,
        description=contents.description(x_name, options),
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
    describe = contents.summary
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
        f"{origin}: holds {contents.summary(first)} and {contents.summary(second)}, and inputs "
        "usually come first and have more axes than labels; say which is which with x= and y=."
    )
