"""A data set of torch that gives whole batches; imported only by `Samples.to_torch`.

Threads of the loader read ahead, so that it is as fast without workers. Where a DataLoader has some
all the same, each takes a stretch of consecutive batches, and opens the store anew: files, locks
and threads do not outlive a fork.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from zarrts.batch import Batch
from zarrts.errors import SampleError
from zarrts.inputs import with_masks
from zarrts.labels.label_sets import each_array
from zarrts.loading.epochs import EpochPart, Passes
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions, dtype_of
from zarrts.reading.selection import Selection
from zarrts.types import AnyArray

try:
    import torch as _torch
except ImportError as error:
    raise ImportError("to_torch needs torch: python -m pip install 'zarrts[torch]'.") from error

torch: Any = _torch


class TorchBatches(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """Batches of one epoch at a time, as tensors; made by `Samples.to_torch`.

    Each iteration gives the epoch that was set last, in every process that has a copy.
    """

    def __init__(self, selection: Selection, options: BatchOptions) -> None:
        super().__init__()
        self._selection, self._options = selection, options
        # Workers that outlive an epoch see what is set later.
        self._place = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._use(selection)

    def _use(self, selection: Selection) -> None:
        loader = EpochLoader(selection, self._options)
        self._n_batches = loader.n_batches
        self._passes, self._pid = Passes(loader), os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {name: it for name, it in self.__dict__.items() if name != "_passes"} | {"_pid": -1}

    # What loops ask ----------------------------------------------------------------------

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch of the next iterations, and from which batch on they go.

        Parameters
        ----------
        first_batch : int
            How many batches of the epoch a run that was stopped has trained on; 0 for all of it.
        """
        if epoch < 0 or not 0 <= first_batch <= self._n_batches:
            raise SampleError(
                f"Epoch {epoch} has no batch {first_batch}: it has {self._n_batches}."
            )
        self._place.copy_(torch.tensor([epoch, first_batch]))

    @property
    def epoch(self) -> int:
        """The epoch whose batches the next iteration gives."""
        return int(self._place[0])

    def __len__(self) -> int:
        return self._n_batches - int(self._place[1])

    def __iter__(self) -> Iterator[Any]:
        passes = self._passes_of_process()
        epoch, start = (int(it) for it in self._place)
        stop = self._n_batches
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            n_left = stop - start
            stop = start + n_left * (worker.id + 1) // worker.num_workers
            start += n_left * worker.id // worker.num_workers
        current = passes.begin(part=EpochPart(epoch=epoch, start=start, stop=stop))
        try:
            while (batch := passes.take(current)) is not None:
                if len(batch.sample_id):
                    yield self._tensors(batch)
        finally:
            passes.end(current)

    def _passes_of_process(self) -> Passes:
        if self._pid != os.getpid():
            # Freeing them could wait for locks that threads of the parent hold forever.
            self._passes_of_parent = self.__dict__.get("_passes")
            self._use(self._selection.reopened())
        return self._passes

    def _tensors(self, batch: Batch) -> Any:
        x = each_array(batch.x, torch.from_numpy)
        if self._options.mask:
            x = with_masks(x, each_array(batch.mask, torch.from_numpy))
        if batch.y is None:
            return x
        y = each_array(batch.y, _tensor_of_labels)
        if batch.sample_weight is None:
            return x, y
        return x, y, each_array(batch.sample_weight, torch.from_numpy)

    def close(self) -> None:
        """End the threads, close the files and free the memory; a later loop takes them again."""
        self._passes.close()


def _tensor_of_labels(y: AnyArray) -> Any:
    return torch.from_numpy(y.astype(np.int64) if y.dtype.kind in "iu" else np.ascontiguousarray(y))


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return NumPy's dtype for one of NumPy or torch; None stands for torch's default."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    is_torch = isinstance(dtype, torch.dtype)
    return dtype_of(str(dtype).removeprefix("torch.") if is_torch else dtype)
