"""The options of a loader, checked where they are made, and what they mean for some samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.labels.label_sets import LabelModes, targets_of
from zarrts.labels.scheme import LabelScheme
from zarrts.loading.finish import Finish, Transform, Weigh
from zarrts.ordering.sampling import Sampling
from zarrts.reading.nans import OnNan
from zarrts.reading.sample_reader import SampleReader
from zarrts.samples.padding import BatchLengths, Padding, describe_lengths
from zarrts.stats.scaling import Scaler, Scaling, make_scaler
from zarrts.system import count_cpus
from zarrts.types import AnyArray

_MAX_THREADS = 8

Shuffle = bool | Literal["global"]
OnError = Literal["raise", "skip"]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What fixes the batches of every epoch, and the resources that make them.

    What each means stands at `Samples.batches` and `ZarrSequence`.
    """

    batch_size: int
    dtype: np.dtype[Any]
    memory_bytes: int
    shuffle: Shuffle = True
    seed: int = 0
    label_mode: LabelModes | None = "raw"
    scaling: Scaling | None = None
    nan: OnNan = "error"
    transform: Transform | None = None
    drop_last: bool = False
    rank: int = 0
    world_size: int = 1
    workers: int | None = None
    on_error: OnError = "raise"
    padding: Padding | None = None
    sampling: Sampling | None = None
    weigh: Weigh | None = None

    def __post_init__(self) -> None:
        if self.shuffle not in (True, False, "global"):
            raise SampleError(f"shuffle={self.shuffle!r} is unknown; use True, False or 'global'.")
        if self.on_error not in ("raise", "skip"):
            raise SampleError(f"on_error={self.on_error!r} is unknown; use 'raise' or 'skip'.")
        for name in ("batch_size", "seed", "workers"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer | None):
                raise SampleError(f"{name}={value!r} has to be a whole number.")
        if self.seed < 0:
            raise SampleError(f"seed={self.seed} has to be 0 or more.")
        if self.workers is not None and self.workers < 1:
            raise SampleError(f"workers={self.workers} has to be at least 1.")
        if self.transform is not None and not callable(self.transform):
            raise SampleError(
                f"transform={self.transform!r} is no function: it is called as "
                "transform(batch, rng) and returns a Batch."
            )

    @property
    def n_threads(self) -> int:
        """Threads that read, decode and gather."""
        return self.workers or min(_MAX_THREADS, count_cpus())

    def finish(
        self,
        labels: LabelScheme,
        reader: SampleReader,
        *,
        subjects: Sequence[str] = (),
        has_nan: bool = False,
    ) -> Finish:
        """Return what is done to each batch of some samples.

        Parameters
        ----------
        subjects : sequence of str
            Of the store, by their codes.
        has_nan : bool
            Batches may hold NaN.

        Raises
        ------
        SampleError
            If label mode, statistics or padding do not fit the samples.
        """
        scaler = None if self.scaling is None else self._scaler(reader, subjects, has_nan)
        finish = Finish(
            dtype=self.dtype,
            scaler=scaler,
            fills=has_nan and self.nan == "fill",
            weigh=self.weigh,
            transform=self.transform,
            rng_key=(self.seed, self.rank),
            lengths=self._lengths(reader),
            pad_value=0.0 if self.padding is None else self.padding.value,
            has_step_labels=reader.cut.y_steps is None,
        )
        if self.label_mode is None:
            return finish
        if reader.cut.y_of != "x":
            return replace(finish, target=targets_of(labels, self.label_mode)[0])
        if self.label_mode not in ("auto", "raw"):
            raise SampleError(
                f"label_mode={self.label_mode!r} is for labels, but target='x' gives values; use "
                "'auto'."
            )
        return replace(
            finish,
            target=self._as_x,
            target_scaler=scaler and scaler.of_targets(reader.cut.y_channels),
        )

    def _as_x(self, stored: AnyArray) -> AnyArray:
        """Return targets that are values of x; they are scaled as x is."""
        return stored.astype(self.dtype, copy=False)

    def _scaler(self, reader: SampleReader, subjects: Sequence[str], has_nan: bool) -> Scaler:
        assert self.scaling is not None
        spec = reader.readers.x[0].spec
        rows = {name: row for row, name in enumerate(self.scaling.subjects)}
        by_code = np.array([rows.get(name, -1) for name in subjects], np.int64)
        units = reader.units
        return make_scaler(
            self.scaling,
            stored=spec.dtype,
            n_channels=spec.row_shape[-1] if spec.row_shape else 1,
            dtype=self.dtype,
            has_nan=has_nan,
            fills=has_nan and self.nan == "fill",
            row_of=(lambda ids: by_code[units.group_of(ids)]) if rows else None,
        )

    def _lengths(self, reader: SampleReader) -> BatchLengths | None:
        if reader.cut.is_of_equal_lengths:
            if self.padding is not None:
                raise SampleError("pad= is for samples of unequal lengths; these all have one.")
            return None
        lengths = reader.lengths_of_store
        if self.padding is None:
            raise SampleError(
                f"These samples have {describe_lengths(lengths)}, and a batch is one array: pad "
                "them, with pad='batch', pad='longest' or pad=LENGTH, or cut them into windows of "
                "one length, with samples.windows(LENGTH)."
            )
        return self.padding.lengths_of(lengths)


def dtype_of(dtype: Any) -> np.dtype[Any]:
    """Return what `dtype=` means.

    Raises
    ------
    SampleError
        If it means nothing to NumPy.
    """
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise SampleError(
            f"dtype={dtype!r} is no NumPy dtype; use 'float32', for example."
        ) from error
    return found
