"""Random changes to batches of time series, so that a network sees more than there is.

Each function returns a transform, for `transform=`: called with a finished batch and a generator
of its own, in the loader's threads, it returns the batch. Arrays of the batch belong to whoever
transforms it, and are changed in place where the shape stays: touching fresh memory takes longer
than the arithmetic. Steps that are padding stay as they are. Each sample is changed on its own.

x has shape (batch, time, ...), where channels come last, and is of a float dtype. What the
methods are good for is compared in B. K. Iwana and S. Uchida, "An empirical survey of data
augmentation for time series classification with neural networks", PLOS ONE 16(7), 2021.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zarrts.batch import Batch
from zarrts.errors import SampleError
from zarrts.transforms.batches import (
    each_of,
    equal_lengths_of,
    floats_of,
    labels_taken,
    lengths_of,
    multiply,
    part_of,
    put_back,
    refuse_several,
    series_of,
    take_steps,
)
from zarrts.types import AnyArray

Transform = Callable[[Batch, np.random.Generator], Batch]


def compose(*transforms: Transform) -> Transform:
    """Return a transform that does several, one after the other."""

    def composed(batch: Batch, rng: np.random.Generator) -> Batch:
        for transform in transforms:
            batch = transform(batch, rng)
        return batch

    return composed


def sometimes(transform: Transform, p: float = 0.5) -> Transform:
    """Return a transform that changes each sample with probability `p`, and leaves the others.

    The shape of what it changes has to stay what it is.
    """
    _check("p", p, 0, 1)

    def changed(batch: Batch, rng: np.random.Generator) -> Batch:
        refuse_several(batch, "sometimes")
        chosen = rng.random(len(batch.x)) < p
        if not chosen.any():
            return batch
        part = transform(part_of(batch, chosen), rng)
        if part.x.shape[1:] != batch.x.shape[1:]:
            raise SampleError(
                f"sometimes() got samples of shape {part.x.shape[1:]} back for samples of shape "
                f"{batch.x.shape[1:]}, but a batch is one array; transform all of them."
            )
        batch.x[chosen] = part.x
        put = partial(put_back, chosen)
        weight = each_of(put, batch.sample_weight, part.sample_weight)
        return replace(batch, y=each_of(put, batch.y, part.y), sample_weight=weight)

    return changed


def on_input(name: str, transform: Transform) -> Transform:
    """Return a transform of one of several inputs; the others, and labels, stay as they are.

    Raises
    ------
    SampleError
        When it is called, if there is no such input, or the transform mixes samples or labels.
    """

    def changed(batch: Batch, rng: np.random.Generator) -> Batch:
        inputs = batch.x if isinstance(batch.x, dict) else {}
        if name not in inputs:
            there = ", ".join(inputs) or "one without a name"
            raise SampleError(f"on_input({name!r}): the inputs of the batch are: {there}.")
        length = None if batch.length is None else batch.length.get(name)
        part = transform(replace(batch, x=inputs[name], length=length), rng)
        if part.y is not batch.y or len(part.x) != len(inputs[name]):
            raise SampleError(
                f"on_input({name!r}): the transform changes labels or samples, which the other "
                "inputs have as well; transform all of them in a function of your own."
            )
        return replace(batch, x=inputs | {name: part.x})

    return changed


def jitter(sigma: float = 0.05) -> Transform:
    """Add normal noise of deviation `sigma` to every value, as a noisy sensor would.

    In units of x: after scaling by `stats`, deviations of the channel. T. T. Um et al., "Data
    augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
    neural networks", ICMI 2017.
    """
    _check("sigma", sigma, 0, np.inf)

    def jittered(batch: Batch, rng: np.random.Generator) -> Batch:
        x = floats_of(batch, "jitter")
        # NumPy draws these two only; others are rounded to them.
        noise = rng.standard_normal(x.shape, np.float64 if x.dtype == np.float64 else np.float32)
        noise *= sigma
        if batch.mask is not None:
            noise[~batch.mask] = 0
        np.add(x, noise, out=x, casting="same_kind")
        return batch

    return jittered


def scaling(sigma: float = 0.1) -> Transform:
    """Multiply each channel of each sample by a normal factor of mean 1 and deviation `sigma`.

    As a sensor with another gain would, or one that sits elsewhere (Um et al. 2017, see `jitter`).
    """
    _check("sigma", sigma, 0, np.inf)

    def scaled(batch: Batch, rng: np.random.Generator) -> Batch:
        x = floats_of(batch, "scaling")
        factors = rng.normal(1, sigma, (len(x), *(1 for _ in x.shape[1:-1]), x.shape[-1]))
        multiply(batch, factors.astype(x.dtype))
        return batch

    return scaled


def time_mask(length: float = 0.1, n: int = 1, value: float = 0.0) -> Transform:
    """Overwrite `n` stretches of each sample, all channels at once, with a constant.

    Parameters
    ----------
    length : int or float
        Of the longest stretch, in steps, or as a fraction of the sample; each is of a random
        length from 0 to this, and starts anywhere.
    n : int
        Stretches in a sample; they may overlap.
    value : float
        After scaling by `stats`, 0 is the mean of the channel.

    D. S. Park et al., "SpecAugment: a simple data augmentation method for automatic speech
    recognition", Interspeech 2019.
    """
    _check_length(length)
    if n < 1:
        raise SampleError(f"time_mask: n={n} has to be at least 1.")

    def masked(batch: Batch, rng: np.random.Generator) -> Batch:
        x = series_of(batch, "time_mask")
        n_steps = lengths_of(batch)[:, None]
        longest = np.minimum(_steps("time_mask", length, x.shape[1]), n_steps)
        lengths = rng.integers(0, longest, (len(x), n), endpoint=True)
        starts = rng.integers(0, n_steps - lengths, endpoint=True)
        steps = np.arange(x.shape[1])[:, None]
        is_inside = (steps >= starts[:, None]) & (steps < (starts + lengths)[:, None])
        x[is_inside.any(axis=2)] = value
        return batch

    return masked


def channel_drop(p: float = 0.1, value: float = 0.0) -> Transform:
    """Overwrite each channel of each sample with a constant, with probability `p`.

    As an electrode that came off would; at least one channel of each sample is kept. A. Saeed et
    al., "Learning from heterogeneous EEG signals with differentiable channel reordering", ICASSP
    2021.
    """
    _check("p", p, 0, 1)

    def dropped(batch: Batch, rng: np.random.Generator) -> Batch:
        x = series_of(batch, "channel_drop")
        drawn = rng.random((len(x), x.shape[-1]))
        is_dropped = drawn < p
        is_dropped[np.arange(len(x)), drawn.argmax(axis=1)] = False
        spread = is_dropped.reshape(len(x), *(1 for _ in x.shape[1:-1]), x.shape[-1])
        if batch.mask is not None:
            spread = spread & batch.mask.reshape(*batch.mask.shape, *(1 for _ in x.shape[2:]))
        np.copyto(x, value, where=spread)
        return batch

    return dropped


def crop(length: float = 0.9, *, resize: bool = True, with_labels: bool = False) -> Transform:
    """Take a stretch of each sample, from a random step on.

    Parameters
    ----------
    length : int or float
        Of the stretch, in steps, or as a fraction of the sample.
    resize : bool
        Stretch it to the length of the sample again, by linear interpolation; else batches have
        shape (batch, length, ...), and validation samples have to be as long.
    with_labels : bool
        y has one label for each step, and is cropped as well; needs resize=False.

    "Window slicing" of A. Le Guennec, S. Malinowski and R. Tavenard, "Data augmentation for time
    series classification using convolutional neural networks", AALTD 2016.
    """
    _check_length(length)
    if with_labels and resize:
        raise SampleError("crop: labels of steps cannot be stretched; give resize=False.")

    def cropped(batch: Batch, rng: np.random.Generator) -> Batch:
        x = equal_lengths_of(batch, "crop")
        n_steps = x.shape[1]
        n_kept = _steps("crop", length, n_steps)
        starts = rng.integers(0, n_steps - n_kept, len(x), endpoint=True)
        if not resize:
            rows = starts[:, None] + np.arange(n_kept)
            if with_labels:
                batch = labels_taken(batch, rows, n_steps, "crop")
            return replace(batch, x=take_steps(x, rows, n_steps, "crop"))
        if n_kept < n_steps:
            at = np.linspace(0, n_kept - 1, n_steps)
            low = np.minimum(at.astype(np.int64), max(0, n_kept - 2))
            share = (at - low).astype(x.dtype).reshape(-1, *(1 for _ in x.shape[2:]))
            before = take_steps(x, starts[:, None] + low, n_steps, "crop")
            after = take_steps(
                x, starts[:, None] + np.minimum(low + 1, n_kept - 1), n_steps, "crop"
            )
            after -= before
            after *= share
            np.add(before, after, out=x)
        return batch

    return cropped


def shift(
    max_steps: float = 0.1,
    *,
    fill: Literal["edge", "wrap"] | float = "edge",
    with_labels: bool = False,
) -> Transform:
    """Move each sample in time, by a random number of steps to either side.

    Parameters
    ----------
    max_steps : int or float
        At most so many steps, or this fraction of the sample.
    fill : "edge", "wrap" or float
        What comes in at the end: the first or last value again, what was moved out at the other
        end, or a constant.
    with_labels : bool
        y has one label for each step, and moves as well; needs "edge" or "wrap".

    Iwana and Uchida 2021, see above.
    """
    _check_length(max_steps)
    is_constant = not isinstance(fill, str)
    if not is_constant and fill not in ("edge", "wrap"):
        raise SampleError(f"shift: fill={fill!r} is unknown; use 'edge', 'wrap' or a number.")
    if with_labels and is_constant:
        raise SampleError("shift: no label fits a constant; give fill='edge' or 'wrap'.")

    def shifted(batch: Batch, rng: np.random.Generator) -> Batch:
        x = equal_lengths_of(batch, "shift")
        n_steps = x.shape[1]
        most = _steps("shift", max_steps, n_steps)
        moves = rng.integers(-most, most, len(x), endpoint=True)
        wanted = np.arange(n_steps) - moves[:, None]
        rows = wanted % n_steps if fill == "wrap" else np.clip(wanted, 0, n_steps - 1)
        x[...] = take_steps(x, rows, n_steps, "shift")
        if is_constant:
            x[rows != wanted] = fill
        return labels_taken(batch, rows, n_steps, "shift") if with_labels else batch

    return shifted


def mixup(alpha: float = 0.2) -> Transform:
    """Replace each sample by a mixture with another one of its batch; labels are mixed alike.

    The share of the other is drawn from Beta(alpha, alpha), for each sample. Labels have to be
    numbers that can be mixed: label_mode="categorical", "binary", or targets of a regression.
    H. Zhang, M. Cisse, Y. N. Dauphin and D. Lopez-Paz, "mixup: beyond empirical risk
    minimization", ICLR 2018.
    """
    if not alpha > 0:
        raise SampleError(f"mixup: alpha={alpha} has to be above 0.")

    def mixed(batch: Batch, rng: np.random.Generator) -> Batch:
        x = equal_lengths_of(batch, "mixup")
        each_of(_refuse_integers, batch.y)
        others = rng.permutation(len(x))
        shares = rng.beta(alpha, alpha, len(x))
        mix = partial(_mix, others, shares)
        batch = replace(
            batch, y=each_of(mix, batch.y), sample_weight=each_of(mix, batch.sample_weight)
        )
        x[...] = _mix(others, shares, x)
        return batch

    return mixed


def _refuse_integers(y: AnyArray) -> AnyArray:
    if y.dtype.kind != "f":
        raise SampleError(
            f"mixup: labels are {y.dtype}, and between two classes lies a third one; use "
            "label_mode='categorical' (with categorical_crossentropy) or 'binary'."
        )
    return y


def _mix(others: NDArray[np.int64], shares: NDArray[np.float64], values: AnyArray) -> AnyArray:
    share = shares.astype(values.dtype).reshape(-1, *(1 for _ in values.shape[1:]))
    out = values[others]
    out -= values
    out *= share
    out += values
    return out


# Arguments -------------------------------------------------------------------------------


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        limit = f"between {low} and {high}" if high < np.inf else f"at least {low}"
        raise SampleError(f"{name}={value} has to be {limit}.")


def _check_length(length: float) -> None:
    is_fraction = isinstance(length, float | np.floating)
    if not (0 < length <= 1 if is_fraction else length >= 1):
        raise SampleError(
            f"{length} is not a length: give a number of steps, at least 1, or a fraction above 0 "
            "and at most 1.0."
        )


def _steps(name: str, length: float, n_steps: int) -> int:
    if isinstance(length, float | np.floating):
        return max(1, round(length * n_steps))
    if length > n_steps:
        raise SampleError(f"{name}: {length} steps are more than the {n_steps} of the samples.")
    return int(length)
