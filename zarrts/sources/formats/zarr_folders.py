"""Zarr arrays and groups, of format 2 or 3: a folder or prefix each, as one file is elsewhere."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats import npy, zarr_layouts
from zarrts.sources.formats.carried import CHANNELS, RATES, UNITS, names_in, rate_in, units_in
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import Draft, Findings, draft_of
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.groups import grouped
from zarrts.sources.formats.zarr_metadata import (
    Hierarchy,
    Node,
    is_ours,
    read_hierarchy,
    refuse_codecs,
)
from zarrts.sources.formats.zarr_rows import ZarrRows, count_missing, open_array, texts_of
from zarrts.sources.formats.zarr_scaling import scaled, scaling_of
from zarrts.sources.rows.array_checks import check_array, check_rows
from zarrts.sources.rows.files import SourceFile, ahead
from zarrts.sources.rows.folders import Folder, is_folder
from zarrts.sources.rows.strided import to_native
from zarrts.sources.rows.views import ConstantRows, ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import Description, RowReader, SeriesList, axis_rank

SUFFIX = ".zarr"
ALONE = "x"
"""The name of an array that is alone."""

_AXES = {
    **dict.fromkeys(("sample", "samples", "trial", "trials", "epoch", "epochs"), "sample"),
    **dict.fromkeys(("window", "windows", "example", "examples"), "sample"),
    **dict.fromkeys(("time", "times", "t", "num_times"), "time"),
    **dict.fromkeys(("channel", "channels", "ch", "chan", "num_channels"), "channel"),
    **dict.fromkeys(("electrode", "electrodes", "sensor", "sensors"), "channel"),
}
"""The names of dimensions in such files, and the axis of ours that each is."""


class Arrays:
    """Arrays of a hierarchy, by the names by which they are chosen."""

    def __init__(self, file: SourceFile, hierarchy: Hierarchy, nodes: Mapping[str, Node]) -> None:
        self.file, self.hierarchy = file, hierarchy
        self.nodes = dict(nodes)
        self._coordinates = {name for name, it in nodes.items() if _is_coordinate(it)}

    def contents(self) -> Contents:
        """Return the arrays by name; coordinates of axes, as xarray writes them, come last."""
        names = [name for name in self.nodes if name not in self._coordinates]
        n_arrays = len(self.nodes)
        return Contents(
            names=tuple(names or self.nodes),
            found="a Zarr array" if n_arrays == 1 else f"a Zarr group of {n_arrays} arrays",
            shape=lambda name: self.nodes[name].shape,
            summary=self.summary,
            reader=self.reader,
            description=self.description,
        )

    def summary(self, name: str) -> str:
        """See `Contents`."""
        node = self.nodes[name]
        return f"{name} {node.shape} {node.dtype}"

    def _where(self, node: Node) -> str:
        return f"{self.file.origin}: /{node.path}" if node.path else self.file.origin

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
        """See `Contents`."""
        node = self.nodes[name]
        where = self._where(node)
        array = self._opened(node, options)
        order = _order(node, options, role, where)
        if array.dtype.kind in "OT" or str(array.dtype).startswith("StringDType"):
            if role == "x":
                raise SourceError(f"{where}: is text, but x must be numbers.")
            return ValueRows(texts_of(array, where))
        check_array(array.dtype, node.shape, role, where)
        label = f"{self.hierarchy.folder.path}: /{node.path}"
        if not node.shape:
            return ValueRows(to_native(np.asarray(array[()]).reshape(1), label))
        axes = tuple(range(len(node.shape))) if order is None else order
        is_filled = options.missing_chunks == "fill"
        folder = self.hierarchy.folder
        rows = ZarrRows(folder, node, array, axes, label, is_filled=is_filled)
        check_rows(rows.shape, where)
        if node.dtype in ("bool", "|b1"):
            return rows
        group, beside = self._beside(node)
        per_channel = beside.get("channel_conversion")
        factors = None if per_channel is None else self._values(per_channel, options).tolist()
        scaling = scaling_of(node, group.attributes if group else {}, factors, where)
        return scaled(rows, scaling, where)

    def _opened(self, node: Node, options: SourceOptions) -> Any:
        """Return an array whose chunks are all there, or are to be filled."""
        where, folder = self._where(node), self.hierarchy.folder
        refuse_codecs(node, where)
        is_filled = options.missing_chunks == "fill"
        array = open_array(folder, node, where, is_filled=is_filled)
        try:
            n_missing, total = count_missing(folder, self.hierarchy.sizes, node, array, where)
        except NotImplementedError as error:
            raise SourceError(
                f"{where}: has chunks of unequal lengths, which are not read; save it with equal "
                "ones."
            ) from error
        if n_missing and not is_filled:
            raise SourceError(
                f"{where}: {n_missing:,} of its {total:,} chunks are not there, and would be read "
                f"as {node.metadata.get('fill_value')!r}. If they were left out because they are "
                "nothing but that, say missing_chunks='fill' (--missing-chunks fill); else copy or "
                "save it again."
            )
        return array

    def _beside(self, node: Node) -> tuple[Node | None, dict[str, Node]]:
        """Return the group that an array is in, and the arrays in it by name."""
        parent = node.path.rpartition("/")[0]
        start = f"{parent}/" if parent else ""
        nodes = self.hierarchy.nodes
        beside = {
            path.removeprefix(start): it
            for path, it in nodes.items()
            if it.is_array and path.startswith(start) and "/" not in path.removeprefix(start)
        }
        return nodes.get(parent), beside if node.path else {}

    def _values(self, node: Node, options: SourceOptions) -> Any:
        """Return all values of a small array."""
        if math.prod(node.shape) > 100_000:
            raise SourceError(f"{self._where(node)}: has {node.shape} values; correct it.")
        array = self._opened(node, options)
        if array.dtype.kind in "OT" or str(array.dtype).startswith("StringDType"):
            return texts_of(array, self._where(node))
        axes = tuple(range(len(node.shape)))
        rows = ZarrRows(self.hierarchy.folder, node, array, axes, self._where(node))
        return rows.read(0, rows.shape[0])

    def description(self, name: str, options: SourceOptions) -> Description:
        """Return what attributes of an array, of its groups, and its coordinates say."""
        node = self.nodes[name]
        group, beside = self._beside(node)
        places = [node.attributes, *self._attributes_above(node)]
        found = Description(
            channels=_first(places, CHANNELS, names_in),
            units=_first(places[:1], UNITS, units_in),
            rate_hz=_first(places, RATES, rate_in),
        )
        if found.channels is None:
            found = replace(found, channels=self._coordinates_of_channels(node, beside, options))
        if group is not None and "neurodata_type" in group.attributes and "unit" in node.attributes:
            starting_time = beside.get("starting_time")
            rate = rate_in(starting_time.attributes.get("rate")) if starting_time else None
            n_columns = node.shape[-1] if len(node.shape) > 1 else 1
            units = (str(node.attributes["unit"]),) * n_columns
            found = replace(found, units=found.units or units, rate_hz=found.rate_hz or rate)
        return _fitting(found, node, options)

    def _attributes_above(self, node: Node) -> Iterator[Mapping[str, Any]]:
        path = node.path
        while path:
            path = path.rpartition("/")[0]
            if path in self.hierarchy.nodes:
                yield self.hierarchy.nodes[path].attributes

    def _coordinates_of_channels(
        self, node: Node, beside: Mapping[str, Node], options: SourceOptions
    ) -> tuple[str, ...] | None:
        """Return the values of the coordinate of the axis of channels, where they are text."""
        for dimension in node.dimensions or ():
            it = beside.get(dimension)
            if _AXES.get(dimension.lower()) != "channel" or it is None or len(it.shape) != 1:
                continue
            values = self._values(it, options)
            return names_in(values) if values.dtype.kind == "U" else None
        return None


def _first(places: Sequence[Mapping[str, Any]], keys: Sequence[str], read: Any) -> Any:
    found = (read(place[key]) for place in places for key in keys if key in place)
    return next((it for it in found if it is not None), None)


def _fitting(found: Description, node: Node, options: SourceOptions) -> Description:
    """Return a description with one unit for each channel, where one is said for all."""
    if found.units is None or len(found.units) != 1 or len(node.shape) < 2:
        return found
    order = _order(node, options, "x", "") or tuple(range(len(node.shape)))
    return replace(found, units=found.units * node.shape[order[-1]])


def _is_coordinate(node: Node) -> bool:
    """Return whether an array holds the coordinates of an axis of its own name."""
    return node.dimensions == (node.path.rpartition("/")[2],)


def _order(node: Node, options: SourceOptions, role: Role, where: str) -> tuple[int, ...] | None:
    """Return the order in which axes come out: as `axes=` says, or the names of dimensions."""
    if options.axes is not None:
        return options.order(role, node.shape, where)
    axes = axes_of(node)
    if role == "y" or not {"sample", "time", "channel"} & {*axes}:
        return None
    return tuple(sorted(range(len(axes)), key=lambda axis: axis_rank(axes[axis])))


def axes_of(node: Node) -> tuple[str, ...]:
    """Return what the axes of an array are called here; none where it does not name them."""
    axes = tuple(_AXES.get(it.lower(), it) for it in node.dimensions or ())
    return axes if len({*axes}) == len(axes) else ()


# Recordings ------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give all arrays of a hierarchy by their paths; an array that is alone is called x.

    Raises
    ------
    SourceError
        If metadata are damaged.
    """
    yield _all_arrays(file, _read(file)).contents()


def _all_arrays(file: SourceFile, hierarchy: Hierarchy) -> Arrays:
    return Arrays(file, hierarchy, {path or ALONE: it for path, it in hierarchy.arrays.items()})


def _read(file: SourceFile) -> Hierarchy:
    if not is_folder(file.path):
        raise SourceError(f"{file.origin}: is a file, but Zarr is a folder; unpack it first.")
    hierarchy = read_hierarchy(Folder.of(file.path), file.origin)
    if is_ours(hierarchy.attributes):
        raise SourceError(
            f"{file.origin}: is a store of zarrts, or a part of one; stores are given by "
            "themselves: zarrts convert a.zarr b.zarr both.zarr."
        )
    if not hierarchy.arrays:
        raise SourceError(f"{file.origin}: holds no arrays; leave it out.")
    return hierarchy


def find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    """Find the recordings in hierarchies.

    Where arrays lie in several groups, and none outside of them, each group is a recording named
    as the group; else all of the hierarchy is one. Arrays that are alone are paired by their
    names, as `.npy` files are.
    """
    halves: dict[str, SourceFile] = {}
    opened: dict[str, Contents] = {}
    are_inputs = npy.are_of_inputs(files, options)
    for file in ahead(files):
        with findings.noting("file"):
            hierarchy = _read(file)
            drafts = zarr_layouts.find_drafts(file, hierarchy, _all_arrays, options, findings)
            if drafts is not None:
                findings.drafts += drafts
            elif "" in hierarchy.arrays and (are_inputs or not options.is_unlabelled):
                opened[file.origin] = _all_arrays(file, hierarchy).contents()
                halves[file.origin] = file
            else:
                findings.drafts += _drafts(file, hierarchy, options, findings)
    if halves:
        npy.find_pairs(halves, opened, options, findings, "a pair of Zarr arrays")


def _drafts(
    file: SourceFile, hierarchy: Hierarchy, options: SourceOptions, findings: Findings
) -> list[Draft]:
    nodes = {path or ALONE: it for path, it in hierarchy.arrays.items()}

    def draft(group: str) -> list[Draft]:
        arrays = Arrays(file, hierarchy, groups[group])
        found = draft_of(file, arrays.contents(), options, group=group)
        # The folder of a group is all that it consists of.
        found = replace(found, paths=(hierarchy.source(group),), part="")
        names = [it for some in options.inputs.values() for it in some] or [found.x_name]
        # Of several inputs, one that follows in time says so for all.
        node = max((arrays.nodes[name] for name in names), key=lambda it: len(it.shape))
        return [_as_series(found, node, options)]

    groups = grouped(nodes, options)
    return findings.collect("file", groups, draft)


def _as_series(draft: Draft, x: Node, options: SourceOptions) -> Draft:
    """Return a recording whose rows are steps in time, where its dimensions say so."""
    axes = axes_of(x)
    is_said = options.kind != "auto" or options.axes is not None or options.is_series
    if "time" not in axes or "sample" in axes or is_said or isinstance(draft.x, SeriesList):
        return draft
    if options.is_unlabelled:
        return replace(draft, y=ConstantRows("", 1), labels_per="recording")
    if isinstance(draft.y, SeriesList) or draft.labels_per != "sample":
        return draft
    n_labels, n_rows = draft.y.shape[0], draft.x.shape[0]
    if n_labels not in (1, n_rows) and not options.inputs:  # which are aligned later
        raise SourceError(
            f"{draft.origin}: {draft.x_name} has {n_rows:,} time steps, but {draft.y_name} "
            f"{n_labels:,} labels; give one for each step, one for all, or say with label_every= "
            "for how long each is."
        )
    return replace(draft, labels_per="recording" if n_labels == 1 != n_rows else "row")


FORMAT = Format(name="Zarr", suffixes=(SUFFIX,), open=open_contents, group=find_drafts)
