"""Values that the layers hand to each other."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zarrts.timeline import Gaps

IntArray = NDArray[np.int64]
AnyArray = NDArray[Any]
Label = str | int | bool
Labels = AnyArray | dict[str, AnyArray]
"""Labels as they are handed out: an array, or several by name."""

Inputs = AnyArray | dict[str, AnyArray]
"""Inputs as they are handed out: an array, or several by name."""

FOLDERS = ("auto", "subjects", "classes", "classes/subjects", "subjects/classes")
"""The things that folders of source files can stand for."""

LabelsPer = Literal["sample", "recording", "row"]
"""The things that have one label. Rows of series of equal length are samples, with a label each;
series of unequal lengths have a label for the whole recording, or one for each of its rows."""

_AXIS_RANKS = {"sample": 0, "time": 1, "channel": 3}


def axis_rank(axis: str) -> int:
    """Return where an axis is stored: samples first, then time, others, channels last."""
    return _AXIS_RANKS.get(axis, 2)


@runtime_checkable
class RowReader(Protocol):
    """One array of a source, read by rows (steps on axis 0); small, and picklable."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first, whatever the order of axes in the file."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """In native byte order; bool, integer, float or text ("U")."""
        ...

    @property
    def is_sequential(self) -> bool:
        """Whether reading backwards starts again from the first row (a compressed stream)."""
        ...

    @property
    def block_rows(self) -> int:
        """The fewest rows worth reading at once; 1 where rows lie together in the file."""
        ...

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        ...

    def close(self) -> None:
        """Release files and buffers; a later `read` opens them again."""
        ...


@dataclass(frozen=True)
class SeriesList:
    """An array of arrays that need not be equally long; each is read on its own."""

    readers: tuple[RowReader, ...]


@dataclass(frozen=True, kw_only=True)
class Description:
    """The meaning of the columns and rows of a recording.

    Each reader of a kind of file makes one for each recording, and no recording is without. None
    means that it is not known, and is said on purpose: see `unknown`.

    Attributes
    ----------
    channels : tuple of str, or None
        Names of the columns, in their order.
    units : tuple of str, or None
        Physical unit of each column, as the source spells it; "" where a column has none.
    rate_hz : float, or None
        Rows (time steps) per second.
    by_hand : frozenset of str
        Which of the fields above the user gave; the others are as the source carries them.
    parts : dict
        Of several inputs, the description of each by name. The fields above are None then, but for
        `rate_hz`, which is that of labels where it is said.
    """

    channels: tuple[str, ...] | None
    units: tuple[str, ...] | None
    rate_hz: float | None
    by_hand: frozenset[str] = frozenset()
    parts: "Mapping[str, Description]" = field(default_factory=dict)

    @classmethod
    def unknown(cls) -> "Description":
        """Return the description of a source that says nothing about columns and rows."""
        return cls(channels=None, units=None, rate_hz=None)

    @property
    def of_inputs(self) -> "Mapping[str, Description]":
        """The description of each input by name; "" is that of the only one."""
        return self.parts or {"": self}

    @property
    def says(self) -> frozenset[str]:
        """The fields that are known."""
        known = {
            "channels": self.channels is not None,
            "units": self.units is not None and any(self.units),
            "rate_hz": self.rate_hz is not None,
        }
        return frozenset(name for name, is_known in known.items() if is_known)


@dataclass(frozen=True, kw_only=True)
class SourceRecording:
    """A recording as found in the sources; nothing but headers has been read.

    Attributes
    ----------
    subject : str
        Who it belongs to.
    origin : str
        How messages and the store name the file: relative to the folder given, with "/".
    x, y : RowReader
        Inputs and labels.
    labels_per : str
        "sample": rows are samples, and y has as many. Else rows are consecutive in time, and y
        has one row in all ("recording"), or as many as x ("row").
    x_name, y_name : str
        What the arrays are called in the source.
    size_bytes : int
        Of the source file or files; 0 where there is none.
    fingerprint : str
        Hexadecimal digest of the content (size and samples of the bytes), never of times.
    paths : tuple
        Absolute (str), of the files that it is in, or what reads them at an address; empty where
        there is none.
    stamp : str
        Sizes and times of these files.
    found : str
        What was recognised, such as "an .npz file of two arrays".
    description : Description
        What the columns and rows of x mean.
    first_row : int
        Row of the array in the file that is the recording's first.
    labels_from : str
        The file that was paired with this one because of its name, and has the labels.
    is_sampled : bool
        True where the fingerprint covers samples of the bytes only, so that the content may
        change without it. Never of functions, whose rows are nowhere, nor of what is at an
        address, whose tag covers all of it.
    label_steps : int
        Labels in a row of x, where labels are for steps in time that are shorter.
    groups : dict of str
        What a study says of whom it is from, by the name of a column: {"site": "Leiden"}. Splits
        can keep such groups whole.
    mask : RowReader, or None
        uint8, shape (n_rows,): above 0 in rows that are no good, which x holds all the same; the
        number may say why. None: all are good.
    gaps : Gaps, or None
        Rows, counted in the recording, before which something is missing.
    first_s : float, or None
        The time stamp of the first row; of dates, in seconds since 1970.
    steps_taken : tuple
        The steps that its rows are after already, as those of a store may be.
    """

    subject: str
    origin: str
    x: RowReader
    y: RowReader
    x_name: str
    y_name: str
    size_bytes: int
    fingerprint: str
    description: Description
    paths: tuple[Any, ...] = ()
    stamp: str = ""
    found: str = ""
    first_row: int = 0
    labels_per: LabelsPer = "sample"
    labels_from: str = ""
    is_sampled: bool = False
    label_steps: int = 1
    groups: Mapping[str, str] = field(default_factory=dict)
    mask: RowReader | None = None
    gaps: Gaps | None = None
    first_s: float | None = None
    steps_taken: tuple[Any, ...] = ()

    @property
    def is_remote(self) -> bool:
        """Whether it is read from an address."""
        return any(not isinstance(path, str) for path in self.paths)


@dataclass(frozen=True, kw_only=True)
class SourceInput:
    """The inputs of a recording, and labels where they are known; see `SourceRecording`."""

    origin: str
    x: RowReader
    mask: RowReader | None = None
    gaps: Gaps | None = None
    subject: str | None = None
    y: RowReader | None = None


@dataclass(frozen=True)
class Recording:
    """A source that is not a file.

    Parameters
    ----------
    subject : str
        Who the samples belong to.
    x : array-like
        Inputs, samples on axis 0; or one series (time, channel). Whatever has `shape`, `dtype`
        and slices on axis 0. Or an object with `shape` and `dtype` that is called with start and
        stop and returns these rows, so that data elsewhere stay there until they are written;
        whether these have changed since is told by samples of them. Several inputs are a
        dictionary by name; single values, and arrays of one axis, are for all of the recording.
    y : array-like
        Labels, as many as there are samples; in the same ways. For one series: a single label, as
        many as time steps, one for each stretch of them (see label_every= of `convert`), or a
        structured array of intervals with the fields start, stop (rows) and label. Several arrays
        of labels are a dictionary by name. None says that there are no labels.
    channels : sequence of str, optional
        Names of the columns of x, its last axis; of several inputs, a dictionary by name, as
        are units and rate_hz.
    units : str or sequence of str, optional
        Physical unit of all columns, or of each, such as "uV".
    rate_hz : float, optional
        Time steps per second; "y" is that of labels, where these are for steps of their own.
    mask : array-like, optional
        True (or a number from 1 to 255, which may say why) in time steps of x that are no good, as
        many as there are time steps. It is stored beside x, which stays as it is; windows with
        such steps are left out by `windows(..., nan="drop")`.
    gaps : sequence of int, or of (int, float), optional
        The time steps before which something is missing, counted from 0, and for how many seconds
        where that is known. No window crosses one.
    times : array-like, optional
        Instead: when each time step was, in seconds, or as text or datetime64. Rate and gaps
        follow from that. Of several inputs, a dictionary by name, of each that changes in time.
    start_s : dict of str to float, optional
        Of several inputs that do not start together: when each starts, in seconds from the start
        of the recording; 0 where it is not named. "y" is the start of labels. Rows are those that
        all inputs have.
    """

    subject: str
    x: Any
    y: Any
    channels: Any = None
    units: Any = None
    rate_hz: Any = None
    mask: Any = None
    gaps: Any = None
    times: Any = None
    start_s: Any = None


@dataclass(frozen=True)
class Packed:
    """The meaning of 16-bit counts in an array: value = dtype(count * gain + offset).

    Gain and offset are those of a recording and channel, in the table of recordings.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the values.
    missing : int or None
        The count that stands for NaN.
    error : float
        The largest that rounding made, in the unit of the values; 0: none, they are exact.
    """

    dtype: np.dtype[Any]
    missing: int | None
    error: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """One sharded array of a store, as its metadata describe it.

    Attributes
    ----------
    path : str
        Below the store, such as "0/x".
    shape : tuple of int
    dtype : numpy.dtype
        As stored, byte order included.
    chunk_rows, shard_rows : int
        Rows of a chunk and of a shard; only axis 0 is divided.
    codecs : tuple of str, or None
        What follows the bytes of a chunk, such as ("blosc", "crc32c"); None where the metadata
        hold anything that only zarr-python reads.
    compressor : dict
        Configuration of the compressing codec, as in the metadata.
    checksums : str, or None
        Path below the store of a file that holds the crc32c of every chunk, as little-endian
        uint32.
    packed : Packed, or None
        Where what is stored are counts, and not values.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    shard_rows: int
    codecs: tuple[str, ...] | None
    compressor: Mapping[str, Any] = field(default_factory=dict)
    checksums: str | None = None
    packed: Packed | None = None

    @property
    def of_values(self) -> "ArraySpec":
        """The array as its readers see it: of values, whatever is stored."""
        return self if self.packed is None else replace(self, dtype=self.packed.dtype, packed=None)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.shape[1:]

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a chunk in memory; the last one of an array is as large, and padded."""
        return (self.chunk_rows, *self.row_shape)

    @property
    def row_bytes(self) -> int:
        """Size of one row in memory."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Size of one chunk in memory."""
        return self.chunk_rows * self.row_bytes

    @property
    def chunks_per_shard(self) -> int:
        """Number of chunks that share a file."""
        return self.shard_rows // self.chunk_rows

    @property
    def n_chunks(self) -> int:
        """Number of chunks on axis 0."""
        return -(-self.shape[0] // self.chunk_rows)

    @property
    def n_shards(self) -> int:
        """Number of shards on axis 0."""
        return -(-self.shape[0] // self.shard_rows)

    def rows_of(self, chunk: int) -> int:
        """Return how many rows a chunk holds; the last one may hold fewer."""
        return min(self.chunk_rows, self.shape[0] - chunk * self.chunk_rows)

    def shard_key(self, shard: int) -> str:
        """Return the path of a shard below the store."""
        return "/".join([self.path, "c", str(shard), *("0" for _ in self.row_shape)])
