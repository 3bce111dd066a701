"""Counts of which class was taken for which, by subject, and the scores that follow from them."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.results import predictions as predicted
from zarrts.results import scores
from zarrts.results.predictions import Predictions
from zarrts.sizes import format_count
from zarrts.system import replace_file
from zarrts.types import IntArray, Label

_MAX_SUBJECTS = 100
_LATEX = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """The number of samples of each subject and class that were taken for each class.

    Evaluations of folds are joined by `sum(evaluations)`, or `Evaluation.joined(evaluations)`.

    Attributes
    ----------
    subjects : tuple of str
    class_names : tuple
    confusion : int64, shape (n_subjects, n_classes, n_classes)
        [subject, true class, predicted class]; samples without a label are left out.
    predictions : Predictions, or None
        What the network gave for each sample, with its file and time, if that was kept.
    """

    subjects: tuple[str, ...]
    class_names: tuple[Label, ...]
    confusion: IntArray
    predictions: Predictions | None = None

    # Scores ------------------------------------------------------------------------------

    @property
    def n_samples(self) -> IntArray:
        """Samples of each subject."""
        return np.asarray(self.confusion.sum(axis=(1, 2)))

    @property
    def total(self) -> IntArray:
        """The confusion matrix of all subjects, shape (n_classes, n_classes)."""
        return np.asarray(self.confusion.sum(axis=0))

    @property
    def accuracy(self) -> float:
        """Correct among all samples."""
        return float(scores.accuracy(self.total))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that occur."""
        return float(scores.balanced_accuracy(self.total))

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur or are predicted."""
        return float(scores.macro_f1(self.total))

    @property
    def kappa(self) -> float:
        """Cohen's kappa, agreement beyond chance."""
        return float(scores.kappa(self.total))

    @property
    def class_recall(self) -> NDArray[np.float64]:
        """Correct among the samples of each class, of all subjects, shape (n_classes,)."""
        return scores.recall(self.total)

    @property
    def class_precision(self) -> NDArray[np.float64]:
        """Correct among the samples taken for each class, shape (n_classes,)."""
        return scores.precision(self.total)

    @property
    def class_f1(self) -> NDArray[np.float64]:
        """F1 of each class, shape (n_classes,)."""
        return scores.f1(self.total)

    @property
    def subject_accuracy(self) -> NDArray[np.float64]:
        """Correct among the samples of each subject; NaN where there are none."""
        return scores.accuracy(self.confusion)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Correct among the samples of each [subject, class]; NaN where there are none."""
        return scores.recall(self.confusion)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Correct among those taken for each [subject, class]; NaN where there are none."""
        return scores.precision(self.confusion)

    def by_subject(self, score: str = "accuracy") -> NDArray[np.float64]:
        """Return a score of each subject, shape (n_subjects,); NaN where it is not defined.

        Parameters
        ----------
        score : str
            "accuracy", "balanced_accuracy", "macro_f1" or "kappa".
        """
        if score not in scores.NAMES:
            raise SampleError(f"by_subject({score!r}): choose one of {', '.join(scores.NAMES)}.")
        return scores.score(score, self.confusion)

    def mean_and_spread(self, score: str = "accuracy") -> tuple[float, float]:
        """Return mean and standard deviation (n - 1) of a score over subjects, as published.

        Subjects of whom the score is not defined are left out; the deviation of fewer than two
        is NaN.
        """
        values = self.by_subject(score)
        values = values[~np.isnan(values)]
        mean = float(values.mean()) if len(values) else np.nan
        return mean, float(values.std(ddof=1)) if len(values) > 1 else np.nan

    # Folds -------------------------------------------------------------------------------

    @staticmethod
    def joined(evaluations: Iterable["Evaluation"]) -> "Evaluation":
        """Return the evaluations of several folds as one; counts of a subject are added up.

        Predictions are joined where all have them.

        Raises
        ------
        SampleError
            If there are none, their classes differ, or a sample was predicted twice.
        """
        some = list(evaluations)
        if not some:
            raise SampleError("There are no evaluations to be joined.")
        names = some[0].class_names
        if other := next((it for it in some if it.class_names != names), None):
            raise SampleError(
                f"These evaluations have the classes {other.class_names} and {names}; join those "
                "of networks that tell the same classes."
            )
        subjects = tuple(dict.fromkeys(name for it in some for name in it.subjects))
        places = {name: i for i, name in enumerate(subjects)}
        confusion = np.zeros((len(subjects), len(names), len(names)), np.int64)
        for it in some:
            np.add.at(confusion, [places[name] for name in it.subjects], it.confusion)
        kept = [it.predictions for it in some if it.predictions is not None]
        return Evaluation(
            subjects=subjects,
            class_names=names,
            confusion=confusion,
            predictions=predicted.joined(kept) if len(kept) == len(some) else None,
        )

    def __add__(self, other: "Evaluation") -> "Evaluation":
        if not isinstance(other, Evaluation):
            return NotImplemented
        return Evaluation.joined([self, other])

    def __radd__(self, other: object) -> "Evaluation":
        """Let `sum` begin with its 0."""
        return self if other == 0 else NotImplemented

    # Tables and pictures -----------------------------------------------------------------

    def to_frame(self) -> Any:
        """Return a pandas DataFrame, a line a subject and a last one "all".

        Columns: `samples`, the scores, then `recall_CLASS` and `precision_CLASS` of each class;
        the index is the subject.

        Raises
        ------
        ImportError
            Without pandas.
        """
        pandas = predicted.import_pandas()
        every = np.concatenate([self.confusion, self.total[None]])
        columns: dict[str, Any] = {"samples": every.sum(axis=(1, 2))}
        columns |= {name: scores.score(name, every) for name in scores.NAMES}
        for what, values in (
            ("recall", scores.recall(every)),
            ("precision", scores.precision(every)),
        ):
            parts = zip(self.class_names, values.T, strict=True)
            columns |= {f"{what}_{name}": part for name, part in parts}
        index = pandas.Index([*self.subjects, "all"], name="subject")
        return pandas.DataFrame(columns, index=index)

    def to_csv(self) -> str:
        """Return the confusion matrix as CSV: a line a true class, a column a predicted one."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["true \\ predicted", *map(str, self.class_names)])
        for name, row in zip(self.class_names, self.total.tolist(), strict=True):
            writer.writerow([str(name), *row])
        return out.getvalue()

    def to_latex(self) -> str:
        """Return the confusion matrix, precision, recall and F1 as a LaTeX `tabular`.

        It needs no package; rows are true classes.
        """
        names = [str(name).translate(_LATEX) for name in self.class_names]
        lines = [
            rf"\begin{{tabular}}{{l{'r' * len(names)}rrr}}",
            r"\hline",
            " & ".join(["true", *names, "precision", "recall", "F1"]) + r" \\",
            r"\hline",
        ]
        table = zip(self.class_precision, self.class_recall, self.class_f1, strict=True)
        for name, row, own in zip(names, self.total.tolist(), table, strict=True):
            cells = [name, *(f"{n:d}" for n in row), *map(_shown, own)]
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"

    def draw(self, path: str | Path) -> None:
        """Write the confusion matrix as a picture: .png, .svg or .pdf.

        Raises
        ------
        ImportError
            Without Matplotlib.
        SampleError
            If the name says no kind of picture.
        """
        from zarrts.results.drawing import draw_confusion

        draw_confusion(self.total, [str(name) for name in self.class_names], Path(path))

    # Files -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return its counts as what JSON can hold."""
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
        """Write it: its counts as `.json`, its predictions as well as `.npz`.

        Raises
        ------
        SampleError
            If predictions were kept, and the file cannot hold them.
        """
        target = Path(path)
        is_npz = target.suffix.lower() == ".npz"
        if self.predictions is None and not is_npz:
            replace_file(target, json.dumps(self.to_dict()).encode())
            return
        if not is_npz:
            raise SampleError(
                f"{target}: predictions were kept, which only an .npz file holds; name it "
                f"{target.with_suffix('.npz').name}."
            )
        arrays = {"evaluation": np.array(json.dumps(self.to_dict()))}
        if self.predictions is not None:
            arrays |= self.predictions.to_arrays()
        replace_file(target, predicted.save_arrays(target, arrays))

    @staticmethod
    def load(path: str | Path) -> "Evaluation":
        """Return what `save` wrote; nothing in the file is executed.

        Raises
        ------
        SampleError
            If the file holds nothing of the kind.
        """
        try:
            found = _read(Path(path))
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

    # Words -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return (
            f"<Evaluation of {format_count(int(self.n_samples.sum()), 'sample')}, "
            f"{format_count(len(self.subjects), 'subject')}: "
            f"{self.accuracy:.3f} correct; print it for the table>"
        )

    def __str__(self) -> str:
        """Return a table: a line a subject, of at most 100, the recall of each class; scores."""
        names = [str(it) for it in self.class_names]
        header = ["subject", "samples", "correct", *names]
        total = Evaluation(
            subjects=("all",), class_names=self.class_names, confusion=self.total[None]
        )
        rows = [header]
        for table in (self, total):
            shares = np.column_stack([table.subject_accuracy, table.recall])
            some = zip(table.subjects, table.n_samples, shares, strict=True)
            for subject, n_samples, parts in islice(some, _MAX_SUBJECTS):
                rows.append([subject, f"{n_samples:,}", *map(_shown, parts)])
            n_hidden = len(table.subjects) - _MAX_SUBJECTS
            if n_hidden > 0:
                rows.append([f"and {n_hidden:,} more", *[""] * (len(header) - 1)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        lines = []
        for row in rows:
            first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join([row[0].ljust(len(first)), *rest]).rstrip())
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """Return the scores, and mean and deviation of the accuracy by subject, in a line."""
        mean, spread = self.mean_and_spread()
        several = f" (by subject {mean:.3f} \N{PLUS-MINUS SIGN} {spread:.3f})"
        return (
            f"accuracy {_shown(self.accuracy)}{'' if np.isnan(spread) else several}, balanced "
            f"{_shown(self.balanced_accuracy)}, macro F1 {_shown(self.macro_f1)}, kappa "
            f"{_shown(self.kappa)}"
        )


def _shown(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _read(path: Path) -> Evaluation:
    content = path.read_bytes()
    if not content.startswith(b"PK"):
        return Evaluation.from_dict(json.loads(content))
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found = Evaluation.from_dict(json.loads(str(arrays.pop("evaluation"))))
    if not arrays:
        return found
    return Evaluation(
        subjects=found.subjects,
        class_names=found.class_names,
        confusion=found.confusion,
        predictions=Predictions.from_arrays(arrays),
    )
