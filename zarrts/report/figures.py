"""Pictures as SVG that stands in a page: text is text, and takes the page's colour."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.markup import text
from zarrts.report.amounts import clock
from zarrts.types import AnyArray, IntArray

Floats = NDArray[np.float64]

_INK = "#010203"  # stands for the colour of the page's text, which is dark or light
_COLOURS = ("#3b82c4", "#d9822b", "#4c9f70", "#a25ac4", "#c4473b", "#8a8f2a", "#3aa6a6", "#c45a94")
_GREY = "#8a8f96"
_MAX_CELLS_WITH_NUMBERS = 600
_MAX_LETTERS = 22
_WIDE = 100  # times the usual deviation: others would be dots on one scale
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.parse_math": False,  # a name with dollars is no formula
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Trace:
    """A stretch of a series to be drawn.

    Attributes
    ----------
    title : str
    time : float64, shape (n_steps,)
    x : array, shape (n_steps, n_channels)
    bands : list of (float, float, str, int)
        Start, stop, name and colour (-1: none) of stretches that have a label of their own.
    """

    title: str
    time: Floats
    x: AnyArray
    bands: Sequence[tuple[float, float, str, int]] = ()


def _short(name: object) -> str:
    shown = str(name)
    return shown if len(shown) <= _MAX_LETTERS else shown[: _MAX_LETTERS - 1] + "\u2026"


@contextmanager
def _figure(width: float, height: float, alt: str, key: str) -> Iterator[tuple[Any, list[str]]]:
    """Give an empty figure of so many inches, and a list that holds its SVG in the end."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("The pictures need: python -m pip install 'zarrts[plot]'") from error
    out: list[str] = []
    style: Any = {**_STYLE, "svg.hashsalt": key}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, out
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of letters that Matplotlib's own font lacks
            figure.savefig(file, format="svg", metadata=nothing)
    out.append(_for_a_page(file.getvalue(), alt))


def _for_a_page(svg: str, alt: str) -> str:
    """Return what Matplotlib wrote as a part of an HTML page."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # The same in each picture, though an id is to be unique in a page.
    svg = re.sub(r' id="[a-zA-Z]+_\d+"', "", svg)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{text(alt)}" ', 1)


def colour(number: int) -> str:
    """Return the colour of a class; grey behind the last one, and of none."""
    return _COLOURS[number] if 0 <= number < len(_COLOURS) else _GREY


def heat_map(
    numbers: AnyArray,
    shades: AnyArray,
    rows: Sequence[object],
    columns: Sequence[object],
    *,
    labels: tuple[str, str],
    alt: str,
    key: str,
    shown: Callable[[float], str] = "{:,}".format,
) -> str:
    """Return a cell for each number, as strong as its shade (0 to 1); the first row is on top.

    Parameters
    ----------
    labels : tuple of str
        What rows and columns are.
    shown : callable
        Turns a number into its text.
    """
    n_rows, n_columns = numbers.shape
    width = 2.2 + max(4.0, 0.62 * n_columns)
    with _figure(width, 1.0 + 0.23 * n_rows, alt, key) as (figure, out):
        from matplotlib.colors import LinearSegmentedColormap

        axes = figure.add_subplot()
        clear = LinearSegmentedColormap.from_list("clear", [_COLOURS[0] + "00", _COLOURS[0] + "d8"])
        axes.pcolormesh(shades, cmap=clear, vmin=0, vmax=1)
        axes.set_yticks(np.arange(n_rows) + 0.5, [_short(it) for it in rows])
        axes.set_xticks(np.arange(n_columns) + 0.5, [_short(it) for it in columns], rotation=30)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
        axes.set(ylabel=labels[0], xlabel=labels[1])
        axes.invert_yaxis()
        if numbers.size <= _MAX_CELLS_WITH_NUMBERS:
            for (i, j), number in np.ndenumerate(numbers):
                axes.text(j + 0.5, i + 0.5, shown(number), ha="center", va="center", fontsize=8)
    return out[0]


def bars(names: Sequence[object], values: AnyArray, *, label: str, alt: str, key: str) -> str:
    """Return a bar for each name, from top to bottom."""
    with _figure(7, 0.8 + 0.23 * len(names), alt, key) as (figure, out):
        axes = figure.add_subplot()
        axes.barh(np.arange(len(names)), values, color=_COLOURS[0])
        axes.set_yticks(np.arange(len(names)), [_short(it) for it in names])
        axes.set(xlabel=label)
        axes.invert_yaxis()
        _plain(axes.xaxis)
    return out[0]


def _plain(axis: Any) -> None:
    """Write numbers of an axis out, without 1e6 or an offset at its end."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def histogram(values: AnyArray, *, labels: tuple[str, str], alt: str, key: str) -> str:
    """Return how many values lie where; labels are those of both axes."""
    with _figure(7, 2.6, alt, key) as (figure, out):
        axes = figure.add_subplot()
        axes.hist(values, bins=30, color=_COLOURS[0])
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.yaxis.get_major_locator().set_params(integer=True)
        _plain(axes.xaxis)
        _plain(axes.yaxis)
    return out[0]


def traces(
    some: Sequence[Trace], channels: Sequence[object], *, label: str, alt: str, key: str
) -> str:
    """Return series side by side, their channels below each other, each from its least to most.

    What least and most are stands beside each channel. Labels of stretches are bands behind them.
    """
    n_channels = len(channels)
    with _figure(9.5, 1.0 + 0.5 * n_channels, alt, key) as (figure, out):
        panels = figure.subplots(1, len(some), squeeze=False)[0]
        for number, (axes, it) in enumerate(zip(panels, some, strict=True)):
            ranges = []
            for channel in range(n_channels):
                shown = 0.9 * _stretched(it.x[:, channel]) - channel
                axes.plot(it.time, shown, lw=0.8, color=_COLOURS[channel % len(_COLOURS)])
                ranges.append(_range(it.x[:, channel]))
            _draw_bands(axes, it)
            axes.set(xlabel=label, ylim=(-n_channels + 0.9, 1))
            axes.set_title(_short(it.title), pad=16 if it.bands else 6, fontsize=9)
            names = [_short(name) if number == 0 else "" for name in channels]
            texts = [f"{name}\n{it}".strip() for name, it in zip(names, ranges, strict=True)]
            axes.set_yticks(0.45 - np.arange(n_channels), texts, fontsize=7)
            if label.startswith("time (h"):
                _clock(axes.xaxis)
    return out[0]


def _draw_bands(axes: Any, it: Trace) -> None:
    """Draw stretches that have labels, each with its name above where there is room."""
    whole = float(it.time[-1] - it.time[0]) if len(it.time) else 0.0
    for start, stop, name, number in it.bands:
        axes.axvspan(start, stop, color=colour(number), alpha=0.16 if number >= 0 else 0.3, lw=0)
        if stop - start > whole * (0.02 + 0.025 * len(_short(name))):
            middle = (start + stop) / 2
            axes.text(
                middle,
                1.02,
                _short(name),
                ha="center",
                va="bottom",
                fontsize=7.5,
                transform=axes.get_xaxis_transform(),
                color=_INK,
            )
    for start, *_ in it.bands[1:]:
        axes.axvline(start, lw=0.6, color=_INK, alpha=0.5)


def _clock(axis: Any) -> None:
    """Write seconds of an axis as h:mm:ss."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(3, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: clock(value)))


def _range(values: AnyArray) -> str:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return "missing"
    return f"{finite.min():.3g} to {finite.max():.3g}"


def strips(
    some: Sequence[tuple[str, Floats, Floats, IntArray]],
    names: Sequence[str],
    *,
    label: str,
    alt: str,
    key: str,
) -> str:
    """Return a strip for each recording: stretches in the colours of their classes.

    Parameters
    ----------
    some : list of (name, starts, stops, codes)
        Of a recording: its stretches, and the position of the class of each in `names`, or -1.
    """
    with _figure(9, 1.2 + 0.27 * len(some), alt, key) as (figure, out):
        from matplotlib.patches import Patch, PathPatch
        from matplotlib.path import Path

        axes = figure.add_subplot()
        codes_of = np.unique(np.concatenate([codes for _, _, _, codes in some]))
        for code in codes_of.tolist():
            corners = []
            for row, (_, starts, stops, codes) in enumerate(some):
                low, high = row - 0.38, row + 0.38
                for a, b in zip(starts[codes == code], stops[codes == code], strict=True):
                    corners.append([(a, low), (b, low), (b, high), (a, high), (a, low)])
            one = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
            path = Path(np.concatenate(corners), one * len(corners))
            opacity = 0.9 if code >= 0 else 0.25
            axes.add_patch(PathPatch(path, facecolor=colour(code), lw=0, alpha=opacity))
        longest = max(float(stops[-1]) for _, _, stops, _ in some)
        axes.set(xlim=(0, longest), ylim=(len(some) - 0.5, -0.5), xlabel=label)
        axes.set_yticks(np.arange(len(some)), [_short(name) for name, *_ in some])
        _plain(axes.xaxis)
        shown = [(i, name) for i, name in enumerate(names) if i in codes_of]
        keys = [Patch(color=colour(i), alpha=0.9, label=_short(name)) for i, name in shown]
        if -1 in codes_of:
            keys.append(Patch(color=_GREY, alpha=0.25, label="no label"))
        figure.legend(handles=keys, loc="outside upper center", ncols=9, frameon=False)
    return out[0]


def _stretched(values: AnyArray) -> Floats:
    """Return values from 0 to 1; a gap where they are no numbers."""
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if np.isnan(finite).all():
        return finite
    low, high = np.nanmin(finite), np.nanmax(finite)
    return np.asarray((finite - low) / (high - low) if high > low else finite - low + 0.5)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The places of values, shape (n_groups, n_channels) each."""

    min: Floats
    max: Floats
    mean: Floats
    std: Floats


def spreads(
    spread: Spread, names: Sequence[object], channels: Sequence[object], *, alt: str, key: str
) -> str:
    """Return a panel for each channel: range (thin) and mean with deviation (thick) by group."""
    n_channels, numbers = len(channels), np.arange(len(names))
    width = 2.5 + max(4.5, 0.2 * len(names))
    with _figure(width, 1.1 + 0.95 * n_channels, alt, key) as (figure, out):
        panels = figure.subplots(n_channels, 1, squeeze=False, sharex=True)[:, 0]
        for channel, axes in enumerate(panels):
            low, high = spread.min[:, channel], spread.max[:, channel]
            mean, std = spread.mean[:, channel], spread.std[:, channel]
            axes.vlines(numbers, low, high, lw=1, color=_COLOURS[0])
            axes.vlines(numbers, mean - std, mean + std, lw=4, color=_COLOURS[0], alpha=0.5)
            axes.plot(numbers, mean, "_", color=_INK, ms=5)
            usual = float(np.nanmedian(std)) if np.isfinite(std).any() else 0.0
            if usual > 0 and np.nanmax(std) > _WIDE * usual:
                axes.set_yscale("symlog", linthresh=usual)
            axes.set_ylabel(_short(channels[channel]), rotation=0, ha="right", va="center")
        panels[-1].set_xticks(numbers, [_short(it) for it in names], rotation=90)
    return out[0]


def stacks(
    names: Sequence[object], parts: Mapping[str, IntArray], *, label: str, alt: str, key: str
) -> str:
    """Return a bar for each name, made of one piece a part."""
    with _figure(8, 1.1 + 0.23 * len(names), alt, key) as (figure, out):
        axes = figure.add_subplot()
        done = np.zeros(len(names))
        for number, (part, values) in enumerate(parts.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            axes.barh(np.arange(len(names)), values, left=done, color=colour, label=part)
            done = done + values
        axes.set_yticks(np.arange(len(names)), [_short(it) for it in names])
        axes.set(xlabel=label)
        axes.invert_yaxis()
        _plain(axes.xaxis)
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return out[0]
