"""MATLAB files: a recording each, in the formats of version 5 to 7, and of 7.3 (HDF5)."""

import contextlib
from collections.abc import Iterator, Sequence

from zarrts.errors import SourceError
from zarrts.sources.formats import matlab5, matlab73
from zarrts.sources.formats.contents import Contents, draft_each
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.formats.hdf5_rows import opened_hdf5
from zarrts.sources.rows.compressed import PACKED_ERRORS
from zarrts.sources.rows.files import SourceFile, opened
from zarrts.sources.source_options import SourceOptions

SUFFIXES = (".mat",)

_HDF5 = b"\x89HDF\r\n\x1a\n"


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give the variables of a file.

    Raises
    ------
    SourceError
        If it is damaged, of version 4, or h5py is needed and not installed.
    """
    try:
        with opened(file.path, file.origin) as (stream, stamp):
            head = stream.read(520)
            if head[512:] == _HDF5 or head[:8] == _HDF5:
                with opened_hdf5(stamp, file.origin) as of_hdf5:
                    yield matlab73.Variables(file, stamp, of_hdf5).contents()
            elif len(head) >= 128 and head[124:128] in matlab5.VERSIONS:
                yield matlab5.Variables(file, stamp, stream, head[124:128]).contents()
            else:
                raise SourceError(
                    f"{file.origin}: is no MATLAB file of version 5 or later; save it again with "
                    "save(file, 'x', 'y', '-v7.3')."
                )
    except PACKED_ERRORS as error:
        raise SourceError(
            f"{file.origin}: cannot be read, or is damaged ({error}); copy or save it again."
        ) from error


def find_drafts(
    files: Sequence[SourceFile], options: SourceOptions
) -> tuple[list[Draft], list[str]]:
    """Return the recordings in `files`, and a sentence per bad file."""
    return draft_each(files, options, open_contents)
