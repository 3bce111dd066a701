"""What Keras is told of a data set whose loader has threads of its own."""

import sys
from typing import Any, NoReturn

from zarrts.backend import keras
from zarrts.keras import adapter
from zarrts.loading.passes import Pass, Passes, Reader


class OwnThreads(keras.utils.PyDataset):  # type: ignore[misc]
    """A data set with one worker, as Keras sees it; whoever wants more is told why not.

    Attributes
    ----------
    reader : Reader, or None
        Of the latest `fit`, `evaluate` or `predict`.
    """

    passes: Passes

    def __init__(self) -> None:
        super().__init__()
        self.reader: Reader | None = None

    def next_of(self, current: Pass) -> Any:
        """Return the next batch of a pass as Keras wants it, or None at its end."""
        raise NotImplementedError

    def unlike_batches(self) -> list[Any]:
        """Return two batches of unlike lengths, if padding leaves batches unlike; else none."""
        raise NotImplementedError

    def check_use(self, method: str, model: Any, class_weight: Any) -> None:
        """Refuse, or warn of, a `fit`, `evaluate` or `predict` that this is not made for."""
        raise NotImplementedError

    @property
    def workers(self) -> int:
        """How many threads Keras reads with: one, since the loader has its own."""
        frame = sys._getframe(1)
        reader = adapter.attach(frame, self)
        if reader is not None:
            self.reader = reader
            trainer = adapter.trainer_of(frame)
            if trainer is not None:
                self.check_use(*trainer, adapter.class_weight_of(frame))
        return 1

    @workers.setter
    def workers(self, value: object) -> NoReturn:
        _refuse("workers", value, "threads of zarrts' own read ahead: ZarrSequence(workers=...)")

    @property
    def use_multiprocessing(self) -> bool:
        """False: see `workers`."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: object) -> NoReturn:
        _refuse(
            "use_multiprocessing",
            value,
            "threads read ahead, and processes would each decode everything again",
        )

    @property
    def max_queue_size(self) -> int:
        """Unused: `memory` bounds what is read ahead in bytes."""
        return 1

    @max_queue_size.setter
    def max_queue_size(self, value: object) -> NoReturn:
        _refuse("max_queue_size", value, "ZarrSequence(memory=...) bounds what is read ahead")


def _refuse(name: str, value: object, reason: str) -> NoReturn:
    raise TypeError(f"{name}={value!r} is not for a ZarrSequence: {reason}.")
