"""Losses that do not fit the labels: said before Keras fails on shapes, or trains on nonsense."""

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

from zarrts.errors import SampleError
from zarrts.types import Label

_SPARSE = {"sparsecategoricalcrossentropy"}
_CATEGORICAL = {"categoricalcrossentropy", "categoricalfocalcrossentropy"}
_BINARY = {"binarycrossentropy", "binaryfocalcrossentropy", "bce"}
_DISTANCES = {"mse", "meansquarederror", "mae", "meanabsoluteerror", "huber", "logcosh"}
_SOME = 3


def check_loss(
    loss: Any, label_mode: object, class_names: Sequence[Label] | None, n_outputs: int | None
) -> None:
    """Refuse a loss that cannot mean these labels; of losses that are the user's own, none.

    Parameters
    ----------
    loss : str, function or object
        As `compile` got it.
    label_mode : str
        What "auto" stands for, not "auto" itself.
    class_names : sequence, or None
        The classes, where labels are classes.
    n_outputs : int, or None
        Length of the last axis of what the network gives, where it is known.

    Raises
    ------
    SampleError
        If labels of this mode, or outputs of this length, make no sense to the loss.

    Warns
    -----
    UserWarning
        If a distance is taken between positions of classes that are not the labels themselves.
    """
    name = _name_of(loss)
    key = name.replace("_", "").lower()
    if class_names is None or label_mode not in ("int", "categorical", "binary"):
        return
    n_classes = len(class_names)
    if key in _SPARSE and label_mode == "categorical":
        raise SampleError(
            f"loss={name!r} wants each label as one number, but label_mode='categorical' gives "
            "rows with one 1; compile with 'categorical_crossentropy', or use label_mode='int'."
        )
    if key in _CATEGORICAL and label_mode != "categorical":
        raise SampleError(
            f"loss={name!r} wants each label as a row with one 1, but label_mode={label_mode!r} "
            "gives numbers; compile with 'sparse_categorical_crossentropy', or use "
            "label_mode='categorical'."
        )
    if key in _BINARY and label_mode == "int" and (n_classes > 2 or (n_outputs or 1) > 1):
        raise SampleError(
            f"loss={name!r} wants 0 or 1 for each output, but label_mode='int' gives one number "
            f"of 0 to {n_classes - 1}; compile with 'sparse_categorical_crossentropy' and "
            f"Dense({n_classes}, 'softmax'), or for two classes use label_mode='binary' and "
            "Dense(1, 'sigmoid')."
        )
    if key in _SPARSE | _CATEGORICAL and n_outputs is not None and n_outputs < n_classes:
        raise SampleError(
            f"The network gives {n_outputs} value{'s' * (n_outputs != 1)} a sample, but there are "
            f"{n_classes} classes; its last layer has to be Dense({n_classes}, 'softmax'), with "
            "n_classes of the store."
        )
    if key in _DISTANCES and label_mode == "int" and list(class_names) != [*range(n_classes)]:
        _warn_of_positions(name, class_names)


def count_outputs(model: Any) -> int | None:
    """Return how many values a network gives a sample (or step), where that is known."""
    shape = None
    with contextlib.suppress(AttributeError, ValueError):  # of a network that is not built yet
        shape = model.output_shape
    is_single = isinstance(shape, tuple) and bool(shape) and isinstance(shape[-1], int)
    return int(shape[-1]) if shape is not None and is_single else None


def _warn_of_positions(loss: str, class_names: Sequence[Label]) -> None:
    n_classes = len(class_names)
    some = ", ".join(map(str, class_names[:_SOME])) + (" ..." if n_classes > _SOME else "")
    remedy = "compile with 'sparse_categorical_crossentropy'"
    if not isinstance(class_names[0], str):
        remedy = f"if the labels are measures, use label_mode='raw'; if they are classes, {remedy}"
    warnings.warn(
        f"loss={loss!r} trains on 0 to {n_classes - 1}, the positions of the labels ({some}) in "
        f"class_names; {remedy}.",
        stacklevel=2,
    )


def _name_of(loss: Any) -> str:
    if isinstance(loss, str):
        return loss
    return str(getattr(loss, "__name__", type(loss).__name__))
