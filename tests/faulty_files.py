"""Files and stores that are refused, for docs/errors.md: each with the remedy that it names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from edf_files import write_raw_edf

import zarrts


@dataclass(frozen=True)
class Fault:
    """A fault, and the remedy that the page names for it.

    Attributes
    ----------
    make : function of a folder
        Writes what is at fault there.
    wrong : dict
        Options of `zarrts.convert` that end with the message.
    right : dict
        Options of the remedy.
    mend : function of a folder, optional
        Of the remedy, what is done to the files.
    """

    make: Callable[[Path], Any]
    wrong: dict[str, Any]
    right: dict[str, Any]
    mend: Callable[[Path], Any] = lambda folder: None

    def act(self, place: SimpleNamespace) -> Any:
        """End with the message."""
        folder = place.tmp / f"faulty{len(list(place.tmp.iterdir()))}"
        return _convert(self.make, folder, place.tmp / "never.zarr", self.wrong)

    def remedy(self, place: SimpleNamespace, folder: Path) -> None:
        """Do what the page says, and train on what comes of it."""

        def mended(files: Path) -> Any:
            found = self.make(files)
            return self.mend(files) or found

        with _convert(mended, folder / "files", folder / "a.zarr", self.right) as store:
            assert len(store.samples) > 0


def _convert(
    make: Callable[[Path], Any], folder: Path, target: Path, options: dict[str, Any]
) -> zarrts.Store:
    folder.mkdir()
    source = make(folder)
    return zarrts.convert(folder if source is None else source, target, progress=False, **options)


SCORED = [("+0", "30", "W"), ("+30", "30", "N1")]


def _edf(annotations: Any, *dummies: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        signals: list[Any] = [
            (name, np.arange(600), 10, (-1000, 1000), (-1000, 1000)) for name in ("C3", "T8", "T8")
        ]
        signals += [(name, np.zeros(600), 10, (0, 0), (-1000, 1000)) for name in dummies]
        write_raw_edf(folder / "s01.edf", signals, annotations)

    return make


def _scored(folder: Path) -> None:
    _edf([])(folder)
    (folder / "s01.edf").rename(folder / "s01 PSG.edf")
    write_raw_edf(folder / "s01 Base.edf", [], SCORED, record_s="0")


def _numbers(folder: Path) -> zarrts.Recording:
    return zarrts.Recording("p", np.zeros((9, 4, 2), "f4"), np.arange(9) % 2)


FAULTY = {
    "so that no sample has a value": Fault(
        _edf(SCORED, "-"), {}, {"channels": ["C3", "T8#1", "T8#2"]}
    ),
    "has not exactly one signal named": Fault(
        _edf(SCORED), {"channels": ["C3", "T8"]}, {"channels": ["C3", "T8#2"]}
    ),
    "overlap, so that a row has two labels": Fault(
        _edf([*SCORED, ("+41", "3", "Arousal")]), {}, {"annotations": ["W", "N1"]}
    ),
    "chooses none of its annotations": Fault(
        _edf(SCORED), {"annotations": ["Wake"]}, {"annotations": ["W", "N1"]}
    ),
    "none lasts for a while within the recording": Fault(
        _edf([("+3", "", "start")]), {}, {"unlabelled": "background"}
    ),
    "would be called": Fault(
        _scored,
        {},
        {},
        lambda folder: (folder / "s01 Base.edf").rename(folder / "s01 Hypnogram.edf") and None,
    ),
    "among labels that are text": Fault(_numbers, {"unlabelled": "rest"}, {}),
}
