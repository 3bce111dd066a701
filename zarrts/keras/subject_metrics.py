"""Evaluate each subject apart while a network trains."""

from typing import Any

from zarrts.backend import keras
from zarrts.keras.prediction import evaluate
from zarrts.keras.sequence import ZarrSequence
from zarrts.results import Evaluation
from zarrts.samples import Samples


class SubjectMetrics(keras.callbacks.Callback):  # type: ignore[misc]
    """Evaluates each subject apart at the end of an epoch, beside `fit`'s own validation.

    It reads the samples once more. Logs get `val_accuracy/<subject>`, so that `History` and
    callbacks that come after this one see them.

    Attributes
    ----------
    evaluations : list of Evaluation
        One an epoch that was validated.
    """

    def __init__(self, samples: Samples, like: ZarrSequence, validation_freq: int = 1) -> None:
        super().__init__()
        self.samples, self.like, self.validation_freq = samples, like, validation_freq
        self.evaluations: list[Evaluation] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Evaluate, and add to the logs."""
        if (epoch + 1) % self.validation_freq:
            return
        found = evaluate(self.model, self.samples, like=self.like)
        self.evaluations.append(found)
        if logs is not None:
            for subject, accuracy in zip(found.subjects, found.subject_accuracy, strict=True):
                logs[f"val_accuracy/{subject}"] = float(accuracy)
