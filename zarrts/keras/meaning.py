"""Compare what the columns and rows of a store mean with what a network was trained with."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zarrts.errors import SampleError
from zarrts.sources import Reference
from zarrts.sources.step_records import described_steps
from zarrts.sources.study.agreement import agree, unsaid_in
from zarrts.sources.study.standards import Described, Wanted
from zarrts.store import Store
from zarrts.types import Description

OWNER = "the network was trained with"


def reference_of(description: Description, steps: Mapping[str, int] | None = None) -> Reference:
    """Return what new data have to fit; `steps` are those of several inputs."""
    return Reference(description=description, owner=OWNER, steps=steps or {})


def refuse_other_meaning(
    store: Store, trained: Description, steps: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Compare a store with what a network was trained with; warn of what the store does not say.

    Parameters
    ----------
    steps : sequence of mapping
        Those that the store of the training was made with; another one with others is warned of.

    Raises
    ------
    SampleError
        If its channels, their order, their units or the rate differ.
    """
    header = store.header
    own = [it for it in header.steps if it.get("input", "") in trained.of_inputs]
    if own != [*steps]:
        warnings.warn(
            f"{store.path}: its steps are {_shown(own)}, but {OWNER} {_shown(steps)}.",
            stacklevel=3,
        )
    if header.description == trained:
        return
    known, wanted = header.description.of_inputs, trained.of_inputs
    lacking = [name for name in wanted if name not in known]
    if lacking:
        raise SampleError(
            f"{store.path} has {_inputs(known)}, but {OWNER} {_inputs(wanted)}; convert it anew "
            "with the inputs of the training, named alike with x=."
        )
    for name, it in wanted.items():
        _refuse_other(store, name, known[name], it)


def _inputs(names: Iterable[str]) -> str:
    shown = ", ".join(names)
    return f"the inputs {shown}" if shown else "one input without a name"


def _refuse_other(store: Store, name: str, mine: Description, trained: Description) -> None:
    array = store.header.segments[0].inputs[name]
    described = Described(
        origin=f"{store.path}, {name}" if name else str(store.path),
        n_columns=array.n_channels if array.spec.row_shape else 0,
        description=mine,
    )
    agreed = agree([described], Wanted(reference=reference_of(trained)))
    if agreed.problems:
        raise SampleError("\n".join(agreed.problems))
    (adjusted,) = agreed.adjusted
    if not adjusted.is_same:
        what = [] if adjusted.columns is None else [f"channels {', '.join(mine.channels or ())}"]
        what += [] if adjusted.factors is None else [f"units {', '.join(mine.units or ())}"]
        other = [] if adjusted.columns is None else [", ".join(trained.channels or ())]
        other += [] if adjusted.factors is None else [", ".join(trained.units or ())]
        raise SampleError(
            f"{described.origin}: {' and '.join(what)}, but {OWNER} {' and '.join(other)}; of "
            "files, predict puts that in order: give the files, or convert them anew with the "
            "channels= and units= of the training."
        )
    for text in unsaid_in(agreed):
        warnings.warn(text, stacklevel=3)


def _shown(steps: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(described_steps(steps)) or "none"
