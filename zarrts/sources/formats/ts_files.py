"""Series of a line each, in the text format `.ts` of aeon and sktime.

Lines that begin with "@" say what follows "@data": on each line a case, its channels parted by ":",
values by ",", and at the end a class or a number. Where a line starts is found in one pass; lines
are parsed when they are read. aeon reads class names in lower case; here they are as they stand.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.format import Format
from zarrts.sources.rows.array_checks import check_rows
from zarrts.sources.rows.files import SourceFile, Stamp, opened
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import fill_from
from zarrts.sources.rows.views import ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import AnyArray, Description, IntArray, RowReader, SeriesList

MAX_LINE_BYTES = 32 << 20
"""Of one case, which is parsed at once."""

_HEAD_BYTES = 4096
_X, _Y = "x", "y"


@dataclass(frozen=True, eq=False)
class TsCase(Rows):
    """One case: rows are its time steps, shape (time, channel), float64."""

    stamp: Stamp
    start: int
    n_bytes: int
    n_rows: int
    n_channels: int
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (self.n_rows, self.n_channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64, as numbers in text are."""
        return np.dtype(np.float64)

    @property
    def block_rows(self) -> int:
        """All of them: a line is parsed as a whole."""
        return max(1, self.n_rows)

    def _read(self, start: int, stop: int) -> AnyArray:
        with self.stamp.open() as file:
            values = _values(file, self.start, self.n_bytes, self.n_channels, self.label)
        return np.ascontiguousarray(values[start:stop])


@dataclass(frozen=True, eq=False)
class TsRows(Rows):
    """All cases of one length, shape (case, time, channel), float64.

    Attributes
    ----------
    stamp : Stamp
    starts, sizes : int64, shape (n_cases,)
        Where the values of each case lie in the file, without the label.
    n_steps, n_channels : int
    label : str
        How errors name the file.
    """

    stamp: Stamp
    starts: IntArray
    sizes: IntArray
    n_steps: int
    n_channels: int
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (case, time, channel)."""
        return (len(self.starts), self.n_steps, self.n_channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64, as numbers in text are."""
        return np.dtype(np.float64)

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, self.n_steps, self.n_channels))
        with self.stamp.open() as file:
            for at in range(start, stop):
                place, size = int(self.starts[at]), int(self.sizes[at])
                out[at - start] = _values(file, place, size, self.n_channels, self.label)
        return out


def _values(file: BinaryIO, start: int, n_bytes: int, n_channels: int, label: str) -> AnyArray:
    """Return the values of a case, shape (time, channel); "?" is missing, NaN."""
    raw = np.empty(n_bytes, np.uint8)
    fill_from(file, start, raw.data, label)
    text = raw.tobytes().replace(b"?", b"nan")
    try:
        channels = [np.array(it.split(b","), np.float64) for it in text.split(b":")]
    except ValueError as error:
        raise SourceError(f"{label}: a case is not of numbers ({error}); correct it.") from error
    return np.stack(channels, axis=1).reshape(-1, n_channels)


@dataclass(frozen=True, kw_only=True)
class _Index:
    """The cases of a file: the place, the length and the label of each."""

    starts: list[int]
    sizes: list[int]
    lengths: list[int]
    labels: list[str]
    n_channels: int
    has_numbers: bool


class _File:
    """An opened file, indexed; used within one `with` block."""

    def __init__(self, file: SourceFile, stream: BinaryIO, stamp: Stamp) -> None:
        self.origin, self.stamp = file.origin, stamp
        self.index = _indexed(stream, file.origin)

    def contents(self) -> Contents:
        """Return the cases as x, and their classes or targets as y."""
        it = self.index
        few, most = min(it.lengths), max(it.lengths)
        lengths = f"{few:,}" if few == most else f"{few:,} to {most:,}"
        return Contents(
            names=(_X, _Y) if it.labels else (_X,),
            found=f"a .ts file of series of {lengths} time steps, {it.n_channels} channels",
            shape=lambda name: (len(it.starts), most, it.n_channels)[: 3 if name == _X else 1],
            summary=lambda name: f"{name} ({len(it.starts):,} cases)",
            reader=self._reader,
            description=lambda name, options: Description.unknown(),
        )

    def _reader(self, name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
        if options.axes is not None:
            raise SourceError(f"{self.origin}: axes= is not needed: .ts is (case, time, channel).")
        it = self.index
        if name == _Y:
            return self._labels()
        if len({*it.lengths}) == 1:
            rows = TsRows(
                self.stamp,
                np.array(it.starts, np.int64),
                np.array(it.sizes, np.int64),
                it.lengths[0],
                it.n_channels,
                self.stamp.path,
            )
            check_rows(rows.shape, self.origin)
            return rows
        return SeriesList(
            tuple(
                TsCase(self.stamp, start, size, length, it.n_channels, self.stamp.path)
                for start, size, length in zip(it.starts, it.sizes, it.lengths, strict=True)
            )
        )

    def _labels(self) -> RowReader:
        labels = self.index.labels
        if not self.index.has_numbers:
            return ValueRows(np.array(labels, np.str_))
        try:
            return ValueRows(np.array(labels, np.float64))
        except ValueError as error:
            raise SourceError(
                f"{self.origin}: a target is not a number ({error}); correct it."
            ) from error


def _indexed(stream: BinaryIO, where: str) -> _Index:
    """Find the cases of a file.

    Raises
    ------
    SourceError
        If it is not such a file, or a case has not the channels of the others.
    """
    said = _header(stream, where)
    has_classes, has_targets = said.get("classlabel") is True, said.get("targetlabel") is True
    if said.get("timestamps") is True:
        raise SourceError(
            f"{where}: has time stamps (@timeStamps true), which are not read; resample the series "
            "to even steps, and save them without."
        )
    index = _Index(
        **{"starts": [], "sizes": [], "lengths": [], "labels": []},
        n_channels=0,
        has_numbers=has_targets and not has_classes,
    )
    n_channels, number, at = 0, 0, stream.tell()
    while line := stream.readline(MAX_LINE_BYTES + 1):
        begin, at, number = at, at + len(line), number + 1
        case = f"{where}: case {number:,}"
        if len(line) > MAX_LINE_BYTES:
            raise SourceError(
                f"{case}: is longer than {MAX_LINE_BYTES:,} bytes, and a case is read at once; cut "
                "it into several."
            )
        text = line.rstrip(b"\r\n\t ")
        if not text or text[:1] in b"#%":
            number -= 1
            continue
        if has_classes or has_targets:
            text, colon, label = text.rpartition(b":")
            if not colon or not label.strip():
                raise SourceError(f"{case}: has no label after its last ':'; correct it.")
            index.labels.append(label.decode("utf-8", "replace").strip())
        counts = [it.count(b",") + 1 for it in text.split(b":")]
        n_channels = n_channels or len(counts)
        if len({*counts}) > 1 or len(counts) != n_channels:
            shown = ", ".join(map(str, counts[:8]))
            raise SourceError(
                f"{case}: has {len(counts)} channels of {shown} values, but the first case has "
                f"{n_channels}, and all of a case are equally long; correct it."
            )
        index.starts.append(begin)
        index.sizes.append(len(text))
        index.lengths.append(counts[0])
    if not index.starts:
        raise SourceError(f"{where}: holds no cases after '@data'; leave it out.")
    return _Index(**{**index.__dict__, "n_channels": n_channels})


def _header(stream: BinaryIO, where: str) -> dict[str, bool]:
    """Return which of the words that begin with "@" are said to be true, up to "@data"."""
    said: dict[str, bool] = {}
    while line := stream.readline(MAX_LINE_BYTES):
        words = line.decode("utf-8-sig", "replace").split()
        if not words or words[0][0] in "#%":
            continue
        word = words[0].lower()
        if word == "@data":
            return said
        if not word.startswith("@"):
            break
        said[word[1:]] = len(words) > 1 and words[1].lower() == "true"
    raise SourceError(
        f"{where}: has no line '@data' after lines that begin with '@', and so is not a .ts file "
        "of time series; leave it out."
    )


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give the series of a file, and their labels.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    with opened(file.path, file.origin) as (stream, stamp):
        yield _File(file, stream, stamp).contents()


def is_one(file: SourceFile) -> bool:
    """Return whether a file has the form of one: text, and the first line is a comment or "@"."""
    with opened(file.path, file.origin) as (stream, _):
        head = stream.read(_HEAD_BYTES)
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return b"\0" not in head and first in (b"@", b"#", b"%")


FORMAT = Format(name="aeon, sktime", suffixes=(".ts",), open=open_contents, recognises=is_one)
