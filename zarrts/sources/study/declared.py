"""Values that a user declares to be missing, and rows without a label that are a class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.signal_file import ANNOTATIONS
from zarrts.sources.rows.inputs import each_input
from zarrts.sources.rows.records import NamedRows
from zarrts.sources.rows.views import DerivedRows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import AnyArray, RowReader, SourceRecording


@dataclass(frozen=True)
class NanRows(DerivedRows):
    """Rows in which one value stands for missing, and becomes NaN; integers become floats."""

    missing: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of floats, their own; of integers, the smallest float that holds all of them."""
        dtype = self.rows.dtype
        return dtype if dtype.kind == "f" else np.result_type(dtype, np.float32)

    def _read(self, start: int, stop: int) -> AnyArray:
        block = self.rows.read(start, stop)
        found = block.astype(self.dtype)
        found[block == self.missing] = np.nan
        return found


@dataclass(frozen=True)
class ClassRows(DerivedRows):
    """Labels that are text, with the name of a class where there is none."""

    name: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Text that is long enough for the name."""
        return np.result_type(self.rows.dtype, np.dtype(f"U{len(self.name)}"))

    def _read(self, start: int, stop: int) -> AnyArray:
        found = self.rows.read(start, stop).astype(self.dtype)
        found[found == ""] = self.name
        return found


def inputs_as_declared(rows: RowReader, options: SourceOptions) -> RowReader:
    """Return inputs in which the value that is declared missing is NaN."""
    missing = options.missing
    return rows if missing is None else each_input(rows, lambda it: NanRows(it, missing))


def as_declared(
    recordings: Sequence[SourceRecording], options: SourceOptions
) -> list[SourceRecording]:
    """Return recordings as `missing` and `unlabelled` declare them.

    Raises
    ------
    SourceError
        If `unlabelled` is given, and no labels are text.
    """
    name = options.unlabelled
    found = [replace(it, x=inputs_as_declared(it.x, options)) for it in recordings]
    if name is None:
        return found
    labelled = [replace(it, y=_named(it.y, name)) for it in found]
    if found and not any(new.y is not old.y for new, old in zip(labelled, found, strict=True)):
        raise SourceError(
            f"unlabelled={name!r} names what has no label among labels that are text, but these "
            f"are {found[0].y.dtype}; leave it out."
        )
    return labelled


def refuse_unused_choice(recordings: Sequence[SourceRecording], options: SourceOptions) -> None:
    """Raise SourceError where `annotations` is given, and no file can have any."""
    has_some = (
        one.y_name == ANNOTATIONS or any(it in one.origin.lower() for it in (".edf", ".bdf"))
        for one in recordings
    )
    can_choose = options.labels is not None or any(has_some)
    if options.annotations is not None and recordings and not can_choose:
        raise SourceError(
            "annotations= chooses among the annotations of files that can have some, such as EDF "
            "and BDF files, and there are none; leave it out."
        )


def _named(rows: RowReader, name: str) -> RowReader:
    if isinstance(rows, NamedRows):
        readers = tuple(_named(it, name) for it in rows.readers)
        changed = any(new is not old for new, old in zip(readers, rows.readers, strict=True))
        return replace(rows, readers=readers) if changed else rows
    return ClassRows(rows, name) if rows.dtype.kind == "U" else rows
