"""Divide the samples of each subject in time: the past trains, what comes later is held out."""

from collections.abc import Iterator

from zarrts.errors import SampleError

Span = tuple[int, int]
"""Half-open, of the samples of one subject counted in their order."""


def hold_out_last(
    n_samples: int, *, val: float | None, test: float | None, gap: int, who: str
) -> dict[str, Span]:
    """Return the span of each part: "train" first, then "val" and "test", as time goes on.

    Parameters
    ----------
    n_samples : int
        Of one subject.
    val, test : fraction or count of its samples, or None
        A fraction is rounded to the nearest count, at least 1.
    gap : int
        Samples that are left out between two parts.
    who : str
        What messages call the subject.

    Raises
    ------
    SampleError
        If nothing is left to train on.
    """
    sizes = {
        name: _count(part, n_samples, name)
        for name, part in (("val", val), ("test", test))
        if part is not None
    }
    if not sizes:
        raise SampleError("Say what to hold out: split(test=0.2, within='subject'), ...")
    needed = sum(sizes.values()) + gap * len(sizes)
    if needed >= n_samples:
        raise SampleError(
            f"{who} has {n_samples:,} samples, but {needed:,} are held out or left out as gaps; "
            "nothing is left to train on. Hold out less, or lower gap."
        )
    spans = {}
    stop = n_samples
    for name in reversed(sizes):
        spans[name] = (stop - sizes[name], stop)
        stop -= sizes[name] + gap
    return {"train": (0, stop), **{name: spans[name] for name in sizes}}


def _count(part: float, n_samples: int, name: str) -> int:
    is_count = isinstance(part, int) and not isinstance(part, bool)
    if not isinstance(part, int | float) or part <= 0 or not (is_count or part < 1):
        raise SampleError(
            f"{name}={part!r}: within a subject, give a fraction of its samples between 0 and 1, "
            "or a count of samples."
        )
    return int(part) if is_count else max(1, round(part * n_samples))


def blocks(n_samples: int, k: int, *, gap: int, who: str) -> Iterator[tuple[list[Span], Span]]:
    """Yield (spans to train on, span to test on) of k folds; each sample is tested once.

    `gap` samples before and after what is tested are in neither.
    """
    if not 2 <= k <= n_samples:
        raise SampleError(
            f"folds({k}) within {who}, which has {n_samples:,} samples: the number of folds has to "
            f"lie between 2 and {n_samples:,}."
        )
    for number in range(k):
        start, stop = n_samples * number // k, n_samples * (number + 1) // k
        train = [(0, max(0, start - gap)), (min(n_samples, stop + gap), n_samples)]
        train = [span for span in train if span[0] < span[1]]
        if not train:
            raise SampleError(
                f"gap={gap} leaves nothing of {who} ({n_samples:,} samples) to train on; lower gap."
            )
        yield train, (start, stop)
