"""The options of batches: each is named, described, checked and given its default here.

`Samples.batches`, `Samples.to_torch`, `ZarrSequence` and `predict` all make a `BatchOptions`. To
add an option, add it to `BatchOptions` and `BatchKeywords`, and use it where it acts.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.padding import Pad, Padding, Truncate, padding_of
from zarrts.keywords import refuse_unknown
from zarrts.labels.label_sets import LabelModes
from zarrts.loading.postprocessing import Transform
from zarrts.ordering.ranks import Rank, resolve
from zarrts.ordering.sampling import Resample
from zarrts.reading.balancing import Balance
from zarrts.reading.nans import OnNan
from zarrts.reading.sample_statistics import Scales, Stats
from zarrts.sizes import parse_size
from zarrts.system import count_cpus
from zarrts.types import IntArray

_MAX_THREADS = 8
STORED = "stored"
"""The dtype of whatever lies in the store."""

Shuffle = bool | Literal["global"]
OnError = Literal["raise", "skip"]
Method = TypeVar("Method", bound=Callable[..., Any])


class BatchKeywords(TypedDict, total=False):
    """The types of the fields of `BatchOptions`, for type checkers and editors.

    But for `batch_size` and `shuffle`, which may be given without their names.
    """

    seed: int
    memory: int | str
    label_mode: LabelModes | None
    stats: Stats | None
    scale: Scales
    nan: OnNan
    transform: Transform | None
    sample_weight: Any
    dtype: Any
    drop_last: bool
    rank: Rank
    world_size: int
    workers: int | None
    on_error: OnError
    balance: Balance | None
    resample: Resample
    order: Sequence[int] | IntArray | None
    pad: Pad | None
    pad_value: float
    truncate: Truncate
    buckets: int | Sequence[int] | None
    mask: bool
    inputs: str | Sequence[str] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchOptions:
    """Fix the batches of every epoch, and the resources that make them.

    Parameters
    ----------
    batch_size : int
        The last batch may be smaller, unless `drop_last`.
    shuffle : bool or "global"
        True: the rolling order, as good as a full shuffle and read at full speed. "global":
        every order equally likely, which reads a part of the store for each sample unless
        all of it fits into `memory`. False: source order, as `predict` needs it.
    seed : int
        Of the order and of what `transform` draws. The order depends on it, on the epoch, the
        selection, `batch_size`, `memory` and ranks, and on nothing else.
    memory : size
        Bounds what the loader holds: open parts of the store, and batches on their way.
    label_mode : str or None
        "int": int32 positions in `store.class_names`, for sparse categorical cross-entropy.
        "categorical": float32 rows with one 1. "binary": float32 of shape (batch, 1).
        "raw": what is stored. None: no labels. "auto": "int" for classes, "categorical" for
        one-hot rows, "raw" for other numbers.
    stats : Statistics, "subject" or "sample", optional
        By what each channel of x is scaled. From `samples.stats()` of the training part: by
        these. "subject": each subject by the statistics of its own samples here. "sample": each
        sample by its own. Of several inputs, one of these words for all, or a dict by name; those
        that it does not name are not scaled.
    scale : str
        "standard": x becomes (x - mean) / std. "minmax": (x - min) / (max - min), 0 to 1.
        "robust": (x - median) / (distance of the quartiles), estimated. Channels whose values
        are all alike become 0. Of several inputs, one for all, or a dict by name.
    nan : str
        "error": a SampleError names the first sample with NaN; nothing is read where the
        conversion found none. "keep": NaN stay. "fill": they become the mean of what scales
        them (the median of "robust"), as it is after scaling; 0 where nothing is scaled.
    transform : callable, optional
        Called as transform(batch, rng) with each finished `Batch` and a generator seeded by
        (seed, epoch, rank, batch), in the loader's threads; returns a `Batch`.
    sample_weight : "class", "subject", dict, array or callable, optional
        How much labels count in the loss. "class" or "subject": each class or subject as much
        as any other. A dict: of classes, or of subjects, by name; 1 for others. An array: one
        weight for each of the samples, in their order. A function: called with each `Batch`
        before the transform, it returns one weight for each sample. Of several arrays of labels,
        one of these for all, or a dict with one for each. Labels that are missing become 0, and
        count 0.
    dtype : dtype or "stored", optional
        Of x; by default that of the store, torch's default dtype, or keras.config.floatx().
        "stored": what lies in the store; of a packed store these are 16-bit counts, which
        `stats.as_layer(stored=True)` scales inside the network, where no others are moved.
    drop_last : bool
        Leave out the last batch if it is smaller.
    rank, world_size : int
        One of several processes, each of which gets as many batches. rank="auto": as TF_CONFIG
        or tf.distribute, jax.distributed or torch.distributed say; 0 of 1 where there is none.
    workers : int, optional
        Threads that read and decode; Keras always sees one worker.
    on_error : str
        "raise" ends with the ReadError of a damaged part of the store; "skip" warns once of
        its samples and leaves them out, so that batches may be smaller, and predictions fewer
        than `labels`.
    balance : "class", "subject", "class+subject" or array, optional
        Equally many samples of each in every batch, give or take one: of each class, each
        subject, each class of each subject, or each group that an array names.
    resample : "oversample" or "undersample"
        With `balance`: the epoch shows each sample at least once, those of small groups
        several times; or none twice, so that of large groups only a part comes, another one
        in each epoch.
    order : sequence of int, optional
        Sample ids: exactly these, one after the other, in every epoch; ids may come again.
    pad : "batch", "longest" or int
        For samples of unequal lengths, the length in rows that all of a batch get: that of
        its longest, that of the longest of the store, or this one. Padding is at the end.
    pad_value : float
        What is behind the end of a sample, after scaling; labels of rows have 0 there.
    truncate : "post" or "pre"
        Which end of a sample that is longer than `pad` is lost.
    buckets : int or sequence of int, optional
        With pad="batch": the lengths that batches may have, or how many, so that a network
        is compiled for few shapes only.
    mask : bool
        x is a tuple of the padded samples and a mask (batch, time), True where a step is not
        padding: a second input of the network.
    inputs : str or sequence of str, optional
        Which of several inputs a batch has, by name; nothing else of x is read. By default all,
        as a dictionary; a single name gives that array alone.

    Raises
    ------
    SampleError
        If a value is not one of those above.
    """

    batch_size: int = 32
    shuffle: Shuffle = True
    seed: int = 0
    memory: int | str = "512MiB"
    label_mode: LabelModes | None = "auto"
    stats: Stats | None = None
    scale: Scales = "standard"
    nan: OnNan = "error"
    transform: Transform | None = None
    sample_weight: Any = None
    dtype: Any = None
    drop_last: bool = False
    rank: Rank = 0
    world_size: int = 1
    workers: int | None = None
    on_error: OnError = "raise"
    balance: Balance | None = None
    resample: Resample = "oversample"
    order: Sequence[int] | IntArray | None = None
    pad: Pad | None = None
    pad_value: float = 0.0
    truncate: Truncate = "post"
    buckets: int | Sequence[int] | None = None
    mask: bool = False
    inputs: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.shuffle not in (True, False, "global"):
            raise SampleError(f"shuffle={self.shuffle!r} is unknown; use True, False or 'global'.")
        if self.on_error not in ("raise", "skip"):
            raise SampleError(f"on_error={self.on_error!r} is unknown; use 'raise' or 'skip'.")
        for name in ("batch_size", "seed", "workers"):
            value = getattr(self, name)
            if name == "workers" and value is None:
                continue
            if not isinstance(value, int | np.integer) or isinstance(value, bool):
                raise SampleError(f"{name}={value!r} has to be a whole number.")
        if not isinstance(self.pad_value, int | float | np.number):
            raise SampleError(f"pad_value={self.pad_value!r} has to be a number.")
        if self.seed < 0:
            raise SampleError(f"seed={self.seed} has to be 0 or more.")
        if self.workers is not None and self.workers < 1:
            raise SampleError(f"workers={self.workers} has to be at least 1.")
        if self.transform is not None and not callable(self.transform):
            raise SampleError(
                f"transform={self.transform!r} is not a function: it is called as "
                "transform(batch, rng) and returns a Batch."
            )
        if self.label_mode is None and self.sample_weight is not None:
            raise SampleError("sample_weight needs labels, but label_mode is None.")
        if self.mask and self.pad is None:
            raise SampleError("mask=True tells samples from padding: give pad= too.")
        rank, world_size = resolve(self.rank, self.world_size)
        settled = {
            "rank": rank,
            "world_size": world_size,
            "memory": parse_size(self.memory, "memory"),
            "dtype": self.dtype if self._is_given_as_is else dtype_of(self.dtype),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        _ = self.padding  # checks it

    @property
    def _is_given_as_is(self) -> bool:
        return self.dtype is None or self.hands_out_stored

    @property
    def hands_out_stored(self) -> bool:
        """Whether batches are of what is stored, be it counts or values."""
        return isinstance(self.dtype, str) and self.dtype == STORED

    @property
    def memory_bytes(self) -> int:
        """The budget in bytes."""
        assert isinstance(self.memory, int)
        return self.memory

    @property
    def place(self) -> tuple[int, int]:
        """Rank and world size, as numbers."""
        assert isinstance(self.rank, int)
        return self.rank, self.world_size

    @property
    def padding(self) -> Padding | None:
        """The way samples are brought to one length; None where they are not padded."""
        return padding_of(self.pad, self.pad_value, self.truncate, self.buckets)

    @property
    def n_threads(self) -> int:
        """Threads that read, decode and gather."""
        return self.workers or min(_MAX_THREADS, count_cpus())

    def keywords(self) -> dict[str, Any]:
        """Return every option by its name, as keywords that make the same options."""
        return {it.name: getattr(self, it.name) for it in fields(self)}


def check_epoch(epoch: Any) -> int:
    """Return the number of an epoch.

    Raises
    ------
    SampleError
        If it is not a whole number of 0 or more.
    """
    if not isinstance(epoch, int | np.integer) or isinstance(epoch, bool) or epoch < 0:
        raise SampleError(f"epoch={epoch!r} has to be a whole number of 0 or more.")
    return int(epoch)


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
            f"dtype={dtype!r} is not a NumPy dtype; use 'float32', for example."
        ) from error
    if found.kind not in "biuf":
        raise SampleError(f"dtype={dtype!r} is not one of numbers; use 'float32', for example.")
    return found


# Functions that take them as keywords -----------------------------------------------------


def takes_batch_options(
    *, without: Sequence[str] = (), **defaults: Any
) -> Callable[[Method], Method]:
    """Give a function the signature and the documentation of the options that it passes on.

    It takes them as `**options`. Keywords that are none of them raise the TypeError that names
    the right one.

    Parameters
    ----------
    without : sequence of str
        Options that it does not take.
    **defaults
        Those that it has other defaults for than `BatchOptions`.
    """
    options = [
        inspect.Parameter(
            it.name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(it.name, it.default)
        )
        for it in fields(BatchOptions)
        if it.name not in without
    ]

    def decorated(function: Method) -> Method:
        signature = inspect.signature(function)
        own = [it for it in signature.parameters.values() if it.kind is not it.VAR_KEYWORD]
        own_names = {it.name for it in own}
        passed_on = [it for it in options if it.name not in own_names]

        def place(it: inspect.Parameter) -> tuple[int, bool]:
            # Positional parameters first, or there is no such signature; options before others.
            is_other = it.kind is it.KEYWORD_ONLY and not hasattr(BatchOptions, it.name)
            return it.kind, is_other

        parameters = sorted([*own, *passed_on], key=place)
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        described = inspect.cleandoc(BatchOptions.__doc__ or "").partition("Parameters\n")[2]
        function.__doc__ = (
            f"{inspect.cleandoc(function.__doc__ or '')}\n\n"
            f"Options\n-------\n{described.partition(chr(10))[2].partition('Raises')[0]}"
        )
        return function

    return decorated


def batch_options(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    called: str | None = None,
) -> BatchOptions:
    """Return the options that a function was given as keywords.

    Parameters
    ----------
    function : callable
        Decorated by `takes_batch_options`.
    given : mapping
        Its `**options`.
    defaults : mapping
        What holds where nothing is given.
    called : str, optional
        What users call the function, if that is not its name.

    Raises
    ------
    TypeError
        If a keyword is not an option of it, with the name that it has here.
    """
    known = inspect.signature(function).parameters
    refuse_unknown(function, {name: given[name] for name in given if name not in known}, called)
    return BatchOptions(**{**defaults, **given})
