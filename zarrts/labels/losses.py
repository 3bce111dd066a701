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
_NO_LABEL = -1  # which many studies have for a label that is missing


def check_loss(
    loss: Any,
    label_mode: object,
    class_names: Sequence[Label] | None,
    n_outputs: int | None,
    n_columns: int | None = None,
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
    n_columns : int, optional
        Length of the last axis of a label, where labels are rows.

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
    if class_names is None:
        return
    if key in _SPARSE:
        _check_missing(loss, name, label_mode, class_names)
    if label_mode not in ("int", "categorical", "binary"):
        return
    n_classes = len(class_names)
    if _are_yes_or_no(label_mode, class_names, n_outputs, n_columns):
        _check_yes_or_no(key, name, n_columns)
        return
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
            f"n_classes of the store.{_hint(class_names)}"
        )
    if key in _DISTANCES and label_mode == "int" and list(class_names) != [*range(n_classes)]:
        _warn_of_positions(name, class_names)


def _are_yes_or_no(
    label_mode: object,
    class_names: Sequence[Label],
    n_outputs: int | None,
    n_columns: int | None,
) -> bool:
    """Return whether each label is a row of 0 and 1, with an output of the network for each."""
    is_row = n_columns is not None and n_columns > 1 and n_outputs == n_columns
    return label_mode == "int" and is_row and {*class_names} <= {0, 1}


def _check_yes_or_no(key: str, name: str, n_columns: int | None) -> None:
    if key in _CATEGORICAL | _SPARSE:
        wants = "a row with one 1" if key in _CATEGORICAL else "one number"
        raise SampleError(
            f"loss={name!r} wants each label as {wants}, but these are rows of {n_columns} times 0 "
            "or 1, of which some have several 1 or none; compile with 'binary_crossentropy' and "
            f"Dense({n_columns}, 'sigmoid')."
        )


def _check_missing(loss: Any, name: str, label_mode: object, class_names: Sequence[Label]) -> None:
    """Refuse a loss that gets labels below 0, or ignores another class than it was told to."""
    if label_mode == "raw" and _NO_LABEL in class_names:
        raise SampleError(
            f"loss={name!r} wants labels from 0 on, but label_mode='raw' gives {_NO_LABEL} as "
            f"well; use label_mode='int'.{_hint(class_names)}"
        )
    config: dict[str, Any] = loss.get_config() if hasattr(loss, "get_config") else {}
    ignored: Any = config.get("ignore_class")
    names = list(class_names)
    if label_mode == "int" and ignored in names and names.index(ignored) != ignored:
        raise SampleError(
            f"loss={name!r} ignores label {ignored}, but label_mode='int' gives positions in "
            f"class_names, where the class {ignored} is {names.index(ignored)}; leave ignore_class "
            f"out, and train on samples.labelled(missing={ignored})."
        )


def _hint(class_names: Sequence[Label]) -> str:
    if _NO_LABEL not in class_names:
        return ""
    return (
        f" If {_NO_LABEL} stands for a label that is missing, it is not a class: train on "
        f"samples.labelled(missing={_NO_LABEL})."
    )


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
