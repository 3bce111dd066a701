"""Keras' `class_weight`: keys that it would ignore without a word."""

from collections.abc import Mapping
from typing import Any

from zarrts.errors import SampleError
from zarrts.keywords import first_names
from zarrts.labels.scheme import LabelScheme


def check_class_weight(class_weight: Any, label_mode: object, scheme: LabelScheme) -> None:
    """Refuse a `class_weight` that is not a dict, or has keys that no label is.

    Keras looks up each label as a number, and takes 1 where it finds none: weights by name, or
    with keys that were read from JSON, have no effect.

    Parameters
    ----------
    label_mode : str
        What "auto" stands for, not "auto" itself.

    Raises
    ------
    SampleError
    """
    if not isinstance(class_weight, Mapping):
        raise SampleError(
            f"class_weight={class_weight!r} is not a dict of numbers of classes; for classes that "
            "count alike, give samples.class_weight()."
        )
    names = scheme.class_names
    if names is None:
        return
    known = list(range(len(names)))
    if label_mode == "raw" and scheme.encoding != "one_hot" and not isinstance(names[0], str):
        known = [int(name) for name in names]
    unknown = [repr(key) for key in class_weight if key not in known]
    if unknown:
        raise SampleError(
            f"class_weight has the keys {first_names(unknown)}, which Keras ignores: it knows the "
            f"classes as {first_names(known)}. Give {{seq.class_indices[name]: weight}} of each "
            "class, or samples.class_weight(); or weights by name to "
            "ZarrSequence(sample_weight={name: weight})."
        )
