"""Values that a Zarr array stands for, where it holds others: packed, as its attributes say.

Three conventions: `scale_factor` and `add_offset` of CF, as xarray decodes them; `conversion` and
`offset` of NWB; and `scale` and `offset` for each channel, with `physical_formula`, of biosigIO.
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.zarr_metadata import Node
from zarrts.sources.rows.views import DerivedRows
from zarrts.types import AnyArray, RowReader

_FORMULA = "physical = digital * scale + offset"
_OF_HDMF = ("_DTYPE", "zarr_dtype", "neurodata_type")


@dataclass(frozen=True)
class Scaling:
    """The scaling from stored values to those that are meant.

    Attributes
    ----------
    scale, offset : float or tuple of float, or None
        One for all; or one for each channel.
    fills : tuple of float
        Stored values that stand for none, and become NaN.
    dtype : numpy.dtype
        Of the result, in which it is computed.
    """

    scale: float | tuple[float, ...] | None
    offset: float | tuple[float, ...] | None
    fills: tuple[float, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class ScaledRows(DerivedRows):
    """Rows in the values that they stand for; channels are the last axis."""

    scaling: Scaling

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values that are meant."""
        return self.scaling.dtype

    def _read(self, start: int, stop: int) -> AnyArray:
        stored = self.rows.read(start, stop)
        scaling = self.scaling
        found = stored.astype(scaling.dtype)
        if scaling.scale is not None:
            found *= np.asarray(scaling.scale, scaling.dtype)
        if scaling.offset is not None:
            found += np.asarray(scaling.offset, scaling.dtype)
        for fill in scaling.fills:
            found[stored == fill] = np.nan
        return found


def scaled(rows: RowReader, scaling: Scaling | None, where: str) -> RowReader:
    """Return rows in the values that they stand for.

    Raises
    ------
    SourceError
        If there is not one factor for each channel.
    """
    if scaling is None:
        return rows
    n_columns = rows.shape[-1] if len(rows.shape) > 1 else 1
    for values in (scaling.scale, scaling.offset):
        if isinstance(values, tuple) and len(values) != n_columns:
            raise SourceError(
                f"{where}: has {n_columns} channels, but {len(values)} factors to scale them; "
                "correct its attributes, or say with axes= which axis the channels are."
            )
    return ScaledRows(rows, scaling)


def scaling_of(
    node: Node,
    parent: Mapping[str, Any],
    channel_conversion: Sequence[float] | None,
    where: str,
) -> Scaling | None:
    """Return the scaling of an array, or None where it holds the values that are meant.

    Parameters
    ----------
    node : Node
        The array.
    parent : mapping
        Attributes of the group that it is in.
    channel_conversion : sequence of float, or None
        The array of this name beside it, in NWB.

    Raises
    ------
    SourceError
        If attributes mean a scaling, but are not numbers.
    """
    attributes = node.attributes
    try:
        if attributes.get("physical_formula") == _FORMULA:
            return Scaling(
                _numbers(attributes["scale"]),
                _numbers(attributes["offset"]),
                (),
                np.dtype(np.float64),
            )
        if "conversion" in attributes and "unit" in attributes and "neurodata_type" in parent:
            return _of_nwb(attributes, channel_conversion)
        return _of_cf(node, where)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{where}: its attributes for scaling are not numbers ({error}); correct them."
        ) from error


def _of_nwb(attributes: Mapping[str, Any], per_channel: Sequence[float] | None) -> Scaling | None:
    scale = float(attributes["conversion"])
    offset = float(attributes.get("offset", 0.0))
    if per_channel is None and (scale, offset) == (1.0, 0.0):
        return None
    factors = scale if per_channel is None else tuple(scale * float(it) for it in per_channel)
    return Scaling(factors, offset, (), np.dtype(np.float64))


def _of_cf(node: Node, where: str) -> Scaling | None:
    """Return what `xarray.open_zarr` makes of the attributes of CF."""
    attributes = node.attributes
    dtype = _dtype_of(node)
    if dtype is None or dtype.kind not in "iuf":
        return None
    scale, offset = (_scalar(attributes.get(name)) for name in ("scale_factor", "add_offset"))
    fills = {
        float(value)
        for name in ("_FillValue", "missing_value")
        for value in _values(attributes.get(name), dtype)
    }
    # Of format 2, xarray keeps it as the fill value of the array.
    is_of_xarray = "_ARRAY_DIMENSIONS" in attributes and not any(
        name in attributes for name in _OF_HDMF
    )
    if node.format == 2 and is_of_xarray and node.metadata.get("fill_value") is not None:
        fills |= {float(it) for it in _values(node.metadata["fill_value"], dtype)}
    fills = {it for it in fills if it == it}  # NaN is missing by itself
    if scale is None and offset is None and (not fills):
        return None
    if attributes.get("_Unsigned") in ("true", "false"):
        raise SourceError(
            f"{where}: is marked as _Unsigned={attributes['_Unsigned']!r}, which is not read; save "
            "it with the dtype that is meant."
        )
    found = _decoded_dtype(dtype, scale, offset, has_fills=bool(fills))
    return Scaling(scale, offset, tuple(sorted(fills)), found)


def _decoded_dtype(
    dtype: np.dtype[Any], scale: float | int | None, offset: float | int | None, *, has_fills: bool
) -> np.dtype[Any]:
    """Return the dtype that xarray decodes to; numbers of JSON are 64 bits long."""
    if isinstance(scale, int) and offset is None and not has_fills and dtype.kind in "iu":
        return np.dtype(np.int64)
    if offset is not None or scale is not None:
        return np.dtype(np.float64)
    is_small = dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return np.dtype(np.float32 if is_small else np.float64)


def _dtype_of(node: Node) -> np.dtype[Any] | None:
    try:
        return np.dtype(node.dtype)
    except TypeError:
        return None


def _scalar(value: Any) -> float | int | None:
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(repr(value))
    return value


def _numbers(value: Any) -> float | tuple[float, ...]:
    return tuple(float(it) for it in value) if isinstance(value, list) else float(value)


def _values(value: Any, dtype: np.dtype[Any]) -> list[float]:
    """Return fill values: numbers, or as xarray writes those of floats, in base 64."""
    if value is None:
        return []
    if isinstance(value, list):
        return [one for it in value for one in _values(it, dtype)]
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        return [float(struct.unpack("<d", base64.standard_b64decode(value))[0])]
    return [float(value.replace("Infinity", "inf") if isinstance(value, str) else value)]
