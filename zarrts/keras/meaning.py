"""Compare what the columns and rows of a store mean with what a network was trained with."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from zarrts.errors import SampleError
from zarrts.sources import Reference
from zarrts.sources.step_records import described_steps
from zarrts.sources.study.agreement import agree, unsaid_in
from zarrts.sources.study.standards import Described, Wanted
from zarrts.store import Store
from zarrts.types import Description

OWNER = "the network was trained with"


def reference_of(description: Description) -> Reference:
    """Return what new data have to fit."""
    return Reference(description=description, owner=OWNER)


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
    if header.steps != [*steps]:
        warnings.warn(
            f"{store.path}: its steps are {_shown(header.steps)}, but {OWNER} {_shown(steps)}.",
            stacklevel=3,
        )
    if header.description == trained:
        return
    row_shape = header.segments[0].x.row_shape
    described = Described(
        origin=str(store.path),
        n_columns=row_shape[-1] if row_shape else 0,
        description=header.description,
    )
    agreed = agree([described], Wanted(reference=reference_of(trained)))
    if agreed.problems:
        raise SampleError("\n".join(agreed.problems))
    (adjusted,) = agreed.adjusted
    if not adjusted.is_same:
        what = [] if adjusted.columns is None else [f"channels {', '.join(header.channels or ())}"]
        what += [] if adjusted.factors is None else [f"units {', '.join(header.units or ())}"]
        other = [] if adjusted.columns is None else [", ".join(trained.channels or ())]
        other += [] if adjusted.factors is None else [", ".join(trained.units or ())]
        raise SampleError(
            f"{store.path}: {' and '.join(what)}, but {OWNER} {' and '.join(other)}; of files, "
            "predict puts that in order: give the files, or convert them anew with channels= and "
            "units= of the training."
        )
    for text in unsaid_in(agreed):
        warnings.warn(text, stacklevel=3)


def _shown(steps: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(described_steps(steps)) or "none"
