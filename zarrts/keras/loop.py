"""Loops of a user's own over a sequence: which epoch, from which batch, and as a tf.data set."""

from collections.abc import Iterator, Mapping
from typing import Any

from zarrts.errors import SampleError
from zarrts.keras.feed import Feed
from zarrts.keras.position import Position
from zarrts.keras.tf_dataset import tf_dataset_of
from zarrts.loading.epochs import EpochPart
from zarrts.loading.options import check_epoch


class Loop:
    """The position of a loop over batches, from which it goes on after a resume.

    Parameters
    ----------
    feed : Feed
    order : mapping
        Whatever fixes the order of the batches; see `position.order_of`.
    """

    def __init__(self, feed: Feed, order: Mapping[str, Any]) -> None:
        self._feed, self._order = feed, order
        self._epoch = 0
        self._next_batch = 0  # of a loop under way
        self._first_batch = 0  # of the next loop

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the epoch, read ahead; after a resume, what is left of it."""
        epoch, start, self._first_batch = self._epoch, self._first_batch, 0
        passes = self._feed.passes
        current = passes.begin(part=self._rest(epoch, start))
        while (batch := self._feed.next_of(current)) is not None:
            if self._epoch == epoch:
                self._next_batch = current.next_batch
            yield batch

    def to_tf_dataset(self, epoch: int | None) -> Any:
        """Return the batches as a tf.data set; see `ZarrSequence.to_tf_dataset`."""
        part = None if epoch is None else self._rest(check_epoch(epoch), 0)
        if self._first_batch and epoch in (None, self._epoch):
            part = self._rest(self._epoch, self._first_batch)
            self._first_batch = 0
            self._feed.passes.plan([], self._epoch + 1)
        return tf_dataset_of(self._feed, part)

    def _rest(self, epoch: int, start: int) -> EpochPart:
        return EpochPart(epoch=epoch, start=start, stop=self._feed.n_batches)

    @property
    def epoch(self) -> int:
        """The epoch whose batches it gives."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        epoch = check_epoch(epoch)
        if epoch != self._epoch:
            self._epoch, self._next_batch, self._first_batch = epoch, 0, 0

    def state_dict(self, epoch: int | None, batch: int | None) -> dict[str, Any]:
        """Return where the loop is, as JSON can hold it; see `ZarrSequence.state_dict`."""
        if (epoch is None) != (batch is None):
            raise SampleError("state_dict() takes both epoch= and batch=, or neither.")
        if epoch is None or batch is None:
            epoch, batch = self._epoch, self._next_batch
        n_batches = self._feed.n_batches
        if not 0 <= batch <= n_batches or epoch < 0:
            raise SampleError(f"Epoch {epoch} has no {batch} batches: it has {n_batches}.")
        if batch == n_batches:
            epoch, batch = epoch + 1, 0
        return self.position(epoch, batch, epoch + 1).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken; see `ZarrSequence.load_state_dict`."""
        found = self.position_of(state)
        self._epoch = found.epoch
        self._next_batch = self._first_batch = found.batch
        self._feed.passes.plan([self._rest(found.epoch, found.batch)], found.epoch + 1)

    def position(self, epoch: int, batch: int, next_epoch: int) -> Position:
        """Return a position among these batches."""
        return Position(epoch=epoch, batch=batch, next_epoch=next_epoch, order=self._order)

    def position_of(self, state: Mapping[str, Any]) -> Position:
        """Return the position that a dict holds, if it is one among these batches."""
        return Position.from_dict(state, self._order, self._feed.n_batches)
