"""The part of the page that shows which class each recording has when: a strip for each."""

from dataclasses import dataclass

import numpy as np

from zarrts import markup
from zarrts.report import figures
from zarrts.report.amounts import Amounts, amounts_of_rows
from zarrts.report.overview import Overview
from zarrts.types import IntArray
from zarrts.view.series import Series

MAX_STRIPS = 20
_MAX_CLASSES = 8
_MAX_RUNS = 400
_OTHERS = _MAX_CLASSES


@dataclass(frozen=True)
class Strip:
    """Stretches of one class of a recording.

    Attributes
    ----------
    name : str
    starts, stops : float64, shape (n_runs,)
        In the unit of the picture.
    codes : int64, shape (n_runs,)
        Number of the colour; -1 where there is no label.
    """

    name: str
    starts: figures.Floats
    stops: figures.Floats
    codes: IntArray


def strips_of_labels(overview: Overview) -> list[str]:
    """Return a strip of classes over time for at most twenty recordings, of as many subjects."""
    store, samples = overview.store, overview.samples
    if store.header.labels_per != "row" or store.class_names is None or not len(overview.lengths):
        return []
    chosen = _recordings(overview)
    amounts = amounts_of_rows(store, float(overview.lengths[chosen].max()))
    counts = np.asarray(store.catalog.class_counts).sum(axis=0)
    first = np.sort(np.argsort(-counts, kind="stable")[:_MAX_CLASSES])
    colours = np.full(len(counts) + 1, _OTHERS, np.int64)
    colours[first], colours[-1] = np.arange(len(first)), -1
    names = [str(store.class_names[code]) for code in first]
    if len(counts) > _MAX_CLASSES:
        names.append(f"{len(counts) - _MAX_CLASSES:,} others")
    strips, is_coarse = [], False
    for number in chosen.tolist():
        series = Series(samples, number)
        if not series.tracks:
            return []
        runs = series.runs(series.tracks[0])
        starts, stops, codes, is_cut = runs.binned(0, runs.n_steps, _MAX_RUNS)
        is_coarse |= is_cut
        starts, stops = (amounts.of(it / series.row_steps) for it in (starts, stops))
        strips.append(Strip(_name(overview, number), starts, stops, colours[codes]))
    return [markup.heading(2, "Classes over time"), *_picture(strips, names, amounts, is_coarse)]


def _recordings(overview: Overview) -> IntArray:
    """Return the first recording of some subjects, spread evenly over them."""
    filled = np.flatnonzero(overview.lengths)
    _, firsts = np.unique(overview.store.catalog.subject_codes[filled], return_index=True)
    every = np.sort(filled[firsts])
    if len(every) < MAX_STRIPS:  # room for second nights
        rest = np.setdiff1d(filled, every)
        every = np.sort(np.concatenate([every, rest[: MAX_STRIPS - len(every)]]))
    places = np.linspace(0, len(every) - 1, min(MAX_STRIPS, len(every))).round().astype(np.int64)
    return every[np.unique(places)]


def _name(overview: Overview, number: int) -> str:
    it = overview.store.recordings[number]
    codes = overview.store.catalog.subject_codes
    if int((codes == codes[number]).sum()) == 1:
        return it.subject
    before = int((codes[:number] == codes[number]).sum())
    return f"{it.subject}, {before + 1}"


def _picture(strips: list[Strip], names: list[str], amounts: Amounts, is_coarse: bool) -> list[str]:
    caption = "The class of each time step, from the start of the recording; grey: no label"
    if is_coarse:
        caption += f". Recordings of more than {_MAX_RUNS} changes show the most frequent class of "
        caption += "each piece"
    label = f"{'time in ' if amounts.is_time else ''}{amounts.unit}"
    svg = figures.strips(
        [(it.name, it.starts, it.stops, it.codes) for it in strips],
        names,
        label=label,
        alt=caption,
        key="strips",
    )
    return [markup.figure(svg, caption)]
