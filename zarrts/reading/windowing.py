"""Cut the recordings of a ragged store into windows, and join windows to sequences."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.cuts import View
from zarrts.indexing.events import windows_at
from zarrts.indexing.indexes import WindowIndex
from zarrts.indexing.windows import (
    Gaps,
    WindowOptions,
    numbers_of_gaps,
    rows_of_time,
    sequences_of,
    sequences_within,
)
from zarrts.labels.functions import labels_of_function
from zarrts.lists import listed
from zarrts.reading.bad_rows import without_bad_rows
from zarrts.reading.events import events_of, recordings_of, scheme_of_events
from zarrts.reading.selection import Selection
from zarrts.store import Store
from zarrts.types import IntArray

_MAX_NAMED = 3
_IN_ROWS_OR_TIME = ("length", "stride", "start", "stop")


def windows(
    selection: Selection,
    *,
    horizon: int | str | Sequence[int],
    channels: Sequence[int | str] | None,
    gaps: Gaps | None,
    nan: str,
    at: Any = None,
    before: int | str = 0,
    after: int | str | None = None,
    **options: Any,
) -> Selection:
    """Return windows of the recordings of a selection; what each option means stands at
    `Samples.windows`.
    """
    _refuse_view(selection)
    if nan not in ("keep", "drop"):
        raise SampleError(f"nan={nan!r} is unknown; use 'keep' or 'drop'.")
    store, header = selection.store, selection.store.header
    options["target"], options["target_input"] = _target(selection, options["target"])
    if at is not None:
        options |= {"length": _length_at_events(selection, before, after, options), "stride": 1}
    elif options["length"] is None or after is not None or before != 0:
        raise SampleError(
            "windows() needs a length, such as '30s'; or events: at=, with before= and after=."
        )
    if options["stride"] is None:
        # A time is how long an epoch is; a number of rows counts as in TimeseriesGenerator.
        options["stride"] = options["length"] if isinstance(options["length"], str) else 1
    of_several = _SeveralRates.of(store)
    if of_several is not None:
        of_several.refuse(options)
    for name in _IN_ROWS_OR_TIME:
        if options[name] is not None and (at is None or name not in ("length", "stride")):
            options[name] = _rows(name, options[name], store, of_several)
    ahead: int | tuple[int, ...]
    if isinstance(horizon, int | str | np.integer):
        ahead = (
            int(horizon)
            if isinstance(horizon, int | np.integer)
            else _rows("horizon", horizon, store, of_several)
        )
        if isinstance(horizon, str):
            ahead *= header.segments[0].label_steps if options["target"] == "labels" else 1
    else:
        ahead = tuple(int(it) for it in horizon)
    if header.labels.class_names == () and header.labels_per == "recording":
        # Where nothing has a label, no window has, whatever label it would be given.
        options["label"] = "recording" if options["target"] == "labels" else options["label"]
    chosen = None
    if channels is not None:
        chosen = _numbers_of(selection, options["target_input"], channels)
    window = WindowOptions(
        horizon=ahead, channels=chosen, label_steps=header.segments[0].label_steps, **options
    )
    recordings = store.recordings if gaps else ()
    missing = numbers_of_gaps(gaps or {}, [it.source for it in recordings])
    if at is not None:
        rows = _rows("before", before, store, of_several)
        found = _at_events(selection, window, at, rows, missing, drops_bad=nan == "drop")
        return without_bad_rows(found) if nan == "drop" else found
    _check_labels(selection, window)
    key = (*window.key, tuple((i, tuple(sorted(rows))) for i, rows in sorted(missing.items())))
    of_store = store.catalog.gaps
    breaks = None if of_store is None else of_store.rows
    index = window.index(store.catalog.row_starts, missing, breaks)
    cut = window.cut(
        missing=selection.scheme.missing_values,
        checked=partial(labels_of_function, store.header.labels),
    )
    found = _filled(selection, View(index, cut, key, nan == "drop"), "window")
    return without_bad_rows(found) if nan == "drop" else found


def _length_at_events(
    selection: Selection, before: int | str, after: int | str | None, options: dict[str, Any]
) -> int:
    """Return how many rows a window at an event has."""
    given = [name for name in ("length", "stride", "stop") if options[name] is not None]
    given += ["start"] * (options["start"] != 0)
    if given or after is None:
        what = f"leave {given[0]}= out" if given else "after= is lacking"
        raise SampleError(
            f"at= cuts one window at each event, from before= to after= it, such as before='0.5s', "
            f"after='2s': {what}."
        )
    store = selection.store
    of_several = _SeveralRates.of(store)
    first, last = (
        _rows(name, value, store, of_several)
        for name, value in (("before", before), ("after", after))
    )
    if first + last < 1:
        raise SampleError(
            f"before={before!r} and after={after!r} leave no row of a window; raise after=."
        )
    return first + last


def _at_events(
    selection: Selection,
    window: WindowOptions,
    at: Any,
    before: int,
    gaps: Mapping[int, Sequence[int]],
    *,
    drops_bad: bool,
) -> Selection:
    """Return windows at events; their labels are those of the events, where these have some."""
    store = selection.store
    offsets = store.catalog.row_starts
    breaks = [offsets[number] + np.array(rows, np.int64) for number, rows in gaps.items()]
    if store.catalog.gaps is not None:
        breaks.append(store.catalog.gaps.rows)
    recordings = recordings_of(selection)
    found = windows_at(
        events_of(at, recordings),
        offsets,
        np.concatenate([np.zeros(0, np.int64), *breaks]),
        [it.source for it in recordings],
        before=before,
        n_rows=window.n_rows,
    )
    if found.index.n_samples == 0:
        raise SampleError(
            f"at= gives no window of {window.n_rows:,} rows: {found.n_left_out:,} events, all too "
            "near to the start or end of a recording, or to a gap; look at their times, or lower "
            "before= and after=."
        )
    if found.n_left_out:
        warnings.warn(
            f"{found.n_left_out:,} of {found.n_left_out + found.index.n_samples:,} events are too "
            "near to the start or end of a recording, or to a gap, and give no window.",
            stacklevel=4,
        )
    scheme = selection.scheme
    is_own = window.label == "recording" and window.target == "labels" and found.labels is not None
    if is_own:
        assert found.labels is not None
        labels, scheme = scheme_of_events(found.labels, scheme)
        cut = replace(window.cut(), y_of="sample", labels=labels)
    else:
        _check_labels(selection, window)
        cut = window.cut(
            missing=scheme.missing_values, checked=partial(labels_of_function, store.header.labels)
        )
    key = (*window.key, "at", before, found.key)
    view = View(found.index, cut, key, drops_bad, before)
    chosen = selection.with_scheme(scheme).viewed(view)
    if len(chosen) == 0:
        raise SampleError("None of the events is in these recordings, only in others of the store.")
    return chosen


def sequences(selection: Selection, n: int, stride: int | None) -> Selection:
    """Return n consecutive windows as one sample; see `Samples.sequences`."""
    view = sequences_of(selection.view, n, stride)
    index = selection.view.index
    assert isinstance(index, WindowIndex)  # or there are no sequences
    if 2 * index.stride < index.max_rows:
        warnings.warn(
            f"The windows of these sequences overlap by more than half: each has {index.max_rows:,}"
            f" rows, and the next begins {index.stride:,} later, so that a sequence of {n} shows "
            "the same rows again and again; cut windows with a larger stride=.",
            stacklevel=3,
        )
    own = sequences_within(index, selection.ids, n, n if stride is None else stride)
    if len(own) == 0:
        raise SampleError(
            f"No {n} windows that follow each other are all among these samples, of which there "
            f"are {len(selection):,}: join windows to sequences before you choose some, or lower n."
        )
    return _filled(selection, view, "sequence").narrowed(own)


def stateful_order(selection: Selection, batch_size: int) -> IntArray:
    """Return ids in the order that stateful networks need; see `Samples.stateful_order`."""
    n_batches = len(selection) // batch_size if batch_size > 0 else 0
    if n_batches == 0:
        raise SampleError(
            f"stateful_order({batch_size}): {len(selection):,} samples make no full "
            "batch; choose between 1 and that."
        )
    numbers = np.arange(n_batches * batch_size).reshape(batch_size, n_batches)
    return selection.ids.ids(numbers.T.ravel())


def _filled(selection: Selection, view: View, what: str) -> Selection:
    """Return the samples of a view, if there are any; warn of recordings without one."""
    found = selection.viewed(view)
    if len(found) == 0:
        raise SampleError(f"No {what} fits into these recordings, only into others; lower it.")
    before, after = (np.flatnonzero(it.per_recording) for it in (selection, found))
    lost = np.setdiff1d(before, after)
    if len(lost):
        sources = (selection.store.recordings[i].source for i in lost.tolist())
        warnings.warn(
            f"{len(lost):,} of {len(before):,} recordings are too short for a {what} and give "
            f"none: {listed(sources, _MAX_NAMED)}.",
            stacklevel=4,
        )
    return found


def _refuse_view(selection: Selection) -> None:
    store = selection.store
    if not store.is_ragged:
        raise SampleError(
            f"windows() cuts recordings whose rows follow in time, but {store.path} holds "
            f"samples of shape {store.sample_shape}; convert with kind='ragged' for that."
        )
    if not selection.is_as_stored:
        raise SampleError("These samples are windows; cut store.samples, or a part of these.")


def _check_labels(selection: Selection, options: WindowOptions) -> None:
    if options.target == "x":
        return
    store = selection.store
    if store.header.labels_per == "recording":
        if options.label != "recording":
            raise SampleError(
                f"label={options.label!r} needs a label for each row, but {store.path} "
                "has one for each recording; use label='recording'."
            )
    elif options.label == "recording":
        raise SampleError(
            f"label='recording' needs one label for each recording, but {store.path} has "
            "one for each row; use 'last', 'majority', 'all', ..."
        )
    if options.label == "majority" and store.header.labels.class_names is None:
        raise SampleError("label='majority' needs classes, but these labels are numbers.")


def _target(selection: Selection, target: Any) -> tuple[Any, str]:
    """Return "labels" or "x", and of several inputs the name of the one that targets are of.

    Raises
    ------
    SampleError
        If there is no such input; names those that there are.
    """
    inputs = selection.store.header.segments[0].inputs
    if not isinstance(target, str) or target.partition("/")[0] != "x" or "" in inputs:
        return target, ""
    name = target.partition("/")[2]
    moving = [it for it, array in inputs.items() if array.steps]
    if name not in moving:
        raise SampleError(
            f"target={target!r}: values of one input are the target, and there are several: use "
            f"{', '.join(repr(f'x/{it}') for it in moving)}."
        )
    return "x", name


@dataclass(frozen=True)
class _SeveralRates:
    """Several inputs, of which some have several steps in a row of the store."""

    shown: str
    row_rate_hz: float | None

    @staticmethod
    def of(store: Store) -> "_SeveralRates | None":
        """Return what inputs a store has, or None where a row is one step of each."""
        segment, described = store.header.segments[0], store.header.description.of_inputs
        moving = {name: it for name, it in segment.inputs.items() if it.steps}
        if all(it.steps == 1 for it in moving.values()) and segment.label_steps == 1:
            return None
        shown = ", ".join(f"{name} at {described[name].rate_hz or 0:g} Hz" for name in moving)
        return _SeveralRates(shown, store.header.row_rate_hz)

    def refuse(self, options: Mapping[str, Any]) -> None:
        """Refuse what means something else for each input."""
        for name, usual in (("sampling_rate", 1), ("reverse", False)):
            if options[name] != usual:
                raise SampleError(
                    f"{name}={options[name]!r} is about the rows of one input, but there are "
                    f"several rates: {self.shown}; leave it out."
                )

    def rows(self, name: str, value: int | str) -> int:
        """Return how many rows a time is.

        Raises
        ------
        SampleError
            If it is not a time, or not a whole number of steps of each input.
        """
        if not isinstance(value, str):
            if value == 0:  # as by default
                return 0
            raise SampleError(
                f"{name}={value!r} counts rows, but each input has rows of its own "
                f"({self.shown}); give a time, such as '30s'."
            )
        rate = self.row_rate_hz
        assert rate is not None  # or there are no steps in a row
        seconds = rows_of_time(name, value, 1e9) / 1e9
        n_rows = round(seconds * rate)
        if abs(seconds * rate - n_rows) > 1e-6 * max(1.0, n_rows) or n_rows < 1:
            raise SampleError(
                f"{name}={value!r} is not a whole number of steps of each input ({self.shown}); "
                f"the nearest time that is one is '{max(1, n_rows) / rate:g}s'."
            )
        return n_rows


def _rows(name: str, value: int | str, store: Store, of_several: _SeveralRates | None) -> int:
    if of_several is not None:
        return of_several.rows(name, value)
    return rows_of_time(name, value, store.header.row_rate_hz)


def _numbers_of(
    selection: Selection, of_input: str, channels: Sequence[int | str]
) -> tuple[int, ...]:
    header = selection.store.header
    names = header.description.of_inputs[of_input].channels or ()
    count = header.segments[0].inputs[of_input].n_channels
    numbers = [names.index(it) if it in names else it for it in channels]
    for number in numbers:
        if not isinstance(number, int | np.integer) or not 0 <= number < count:
            known = ", ".join(names) or f"0 to {count - 1}"
            raise SampleError(f"channels: there is no channel {number!r}; there are {known}.")
    return tuple(int(number) for number in numbers)
