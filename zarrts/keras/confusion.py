"""Count which class a network takes for which, batch by batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.keras.results import Evaluation, codes_of
from zarrts.types import AnyArray, IntArray


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
    """

    def __init__(self, model: Any, subjects: Sequence[str], class_names: Sequence[Any]) -> None:
        self._model, self._subjects, self._names = model, subjects, tuple(class_names)
        n_classes = len(self._names)
        self._counts = np.zeros((len(subjects), n_classes, n_classes), np.int64)

    def add(self, inputs: Any, true: IntArray, subject: IntArray) -> None:
        """Count a batch.

        Parameters
        ----------
        true : int64, shape (n_samples,) or (n_samples, n_labels)
            Codes; -1 is not counted.
        subject : int64, shape (n_samples,)
            Position in `subjects`.
        """
        predicted = codes_of(output_of(self._model, inputs), len(self._names))
        if predicted.shape != true.shape:
            raise SampleError(
                f"The network predicts shape {predicted.shape}, but labels have {true.shape}."
            )
        owner = np.broadcast_to(subject.reshape(-1, *[1] * (true.ndim - 1)), true.shape)
        counted = true >= 0
        np.add.at(self._counts, (owner[counted], true[counted], predicted[counted]), 1)

    def evaluation(self, chosen: IntArray) -> Evaluation:
        """Return what was counted of some subjects."""
        return Evaluation(
            subjects=tuple(self._subjects[code] for code in chosen),
            class_names=self._names,
            confusion=self._counts[chosen],
        )
