"""Layouts of Zarr that other programs of this field write, told by their attributes.

braindecode's hub (`dataset.zarr`: a group `recording_0`, ... for each recording, with its windows
or its signal in `data`, and a table of windows in `metadata.tsv`), and biosigIO, which serves the
recordings of NEMAR (a group such as `eeg_250hz` for each kind and rate of channels, whose array `0`
holds counts of (channel, time); `events`; and in `view` what is only to be drawn).
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.array_names import told_apart
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.formats.zarr_metadata import Hierarchy
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.rows.label_rows import IntervalRows
from zarrts.sources.rows.views import ConstantRows, ValueRows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import AnyArray, Description, LabelsPer, RowReader

_BRAINDECODE = ("n_datasets", "dataset_type")
_BIOSIGIO, _BIOSIGIO_VERSION = "biosigio-zarr", 2
_MAX_TABLE_BYTES = 64 << 20
_WINDOWS = ("i_start_in_trial", "i_stop_in_trial")
_UNITS = {"FIFF_UNIT_V": "V", "FIFF_UNIT_T": "T", "FIFF_UNIT_T_M": "T/m"}

Read = Callable[[SourceFile, Hierarchy], Any]
"""Returns the `zarr_folders.Arrays` of a hierarchy."""


def find_drafts(
    file: SourceFile,
    hierarchy: Hierarchy,
    read: Read,
    options: SourceOptions,
    findings: Findings,
) -> list[Draft] | None:
    """Return the recordings of a hierarchy of a layout that is known; None of another.

    Raises
    ------
    SourceError
        If it is of a version that is not known.
    """
    attributes = hierarchy.attributes
    if options.x is not None or options.label_names:
        return None  # whoever names arrays knows better
    layout = _Layout(file, hierarchy, read(file, hierarchy), options)
    if attributes.get("format") == _BIOSIGIO:
        return layout.of_biosigio()
    if all(name in attributes for name in _BRAINDECODE):
        groups = [f"recording_{number}" for number in range(int(attributes["n_datasets"]))]
        return findings.collect("file", groups, lambda it: [layout.of_braindecode(it)])
    return None


@dataclass(frozen=True)
class _Layout:
    """A hierarchy, and what reads its arrays."""

    file: SourceFile
    hierarchy: Hierarchy
    arrays: Any
    options: SourceOptions

    def _x(self, path: str, axes: tuple[str, ...]) -> RowReader:
        nodes = self.hierarchy.arrays
        if path not in nodes:
            raise SourceError(f"{self.file.origin}: has no array {path!r}; copy it again.")
        if len(nodes[path].shape) != len(axes):
            raise SourceError(
                f"{self.file.origin}: /{path}: has the shape {nodes[path].shape}, but its axes are "
                f"{', '.join(axes)}; copy it again."
            )
        found: RowReader = self.arrays.reader(path, "x", replace(self.options, axes=axes))
        return found

    def _draft(
        self,
        group: str,
        name: str,
        x: RowReader,
        y: RowReader,
        labels_per: LabelsPer,
        description: Description,
        found: str,
        subject: str | None = None,
    ) -> Draft:
        file = self.file
        return Draft(
            origin=f"{file.origin}/{group}" if group else file.origin,
            name=name,
            path_name="/".join(part for part in (file.folder, file.stem, group) if part),
            paths=(self.hierarchy.source(group),),
            x=x,
            y=y,
            x_name="data",
            y_name="labels",
            found=found,
            description=description,
            subject=subject,
            labels_per=labels_per,
        )

    # braindecode -------------------------------------------------------------------------------

    def of_braindecode(self, group: str) -> Draft:
        """Return the recording in a group."""
        origin = f"{self.file.origin}/{group}"
        node = self.hierarchy.nodes.get(group)
        if node is None:
            raise SourceError(f"{origin}: is not there; copy it again.")
        kind = self.hierarchy.attributes["dataset_type"]
        is_windows = kind == "WindowsDataset"
        axes = ("sample", "channel", "time") if is_windows else ("channel", "time")
        x = self._x(f"{group}/data", axes)
        about = node.attributes.get("description") or {}
        subject = about.get("subject") if isinstance(about, Mapping) else None
        y, labels_per = self._labels(kind, group, x, about, origin)
        return self._draft(
            group,
            group,
            x,
            y,
            labels_per,
            _description_of_mne(node.attributes.get("info") or {}),
            f"a recording of braindecode ({kind})",
            None if subject is None else str(subject),
        )

    def _labels(
        self, kind: str, group: str, x: RowReader, about: Mapping[str, Any], origin: str
    ) -> tuple[RowReader, LabelsPer]:
        attributes = self.hierarchy.nodes[group].attributes
        n_rows = x.shape[0]
        if self.options.is_unlabelled:
            is_series = kind != "WindowsDataset"
            labels = ConstantRows("", 1 if is_series else n_rows)
            return labels, "recording" if is_series else "sample"
        if kind == "RawDataset":
            name = attributes.get("target_name")
            if not isinstance(name, str) or name not in about:
                raise SourceError(
                    f"{origin}: is a RawDataset without a target; say y=False (--no-y) for a "
                    "recording without labels."
                )
            return ValueRows(_typed([str(about[name])])), "recording"
        table = self._table(f"{group}/metadata.tsv", origin)
        if attributes.get("targets_from", "metadata") != "metadata" or "target" not in table:
            raise SourceError(
                f"{origin}: has its targets in channels, not in metadata.tsv; say y=False (--no-y) "
                "for a recording without labels."
            )
        if kind == "WindowsDataset":
            values = _typed(table["target"])
            if len(values) != n_rows:
                raise SourceError(
                    f"{origin}: has {n_rows:,} windows, but {len(values):,} lines in its "
                    "metadata.tsv; copy it again."
                )
            return ValueRows(values), "sample"
        try:
            starts, stops = (np.array(table[name], np.int64) for name in _WINDOWS)
        except (KeyError, ValueError) as error:
            raise SourceError(f"{origin}: metadata.tsv names no windows ({error}).") from error
        where = f"{origin}: metadata.tsv (y=False leaves labels out)"
        texts = np.array(table["target"], np.str_)
        return IntervalRows.of(starts, stops, texts, n_rows, where), "row"

    def _table(self, name: str, origin: str) -> dict[str, list[str]]:
        if self.hierarchy.sizes.get(name, 0) > _MAX_TABLE_BYTES:
            raise SourceError(f"{origin}: its metadata.tsv is too long.")
        content = self.hierarchy.folder.read(name)
        if content is None:
            raise SourceError(f"{origin}: has no metadata.tsv, which holds its labels.")
        try:
            lines = [*csv.reader(io.StringIO(content.decode("utf-8")), delimiter="\t")]
            return dict(zip(lines[0], map(list, zip(*lines[1:], strict=True)), strict=True))
        except (ValueError, IndexError, csv.Error) as error:
            raise SourceError(f"{origin}: metadata.tsv is damaged ({error}).") from error

    # biosigIO ----------------------------------------------------------------------------------

    def of_biosigio(self) -> list[Draft]:
        """Return the only recording."""
        attributes, origin = self.hierarchy.attributes, self.file.origin
        version = attributes.get("format_version")
        if not isinstance(version, int) or version > _BIOSIGIO_VERSION:
            raise SourceError(
                f"{origin}: is {_BIOSIGIO} of version {version!r}, and {_BIOSIGIO_VERSION} is the "
                "latest that is known; name its array with x=."
            )
        groups = [str(it) for it in attributes.get("channel_groups") or ()]
        if len(groups) != 1:
            paths = ", ".join(f"x='{it}/0'" for it in groups)
            raise SourceError(
                f"{origin}: holds {len(groups)} groups of channels ({listed(groups)}), each of one "
                f"rate; name one: {paths} (--x), with y=False (--no-y) and axes=('channel', "
                "'time') (--axes)."
            )
        (group,) = groups
        node = self.hierarchy.nodes.get(group)
        if node is None:
            raise SourceError(f"{origin}: has no group {group!r}; copy it again.")
        x = self._x(f"{group}/0", ("channel", "time"))
        description = _description_of_biosigio(node.attributes, origin)
        y: RowReader = ConstantRows("", 1)
        labels_per: LabelsPer = "recording"
        if not self.options.is_unlabelled:
            assert description.rate_hz is not None
            events = self._events(origin)
            y = labels_of(events, description.rate_hz, x.shape[0], self.options, origin)
            labels_per = "row"
        found = f"a recording of biosigIO ({group})"
        return [self._draft("", self.file.stem, x, y, labels_per, description, found)]

    def _events(self, origin: str) -> list[Annotation]:
        node = self.hierarchy.nodes.get("events")
        if node is None:
            return []
        names = node.attributes.get("label_map") or {}
        columns = [
            self.arrays.reader(f"events/{name}", "y", self.options)
            for name in ("onset", "duration", "code")
        ]
        onsets, durations, codes = (it.read(0, it.shape[0]).tolist() for it in columns)
        return [
            Annotation(
                onset, 0.0 if duration != duration else duration, str(names.get(str(code), code))
            )
            for onset, duration, code in zip(onsets, durations, codes, strict=True)
        ]


def _typed(texts: Sequence[str]) -> AnyArray:
    """Return labels as whole numbers or floats, where all of them are; else as text."""
    for dtype in (np.int64, np.float64):
        try:
            return np.array(texts, np.str_).astype(dtype)
        except (ValueError, OverflowError):
            continue
    return np.array(texts, np.str_)


def _description_of_mne(info: Mapping[str, Any]) -> Description:
    """Return what MNE's information, as `Info.to_json_dict` gives it, says of channels."""
    names, rate = info.get("ch_names"), info.get("sfreq")
    units = []
    for it in info.get("chs") or ():
        unit = it.get("unit") if isinstance(it, Mapping) else None
        name = unit.get("name") if isinstance(unit, Mapping) else None
        units.append(_UNITS.get(str(name), ""))
    is_whole = isinstance(names, list) and bool(names) and len(units) == len(names)
    return Description(
        channels=tuple(map(str, names)) if isinstance(names, list) and names else None,
        units=tuple(units) if is_whole else None,
        rate_hz=float(rate) if isinstance(rate, int | float) and rate > 0 else None,
    )


def _description_of_biosigio(attributes: Mapping[str, Any], origin: str) -> Description:
    try:
        channels = sorted(attributes["channels"], key=lambda it: int(it["row_index"]))
        labels = [str(it["label"]) for it in channels]
        return Description(
            channels=tuple(told_apart(labels)),
            units=tuple(str(it.get("unit") or "") for it in channels),
            rate_hz=float(attributes["rate"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{origin}: what it says of its channels is damaged ({error}); copy it again."
        ) from error
