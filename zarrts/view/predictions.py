"""Sort what a network said of the stretches of each recording: where to look first."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.results import Evaluation, Predictions
from zarrts.types import IntArray, Label
from zarrts.view.series import Runs

NONE = -2
"""The code of steps of which nothing was predicted; -1 are those without a label."""


@dataclass(frozen=True, eq=False)
class Said:
    """Predictions, one a stretch, ordered by recording and first step.

    Attributes
    ----------
    class_names : tuple
    recordings, starts, stops : int64, shape (n,)
        Recording, and half-open range of its time steps.
    true, codes : int64, shape (n,)
        True and predicted class; true is -1 where it is not known.
    probabilities : float32, shape (n, n_classes)
    """

    class_names: tuple[Label, ...]
    recordings: IntArray
    starts: IntArray
    stops: IntArray
    true: IntArray
    codes: IntArray
    probabilities: NDArray[np.float32]

    @staticmethod
    def of(found: Predictions, row_steps: int, sources: list[str]) -> "Said":
        """Return predictions of samples of a store as stretches of its recordings.

        Parameters
        ----------
        row_steps : int
            Time steps of a row that places count: 1 where rows are time steps.
        sources : list of str
            Source of each recording of the store.

        Raises
        ------
        SampleError
            If they are numbers, have no places, or are of another store.
        """
        if found.class_names is None:
            raise SampleError("These predictions are numbers; only those of classes are shown.")
        places = found.places
        if places is None:
            raise SampleError("These predictions do not say where their samples lie.")
        used = np.unique(found.recordings)
        known = [sources[i] if 0 <= i < len(sources) else None for i in used.tolist()]
        if known != [places.sources[i] for i in used.tolist()]:
            raise SampleError(
                "These predictions are of other recordings than those of this store; evaluate "
                "samples of this one."
            )
        probabilities = found.probabilities.astype(np.float32)
        n, n_classes = len(found), len(found.class_names)
        starts, stops = places.starts * row_steps, places.stops * row_steps
        recordings, codes = found.recordings, found.codes
        true = np.full(codes.shape, -1) if found.true is None else found.true
        if codes.ndim > 1:  # one for each step, or for each of several windows
            n_each = codes[0].size
            cuts = np.linspace(starts, stops, n_each + 1, axis=1).round().astype(np.int64)
            starts, stops = cuts[:, :-1].ravel(), cuts[:, 1:].ravel()
            recordings = np.repeat(recordings, n_each)
            n *= n_each
        order = np.lexsort((starts, recordings))
        return Said(
            class_names=found.class_names,
            recordings=recordings[order],
            starts=starts[order],
            stops=stops[order],
            true=true.reshape(n)[order],
            codes=codes.reshape(n)[order],
            probabilities=probabilities.reshape(n, n_classes)[order],
        )

    def of_recording(self, number: int) -> slice:
        """Return where the predictions of a recording are."""
        low, high = np.searchsorted(self.recordings, [number, number + 1]).tolist()
        return slice(low, high)

    def runs(self, number: int, n_steps: int) -> tuple[Runs, Runs]:
        """Return runs of predicted classes, and of right (0), wrong (1) or not known (-1).

        A stretch that overlaps the next one ends where that begins.
        """
        own = self.of_recording(number)
        starts, codes, true = self.starts[own], self.codes[own], self.true[own]
        stops = np.minimum(self.stops[own], np.append(starts[1:], n_steps))
        wrong = np.where(true < 0, -1, (codes != true).astype(np.int64))
        edges = np.stack([starts, stops], axis=1).reshape(-1)
        found = []
        for values in (codes, wrong):
            between = np.stack([values, np.full(len(values), NONE)], axis=1).reshape(-1)
            every = np.concatenate([[0], edges, [n_steps]]).astype(np.int64)
            filled = np.diff(every) > 0
            found.append(_joined(every[:-1][filled], np.append(NONE, between)[filled], n_steps))
        return found[0], found[1]

    @cached_property
    def certainty(self) -> NDArray[np.float32]:
        """The value that the network gave for the class that it chose."""
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def is_wrong(self) -> NDArray[np.bool_]:
        """Whether the chosen class is not the true one, where that is known."""
        return np.asarray((self.true >= 0) & (self.codes != self.true))

    @cached_property
    def by_certainty(self) -> IntArray:
        """Positions, the least certain first."""
        return np.argsort(self.certainty, kind="stable")


def said_of(results: Any, row_steps: int, sources: list[str]) -> Said:
    """Return the predictions of results, which may be the path of a saved evaluation.

    Raises
    ------
    SampleError
        If there are none in it, or they do not fit the store.
    """
    if isinstance(results, str | Path):
        results = Evaluation.load(results)
    if isinstance(results, Evaluation):
        if results.predictions is None:
            raise SampleError(
                "This evaluation holds only counts. Evaluate with predictions=True and save it as "
                ".npz: zarrts.evaluate(model, samples, like=seq, predictions=True)"
                ".save('results.npz')."
            )
        results = results.predictions
    if not isinstance(results, Predictions):
        raise SampleError(
            f"results has to be an Evaluation, Predictions or the path of a saved evaluation, not "
            f"{type(results).__name__}."
        )
    return Said.of(results, row_steps, sources)


def _joined(starts: IntArray, codes: IntArray, n_steps: int) -> Runs:
    """Return runs whose neighbours differ."""
    new = np.ones(len(codes), bool)
    new[1:] = codes[1:] != codes[:-1]
    return Runs(np.append(starts[new], n_steps).astype(np.int64), codes[new].astype(np.int64))
