"""Finish a batch in the loader's threads before it is handed out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from zarrts.batch import Batch
from zarrts.errors import SampleError
from zarrts.indexing.cuts import Fit
from zarrts.indexing.padding import BatchLengths
from zarrts.labels.label_sets import each_array
from zarrts.loading.unpacking import Unpacking
from zarrts.loops.gathering import Gathering, take_runs
from zarrts.loops.library import compiled_for
from zarrts.loops.scratch import scratch
from zarrts.stats.scaling import SampleScaler, Scaler
from zarrts.types import AnyArray, IntArray, Labels

Target = Callable[[Any], Labels]
Transform = Callable[[Batch, np.random.Generator], Batch]
Weigh = Callable[[Batch, Any], Batch]

# Of runs that are worth a turn of the compiled loop each: single rows, and runs of several, whose
# rows NumPy has to number first. It copies shorter ones faster; without the library, two passes are
# faster than one.
_LONG_ROW_BYTES, _LONG_RUN_BYTES = 512, 64
_LARGE_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """The steps that turn rows of one input as stored into what the network gets.

    Attributes
    ----------
    dtype : numpy.dtype
        Of x.
    scaler : Scaler, or None
        Scales x.
    fills : bool
        NaN become 0 where nothing is scaled.
    unpacking : Unpacking, or None
        Where rows as stored are counts, and batches are of values.
    """

    dtype: np.dtype[Any]
    scaler: Scaler | None = None
    fills: bool = False
    unpacking: Unpacking | None = None

    def scale_into(
        self, rows: AnyArray, out: AnyArray, ids: IntArray, fit: Fit | None = None
    ) -> None:
        """Turn values into what the network gets; `rows` may be `out` itself."""
        if self.scaler is not None:
            self.scaler.into(rows, out, ids, fit)
            return
        if rows is not out:
            np.copyto(out, rows, casting="unsafe")
        if self.fills:
            np.copyto(out, 0, where=np.isnan(out))

    def gather(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        ids: IntArray,
        fit: Fit | None,
    ) -> None:
        """Turn stored rows into what the network gets, on their way out of memory.

        Parameters
        ----------
        memory : shape (n_rows, *row_shape)
        starts : int64, shape (n_runs,)
            First rows of runs; each sample is as many of them as the others.
        length : int
            Rows of each run.
        out : shape (n_samples, ..., *row_shape), of `dtype`
        ids : int64, shape (n_samples,)
        fit : Fit, or None
            How samples of unequal lengths got the same.
        """
        sample_bytes = length * memory.strides[0]
        if len(starts) == len(ids) > 1 and sample_bytes >= _LARGE_SAMPLE_BYTES:
            # One after the other, so that what is worked on in between is one of them.
            for number in range(len(ids)):
                one = slice(number, number + 1)
                some = None if fit is None else fit[one]
                self.gather(memory, starts[one], length, out[one], ids[one], some)
            return
        if self.unpacking is not None:
            if not self.unpacking.gather(memory, starts, length, out, ids, fit):
                rows = out
                if out.dtype != self.unpacking.packing.packed.dtype:
                    rows = scratch("rows", out.shape, self.unpacking.packing.packed.dtype)
                self.unpacking.values_into(memory, starts, length, rows, ids)
                self.scale_into(rows, out, ids, fit)
            return
        is_changed = self.scaler is not None or self.fills or memory.dtype != out.dtype
        least = _LONG_ROW_BYTES if length == 1 else _LONG_RUN_BYTES
        is_long = length * memory.strides[0] >= least
        if not (is_changed and is_long and compiled_for(memory, out)):
            rows = out
            if len(starts) == 1 and sample_bytes >= _LARGE_SAMPLE_BYTES:
                rows = memory[starts[0] : starts[0] + length].reshape(out.shape)
            else:
                if memory.dtype != out.dtype:
                    rows = scratch("rows", out.shape, memory.dtype)
                take_runs(memory, starts, length, rows)
            self.scale_into(rows, out, ids, fit)
        elif self.scaler is not None:
            self.scaler.gather(memory, starts, length, out, ids, fit)
        else:
            self._unscaled.into(memory, starts, length, out)

    def turn_into(self, stored: AnyArray, out: AnyArray, ids: IntArray, fit: Fit | None) -> None:
        """Turn stored samples (n, ...) into what the network gets, the same as `gather` does."""
        if self.unpacking is None or len(stored) == 0:
            self.scale_into(stored, out, ids, fit)
            return
        n_channels = self.unpacking.packing.gain.shape[1]
        rows = stored.reshape(-1, n_channels)
        length = len(rows) // len(stored)
        self.gather(rows, np.arange(len(stored)) * length, length, out, ids, fit)

    def take_values(self, memory: AnyArray, rows: IntArray, out: AnyArray, ids: IntArray) -> None:
        """Write the values of rows of memory, `rows` (n_samples, ...) of each sample, into `out`.

        They are neither scaled nor filled.
        """
        if self.unpacking is not None:
            self.unpacking.values_into(memory, rows.ravel(), 1, out, ids)
        else:
            # mode="clip" because "raise" copies through a buffer; the rows are in range.
            memory.take(rows, axis=0, out=out, mode="clip")

    def work_bytes(self, n_values: int, held: np.dtype[Any]) -> int:
        """Return the memory that `gather` takes for what is neither stored nor handed out.

        Parameters
        ----------
        n_values : int
            Of a sample.
        held : numpy.dtype
            Of stored rows.
        """
        n_bytes = 0
        if self.unpacking is not None and self.dtype != self.unpacking.packing.packed.dtype:
            n_bytes += n_values * self.unpacking.packing.packed.dtype.itemsize
        if isinstance(self.scaler, SampleScaler):
            n_bytes += n_values * self.scaler.work_bytes_of_value
            is_taken = self.unpacking is None and held != self.dtype
            n_bytes += n_values * held.itemsize if is_taken else 0
        return n_bytes

    @cached_property
    def _unscaled(self) -> Gathering:
        fill = np.zeros((1, 1)) if self.fills else None
        return Gathering(dtype=self.dtype, n_channels=1, fill=fill)


@dataclass(frozen=True, kw_only=True)
class PostProcessing:
    """The steps that turn rows as stored into a batch, in the loader's threads.

    Attributes
    ----------
    inputs : dict
        The `Treatment` of each input, by name.
    target : callable, or None
        Turns stored labels into targets; None for no labels.
    of_targets : Treatment, or None
        Of the input that targets are values of, where they are; its scaler is that of targets.
    transform : callable, or None
        The user's: called with the finished `Batch` and a generator of its own; returns a
        `Batch`.
    rng_key : tuple of int
        Seeds that generator, with epoch and batch.
    lengths : BatchLengths, or None
        Where samples are of unequal lengths: which ones batches get.
    pad_value : float
        What is behind the end of a sample, after scaling; targets have 0 there.
    has_step_labels : bool
        Each step of a sample of any length has a label.
    weigh : callable, or None
        Adds weights to a batch, from it and the stored labels.
    """

    inputs: Mapping[str, Treatment]
    target: Target | None = None
    of_targets: Treatment | None = None
    transform: Transform | None = None
    rng_key: tuple[int, ...] = ()
    lengths: BatchLengths | None = None
    pad_value: float = 0.0
    has_step_labels: bool = False
    weigh: Weigh | None = None

    def target_of(self, stored: Any, ids: IntArray) -> Labels:
        """Return the targets of stored labels of some samples."""
        assert self.target is not None
        if self.of_targets is not None and self.of_targets.scaler is not None:
            scaled = np.empty(stored.shape, self.of_targets.dtype)
            self.of_targets.scaler.into(stored, scaled, ids, None)
            stored = scaled
        return self.target(stored)

    def complete(self, batch: Batch, stored: AnyArray, epoch: int, index: int) -> Batch:
        """Return a batch of scaled inputs with the targets of stored labels, transformed."""
        if self.target is not None:
            y = self.target_of(stored, batch.sample_id)
            if self.has_step_labels and batch.length is not None:
                y = each_array(y, partial(_zeroed, batch=batch))
            batch = Batch(
                batch.x, y, batch.sample_id, batch.length, label_length=batch.label_length
            )
            if self.weigh is not None:
                batch = self.weigh(batch, stored)
        if self.transform is None:
            return batch
        rng = np.random.default_rng([*self.rng_key, epoch, index])
        transformed = self.transform(batch, rng)
        _check_transformed(transformed, [*self.inputs])
        return transformed


def _check_transformed(batch: object, names: Sequence[str]) -> None:
    """Refuse what no network, or only that of the training, could take."""
    if not isinstance(batch, Batch):
        raise TypeError(
            f"transform returned {type(batch).__name__}, but it has to return a Batch: "
            "dataclasses.replace(batch, x=...)."
        )
    alone = names[0] if len(names) == 1 else ""
    x = batch.x if isinstance(batch.x, dict) else {alone: batch.x}
    if [*x] != [*names]:
        raise SampleError(
            f"transform returned x with the inputs {_listed(x)}, but it was given "
            f"{_listed(names)}; return the same ones."
        )
    for of_input in x.values():
        if not isinstance(of_input, np.ndarray):
            raise TypeError(
                f"transform returned a Batch whose x is a {type(of_input).__name__}, but it has to "
                "be an array: validation is not transformed, and gives arrays."
            )
        if len(of_input) != len(batch.sample_id):
            raise SampleError(
                f"transform returned x of {len(of_input)} samples, but {len(batch.sample_id)} "
                "sample ids; choose the same of both."
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "a single array"


def _zeroed(y: AnyArray, batch: Batch) -> AnyArray:
    out, mask = np.array(y), batch.label_mask(y.shape[1])
    if mask is not None:
        out[~mask] = 0
    return out


def lengthened(batch: Batch, *, has_step_labels: bool) -> Batch:
    """Return a batch with one step more, the last one again."""
    y, weight = batch.y, batch.sample_weight
    if y is not None and has_step_labels:
        y = each_array(y, _with_one_step_more)
    if weight is not None:
        weight = each_array(weight, lambda it: _with_one_step_more(it) if it.ndim > 1 else it)
    x = each_array(batch.x, _with_one_step_more)
    return replace(batch, x=x, y=y, sample_weight=weight)


def _with_one_step_more(steps: AnyArray) -> AnyArray:
    return np.concatenate([steps, steps[:, -1:]], axis=1)
