"""What a network said of samples: predictions in the order of their ids, and how many are right."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.sizes import format_count
from zarrts.system import replace_file
from zarrts.types import AnyArray, IntArray, Label

Merge = Literal["mean", "vote"]
_MAX_SUBJECTS = 100
_MAX_NAMES = 10


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Predictions:
    """What a network predicts, one entry a sample, in the order of the sample ids.

    Attributes
    ----------
    values : array, shape (n_samples, ...)
        As the network gives them; a memory map or a Zarr array where they were written to a file.
    sample_ids : int64, shape (n_samples,)
    recordings : int64, shape (n_samples,)
        Number of the recording (or, of source files, of the file) that each sample is from.
    class_names : tuple, or None
    """

    values: Any
    sample_ids: IntArray
    recordings: IntArray
    class_names: tuple[Label, ...] | None

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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """How many samples of each subject and class were taken for which class.

    Attributes
    ----------
    subjects : tuple of str
    class_names : tuple
    confusion : int64, shape (n_subjects, n_classes, n_classes)
        [subject, true class, predicted class]; samples without a label are left out.
    """

    subjects: tuple[str, ...]
    class_names: tuple[Label, ...]
    confusion: IntArray

    @property
    def n_samples(self) -> IntArray:
        """Samples of each subject."""
        return np.asarray(self.confusion.sum(axis=(1, 2)))

    @property
    def accuracy(self) -> float:
        """Correct among all samples."""
        return float(_ratio(np.trace(self.confusion.sum(axis=0)), self.confusion.sum()))

    @property
    def subject_accuracy(self) -> NDArray[np.float64]:
        """Correct among the samples of each subject; NaN where there are none."""
        return _ratio(np.trace(self.confusion, axis1=1, axis2=2), self.n_samples)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Correct among the samples of each [subject, class]; NaN where there are none."""
        return _ratio(np.diagonal(self.confusion, axis1=1, axis2=2), self.confusion.sum(axis=2))

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "subjects": list(self.subjects),
            "class_names": list(self.class_names),
            "confusion": self.confusion.tolist(),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Evaluation":
        """Return what `to_dict` gave."""
        return Evaluation(
            subjects=tuple(values["subjects"]),
            class_names=tuple(values["class_names"]),
            confusion=np.array(values["confusion"], np.int64),
        )

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        replace_file(Path(path), json.dumps(self.to_dict()).encode())

    @staticmethod
    def load(path: str | Path) -> "Evaluation":
        """Return what `save` wrote.

        Raises
        ------
        SampleError
            If the file holds nothing of the kind.
        """
        try:
            values = json.loads(Path(path).read_bytes())
            found = Evaluation.from_dict(values)
            wanted = (len(found.subjects), *2 * (len(found.class_names),))
            if found.confusion.shape != wanted:
                raise ValueError(f"confusion has shape {found.confusion.shape}, not {wanted}")
        except FileNotFoundError as error:
            raise SampleError(f"{path}: there is no such file.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SampleError(
                f"{path} holds no results that zarrts.evaluate(...).save wrote ({error})."
            ) from error
        return found

    def __repr__(self) -> str:
        return (
            f"<Evaluation of {format_count(int(self.n_samples.sum()), 'sample')}, "
            f"{format_count(len(self.subjects), 'subject')}: "
            f"{self.accuracy:.3f} correct; print it for the table>"
        )

    def __str__(self) -> str:
        """Return a table: a line a subject, of at most 100, and the recall of each class."""
        names = [str(it) for it in self.class_names]
        header = ["subject", "samples", "correct", *names]
        total = Evaluation(
            subjects=("all",),
            class_names=self.class_names,
            confusion=self.confusion.sum(axis=0, keepdims=True),
        )
        rows = [header]
        for table in (self, total):
            shares = np.column_stack([table.subject_accuracy, table.recall])
            some = zip(table.subjects, table.n_samples, shares, strict=True)
            for subject, n_samples, parts in islice(some, _MAX_SUBJECTS):
                shown = ["-" if np.isnan(it) else f"{it:.3f}" for it in parts]
                rows.append([subject, f"{n_samples:,}", *shown])
            n_hidden = len(table.subjects) - _MAX_SUBJECTS
            if n_hidden > 0:
                rows.append([f"and {n_hidden:,} more", *[""] * (len(header) - 1)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        lines = []
        for row in rows:
            first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join([row[0].ljust(len(first)), *rest]).rstrip())
        return "\n".join(lines)


def _ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    part, whole = np.asarray(part, np.float64), np.asarray(whole)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))
