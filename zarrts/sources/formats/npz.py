"""`.npz` files: one recording each, as two arrays of the archive."""

import contextlib
import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from zarrts.errors import SourceError
from zarrts.sources.formats import npy_header as npy
from zarrts.sources.formats import pickled
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.formats.format import Format
from zarrts.sources.rows.array_checks import check_rows, rows_of
from zarrts.sources.rows.compressed import PACKED_ERRORS, PackedStream, SpooledRows, StreamedRows
from zarrts.sources.rows.files import SourceFile, Stamp, opened
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import RowReader, SeriesList

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_IS_ENCRYPTED = 0x1
_MAX_PICKLE_BYTES = 64 << 20
"""Of a compressed array of objects, such as labels that are text."""

_UNNAMED = re.compile(r"arr_\d+")
_OrderOf = Callable[[Role, tuple[int, ...], str], tuple[int, ...] | None]
LIST = "arr_*"
"""Name of all arrays that np.savez got without one, as a list."""


@dataclass(frozen=True)
class _Member:
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
        Name of the array in errors.
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


class _Archive:
    """An open `.npz` file; used within one `with` block."""

    def __init__(self, file: SourceFile, stream: BinaryIO, stamp: Stamp) -> None:
        self.file, self.stamp = file, stamp
        self._stream = stream
        self._zip = zipfile.ZipFile(stream)
        self.members = _checked_members(self._zip, file.origin)

    def where(self, name: str) -> str:
        return f"{self.file.origin}: array {name!r}"

    def header(self, name: str) -> npy.ArrayHeader:
        with self._zip.open(self.members[name]) as member:
            return npy.read_header(member, self.where(name))

    def shape(self, name: str) -> tuple[int, ...]:
        if name == LIST:
            return (len(self.unnamed), *self.header(self.unnamed[0]).shape)
        header = self.header(name)
        return self._objects(name).shape("0") if header.dtype.hasobject else header.shape

    @property
    def unnamed(self) -> tuple[str, ...]:
        """The arrays arr_0, arr_1, ..., in this order."""
        found = [name for name in self.members if _UNNAMED.fullmatch(name)]
        return tuple(sorted(found, key=lambda name: int(name[4:])))

    def summary(self, name: str) -> str:
        try:
            if name == LIST:
                return f"{name} ({len(self.unnamed):,} arrays)"
            header = self.header(name)
            if header.dtype.hasobject:
                with contextlib.suppress(SourceError):
                    return f"{name}{self._objects(name).summary('0').removeprefix('0')}"
            return f"{name} {header}"
        except SourceError:
            return f"{name} (unreadable)"
        except PACKED_ERRORS:
            return f"{name} (damaged)"

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
        if name == LIST:
            series = (self._plain(it, role, options.order_of_series) for it in self.unnamed)
            return SeriesList(tuple(series))
        if self.header(name).dtype.hasobject:
            return self._objects(name).reader("0", role, options)
        return self._plain(name, role, options.order)

    def _objects(self, name: str) -> Contents:
        """Return an array of objects: matrices, or text; nothing is unpickled."""
        info, where = self.members[name], self.where(name)
        offset = self.header(name).offset
        if info.compress_type == zipfile.ZIP_STORED:
            start = self._stored_at(info, where)
            self._stream.seek(start + offset)
            end = start + info.file_size
            return pickled.read_member(self._stream, end, self.stamp, where, is_packed=False)
        if info.file_size > _MAX_PICKLE_BYTES:
            raise SourceError(
                f"{where}: holds {info.file_size:,} bytes of objects, compressed, above the "
                f"{_MAX_PICKLE_BYTES:,} that are held in memory; save it with np.savez instead of "
                "np.savez_compressed."
            )
        with self._zip.open(info) as member:
            content = io.BytesIO(member.read(info.file_size + 1))
        content.seek(offset)
        return pickled.read_member(
            content, len(content.getbuffer()), self.stamp, where, is_packed=True
        )

    def _plain(self, name: str, role: Role, order_of: _OrderOf) -> RowReader:
        info, where = self.members[name], self.where(name)
        header = self.header(name)
        npy.check_header(header, role, info.file_size - header.offset, where)
        order = order_of(role, header.shape, where)
        shape = rows_of(role, header.shape)
        layout = ByteLayout.of(header.dtype, shape, is_fortran=header.is_fortran, order=order)
        check_rows(layout.shape, where)
        label = f"{self.file.path}: array {name!r}"
        if info.compress_type == zipfile.ZIP_STORED:
            offset = self._stored_at(info, where) + header.offset
            return StridedRows(self.stamp, offset, layout, label)
        member = _Member(self.stamp, info.filename, header.offset, label)
        return (StreamedRows if layout.is_rows_first else SpooledRows)(member, layout)

    def _stored_at(self, info: zipfile.ZipInfo, where: str) -> int:
        # The central directory does not tell where the bytes start: the local header has
        # extra fields of its own length.
        self._stream.seek(info.header_offset)
        raw = self._stream.read(_LOCAL_HEADER.size)
        signature, n_name, n_extra = _LOCAL_HEADER.unpack(raw)
        start: int = info.header_offset + _LOCAL_HEADER.size + n_name + n_extra
        is_inside = start + info.file_size <= self.stamp.size
        if signature != b"PK\x03\x04" or info.compress_size != info.file_size or not is_inside:
            raise SourceError(
                f"{where}: the archive's directory does not fit the file ({info.file_size:,} bytes "
                f"at byte {start:,} of {self.stamp.size:,}); copy or save the file again."
            )
        return start


def _checked_members(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        reason = None
        if info.flag_bits & _IS_ENCRYPTED:
            reason = "is encrypted"
        elif not name.endswith(npy.SUFFIX):
            reason = "is not an array (.npy)"
        elif _is_unsafe(name):
            reason = "has a name that leads out of the archive"
        elif name[: -len(npy.SUFFIX)] in members:
            reason = "is there twice"
        if reason is not None:
            raise SourceError(
                f"{where}: the member {name!r} {reason}; save the arrays again with np.savez."
            )
        members[name[: -len(npy.SUFFIX)]] = info
    return members


def _is_unsafe(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    # "C3:A2" is two electrodes, "C:/x" is a drive.
    return ".." in parts or parts[0] == "" or bool(re.fullmatch(r"[A-Za-z]:", parts[0]))


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Read the directory of an `.npz` file and give its arrays.

    Raises
    ------
    SourceError
        If it is damaged; also what is read of it inside the `with` block.
    """
    try:
        with opened(file.path, file.origin) as (stream, stamp):
            if not stamp.size:
                raise SourceError(f"{file.origin}: is empty (0 bytes); copy or save it again.")
            archive = _Archive(file, stream, stamp)
            n_arrays = len(archive.members)
            yield Contents(
                names=tuple(archive.members),
                lists={LIST: archive.unnamed} if len(archive.unnamed) > 1 else {},
                found=f"an .npz file of {'two' if n_arrays == 2 else n_arrays} arrays",
                shape=archive.shape,
                summary=archive.summary,
                reader=archive.reader,
                description=undescribed,
            )
    except PACKED_ERRORS as error:
        raise SourceError(
            f"{file.origin}: is not an .npz file, or is damaged ({error}); copy or save it again."
        ) from error


FORMAT = Format(name="NumPy archive", suffixes=(".npz",), open=open_contents, family="numpy")
