"""The position of training among its batches, and the order that it refers to."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zarrts.errors import SampleError
from zarrts.loading.settings import Settings
from zarrts.reading.selection import Selection

_WORDS = {
    "store": "the store",
    "samples": "the selection of samples",
    "memory_bytes": "memory",
}
_DIGESTS = ("store", "samples")
# Between epochs, what says how an epoch is cut into batches may change: each is whole either way.
_FREE_BETWEEN_EPOCHS = ("batch_size", "drop_last", "memory_bytes")


@dataclass(frozen=True, kw_only=True)
class Position:
    """The next batch that training needs.

    Attributes
    ----------
    epoch, batch : int
        Of the order of batches, not of `fit`'s count.
    next_epoch : int
        The epoch of the pass after this one.
    order : dict
        Whatever fixes the order of batches; see `order_of`.
    """

    epoch: int
    batch: int
    next_epoch: int
    order: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_dict(state: Mapping[str, Any], order: Mapping[str, Any], n_batches: int) -> "Position":
        """Return the position that a dict holds.

        Raises
        ------
        SampleError
            If it is none, or one among other batches than those of `order`.
        """
        try:
            found = Position(**state)
        except TypeError as error:
            raise SampleError(f"This is not a state of a ZarrSequence: {error}.") from error
        is_between = found.batch == 0
        differing = [
            name
            for name in order
            if found.order.get(name) != order[name]
            and not (is_between and name in _FREE_BETWEEN_EPOCHS)
        ]
        if differing:
            changes = ", ".join(
                f"{_WORDS.get(name, name)} is another one"
                if name in _DIGESTS
                else f"{_WORDS.get(name, name)} was {found.order.get(name)}, now {order[name]}"
                for name in differing
            )
            raise SampleError(
                f"The position cannot be resumed among other batches: {changes}. Use what it was; "
                "or start anew, from the weights that you have: load them, and give "
                "BackupAndRestore another folder."
            )
        if found.epoch < 0 or not 0 <= found.batch < n_batches:
            raise SampleError(f"Batch {found.batch} of epoch {found.epoch} is not among them.")
        return found


def order_of(selection: Selection, settings: Settings) -> dict[str, Any]:
    """Return whatever fixes the order of batches, as JSON can hold it."""
    digest = hashlib.sha256(repr(selection.view.key).encode())
    for bounds in (selection.ids.starts, selection.ids.stops):
        digest.update(bounds.astype("<i8").tobytes())
    options, sampling = settings.options, settings.sampling
    rank, world_size = options.place
    return {
        "store": selection.store.header.write_id,
        "samples": digest.hexdigest()[:16],
        "batch_size": options.batch_size,
        "drop_last": options.drop_last,
        "shuffle": options.shuffle,
        "seed": options.seed,
        "memory_bytes": options.memory_bytes,
        "rank": rank,
        "world_size": world_size,
        "padding": repr(options.padding),
        "sampling": None if sampling is None else sampling.key,
    }
