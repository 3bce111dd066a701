"""Labels of samples that are cut from source files, as codes of the classes of a network."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from zarrts.errors import SampleError, SourceError
from zarrts.keras.source_cuts import SourceCuts
from zarrts.keywords import first_names
from zarrts.loops.votes import majority
from zarrts.types import AnyArray, IntArray, Label, SourceRecording


class SourceLabels:
    """The labels of samples of recordings that no store has.

    Parameters
    ----------
    recordings : sequence of SourceRecording
    cuts : SourceCuts
        How samples are cut from them, and which labels of its rows are those of a sample.

    Raises
    ------
    SampleError
        If the spec does not say which labels are those of a sample.
    SourceError
        If some recordings have fewer or more labels than they need; names all.
    """

    def __init__(self, recordings: Sequence[SourceRecording], cuts: SourceCuts) -> None:
        spec = cuts.spec
        if spec.y_of not in ("row", "recording") and not cuts.is_at_events:
            raise SampleError(
                "like= does not say how labels of rows become those of a sample (label= was a "
                "function, target= was 'x', or an older zarrts saved it); convert the files, and "
                "evaluate the samples of that store."
            )
        self._recordings, self._spec, self._cuts = recordings, spec, cuts
        self._steps = None if spec.y_steps is None else np.array(spec.y_steps, np.int64)
        names = spec.class_names or ()
        self._codes: dict[Label, int] = {name: code for code, name in enumerate(names)}
        self._codes |= {
            old: -1 if new is None else self._codes[new]
            for old, new in spec.merges or ()
            if old not in self._codes
        }
        problems = [] if cuts.is_at_events else [self._problem(it) for it in recordings]
        if any(problems):
            raise SourceError("\n".join(filter(None, problems)))

    def _problem(self, recording: SourceRecording) -> str:
        n_rows, n_labels = recording.x.shape[0], recording.y.shape[0]
        n_needed = 1 if self._is_single(recording) else n_rows
        here, there = recording.label_steps, self._spec.label_steps
        if here != there and self._spec.majority is None and not self._is_single(recording):
            return (
                f"{recording.origin}: has {here:,} labels in a row of its inputs, but the network "
                f"was trained with {there:,}; convert it, cut windows, and evaluate these."
            )
        if n_labels == n_needed and (recording.labels_per == "recording") <= (n_needed == 1):
            return ""
        return (
            f"{recording.origin}: {n_labels:,} labels in {recording.y_name!r}, but {n_rows:,} rows "
            f"in {recording.x_name!r} need {n_needed:,} for this network."
        )

    def _is_single(self, recording: SourceRecording) -> bool:
        return self._spec.y_of == "recording"

    def of(self, number: int, samples: IntArray, n_steps: int) -> IntArray:
        """Return the codes of some samples of a recording; -1 where there is no label.

        Parameters
        ----------
        number : int
            Of the recording.
        samples : int64, shape (n_samples,)
            Counted from its first.
        n_steps : int
            That a sample of any length was brought to.

        Returns
        -------
        int64, shape (n_samples,) or (n_samples, n_labels)
        """
        recording = self._recordings[number]
        if self._cuts.is_at_events:
            labels = self._cuts.at_events[number].labels
            if labels is None:
                raise SampleError(
                    f"at=: the events of {recording.origin} have no labels, so that nothing can be "
                    "right or wrong; use zarrts.predict."
                )
            return self._encoded(labels[samples], recording.origin)
        with closing(recording.y):
            if self._is_single(recording):
                code = self._encoded(recording.y.read(0, 1), recording.origin)
                shape = () if self._steps is None else self._steps.shape
                return np.broadcast_to(code.reshape(1, *[1] * len(shape)), (len(samples), *shape))
            if self._steps is None:
                return self._of_any_length(recording, n_steps)
            steps, n_rows = self._steps, recording.y.shape[0]
            firsts = self._cuts.indexes[number].first_rows(samples)
            rows = firsts.reshape(-1, *[1] * steps.ndim) + steps
            first, stop = max(0, int(rows.min())), min(n_rows, int(rows.max()) + 1)
            known = self._of_rows(recording, first, stop)
        inside = (rows >= first) & (rows < stop)
        codes = known[np.clip(rows - first, 0, stop - first - 1)]
        codes = np.where(
            inside.reshape(*inside.shape, *[1] * (codes.ndim - inside.ndim)), codes, -1
        )
        if recording.label_steps > 1:  # those of a row, and rows, are one axis of time
            codes = codes.reshape(*codes.shape[:-2], -1)
        if self._spec.picked is not None:
            return codes[..., self._spec.picked]
        share = self._spec.majority
        return codes if share is None else majority(codes, (-1,), share, self._spec.purity)

    def _of_rows(self, recording: SourceRecording, start: int, stop: int) -> IntArray:
        """Return the codes of some rows, with an axis for the labels in a row of several."""
        labels = recording.y.read(start, stop)
        if recording.label_steps == 1:
            return self._encoded(labels, recording.origin)
        flat = self._encoded(labels.reshape(-1, *labels.shape[2:]), recording.origin)
        return flat.reshape(stop - start, recording.label_steps)

    def _of_any_length(self, recording: SourceRecording, n_steps: int) -> IntArray:
        codes = self._of_rows(recording, 0, recording.y.shape[0]).reshape(-1)
        n_steps *= recording.label_steps
        keeps_end = (self._spec.padding or {}).get("truncate") == "pre"
        codes = codes[-n_steps:] if keeps_end else codes[:n_steps]
        return np.pad(codes, (0, n_steps - len(codes)), constant_values=-1)[None]

    def _encoded(self, labels: AnyArray, origin: str) -> IntArray:
        if labels.ndim == 2 and labels.shape[1] == len(self._codes) > 1:  # one-hot
            return np.where(labels.any(axis=1), labels.argmax(axis=1), -1).astype(np.int64)
        if labels.ndim != 1:
            raise SourceError(
                f"{origin}: its labels have {labels.ndim} axes, which are no classes."
            )
        values, which = np.unique(labels, return_inverse=True)
        codes, unknown = [], []
        for value in values.tolist():
            is_missing = value == "" or value != value
            name: Any = int(value) if isinstance(value, float) and value.is_integer() else value
            codes.append(-1 if is_missing else self._codes.get(name, -1))
            if not is_missing and name not in self._codes:
                unknown.append(str(name))
        if unknown:
            raise SourceError(
                f"{origin}: has the labels {first_names(unknown)}, but the network was trained on "
                f"{first_names(self._spec.class_names or ())}; name them alike."
            )
        return np.array(codes, np.int64)[which]
