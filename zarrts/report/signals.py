"""The part of the page that draws samples, and says where the values of each channel lie."""

import numpy as np

from zarrts import markup
from zarrts.report import figures
from zarrts.report.amounts import clock
from zarrts.report.figures import Spread, Trace
from zarrts.report.oddities import find_oddities
from zarrts.report.overview import MAX_ROWS, Overview
from zarrts.report.specimens import Specimen, specimens_by_class
from zarrts.report.subjects import and_more, number
from zarrts.store import Store
from zarrts.types import AnyArray
from zarrts.view.series import Series

_MAX_PANELS = 12
_POINTS = 300
_LATE_S = 600.0  # from here on, seconds are hard to read


def some_samples(store: Store) -> list[str]:
    """Return pictures of three samples of each class."""
    parts = [markup.heading(2, "Some samples")]
    found = specimens_by_class(store.samples)
    n_channels = len(Series(store.samples, 0).channels) if len(store.recordings) else 0
    for name, some in found.items():
        title = f"class {name}" if name else "samples"
        shown, rate_hz = some[0].channels, some[0].rate_hz
        latest = max(it.start + len(it.x) for it in some) / (rate_hz or 1)
        traces = [_trace(it, store) for it in some]
        who = ", ".join(_who(it, store) for it in some)
        caption = f"{title}: of {who}" if name else f"Samples of {who}"
        if any(it.bands for it in some):
            caption += "; bands show the class of each time step"
        label = "time (h:mm:ss)" if latest > _LATE_S else "time (s)"
        if not rate_hz:
            label = "time step"
        svg = figures.traces(traces, shown, label=label, alt=caption, key=f"samples {name}")
        parts.append(markup.figure(svg, caption))
        if n_channels > len(shown):
            parts.append(markup.paragraph(f"and {n_channels - len(shown):,} more channels"))
    n_classes = store.n_classes or 0
    if n_classes > len(found) > 0 and "" not in found:
        parts.append(markup.paragraph(f"and {n_classes - len(found):,} more classes"))
    return parts


def _who(it: Specimen, store: Store) -> str:
    """Return whose a specimen is, and when, where it is a piece of a long recording."""
    if not (store.is_ragged and it.start):
        return it.subject
    if not it.rate_hz:
        return f"{it.subject} from time step {it.start:,}"
    return f"{it.subject} at {clock(it.start / it.rate_hz)}"


def _trace(it: Specimen, store: Store) -> Trace:
    scale, x = 1 / (it.rate_hz or 1), it.x
    steps: AnyArray = np.arange(len(x)) + it.start
    if len(x) > _POINTS:
        # Least and most of each short stretch, or peaks would be lost.
        n_bins = _POINTS // 2
        x, width = x[: len(x) // n_bins * n_bins], len(x) // n_bins
        bins = x.reshape(n_bins, width, -1)
        x = np.stack([bins.min(axis=1), bins.max(axis=1)], axis=1).reshape(2 * n_bins, -1)
        steps = it.start + np.arange(2 * n_bins) * width / 2
    names = [str(name) for name in store.class_names or ()]
    bands = [
        (start * scale, stop * scale, names[code] if code >= 0 else "no label", code)
        for start, stop, code in it.bands
    ]
    return Trace(it.subject, steps * scale, x, bands)


def channels_by_subject(overview: Overview) -> list[str]:
    """Return the range of each channel by subject, and what is odd about them."""
    parts = [markup.heading(2, "Channels")]
    by_group, channels, names = overview.moments_by_group, overview.channels, overview.groups.names
    odd = find_oddities(overview.moments, overview.subjects, channels)
    if odd:
        rows = [(it.subject, it.channel, it.text) for it in odd[:MAX_ROWS]]
        caption = f"What is unlike other subjects ({len(odd):,})" + and_more(len(odd))
        header = ["subject", "channel", "what is odd"]
        parts.append(markup.table(caption, header, rows, name="odd"))
    else:
        parts.append(
            markup.paragraph("No channel of a subject is flat, or unlike those of others.")
        )
    some = min(len(channels), _MAX_PANELS)
    spread = Spread(
        **{
            name: np.where(np.isfinite(values), values, np.nan)[:, :some]
            for name, values in (
                ("min", by_group.min),
                ("max", by_group.max),
                ("mean", by_group.mean),
                ("std", by_group.std),
            )
        }
    )
    caption = "Each channel by subject: range (thin), mean and deviation (thick)"
    svg = figures.spreads(spread, names, channels[:some], alt=caption, key="spreads")
    ranges = [
        [name, *(f"{number(a)} to {number(b)}" for a, b in zip(low, high, strict=True))]
        for name, low, high in zip(names, by_group.min, by_group.max, strict=True)
    ]
    if len(channels) > MAX_ROWS:
        ranges = [row[: 1 + MAX_ROWS] for row in ranges]
    header = ["subject", *channels[:MAX_ROWS]]
    return [
        *parts,
        markup.figure(svg, caption),
        markup.table("Range of each channel", header, ranges, name="ranges", is_shown=False),
    ]
