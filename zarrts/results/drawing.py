"""The picture of a confusion matrix."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zarrts.errors import SampleError
from zarrts.results.scores import ratio
from zarrts.system import replace_file
from zarrts.types import IntArray

_SUFFIXES = (".png", ".svg", ".pdf")
_MAX_NUMBERS = 30  # classes; of more, cells are too small for numbers


def draw_confusion(counts: IntArray, names: Sequence[str], path: Path) -> None:
    """Draw counts of [true, predicted]: shades and the upper numbers are shares of a true class.

    Raises
    ------
    ImportError
        Without Matplotlib.
    SampleError
        If the name says no kind of picture.
    """
    kind = path.suffix.lower()
    if kind not in _SUFFIXES:
        raise SampleError(f"{path}: a picture is {', '.join(_SUFFIXES)}; give it such a name.")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("The picture needs: python -m pip install 'zarrts[plot]'") from error
    shares = ratio(counts, counts.sum(axis=-1, keepdims=True))
    size = 2.2 + 0.75 * len(names)
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that Matplotlib's own font lacks
        figure = Figure(figsize=(max(4.5, size + 0.6), max(3.6, size)), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
        ticks = np.arange(len(names))
        axes.set_xticks(ticks, names, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, names)
        axes.set(xlabel="predicted class", ylabel="true class")
        if len(names) <= _MAX_NUMBERS:
            for (i, j), share in np.ndenumerate(shares):
                shown = "-" if np.isnan(share) else f"{share:.0%}"
                colour = "white" if share > 0.55 else "black"
                axes.text(
                    j,
                    i,
                    f"{shown}\n{counts[i, j]:,}",
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=8,
                )
        bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.5, 1])
        bar.set_label("share of the true class")
        bar.ax.set_yticklabels(["0 %", "50 %", "100 %"])
        axes.set_title(f"{int(counts.sum()):,} samples", fontsize="medium")
        file = io.BytesIO()
        figure.savefig(file, format=kind[1:], dpi=150)
    replace_file(path, file.getvalue())
