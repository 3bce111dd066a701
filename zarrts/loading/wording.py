"""Describe the batches that options of a loader give, in one line."""

from collections.abc import Mapping

from zarrts.loading.options import BatchOptions
from zarrts.reading.selection import Selection
from zarrts.sizes import format_budget


def describe_batches(
    selection: Selection, options: BatchOptions, label_mode: str | Mapping[str, str] | None
) -> str:
    """Return the order, x, labels, weights and memory of batches, such as `repr` of a sequence has.

    Parameters
    ----------
    label_mode : str, dict or None
        What "auto" stands for.
    """
    parts = [_order(options), _inputs(selection, options), _labels(selection, label_mode)]
    if options.sample_weight is not None:
        shown = options.sample_weight
        parts.append(f"weighted{f' by {shown}' if isinstance(shown, str) else ''}")
    if options.transform is not None:
        parts.append("transformed")
    if options.world_size > 1:
        parts.append(f"rank {options.rank} of {options.world_size}")
    return "; ".join([*parts, f"within {format_budget(options.memory_bytes)}"])


def _order(options: BatchOptions) -> str:
    if options.order is not None:
        return "in the order given"
    if not options.shuffle:
        return "in the order of the store"
    kind = "shuffled at random" if options.shuffle == "global" else "shuffled"
    text = f"{kind} with seed {options.seed}"
    return f"{text}, balanced by {options.balance}" if isinstance(options.balance, str) else text


def _inputs(selection: Selection, options: BatchOptions) -> str:
    text = "; ".join(
        f"{it.name or 'x'} {it.shape} as {options.dtype or it.spec.dtype}"
        for it in selection.choosing(options.inputs).reader.inputs
    )
    if options.pad is not None:
        text += f", padded to {options.pad}"
    if options.stats is None:
        return f"{text}, not scaled"
    by = f" by {options.stats}" if isinstance(options.stats, str) else ""
    return f"{text}, scaled ({options.scale}){by}"


def _labels(selection: Selection, label_mode: str | Mapping[str, str] | None) -> str:
    if label_mode is None:
        return "no labels"
    if not isinstance(label_mode, str):
        return "labels " + ", ".join(f"{name} {mode}" for name, mode in label_mode.items())
    n_classes = selection.scheme.n_classes
    return f"labels {label_mode}" + ("" if n_classes is None else f" of {n_classes} classes")
