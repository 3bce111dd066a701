"""The treatment of samples that a network was trained with, kept beside the saved model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.labels.label_sets import LabelModes
from zarrts.loading.options import BatchOptions
from zarrts.loading.postprocessing import PostProcessing
from zarrts.loading.settings import Settings
from zarrts.reading.nans import OnNan
from zarrts.reading.selection import Selection
from zarrts.stats.scaling import Scaling, make_scaler
from zarrts.stats.statistics import Linear
from zarrts.system import make_folder, replace_file
from zarrts.types import AnyArray, Description, Label

_FORMAT = "zarrts spec 2"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The way samples were fed to a network, and its classes.

    Attributes
    ----------
    class_names : tuple, or None
        None where labels are not classes.
    row_shape : tuple of int
        Of one stored row: of a sample, or of a step of a recording.
    x_steps : tuple, or None
        Which rows a sample is, counted from its first; () is the row itself, None all of a
        recording.
    stored_dtype, dtype : str
        Of x in the store, and as the network gets it.
    scaling : Scaling, or None
        What x is scaled by.
    batch_size, memory_bytes : int
    padding : dict, or None
        The options pad, pad_value, truncate and buckets of ZarrSequence.
    has_mask : bool
        A mask of the padding is a second input.
    nan : str
        What is done with NaN, as ZarrSequence has it.
    channels, units : tuple of str, or None
        Names of the channels, which choose those of files that name theirs; and their physical
        units.
    rate_hz : float, or None
        Time steps per second.
    by_hand : tuple of str
        Which of these three the user gave, whose files did not have to say them.
    """

    class_names: tuple[Label, ...] | None
    row_shape: tuple[int, ...]
    x_steps: Any
    stored_dtype: str
    dtype: str
    scaling: Scaling | None
    batch_size: int
    memory_bytes: int
    padding: Mapping[str, Any] | None = None
    has_mask: bool = False
    nan: OnNan = "error"
    channels: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    rate_hz: float | None = None
    by_hand: tuple[str, ...] = ()

    @property
    def description(self) -> Description:
        """What columns and rows of the samples mean."""
        return Description(
            channels=self.channels,
            units=self.units,
            rate_hz=self.rate_hz,
            by_hand=frozenset(self.by_hand),
        )

    def save(self, path: str | Path) -> None:
        """Write it as JSON; a file that is there is replaced atomically."""
        values = asdict(replace(self, scaling=None))
        if self.scaling is not None:
            values["scaling"] = self.scaling.to_dict()
        path = Path(path)
        make_folder(path.parent.absolute())
        replace_file(path, json.dumps({"format": _FORMAT, **values}, indent=1).encode())

    @staticmethod
    def load(path: str | Path) -> "Spec":
        """Read what `save` wrote.

        Raises
        ------
        StoreError
            If the file is not such a spec.
        """
        try:
            values = json.loads(Path(path).read_text("utf-8"))
            if values.pop("format") != _FORMAT:
                raise ValueError("of another format")
            scaling = values.pop("scaling")
            if scaling is not None:
                scaling = Scaling.from_dict(scaling)
            names, channels = values.pop("class_names"), values.pop("channels", None)
            units, by_hand = values.pop("units", None), values.pop("by_hand", ())
            return Spec(
                scaling=scaling,
                class_names=None if names is None else tuple(names),
                row_shape=tuple(values.pop("row_shape")),
                channels=None if channels is None else tuple(channels),
                units=None if units is None else tuple(units),
                by_hand=tuple(by_hand),
                **values,
            )
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}).") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path} is not a spec that seq.save_spec() wrote ({error}); save it again."
            ) from error

    def options(self, label_mode: LabelModes | None) -> BatchOptions:
        """Return the options that feed other samples alike, in their order."""
        padding = dict(self.padding or {})
        if "value" in padding:
            padding["pad_value"] = padding.pop("value")
        return BatchOptions(
            batch_size=self.batch_size,
            shuffle=False,
            label_mode=label_mode,
            stats=self.scaling,
            nan=self.nan,
            dtype=self.dtype,
            mask=self.has_mask,
            memory=self.memory_bytes,
            **padding,
        )

    def treat(self, rows: AnyArray, own: Linear | None = None) -> AnyArray:
        """Return samples of a source as the network gets them, as if they came from the store.

        Parameters
        ----------
        own : Linear, optional
            What scales the subject that they are of, where the network was trained so.
        """
        rows = rows.astype(self.stored_dtype, copy=False)
        dtype, fills, scaler = np.dtype(self.dtype), self.nan == "fill", None
        if self.scaling is not None:
            scaler = make_scaler(
                self.scaling if own is None else replace(self.scaling, linear=own),
                stored=rows.dtype,
                n_channels=self.row_shape[-1] if self.row_shape else 1,
                dtype=dtype,
                has_nan=self.nan != "error",
                fills=fills,
            )
        out = np.empty(rows.shape, dtype)
        ids = np.zeros(len(rows), np.int64)
        PostProcessing(dtype=dtype, scaler=scaler, fills=fills).scale_into(rows, out, ids)
        return out


def spec_of(selection: Selection, settings: Settings) -> Spec:
    """Return how some samples are fed to a network."""
    options, header = settings.options, selection.store.header
    cut, padding, x = selection.view.cut, options.padding, header.segments[0].x
    return Spec(
        class_names=selection.scheme.class_names,
        row_shape=x.row_shape,
        x_steps=None if cut.x_steps is None else cut.x_steps.tolist(),
        stored_dtype=x.dtype.str,
        dtype=settings.processing.dtype.str,
        scaling=settings.scaling,
        batch_size=options.batch_size,
        memory_bytes=options.memory_bytes,
        padding=None if padding is None else asdict(padding),
        has_mask=options.mask,
        nan=options.nan,
        channels=tuple(header.channels) if header.channels else None,
        units=header.units,
        rate_hz=header.rate_hz,
        by_hand=tuple(sorted(header.description.by_hand)),
    )
