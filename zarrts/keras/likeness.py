"""The treatment of new data: that of a training, read from its sequence or its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zarrts.errors import SampleError
from zarrts.keras.sequence import ZarrSequence
from zarrts.keras.spec import Spec
from zarrts.loading.options import OnError

Like = ZarrSequence | Spec | str | Path


def spec_of_like(like: Any) -> Spec:
    """Return the treatment that `like` stands for; SampleError if it stands for none."""
    if isinstance(like, ZarrSequence):
        return like.spec
    if isinstance(like, Spec):
        return like
    if isinstance(like, str | Path):
        return Spec.load(like)
    raise SampleError(
        f"like={like!r} has to say how the network was trained: the ZarrSequence, or the file that "
        "seq.save_spec(path) wrote. Without it, new data would be scaled otherwise."
    )


def names_of_x(given: Any, spec: Spec) -> str | tuple[str, ...] | Mapping[str, Any] | None:
    """Return the name of x, the columns that are x, or what each of several inputs is."""
    if given is not None:
        return given if isinstance(given, str | Mapping) else tuple(given)
    if isinstance(spec.columns, Mapping):
        return {name: it for name, it in spec.columns.items() if name in spec.inputs}
    return tuple(spec.inputs) or spec.columns


def on_error_of(like: Like) -> OnError:
    """Return what is done about samples that cannot be read, as in the training."""
    return like.on_error if isinstance(like, ZarrSequence) else "raise"
