"""Loops of a user's own over a sequence: which epoch, from which batch, and as a tf.data set."""

from collections.abc import Iterator, Mapping
from typing import Any

from zarrts.errors import SampleError
from zarrts.keras.position import Position, order_of
from zarrts.keras.tf_dataset import tf_dataset_of
from zarrts.loading.options import BatchOptions
from zarrts.loading.passes import EpochPart, Pass, Passes
from zarrts.selection import Samples
from zarrts.types import Batch


class Looped:
    """Batches that can be looped over, and gone on with where a loop ended.

    `ZarrSequence` is one, and says what a batch looks like.
    """

    samples: Samples
    passes: Passes
    _options: BatchOptions

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0
        self._next_batch = 0  # of a loop over this sequence
        self._first_batch = 0  # of the next loop

    def __len__(self) -> int:
        raise NotImplementedError

    def next_of(self, current: Pass) -> Any:
        """Return the next batch of a pass as Keras wants it, or None at its end."""
        raise NotImplementedError

    def unlike_batches(self) -> list[Any]:
        """Return two batches of unlike lengths, if padding leaves batches unlike; else none."""
        raise NotImplementedError

    def as_tuple(self, batch: Batch) -> Any:
        """Return a batch as Keras wants it."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        """Yield seq[0], seq[1], ... to the end, read ahead; after a resume, what is left."""
        epoch, start, self._first_batch = self._epoch, self._first_batch, 0
        current = self.passes.begin(part=EpochPart(epoch=epoch, start=start, stop=len(self)))
        while (batch := self.next_of(current)) is not None:
            if self._epoch == epoch:
                self._next_batch = current.next_batch
            yield batch

    def to_tf_dataset(self, epoch: int | None = None) -> Any:
        """Return a `tf.data.Dataset` of the batches, whatever the backend of Keras.

        It knows its cardinality and the exact shapes and dtypes, reads in the threads of the
        sequence, within `memory`, and takes two finished batches ahead. It is sharded already:
        each rank has its own samples.

        Parameters
        ----------
        epoch : int, optional
            Whose batches each iteration gives. By default each iteration gives another epoch, as
            those of `fit` do: the first epoch 0, the second epoch 1.

        Notes
        -----
        After `load_state_dict`, the data set of that epoch (or the first without one) has only
        what was left. What was consumed only the loop knows: `seq.state_dict(epoch, batch)`.
        """
        part = None if epoch is None else EpochPart(epoch=epoch, start=0, stop=len(self))
        if self._first_batch and epoch in (None, self._epoch):
            part = EpochPart(epoch=self._epoch, start=self._first_batch, stop=len(self))
            self._first_batch = 0
            self.passes.plan([], self._epoch + 1)
        return tf_dataset_of(self, part, len(self))

    # Where training is -------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Whose batches `seq[i]` and a loop over the sequence give."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch, self._next_batch, self._first_batch = epoch, 0, 0

    def state_dict(self, epoch: int | None = None, batch: int | None = None) -> dict[str, Any]:
        """Return where a loop over the sequence is, as JSON can hold it.

        Ask for it when the batch that the loop gave last was trained on: the state is that of the
        next. (What `fit` consumes only a callback knows: `zarrts.BackupAndRestore`.)

        Parameters
        ----------
        epoch, batch : int, optional
            For a loop over something that reads ahead, such as a `tf.data` set: how many batches
            of which epoch were trained on.
        """
        if (epoch is None) != (batch is None):
            raise SampleError("state_dict() takes both epoch= and batch=, or neither.")
        if epoch is None or batch is None:
            epoch, batch = self._epoch, self._next_batch
        if not 0 <= batch <= len(self) or epoch < 0:
            raise SampleError(f"Epoch {epoch} has no {batch} batches: it has {len(self)}.")
        if batch == len(self):
            epoch, batch = epoch + 1, 0
        return self.position(epoch, batch, epoch + 1).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next loop, or `fit`, give what was left when the state was taken.

        Raises
        ------
        SampleError
            If the state is one of other batches: another selection, seed, rank or world size, or,
            within an epoch, another batch size or memory.
        """
        found = self.position_of(state)
        self._epoch = found.epoch
        self._next_batch = self._first_batch = found.batch
        rest = EpochPart(epoch=found.epoch, start=found.batch, stop=len(self))
        self.passes.plan([rest], found.epoch + 1)

    def position(self, epoch: int, batch: int, next_epoch: int) -> Position:
        """Return a position among the batches of this sequence."""
        order = order_of(self.samples, self._options)
        return Position(epoch=epoch, batch=batch, next_epoch=next_epoch, order=order)

    def position_of(self, state: Mapping[str, Any]) -> Position:
        """Return the position that a dict holds, if it is one among these batches."""
        return Position.from_dict(state, order_of(self.samples, self._options), len(self))
