"""The options of a conversion, checked where they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from zarrts.conversion.codecs import CODECS
from zarrts.conversion.pack_option import Pack, PackOptions
from zarrts.errors import PlanError
from zarrts.sizes import format_budget, parse_size
from zarrts.sources.option_checks import check_number
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.step_lists import steps_given

AUTO = "auto"

_Name = TypeVar("_Name", bound=str | int)


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(SourceOptions):
    """The options of sources and of their conversion; `zarrts.convert` documents each of them."""

    dtype: str = "auto"
    memory_bytes: int = 1 << 30
    chunk_bytes: int = 1 << 20
    shard_bytes: int = 64 << 20
    codec: str = "lz4"
    pack: Pack = "auto"
    workers: int | None = None
    scheduler: Any = None
    overwrite: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_names()
        if self.codec not in (AUTO, *CODECS):
            known = ", ".join((AUTO, *CODECS))
            raise PlanError(f"codec={self.codec!r} is unknown; use one of {known}.")
        _ = self.packing  # checks it
        check_number("workers", self.workers, int, 1)
        if self.chunk_bytes > self.shard_bytes:
            raise PlanError(
                f"chunk={self.chunk_bytes:,} bytes is more than shard={self.shard_bytes:,}; "
                f"a shard holds whole chunks. Lower chunk, or raise shard to at least "
                f"{format_budget(self.chunk_bytes)}."
            )

    @property
    def packing(self) -> PackOptions:
        """The meaning of `pack`."""
        return PackOptions.of(self.pack)


# As callers give them ----------------------------------------------------------------------------


def options_given(*, memory: Any, chunk: Any, shard: Any, **said: Any) -> ConvertOptions:
    """Return the options of `convert` or `scan`, from the values of its keywords.

    Raises
    ------
    PlanError, SourceError
        If one cannot be meant so.
    """
    x, channels = said["x"], said["channels"]
    units, annotations = said["units"], said["annotations"]
    if not isinstance(channels, Mapping):  # of several inputs, by name
        channels = names_given("channels", channels)
    if not (units is None or isinstance(units, str | Mapping)):
        units = tuple(units)
    if not isinstance(annotations, str):
        annotations = names_given("annotations", annotations)
    return ConvertOptions(
        **said
        | {"x": x if isinstance(x, Mapping) else _name_or_names(x), "y": _name_or_names(said["y"])}
        | {name: names_given(name, said[name]) for name in ("class_names", "axes")}
        | {"channels": channels, "units": units, "annotations": annotations}
        | {"override": override_given(said["override"]), "dtype": dtype_given(said["dtype"])}
        | {"steps": steps_given(said["steps"])},
        memory_bytes=size_given("memory", memory),
        chunk_bytes=size_given("chunk", chunk),
        shard_bytes=size_given("shard", shard),
    )


def _name_or_names(value: Any) -> Any:
    """Return one name, False or None as it is, and a list of names as a tuple."""
    return value if isinstance(value, str) or value is None or value is False else tuple(value)


def names_given(option: str, names: Sequence[_Name] | None) -> tuple[_Name, ...] | None:
    """Return names as a tuple, or None where there are none; PlanError if they are one text."""
    if isinstance(names, str):
        raise PlanError(f"{option}={names!r} is one text; give a list of names: {names.split(',')}")
    return tuple(names) if names is not None and len(names) else None


def override_given(names: Sequence[str]) -> tuple[str, ...]:
    """Return the options that win; PlanError if they are one text."""
    if isinstance(names, str):
        raise PlanError(f"override={names!r} is one text; give a list of names: [{names!r}]")
    return tuple(names)


def dtype_given(dtype: Any) -> str:
    """Return the name of a dtype; PlanError if it is none."""
    if isinstance(dtype, str):
        return dtype
    try:
        return str(np.dtype(dtype).str)
    except TypeError as error:
        raise PlanError(
            f"dtype={dtype!r} is not a NumPy dtype; use 'float32', for example."
        ) from error


def size_given(option: str, size: int | str) -> int:
    """Return a size in bytes; PlanError if it is none."""
    try:
        return parse_size(size, option)
    except ValueError as error:
        raise PlanError(str(error)) from error
