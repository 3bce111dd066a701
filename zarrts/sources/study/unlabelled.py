"""The inputs of files that have no labels, as new data to be classified have none."""

from collections.abc import Sequence

from zarrts.errors import SourceError
from zarrts.sources.formats.array_names import X_NAMES, listed, usual_name
from zarrts.sources.formats.contents import Contents, Opener
from zarrts.sources.formats.drafts import NoInputsError
from zarrts.sources.rows.files import SourceFile, ahead
from zarrts.sources.source_options import SourceOptions
from zarrts.types import RowReader


def find_inputs(
    files: Sequence[SourceFile], options: SourceOptions, open_contents: Opener
) -> list[tuple[str, RowReader]]:
    """Return (origin, reader) of the inputs of each file.

    Inputs are the array that `options.x` names, the only one, the one with a usual name, or of two
    without names the one of more axes. Files that hold none, such as hypnograms beside recordings,
    are passed over.

    Raises
    ------
    SourceError
        Naming every file whose inputs cannot be told or read.
    """
    found: list[tuple[str, RowReader]] = []
    problems, empty = [], []
    for file in ahead(files):
        try:
            with open_contents(file) as contents:
                name = _pick(contents, options.x, file.origin)
                reader = contents.reader(name, "x", options)
                series = reader if isinstance(reader, RowReader) else reader.readers
                if isinstance(series, tuple):
                    found += [(f"{file.origin}[{i}]", it) for i, it in enumerate(series)]
                else:
                    found.append((file.origin, series))
        except NoInputsError as error:
            empty.append(str(error))
        except SourceError as error:
            problems.append(str(error))
    if problems := problems or (empty if not found else []):
        raise SourceError("\n".join(problems))
    return found


def _pick(contents: Contents, x: str | None, origin: str) -> str:
    names = contents.names
    if x is not None and x in names:
        return x
    usual = [it for it in names if usual_name(it) in X_NAMES]
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
