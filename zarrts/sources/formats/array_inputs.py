"""Several inputs among the arrays of one file: which they are, and when each was."""

from collections.abc import Mapping

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.contents import Contents
from zarrts.sources.rows.inputs import InputTime
from zarrts.sources.source_options import SourceOptions


def arrays_of_inputs(contents: Contents, options: SourceOptions, origin: str) -> dict[str, str]:
    """Return the array that each of several inputs is.

    Raises
    ------
    SourceError
        If one is not there, or is to be several.
    """
    held = listed(map(contents.summary, contents.names))
    several = [name for name, some in options.inputs.items() if len(some) > 1]
    if several:
        raise SourceError(
            f"{origin}: x= makes the input {several[0]!r} of several arrays, but in a file of "
            f"arrays an input is one of them; it holds {held}."
        )
    found = {name: array for name, (array,) in options.inputs.items()}
    lacking = [it for it in found.values() if it not in contents.names]
    if lacking:
        raise SourceError(
            f"{origin}: has no array {', '.join(map(repr, lacking))}, which x= names; it holds "
            f"{held}."
        )
    return found


def times_of_inputs(
    contents: Contents, arrays: Mapping[str, str], options: SourceOptions
) -> dict[str, InputTime]:
    """Return when each input was, of files that say it; else nothing, and all start together."""
    if contents.first_s is None:
        return {}
    gaps = contents.gaps or (lambda name, options: None)
    return {
        name: InputTime(contents.first_s(array), gaps(array, options.of_input(name)))
        for name, array in arrays.items()
    }
