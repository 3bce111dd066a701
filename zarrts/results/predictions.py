"""Predictions in the order of their sample ids, with the file and the time that each is of."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.sizes import format_count
from zarrts.types import AnyArray, IntArray, Label

Merge = Literal["mean", "vote"]
_MAX_NAMES = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """The places of samples: their recordings, and the time steps in these.

    Attributes
    ----------
    subjects : tuple of str, or None
        Subject of each recording, where it is known.
    sources : tuple of str
        Source file of each recording.
    starts, stops : int64, shape (n_samples,)
        Half-open range of rows of its recording that each sample is: time steps of a ragged
        store, positions of samples of a dense one.
    rate_hz : float, or None
        Rows in a second, where rows are time steps and that is known.
    """

    subjects: tuple[str, ...] | None
    sources: tuple[str, ...]
    starts: IntArray
    stops: IntArray
    rate_hz: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Predictions:
    """The predictions of a network, one entry a sample, in the order of the sample ids.

    Attributes
    ----------
    values : array, shape (n_samples, ...)
        As the network gives them; a memory map or a Zarr array where they were written to a file.
    sample_ids : int64, shape (n_samples,)
    recordings : int64, shape (n_samples,)
        Number of the recording (or, of source files, of the file) that each sample is from.
    class_names : tuple, or None
    places : Places, or None
        File and time of each sample.
    true : int64, shape (n_samples, ...), or None
        Position in `class_names` of the true class, -1 where there is no label; where predictions
        were made to be compared.
    """

    values: Any
    sample_ids: IntArray
    recordings: IntArray
    class_names: tuple[Label, ...] | None
    places: Places | None = None
    true: IntArray | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __repr__(self) -> str:
        names = self.class_names
        what = "numbers" if names is None else f"classes {', '.join(map(str, names[:_MAX_NAMES]))}"
        more = ", ..." if len(names or ()) > _MAX_NAMES else ""
        n_samples = format_count(len(self), "sample")
        return f"<Predictions of {n_samples}: shape {self.values.shape}, {what}{more}>"

    @property
    def codes(self) -> IntArray:
        """The most likely class of each, as a position in `class_names`."""
        return codes_of(np.asarray(self.values[...]), self._n_classes())

    @property
    def names(self) -> AnyArray:
        """The most likely class of each."""
        self._n_classes()
        return np.array(self.class_names)[self.codes]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Values of each class, shape (n_samples, ..., n_classes), as the network gives them.

        Of two classes with a single value p these are 1 - p and p.
        """
        n_classes = self._n_classes()
        values = np.asarray(self.values[...], np.float64)
        codes_of(values, n_classes)  # refuses what gives no class
        if values.shape[-1] == 1 and n_classes == 2:
            return np.concatenate([1 - values, values], axis=-1)
        return values

    def _n_classes(self) -> int:
        if self.class_names is None:
            raise SampleError("These predictions are numbers, not classes.")
        return len(self.class_names)

    def merged(self, how: Merge = "mean") -> "Predictions":
        """Return one prediction a recording, from those of its windows.

        "mean": the mean of what the network gave. "vote": which part of the windows is of each
        class, by the most likely class of each. `sample_ids` then are numbers of recordings.
        """
        if how not in ("mean", "vote"):
            raise SampleError(f"merge={how!r} is unknown; use 'mean' or 'vote'.")
        values = np.asarray(self.values[...])
        if how == "vote":
            values = np.eye(self._n_classes(), dtype=np.float32)[self.codes]
        numbers, inverse, counts = np.unique(
            self.recordings, return_inverse=True, return_counts=True
        )
        total = np.zeros((len(numbers), *values.shape[1:]), np.float64)
        np.add.at(total, inverse, values)
        mean = total / counts.reshape(-1, *[1] * (values.ndim - 1))
        return Predictions(
            values=mean.astype(values.dtype if values.dtype.kind == "f" else np.float64),
            sample_ids=numbers,
            recordings=numbers,
            class_names=self.class_names,
            places=None if self.places is None else _whole(self.places, inverse, len(numbers)),
        )

    def to_frame(self) -> Any:
        """Return a pandas DataFrame: sample id, subject, file, time, classes, probabilities.

        Columns are `sample_id`, `recording`, `subject`, `file`, `start`, `stop` (rows of the
        recording), `start_s` and `stop_s` (seconds, where the rate is known), `true`, `predicted`
        and `p_CLASS` for each class; of numbers `value`, or `value_0`, `value_1`, ... Columns of
        what is not known are left out.

        Raises
        ------
        ImportError
            Without pandas.
        SampleError
            If there are several predictions a sample, such as one for each step.
        """
        pandas = import_pandas()
        columns: dict[str, Any] = {"sample_id": self.sample_ids, "recording": self.recordings}
        if self.places is not None:
            columns |= _columns_of(self.places, self.recordings)
        values = np.asarray(self.values[...])
        if values.ndim > 2:
            raise SampleError(
                f"These predictions have shape {values.shape}, several for each sample; a table "
                "has one line a sample. Use .values and .sample_ids."
            )
        if self.class_names is None:
            values = values.reshape(len(self), -1)
            names = ["value"] if values.shape[1] == 1 else None
            columns |= dict(zip(names or _numbered(values.shape[1]), values.T, strict=True))
            return pandas.DataFrame(columns)
        if self.true is not None:
            known = np.array([*map(str, self.class_names), ""], object)
            columns["true"] = known[self.true]  # -1 is the last one
        columns["predicted"] = np.array(list(map(str, self.class_names)), object)[self.codes]
        parts = zip(self.class_names, self.probabilities.T, strict=True)
        columns |= {f"p_{name}": part for name, part in parts}
        return pandas.DataFrame(columns)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Return it as arrays that `np.savez` holds without pickling."""
        arrays: dict[str, AnyArray] = {
            "values": np.asarray(self.values[...]),
            "sample_ids": self.sample_ids,
            "recordings": self.recordings,
        }
        if self.class_names is not None:
            arrays["class_names"] = np.array(self.class_names)
        if self.true is not None:
            arrays["true"] = self.true
        if self.places is not None:
            arrays |= {
                "sources": np.array(self.places.sources, str),
                "starts": self.places.starts,
                "stops": self.places.stops,
                "rate_hz": np.array(self.places.rate_hz or np.nan),
            }
            if self.places.subjects is not None:
                arrays["subjects"] = np.array(self.places.subjects, str)
        return arrays

    @staticmethod
    def from_arrays(arrays: Mapping[str, AnyArray]) -> "Predictions":
        """Return what `to_arrays` gave."""
        places = None
        if "starts" in arrays:
            rate_hz = float(arrays["rate_hz"])
            subjects = arrays.get("subjects")
            places = Places(
                subjects=None if subjects is None else tuple(subjects.tolist()),
                sources=tuple(arrays["sources"].tolist()),
                starts=arrays["starts"],
                stops=arrays["stops"],
                rate_hz=None if np.isnan(rate_hz) else rate_hz,
            )
        names = arrays.get("class_names")
        return Predictions(
            values=arrays["values"],
            sample_ids=arrays["sample_ids"],
            recordings=arrays["recordings"],
            class_names=None if names is None else tuple(names.tolist()),
            places=places,
            true=arrays.get("true"),
        )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return predictions of different samples of one store as one, ids ascending.

    Raises
    ------
    SampleError
        If a sample is in two of them.
    """
    first = parts[0]
    ids = np.concatenate([it.sample_ids for it in parts])
    order = np.argsort(ids, kind="stable")
    if (np.diff(ids[order]) == 0).any():
        raise SampleError(
            "A sample is in two of the evaluations; join those of folds, which test each once."
        )
    places, true = None, None
    known = [it.places for it in parts if it.places is not None]
    if len(known) == len(parts):
        places = Places(
            subjects=known[0].subjects,
            sources=known[0].sources,
            starts=np.concatenate([it.starts for it in known])[order],
            stops=np.concatenate([it.stops for it in known])[order],
            rate_hz=known[0].rate_hz,
        )
    labels = [it.true for it in parts if it.true is not None]
    if len(labels) == len(parts):
        true = np.concatenate(labels)[order]
    return Predictions(
        values=np.concatenate([np.asarray(it.values[...]) for it in parts])[order],
        sample_ids=ids[order],
        recordings=np.concatenate([it.recordings for it in parts])[order],
        class_names=first.class_names,
        places=places,
        true=true,
    )


def codes_of(values: AnyArray, n_classes: int) -> IntArray:
    """Return the most likely class; of two classes, one sigmoid says how likely the second is."""
    if values.shape[-1] == n_classes and n_classes > 1 and values.ndim > 1:
        return np.asarray(values.argmax(axis=-1), np.int64)
    if values.shape[-1] == 1 and n_classes == 2:
        return np.asarray(values[..., 0] > 0.5, np.int64)
    raise SampleError(
        f"The network gives {values.shape[-1]} values a sample, but there are {n_classes} classes; "
        f"its last layer has to have {n_classes} units."
    )


def import_pandas() -> Any:
    """Return pandas.

    Raises
    ------
    ImportError
        Without it.
    """
    try:
        return import_module("pandas")
    except ImportError as error:
        raise ImportError("to_frame() needs pandas: python -m pip install pandas") from error


def save_arrays(path: Path, arrays: Mapping[str, AnyArray]) -> bytes:
    """Return the content of an `.npz` file of some arrays; `path` only names it in errors.

    Raises
    ------
    SampleError
        If an array would have to be pickled.
    """
    bad = [name for name, it in arrays.items() if it.dtype.kind == "O"]
    if bad:
        raise SampleError(f"{path}: {', '.join(bad)} cannot be saved without pickling.")
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))  # type: ignore[arg-type]
    return content.getvalue()


def _numbered(n: int) -> list[str]:
    return [f"value_{i}" for i in range(n)]


def _columns_of(places: Places, recordings: IntArray) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if places.subjects is not None:
        columns["subject"] = np.array(places.subjects, object)[recordings]
    columns["file"] = np.array(places.sources, object)[recordings]
    columns |= {"start": places.starts, "stop": places.stops}
    if places.rate_hz:
        columns["start_s"] = places.starts / places.rate_hz
        columns["stop_s"] = places.stops / places.rate_hz
    return columns


def _whole(places: Places, inverse: IntArray, n_recordings: int) -> Places:
    """Return the first to the last row that is predicted of each recording."""
    starts = np.full(n_recordings, np.iinfo(np.int64).max)
    stops = np.zeros(n_recordings, np.int64)
    np.minimum.at(starts, inverse, places.starts)
    np.maximum.at(stops, inverse, places.stops)
    return Places(
        subjects=places.subjects,
        sources=places.sources,
        starts=starts,
        stops=stops,
        rate_hz=places.rate_hz,
    )
