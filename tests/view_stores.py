"""Stores and predictions to be looked at."""

from pathlib import Path
from typing import Any

import numpy as np

import zarrts
from zarrts.results import Evaluation, Places, Predictions

STAGES = np.array(["N", "R", "W"])


def nights(folder: Path, *, n_rows: int = 60_000, rate_hz: float = 100) -> Any:
    """Return a ragged store of three people, one of whom has two nights; and its recordings."""
    rng = np.random.default_rng(0)
    some = []
    for number, name in enumerate(("ann", "bob", "bob", "cem")):
        n = n_rows + 700 * number
        y = STAGES[np.repeat(rng.integers(0, 3, -(-n // 3000)), 3000)[:n]].astype("U1")
        y[5000:6000] = ""
        x = rng.normal(size=(n, 3)).astype("f4")
        x[2000:2500, 1] = np.nan
        some.append(zarrts.Recording(name, x, y))
    channels = ["C3", "C4", "EMG"]
    given: dict[str, Any] = {"kind": "ragged", "rate_hz": rate_hz, "channels": channels}
    return zarrts.convert(some, folder / "nights.zarr", progress=False, **given), some


def predictions_of(windows: Any) -> Predictions:
    """Return what a network might say of windows; mostly right, and surer where it is."""
    selection = windows.selection
    ids = windows.ids
    recordings = selection.recordings_of(ids)
    index = selection.view.index
    store = windows.store
    starts = index.first_rows(ids) - store.catalog.row_starts[recordings]
    true = selection.scheme.classes_of(np.asarray(windows.load_labels()))
    rng = np.random.default_rng(1)
    sure = 2 * np.eye(store.n_classes)[np.maximum(true, 0)]
    values = np.exp(rng.normal(size=(len(ids), store.n_classes)) + sure)
    values /= values.sum(axis=1, keepdims=True)
    places = Places(
        subjects=tuple(it.subject for it in store.recordings),
        sources=tuple(it.source for it in store.recordings),
        starts=starts,
        stops=starts + index.n_rows(ids),
        rate_hz=store.rate_hz,
    )
    return Predictions(
        values=values.astype("f4"),
        sample_ids=ids,
        recordings=recordings,
        class_names=tuple(store.class_names),
        places=places,
        true=true,
    )


def evaluation_of(windows: Any) -> Evaluation:
    """Return the evaluation that holds these predictions."""
    found = predictions_of(windows)
    names = windows.store.subjects
    owners = windows.store.catalog.subject_codes[found.recordings]
    confusion = np.zeros((len(names), 3, 3), np.int64)
    assert found.true is not None
    known = found.true >= 0
    np.add.at(confusion, (owners[known], found.true[known], found.codes[known]), 1)
    return Evaluation(
        subjects=tuple(names),
        class_names=tuple(windows.store.class_names),
        confusion=confusion,
        predictions=found,
    )
