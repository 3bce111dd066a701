"""Compressed arrays of a zip archive, such as `np.savez_compressed` writes them."""

import zipfile
from contextlib import ExitStack
from dataclasses import dataclass

from zarrts.sources.rows.compressed import PackedStream
from zarrts.sources.rows.files import Stamp


@dataclass(frozen=True)
class Member:
    """One compressed array of a zip archive.

    Attributes
    ----------
    stamp : Stamp
        Of the archive.
    name : str
        Of the member, as in the archive.
    offset : int
        Of the array's first byte in the decompressed member.
    label : str
        How errors name the array.
    """

    stamp: Stamp
    name: str
    offset: int
    label: str

    def open(self) -> PackedStream:
        """Open the member at the array's first byte."""
        with ExitStack() as stack:
            file = stack.enter_context(self.stamp.open())
            archive = stack.enter_context(zipfile.ZipFile(file))
            stream = stack.enter_context(archive.open(self.name))
            opened = PackedStream(stream, stack.pop_all().close)
        try:
            opened.skip(self.offset)
        except BaseException:
            opened.close()
            raise
        return opened
