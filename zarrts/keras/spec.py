"""The treatment of samples that a network was trained with, kept beside the saved model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import SampleError, StoreError
from zarrts.indexing.cuts import Fit
from zarrts.indexing.padding import BatchLengths
from zarrts.inputs import handed_out
from zarrts.keras.counted_inputs import CountedInputs
from zarrts.keras.input_spec import InputSpec
from zarrts.labels.label_sets import LabelModes
from zarrts.loading.options import STORED, BatchOptions
from zarrts.reading.nans import OnNan
from zarrts.sources.option_records import description_from
from zarrts.sources.step_records import steps_from_recorded
from zarrts.stats.scaling import Scaling
from zarrts.stats.statistics import Linear
from zarrts.storage.segments import parts_of
from zarrts.system import make_folder, replace_file
from zarrts.types import AnyArray, Description, Label

_FORMAT = "zarrts spec 2"
_OF_SEVERAL = ("inputs", "is_alone", "picked", "label_steps")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The way samples were fed to a network, and its classes.

    Attributes
    ----------
    class_names : tuple, or None
        None where labels are not classes.
    row_shape : tuple of int
        Of one stored row: of a sample, or of a step of a recording.
    x_steps : int, list, or None
        Which rows a sample is, counted from its first; 0 is the row itself, None all of a
        recording.
    stored_dtype, dtype : str
        Of x in the store, and as the network gets it.
    scaling : Scaling, or None
        What x is scaled by.
    batch_size, memory_bytes : int
    padding : dict, or None
        The options pad, pad_value, truncate and buckets of ZarrSequence.
    lengths : tuple of int, or None
        The lengths that these options came to in the store of the training; () where each batch
        has that of its longest, None where samples are not padded (or the spec is an old one).
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
    merges : dict, or None
        Where classes were merged or left out: the new class of each class of the store, or None.
    y_steps, y_of, majority
        Which labels of the rows of a sample are its own, as in `Cut`; and the share of these that
        has to be there, where the most frequent one is. None where it is not known.
    picked, label_steps : int or None, int
        Labels in a row, where they are for shorter steps; and which one of a row is that of a
        sample, where it is one.
    missing : float, or None
        A value of x in source files that stands for one that is missing.
    inputs : dict
        Of several inputs, what is said of each by name; `row_shape`, `stored_dtype`, `dtype`,
        `scaling`, `channels`, `units` and `rate_hz` are those of the only one.
    is_alone : bool
        The network takes the array of the only one of `inputs`, and not a dictionary.
    steps : list of dict
        What was done with recordings before they were stored, as the store keeps it.
    before_steps : dict, or None
        What columns and rows of the files meant before that.
    source_channels : tuple of str, or None, or a dict of these
        The channels of files, before these steps; of several inputs, of each that has some.
    drops_bad : bool
        Windows with NaN, or rows that are masked, are left out.
    purity : float
        Beside `majority`: the share that the most frequent label has to have.
    columns : tuple of str, dict, or None
        Of CSV and Parquet files, the columns that are x; or what each of several inputs is in a
        file, by its name.
    time : str, or None
        The column of time stamps in these.
    before : int, or None
        Of windows at events: rows from the first one to that of the event.
    counts : CountedInputs, or None
        Where the network gets 16-bit counts: what they stand for.
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
    missing: float | None = None
    units: tuple[str, ...] | None = None
    rate_hz: float | None = None
    lengths: tuple[int, ...] | None = None
    merges: tuple[tuple[Label, Label | None], ...] | None = None
    y_steps: Any = None
    y_of: str | None = None
    majority: float | None = None
    by_hand: tuple[str, ...] = ()
    drops_bad: bool = False
    steps: Sequence[Mapping[str, Any]] = ()
    before_steps: Mapping[str, Any] | None = None
    source_channels: Any = None
    purity: float = 0.0
    before: int | None = None
    columns: tuple[str, ...] | Mapping[str, Any] | None = None
    time: str | None = None
    counts: CountedInputs | None = None
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    is_alone: bool = False
    picked: int | None = None
    label_steps: int = 1

    @property
    def of_inputs(self) -> Mapping[str, InputSpec]:
        """The description of each input, by name; "" stands for the only one."""
        if self.inputs:
            return self.inputs
        names = [it.name for it in fields(InputSpec) if it.name != "steps"]
        return {"": InputSpec(**{name: getattr(self, name) for name in names})}

    @property
    def takes_counts(self) -> bool:
        """Whether the network gets 16-bit counts of an input."""
        return any(it.counts is not None for it in self.of_inputs.values())

    @property
    def fed_names(self) -> list[str] | None:
        """Names of the inputs that the network gets; None where it gets one array."""
        if self.is_alone or not self.inputs:
            return None
        masks = [f"{name}_mask" for name, it in self.inputs.items() if self.has_mask and it.steps]
        return [*self.inputs, *masks]

    @property
    def input_steps(self) -> dict[str, int]:
        """Steps in time of each of several inputs in a row."""
        return {name: it.steps for name, it in self.inputs.items()}

    @property
    def description(self) -> Description:
        """The meaning of columns and rows of the samples."""
        parts = {name: it.description for name, it in self.inputs.items()}
        if parts:
            return replace(Description.unknown(), parts=parts)
        return self.of_inputs[""].description

    def of_files(self, functions: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the options of sources that follow from the training.

        Parameters
        ----------
        functions : mapping, optional
            Those that a step calls, by name, where they cannot be imported.
        """
        stepped = {it.get("input", "") for it in self.steps}
        rates = {
            name: it.rate_hz
            for name, it in self.inputs.items()
            if it.rate_hz and name not in stepped  # whose files have another before them
        }
        return {
            "channels": self._channels_of_files(),
            **({"rate_hz": rates} if rates else {}),
            "kind": "dense" if self.takes_rows else "ragged",
            "steps": steps_from_recorded(self.steps, functions),
            "before_steps": description_from(self.before_steps),
        }

    def _channels_of_files(self) -> Any:
        if not self.inputs:
            return self.source_channels if self.steps else self.channels
        channels = {name: it.channels for name, it in self.inputs.items()}
        if isinstance(self.source_channels, Mapping):
            channels |= {it: own and tuple(own) for it, own in self.source_channels.items()}
        return {name: it for name, it in channels.items() if it} or None

    def save(self, path: str | Path) -> None:
        """Write it as JSON; a file that is there is replaced atomically."""
        values = asdict(replace(self, scaling=None, inputs={}))
        # Which an older zarrts would not know.
        values = {name: it for name, it in values.items() if name not in _OF_SEVERAL}
        if self.inputs:
            values["inputs"] = {name: it.to_dict() for name, it in self.inputs.items()}
            values["is_alone"] = self.is_alone
        if self.label_steps > 1:
            values |= {"picked": self.picked, "label_steps": self.label_steps}
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
            counts = values.pop("counts", None)
            scaling = values.pop("scaling")
            if scaling is not None:
                scaling = Scaling.from_dict(scaling)
            names, channels = values.pop("class_names"), values.pop("channels", None)
            of_source = values.pop("source_channels", None)
            units, by_hand = values.pop("units", None), values.pop("by_hand", ())
            lengths, merges = values.pop("lengths", None), values.pop("merges", None)
            inputs = values.pop("inputs", {})
            columns = values.pop("columns", None)
            return Spec(
                inputs={name: InputSpec.from_dict(it) for name, it in inputs.items()},
                scaling=scaling,
                class_names=None if names is None else tuple(names),
                row_shape=tuple(values.pop("row_shape")),
                channels=None if channels is None else tuple(channels),
                source_channels=tuple(of_source) if isinstance(of_source, list) else of_source,
                units=None if units is None else tuple(units),
                lengths=None if lengths is None else tuple(lengths),
                merges=None if merges is None else tuple((old, new) for old, new in merges),
                by_hand=tuple(by_hand),
                columns=columns_of(columns),
                counts=None if counts is None else CountedInputs.from_saved(counts),
                **values,
            )
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}).") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path} is not a spec that seq.save_spec() wrote ({error}); save it again."
            ) from error

    @property
    def takes_rows(self) -> bool:
        """Whether a sample is one row of an array."""
        return self.x_steps is not None and np.ndim(self.x_steps) == 0

    def fit(self, n_rows: int) -> Fit:
        """Return how a sample of so many rows is brought to a length that the network knows.

        Raises
        ------
        SampleError
            If the lengths are not known.
        """
        padding, lengths = self.padding or {}, self.known_lengths
        if lengths is None:
            raise SampleError(
                "This spec was saved by an older zarrts, and does not say to which length samples "
                "were padded; save it again, from a sequence with the same options: "
                "seq.save_spec(path)."
            )
        if padding.get("buckets") is not None and n_rows > max(lengths):
            lengths = ()  # as it is: nothing was cut in the training either
        return BatchLengths(lengths, padding.get("truncate") == "pre").fit(np.array([n_rows]))

    @property
    def known_lengths(self) -> tuple[int, ...] | None:
        """The lengths of batches, ascending; () for that of the longest, None if not known."""
        padding = self.padding or {}
        pad, buckets = padding.get("pad"), padding.get("buckets")
        if self.lengths is not None:
            return self.lengths
        if isinstance(pad, int):
            return (pad,)
        if pad == "batch" and not isinstance(buckets, int):
            return tuple(sorted({*buckets})) if buckets else ()
        return None

    def options(self, label_mode: LabelModes | None, longest: int = 0) -> BatchOptions:
        """Return the options that feed other samples alike, in their order.

        Parameters
        ----------
        longest : int
            Rows of the longest of their store, where these are of unequal lengths.
        """
        padding = dict(self.padding or {})
        if "value" in padding:
            padding["pad_value"] = padding.pop("value")
        lengths = self.known_lengths
        if padding.get("pad") == "longest" and lengths:
            padding["pad"] = lengths[0]
        if padding.get("buckets") is not None and lengths:
            padding["buckets"] = tuple(sorted({*lengths, max(longest, *lengths)}))
        return BatchOptions(
            batch_size=self.batch_size,
            shuffle=False,
            label_mode=label_mode,
            stats=handed_out({name: it.scaling for name, it in self.of_inputs.items()}),
            inputs=next(iter(self.inputs)) if self.is_alone else [*self.inputs] or None,
            nan=self.nan,
            dtype=STORED if self.takes_counts else self.dtype,
            mask=self.has_mask,
            memory=self.memory_bytes,
            **padding,
        )

    def treat(
        self, rows: AnyArray, own: Mapping[str, Linear] | None = None, fit: Fit | None = None
    ) -> Any:
        """Return samples of a source as the network gets them, as if they came from the store.

        Parameters
        ----------
        rows : shape (n_samples, ...)
            Of several inputs, records; what is returned is a dictionary then.
        own : dict of Linear, optional
            What scales each input of the subject that they are of, where the network was trained
            so.
        fit : Fit, optional
            How samples of unequal lengths got the same; what is behind their end is padded.
        """
        parts, pad_value = parts_of(rows), (self.padding or {}).get("value", 0.0)
        if self.takes_rows or not self.inputs:
            first = parts
        else:  # what does not change in time is the same in each row
            first = {
                name: it if self.inputs[name].steps else self._first_row_of(it)
                for name, it in parts.items()
                if name in self.inputs
            }
        treated = {
            name: it.treat(
                first[name], (own or {}).get(name), fit, nan=self.nan, pad_value=pad_value
            )
            for name, it in self.of_inputs.items()
        }
        return next(iter(treated.values())) if self.is_alone else handed_out(treated)

    def _first_row_of(self, rows: AnyArray) -> AnyArray:
        for _ in range(1 if self.x_steps is None else np.ndim(self.x_steps)):
            rows = rows[:, 0]
        return rows


def columns_of(x: Any) -> tuple[str, ...] | Mapping[str, Any] | None:
    """Return the columns of tables that are x, or what each of several inputs is in a file.

    None where x is named otherwise, or not at all.
    """
    if isinstance(x, Mapping):
        return {name: it if isinstance(it, str) else tuple(it) for name, it in x.items()}
    return tuple(x) if isinstance(x, list | tuple) else None
