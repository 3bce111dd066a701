"""Name what limits training on a store, from the rates of its stages."""

from collections.abc import Mapping

from zarrts.sizes import format_budget

_CLEARLY_FASTER = 1.3
_MODEL_SHARE = 0.9
_PLENTY = 3.0


def verdict_of(
    rates: Mapping[str, float], *, keeps_all: bool, is_remote: bool, memory_bytes: int
) -> str:
    """Return, in one sentence, what the limit is and which option would help.

    Parameters
    ----------
    rates : mapping
        Samples per second of each stage that was measured.
    keeps_all : bool
        Whether all samples fit into `memory_bytes`.
    is_remote : bool
        Whether the store is in a bucket.
    """
    loader = rates["loader, later epochs"]
    if "fit, this store" in rates:
        in_ram = rates["fit, arrays in RAM"]
        ratio = rates["fit, this store"] / in_ram
        is_fed = loader > _PLENTY * in_ram
        if ratio > _MODEL_SHARE or is_fed:
            rest = "; the rest goes into handing over batches" if ratio <= _MODEL_SHARE else ""
            return (
                f"The model is the limit: it trains from this store at {ratio:.0%} of its speed "
                f"from arrays in RAM{rest}; a faster store would not help."
            )
        if loader > in_ram:
            once = (
                ""
                if keeps_all
                else "; with memory= above the size of the selection it decodes once"
            )
            return (
                f"The processors are the limit: model and loader are each faster alone than the "
                f"{rates['fit, this store']:,.0f} samples/s that they reach together; more "
                f"processors, or a GPU for the model, would help{once}."
            )
    if keeps_all:
        return (
            "After the first epoch, gathering is the limit: all samples fit into "
            f"memory={format_budget(memory_bytes)} and are decoded only once; more workers "
            "help where there are more processors."
        )
    read = rates.get("read (compressed)")
    if read is not None and read < _CLEARLY_FASTER * loader:
        if is_remote:
            return (
                "The network is the limit: codec='zstd' makes the store smaller, and "
                "open(cache=FOLDER) keeps what was read on a local disk."
            )
        return (
            "The disk is the limit: codec='zstd' makes the store smaller, a local SSD reads faster."
        )
    if rates["read and decode"] < _CLEARLY_FASTER * loader:
        return (
            "Decoding is the limit: codec='lz4' decodes fastest, more workers help where there are "
            "more processors, and with memory= above the size of the selection it is decoded once."
        )
    return (
        "Gathering is the limit: a larger batch_size costs less per sample, and more workers help "
        "where there are more processors."
    )
