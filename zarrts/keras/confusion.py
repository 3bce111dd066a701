"""Count which class a network takes for which, batch by batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.results import Evaluation, Places, Predictions, codes_of
from zarrts.types import AnyArray, IntArray

Locate = Callable[[IntArray, IntArray], Places]


def output_of(model: Any, x: Any) -> AnyArray:
    """Return what a network of one output gives for a batch."""
    values = model.predict_on_batch(x)
    if not isinstance(values, np.ndarray):
        raise SampleError(
            f"The network has several outputs ({type(values).__name__}); give one with a single "
            "output, such as keras.Model(model.inputs, model.outputs[0])."
        )
    return values


class Confusion:
    """Counts, batch by batch, which class a network takes for which.

    Parameters
    ----------
    model : keras.Model
    subjects : sequence of str
    class_names : sequence
    keeps : bool
        Keep what the network gives for each sample, in memory.
    """

    def __init__(
        self, model: Any, subjects: Sequence[str], class_names: Sequence[Any], *, keeps: bool
    ) -> None:
        self._keeps = keeps
        self._kept: list[tuple[AnyArray, IntArray, IntArray, IntArray]] = []
        self._model, self._subjects, self._names = model, subjects, tuple(class_names)
        n_classes = len(self._names)
        self._counts = np.zeros((len(subjects), n_classes, n_classes), np.int64)

    def add(
        self, inputs: Any, true: IntArray, subject: IntArray, ids: IntArray, recordings: IntArray
    ) -> None:
        """Count a batch.

        Parameters
        ----------
        true : int64, shape (n_samples,) or (n_samples, n_labels)
            Codes; -1 is not counted.
        subject : int64, shape (n_samples,)
            Position in `subjects`.
        ids, recordings : int64, shape (n_samples,)
            Of the samples, and the numbers of their recordings.
        """
        values = output_of(self._model, inputs)
        predicted = codes_of(values, len(self._names))
        if predicted.shape != true.shape:
            raise SampleError(
                f"The network predicts shape {predicted.shape}, but labels have {true.shape}."
            )
        owner = np.broadcast_to(subject.reshape(-1, *[1] * (true.ndim - 1)), true.shape)
        counted = true >= 0
        np.add.at(self._counts, (owner[counted], true[counted], predicted[counted]), 1)
        if self._keeps:
            self._kept.append((values, true, ids, recordings))

    def evaluation(self, chosen: IntArray, locate_samples: Locate) -> Evaluation:
        """Return what was counted of some subjects.

        Parameters
        ----------
        locate_samples : callable
            Returns the places of samples, by their ids and the numbers of their recordings.
        """
        return Evaluation(
            subjects=tuple(self._subjects[code] for code in chosen),
            class_names=self._names,
            confusion=self._counts[chosen],
            predictions=self._predictions(locate_samples),
        )

    def _predictions(self, locate_samples: Locate) -> Predictions | None:
        """Return predictions of batches as one; None where none are kept."""
        if not self._kept:
            return None
        shapes = {values.shape[1:] for values, *_ in self._kept}
        if len(shapes) > 1:
            raise SampleError(
                f"predictions=True: the network gives shapes {sorted(shapes)}, and predictions of "
                "unequal lengths fit no array; pad to one length."
            )
        values, true, ids, recordings = (np.concatenate(it) for it in zip(*self._kept, strict=True))
        return Predictions(
            values=values,
            sample_ids=ids,
            recordings=recordings,
            class_names=self._names,
            places=locate_samples(ids, recordings),
            true=np.asarray(true, np.int64),
        )
