"""A few samples of each class, from different subjects, cut short where they are long."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zarrts.samples import Samples
from zarrts.types import AnyArray, IntArray

_EACH = 3
_MAX_CLASSES = 8
_SECONDS = 10
_STEPS = 500


@dataclass(frozen=True)
class Specimen:
    """A sample, or a stretch of one.

    Attributes
    ----------
    subject : str
    start : int
        Its first time step; counted in its recording where the store is ragged, else 0.
    x : array, shape (n_steps, n_channels)
    """

    subject: str
    start: int
    x: AnyArray


def specimens_by_class(samples: Samples) -> dict[str, list[Specimen]]:
    """Return at most three specimens of each of at most eight classes; "" where there are none.

    Which ones depends on nothing but the store.
    """
    counts = samples.store.catalog.class_counts
    names = samples.store.class_names
    if counts is None or names is None:
        every = np.flatnonzero(np.diff(samples.store.catalog.row_starts))
        return {"": _specimens(samples, every, None)}
    chosen = np.sort(np.argsort(-counts.sum(axis=0), kind="stable")[:_MAX_CLASSES])
    found = {
        str(names[code]): _specimens(samples, np.flatnonzero(counts[:, code]), int(code))
        for code in chosen
    }
    return {name: some for name, some in found.items() if some}


def _specimens(samples: Samples, recordings: IntArray, code: int | None) -> list[Specimen]:
    catalog = samples.store.catalog
    found = []
    for recording in _spread_out(recordings, catalog.subject_codes):
        subject = catalog.recordings[recording].subject
        one = Samples(samples.selection.of_recordings(np.array([recording])))
        if samples.store.is_ragged:
            start, x = _stretch(one, int(np.diff(catalog.row_starts)[recording]), code)
        else:
            start, x = 0, one[_position(one, code)][0]
        found.append(Specimen(subject, start, _as_series(x)))
    return found


def _spread_out(recordings: IntArray, subject_codes: IntArray) -> Sequence[int]:
    """Return three of some recordings, of as many subjects as there are."""
    _, firsts = np.unique(subject_codes[recordings], return_index=True)
    some = recordings[np.sort(firsts)]
    if len(some) < _EACH:
        rest = np.setdiff1d(recordings, some)
        some = np.sort(np.concatenate([some, rest[: _EACH - len(some)]]))
    places = np.unique(np.linspace(0, len(some) - 1, min(_EACH, len(some))).round().astype(int))
    return [int(some[place]) for place in places]


def _position(one: Samples, code: int | None) -> int:
    """Return the middle one of the samples of a class in a recording."""
    if code is None:
        return len(one) // 2
    classes = one.store.header.labels.classes_of(np.asarray(one.load_labels()))
    has = np.flatnonzero((classes.reshape(len(one), -1) == code).any(axis=1))
    return int(has[len(has) // 2])


def _stretch(one: Samples, n_rows: int, code: int | None) -> tuple[int, AnyArray]:
    """Return the first row and x of a stretch of a recording: of a class, if its rows have one."""
    rate_hz = one.store.rate_hz
    steps = min(n_rows, max(2, int(_SECONDS * rate_hz)) if rate_hz else _STEPS)
    is_by_row = one.store.header.labels_per == "row" and one.store.class_names is not None
    windows = one.windows(steps, label="first" if is_by_row else "recording")
    position = len(windows) // 2
    if is_by_row:
        classes = one.store.header.labels.classes_of(np.asarray(windows.load_labels()))
        has = np.flatnonzero(classes == code)
        # Where the class comes only behind the start of the last window, that shows it.
        position = int(has[len(has) // 2]) if len(has) else len(windows) - 1
    return position, windows[position][0]


def _as_series(x: AnyArray) -> AnyArray:
    """Return (time, channel) of any sample; of more axes, those before the last one by one."""
    if x.ndim < 2:
        return x.reshape(-1, 1)
    return x.reshape(-1, x.shape[-1])
