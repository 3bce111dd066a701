"""Keras, or the error that says how to install it; imported only by what cannot do without."""

from typing import Any

__all__ = ["keras"]

try:
    import keras as _keras
except ImportError as error:
    raise ImportError(
        "ZarrSequence needs Keras and a backend: python -m pip install 'zarrts[tensorflow]' "
        "(or 'zarrts[jax]', 'zarrts[torch]'). TensorFlow has releases for Python 3.11 to 3.13; for "
        "the others, set the variable KERAS_BACKEND to jax or torch."
    ) from error

keras: Any = _keras
