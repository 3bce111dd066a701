"""What every kind of source file is given, and what it gives back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.files import SourcePath
from zarrts.types import LabelsPer, RowReader, SeriesList, axis_rank

Role = Literal["x", "y"]

MAX_AXES = 32
"""NumPy's own limit before version 2."""


class NoInputsError(SourceError):
    """A file holds no inputs, as a hypnogram beside its recording does."""


@dataclass(frozen=True)
class SourceFile:
    """A file to be read.

    Attributes
    ----------
    path : str or RemoteFile
        Absolute; or the file at an address.
    origin : str
        Relative to what all that was given has in common, with "/"; names the file in messages.
    inside : str
        Relative to the folder that was given, with "/".
    """

    path: SourcePath
    origin: str
    inside: str

    @property
    def folder(self) -> str:
        """Folder part of `origin`; "" at the top."""
        return self.origin.rpartition("/")[0]

    def is_kind(self, suffixes: tuple[str, ...]) -> bool:
        """Return whether the name ends in one of some suffixes, in whatever case."""
        return self.origin.lower().endswith(suffixes)

    @property
    def stem(self) -> str:
        """File name without folder and suffix."""
        return self.origin.rpartition("/")[2].rpartition(".")[0]


@dataclass(frozen=True, kw_only=True)
class ArrayOptions:
    """The options that say what an array is; checked where they are made.

    Attributes
    ----------
    x, y : str or None
        What inputs and labels are called; None where that is obvious.
    several : tuple of str
        What several arrays of labels are called, in the place of `y`.
    axes : tuple of str or None
        What the axes of x in the files are called; "sample" is one of them.
    channels : tuple of str or None
        Which signals are inputs, in files that hold more.
    label_every : int, str or None
        How many rows, or how much time, each label is for; None where that is one row, or all.
    rate_hz : float or None
        Rows per second, as the user says.
    """

    x: str | None = None
    y: str | None = None
    several: tuple[str, ...] = ()
    axes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    label_every: int | str | None = None
    rate_hz: float | None = None

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any,
        axes: Sequence[str] | None,
        *,
        channels: Sequence[str] | None = None,
        label_every: int | str | None = None,
        rate_hz: float | None = None,
        has_samples: bool = True,
    ) -> "ArrayOptions":
        """Check what a user gave; SourceError with the remedy if it cannot be meant.

        `has_samples`: "sample" has to be among the axes.
        """
        several: tuple[str, ...] = ()
        if isinstance(y, list | tuple):
            several, y = tuple(y), None
            if not several or not all(isinstance(name, str) and name for name in several):
                raise SourceError(f"y= must name arrays of labels, not {list(several)!r}.")
            if x in several or len({*several}) < len(several):
                raise SourceError(
                    f"y={list(several)!r}: each has to be named once, and x not at all."
                )
        for option, name in (("x", x), ("y", y)):
            if name is not None and not (isinstance(name, str) and name):
                raise SourceError(f"{option}= must be the name of one array, not {name!r}.")
        if x is not None and x == y:
            raise SourceError(f"x= and y= both name {x!r}; inputs and labels must differ.")
        return cls(
            x=x,
            y=y,
            several=several,
            axes=None if axes is None else _checked_axes(axes, has_samples),
            channels=None if channels is None else tuple(channels),
            label_every=label_every,
            rate_hz=rate_hz,
        )

    def order(self, role: Role, shape: tuple[int, ...], where: str) -> tuple[int, ...] | None:
        """Return the order in which the axes come out: sample, time, others, channel.

        None where they stay as they are, which is always so for labels.
        """
        if role == "y" or self.axes is None:
            return None
        axes = self.axes
        if len(axes) != len(shape):
            raise SourceError(
                f"{where}: has {len(shape)} axes (shape {shape}), but axes= names {len(axes)} "
                f"({', '.join(axes)}); name each axis of the array once."
            )
        return tuple(sorted(range(len(axes)), key=lambda axis: axis_rank(axes[axis])))

    @property
    def names_samples(self) -> bool:
        """Whether it is said that an axis of x counts samples."""
        return self.axes is not None and "sample" in self.axes

    def order_of_series(
        self, role: Role, shape: tuple[int, ...], where: str
    ) -> tuple[int, ...] | None:
        """Return the same for one of a list of series, whose place in it may be named "sample"."""
        if self.axes is None or not self.names_samples:
            return self.order(role, shape, where)
        if self.axes[0] != "sample":
            raise SourceError(
                f"{where}: is one of a list, so that samples come first; name 'sample' first in "
                f"axes=, not {', '.join(self.axes)}."
            )
        return replace(self, axes=self.axes[1:]).order(role, shape, where)


def _checked_axes(axes: Sequence[str], has_samples: bool) -> tuple[str, ...]:
    names = () if isinstance(axes, str) else tuple(axes)
    is_named = bool(names) and all(isinstance(name, str) and name for name in names)
    lacks_sample = has_samples and "sample" not in names
    if not is_named or len(set(names)) < len(names) or lacks_sample:
        example = ("sample", "channel", "time") if has_samples else ("channel", "time")
        raise SourceError(
            "axes= must name every axis of x once"
            f"{', sample among them' if has_samples else ''}, such as {example}, not {axes!r}."
        )
    return names


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
        Inputs and labels; see `series.settle`.
    x_name, y_name : str
        What the arrays are called in the source.
    found : str
        What was recognised, such as "an .npz file of two arrays".
    channels : tuple of str, or None
        Names of the channels, where the source carries them.
    rate_hz : float, or None
        Time steps per second, where the source carries it.
    subject : str, or None
        Whose it is, where a folder, a group or a table says so.
    owners : tuple of str
        Whose each row (or series) is, or all of them, where the file says so; see `owners`.
    part : str
        Which part of the files it is, where they hold several recordings.
    first_row : int
        Row of the array in the file that is the recording's first.
    labels_per : str
        See `SourceRecording`.
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
    channels: tuple[str, ...] | None = None
    rate_hz: float | None = None
    subject: str | None = None
    owners: tuple[str, ...] = ()
    part: str = ""
    first_row: int = 0
    labels_per: LabelsPer = "sample"


def check_array(dtype: np.dtype[Any], shape: tuple[int, ...], role: Role, where: str) -> None:
    """Raise SourceError unless the array can serve as inputs ("x") or labels ("y").

    Inputs are bool, integers or floats of at most 8 bytes; labels may be text as well.
    """
    if dtype.hasobject:
        raise SourceError(
            f"{where}: holds Python objects (pickled), which are never loaded because loading "
            "them can run code; save plain arrays instead: np.savez(file, x=..., y=...)."
        )
    kinds = "biuf" if role == "x" else "biufSU"
    if dtype.kind not in kinds or dtype.itemsize == 0 or dtype.kind + str(dtype.itemsize) in _LONG:
        allowed = "numbers" if role == "x" else "numbers or text"
        kind = _KINDS.get(dtype.kind, "not supported")
        raise SourceError(
            f"{where}: dtype {dtype} is {kind}, but {role} must be {allowed} (bool, integers, "
            "floats of at most 64 bits"
            f"{'' if role == 'x' else ', str'}); convert it with astype and save it again."
        )
    if not shape and role == "x":
        raise SourceError(
            f"{where}: is a single value (0 axes), but x needs its rows on axis 0; "
            "save an array with at least one axis."
        )
    nonzero = math.prod(length for length in shape if length) * dtype.itemsize
    if len(shape) > MAX_AXES or nonzero >= 2**63:
        raise SourceError(f"{where}: shape {shape} is more than any array can have.")


def rows_of(role: Role, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in which an array is read: a single label is one row."""
    return shape if shape or role == "x" else (1,)


def check_rows(shape: tuple[int, ...], where: str) -> None:
    """Raise SourceError if rows hold no value; `shape` has the rows first. No rows are fine."""
    if 0 in shape[1:]:
        raise SourceError(f"{where}: shape {shape} leaves no value in a row; leave the file out.")


_LONG = {"f12", "f16"}
_KINDS = {
    "V": "structured",
    "M": "datetime",
    "m": "timedelta",
    "c": "complex",
    "f": "a long double",
    "S": "text",
    "U": "text",
}
