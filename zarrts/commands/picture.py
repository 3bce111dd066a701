"""The picture that `zarrts bench -o` writes: the rates, and where time goes."""

import io
import warnings
from pathlib import Path
from textwrap import fill
from typing import Any

from zarrts.commands.outputs import refuse_folder_of
from zarrts.commands.rates import BenchReport
from zarrts.errors import StoreError
from zarrts.system import replace_file

SUFFIXES = (".png", ".svg", ".pdf")
_COLOURS = ("#4477aa", "#ddaa33", "#228833", "#aa3377")
_LETTERS = 88


def check_picture(path: str) -> None:
    """Refuse what no picture can be written to, before time is spent on measuring.

    Raises
    ------
    StoreError
        If the name says no kind of picture, or there is no such folder.
    ImportError
        Without Matplotlib.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise StoreError(
            f"{path}: a picture is {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; give it such a "
            "name, as bench.png."
        )
    refuse_folder_of(Path(path))
    _import_figure()


def _import_figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("The picture needs: python -m pip install 'zarrts[plot]'") from error
    return Figure


def write_picture(report: BenchReport, path: str) -> None:
    """Draw what was measured, one bar a rate, and one of where time goes; see `check_picture`."""
    check_picture(path)
    figure = _import_figure()(figsize=(9, 4.5), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(max(3, len(report.rates)), 1.3))
    stages = [rate.stage for rate in report.rates]
    bars = above.barh(stages, [rate.samples_per_s for rate in report.rates], color="#777777")
    above.bar_label(bars, [f" {rate.samples_per_s:,.0f}" for rate in report.rates])
    above.set(xscale="log", xlabel="samples per second")
    above.margins(x=0.15)
    above.invert_yaxis()
    above.spines[["top", "right"]].set_visible(False)
    parts = report.parts()
    total, done = sum(parts.values()) or 1.0, 0.0
    for (name, seconds), colour in zip(parts.items(), _COLOURS, strict=False):
        share = seconds / total
        below.barh(["time"], [share], left=done, color=colour, label=f"{name} {share:.0%}")
        done += share
    below.set(xlim=(0, 1), xticks=[])
    below.spines[:].set_visible(False)
    below.legend(ncols=len(parts), loc="upper center", bbox_to_anchor=(0.5, 0.0), frameon=False)
    figure.suptitle(fill(report.verdict, _LETTERS), fontsize="medium")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that Matplotlib's own font lacks
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=120)
    replace_file(Path(path), file.getvalue())
