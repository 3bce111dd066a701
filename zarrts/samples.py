"""Samples of a store, as users hold them: choose, split, load, and draw batches.

Each method is its documentation, and a few lines that call functions over a `Selection`. What
stands above this module is imported inside methods.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Unpack

import numpy as np
from numpy.typing import NDArray

from zarrts.indexing.windows import Gaps, WindowLabel
from zarrts.inputs import handed_out
from zarrts.keywords import did_you_mean, refuse_positional, refuse_unknown
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import (
    BatchKeywords,
    Shuffle,
    batch_options,
    check_epoch,
    takes_batch_options,
)
from zarrts.loading.stream import BatchStream
from zarrts.notebook import table_of
from zarrts.reading import class_counts, missing_labels, windowing
from zarrts.reading.choosing import choose, sample_at
from zarrts.reading.load import Loaded, labels_by_name, load, load_labels
from zarrts.reading.memory_plan import amplification
from zarrts.reading.sample_statistics import statistics_of
from zarrts.reading.selection import Selection
from zarrts.sizes import format_count
from zarrts.splits import splitting
from zarrts.splits.grouping import Group
from zarrts.splits.hold_out import Folds, Wanted
from zarrts.stats.statistics import InputStatistics, Statistics
from zarrts.store import Store
from zarrts.types import Inputs, IntArray, Label, Labels

if TYPE_CHECKING:
    from zarrts.loading.torch_dataset import TorchBatches
    from zarrts.split import Split
    from zarrts.view.server import Viewer

_ARRAYS = "samples.load(), which gives (X, y) in memory; or samples[i], which gives (x, y) of one"
_LABELS = "samples.load_labels(), or samples.load(), which gives (X, y)"
_ELSEWHERE = {
    **dict.fromkeys(("x", "X", "data", "values", "array"), _ARRAYS),
    **dict.fromkeys(("y", "Y", "labels", "targets"), _LABELS),
    "shape": "len(samples) and samples.sample_shape",
    "n_samples": "len(samples)",
    "batch": "samples.batches(32), or zarrts.ZarrSequence(samples)",
}
_AS_STORED: dict[str, Any] = {"label_mode": "raw"}


class Samples:
    """Some samples of a store, in source order; a view that reads nothing until it is asked.

    Every method that chooses returns a new Samples. Sample ids are positions in `store.samples`
    (or among all windows), and stay what they are whatever is selected.

    Attributes
    ----------
    selection : Selection
        What functions of the inside take; see docs/inside.md.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, index: int) -> tuple[Inputs, Labels]:
        """Return input and label, as stored, of the index-th of these samples."""
        return sample_at(self.selection, index)

    def __repr__(self) -> str:
        n_subjects = format_count(len(self.selection.subject_codes), "subject")
        return f"<zarrts.Samples: {len(self):,} of {self.store.path}, {n_subjects}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return table_of(self.selection)

    def __reduce__(self) -> Any:
        return Samples, (self.selection,)

    if not TYPE_CHECKING:  # or every name would pass for one that there is

        def __getattr__(self, name: str) -> NoReturn:
            """Say what has what was asked for, as arrays have it."""
            hint = _ELSEWHERE.get(name)
            remedy = f" Use {hint}." if hint else did_you_mean(name, dir(type(self)))
            raise AttributeError(f"Samples have no {name!r}.{remedy}")

    # Who and what ------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store that they are of."""
        return self.selection.store

    @property
    def ids(self) -> IntArray:
        """Sample ids, ascending."""
        return self.selection.ids.ids(np.arange(len(self)))

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects that these samples belong to, in the order of the store."""
        return self.selection.subjects

    @property
    def subject(self) -> NDArray[np.str_]:
        """Subject of each sample, shape (n_samples,)."""
        return splitting.subject_of_each(self.selection)

    @property
    def filenames(self) -> list[str]:
        """Source file of each sample."""
        counts = zip(self.store.recordings, self.selection.per_recording.tolist(), strict=True)
        return [it.source for it, count in counts for _ in range(count)]

    @property
    def sample_shape(self) -> tuple[int | None, ...] | dict[str, tuple[int | None, ...]]:
        """Shape of x of one sample, such as (time, channel); None for a length that differs."""
        return handed_out({it.name: it.shape for it in self.selection.reader.inputs})

    @property
    def class_names(self) -> list[Label] | None:
        """The classes, in the order of their codes; None where labels are not classes."""
        return self.selection.scheme.names

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None where labels are not classes."""
        return self.selection.scheme.n_classes

    @property
    def class_indices(self) -> dict[Label, int] | None:
        """Position of each class, as label_mode="int" gives it."""
        return self.selection.scheme.indices

    @property
    def class_counts(self) -> IntArray:
        """Number of labels of each class, shape (n_classes,)."""
        return class_counts.class_counts(self.selection)

    @property
    def n_unlabelled(self) -> int:
        """Number of these samples that have no label; see `labelled`."""
        return missing_labels.count_unlabelled(self.selection)

    @property
    def amplification(self) -> float:
        """Bytes that reading these samples decodes over those that they have, at least 1."""
        return amplification(self.selection.units)

    # Choosing ----------------------------------------------------------------------------

    def select(
        self,
        *given: object,
        subjects: Sequence[str] | None = None,
        classes: Sequence[Label] | Mapping[Label, Any] | None = None,
        ids: Sequence[int] | IntArray | None = None,
        **unknown: object,
    ) -> "Samples":
        """Return those of these samples that meet every condition given.

        Parameters
        ----------
        subjects : sequence of str
        classes : sequence or dict
            Names as in `class_names`; reads the labels. A dict gives the classes new names, and
            merges those that share one: {"sit": ["sit", "lie"], "walk": "walk"}. These are the
            only classes then, in this order; samples of others are left out, and of several
            labels of a sample, those of others are missing. Of several arrays of labels, one of
            both for any of them, by name: {"stage": {"sleep": ["N1", "N2"], "wake": "W"}}.
        ids : sequence of int
            Sample ids; all have to be among these samples.

        Raises
        ------
        SampleError
            If a name or an id is not there.
        """
        refuse_positional("select", given, "subjects={0}", "classes={0}", "ids={0}")
        refuse_unknown(self.select, unknown)
        return Samples(choose(self.selection, subjects=subjects, classes=classes, ids=ids))

    def labelled(self, missing: Label | float | Sequence[Label | float] = ()) -> "Samples":
        """Return those of these samples that have a label.

        A label is missing if it is NaN, an empty text, or of a class that was left out. Samples
        with several labels stay if they have one.

        Parameters
        ----------
        missing : value or sequence of values
            What else stands for a label that is missing, such as -1; not a class any more then.
        """
        return Samples(missing_labels.labelled(self.selection, missing))

    def windows(
        self,
        length: int | str | None = None,
        stride: int | str | None = None,
        sampling_rate: int = 1,
        *,
        at: Any = None,
        before: int | str = 0,
        after: int | str | None = None,
        start: int | str = 0,
        stop: int | str | None = None,
        reverse: bool = False,
        label: WindowLabel = "recording",
        horizon: int | str | Sequence[int] = 1,
        target: Literal["labels", "x"] = "labels",
        channels: Sequence[int | str] | None = None,
        gaps: Gaps | None = None,
        min_labelled: float = 0.5,
        purity: float = 0.0,
        nan: Literal["keep", "drop"] = "keep",
        **unknown: object,
    ) -> "Samples":
        """Return windows of these recordings as samples; nothing is copied or read.

        No window crosses the end of a recording, and those whose target would lie outside do not
        exist; recordings that are too short for any are counted in a warning. Sample ids count
        the windows of the whole store, selected or not.

        Parameters
        ----------
        length : int or str
            Rows (time steps) that a window spans, as in Keras' TimeseriesGenerator; or a time
            such as "30s", where the store knows its rate.
        stride : int or str, optional
            Rows, or time, from the start of one window to that of the next. By default 1 row, as
            in TimeseriesGenerator; where the length is a time, that time: no two overlap.
        sampling_rate : int
            Takes every so manieth row of a window: ceil(length / sampling_rate) steps.
        at : "annotations", table or function, optional
            Instead of a length: one window at each event, from `before` to `after` it, labelled
            by the event where events have labels (unless `label` says otherwise). "annotations":
            where a run of rows with one label begins, labelled with it. A table (path of a CSV
            file, dictionary of columns, structured array or data frame) has the columns onset
            (seconds from the first row, gaps included) or row; file (as in `store.recordings`, or
            its name) or subject; and perhaps label. A function is called with each recording of
            the store, selected or not (it has `subject`, `source`, `rate_hz`, `n_rows` and `x`,
            which is read where it is sliced), and returns rows or seconds, or (these, labels).
        before, after : int or str
            Rows, or time, from the first row of a window to its event, and from there to the row
            behind its last one. Events too near to the start or end of a recording, or to a gap,
            give no window, and are counted in a warning.
        start, stop : int or str
            Of each recording, only these rows, as in a slice; or a time after its begin.
        reverse : bool
            Time runs backwards in x (and in y with label="all").
        label : str or callable
            "recording": the label of the recording. "first", "last": of the first or last row of
            the window. "next": of the row that follows, or `horizon` rows later. "majority": the
            most frequent of the rows that have a label, of several the smallest; see
            `min_labelled`. "all": of each step, shape (steps,). A function is given the stored
            labels of all rows of some windows, (n, length, ...), and returns (n, ...); of
            classes, codes of these, or -1 for no label.
        horizon : int, str or sequence of int
            With label="next": how many rows after the last one of the window; 1 is the next.
            Several give several targets.
        target : "labels" or "x"
            "x": forecast x itself: y are the values of the row that `label` says, scaled as x is.
        channels : sequence of int or str, optional
            With target="x": these channels only, by number or name.
        gaps : mapping, optional
            For some recordings (by number, or by source as in `store.recordings`), the rows before
            which something is missing; no window crosses them. Gaps that the store knows of, from
            EDF+D files, time stamps or `Recording(gaps=...)`, need not be given.
        min_labelled : float
            With label="majority": the share of its rows that have to have a label, or the window
            has none, and counts in `n_unlabelled`.
        purity : float
            With label="majority": the least share of the most frequent label among those that
            are there; where it has less, the window has no label.
        nan : "keep" or "drop"
            "drop": leave out windows in whose x a row is NaN in some channel, or marked by the
            mask of its recording. The mask is read once for that, and x of recordings that hold
            NaN. Ids stay those of all windows, so that everything that follows (splits, weights,
            sequences, evaluation) is without them; new data are cut alike.

        Raises
        ------
        SampleError
            If these samples are not recordings, labels are not of the kind asked for, or no window
            fits.
        """
        refuse_unknown(self.windows, unknown)
        options: dict[str, Any] = {
            "length": length,
            "stride": stride,
            "sampling_rate": sampling_rate,
            "start": start,
            "stop": stop,
            "reverse": reverse,
            "label": label,
            "target": target,
            "min_labelled": min_labelled,
            "purity": purity,
            "at": at,
            "before": before,
            "after": after,
        }
        return Samples(
            windowing.windows(
                self.selection, horizon=horizon, channels=channels, gaps=gaps, nan=nan, **options
            )
        )

    def sequences(self, n: int, stride: int | None = None) -> "Samples":
        """Return n consecutive windows as one sample (n, time, channel), with n labels.

        Only windows that are among these samples are in them: sequences of a part of a split in
        time hold nothing of another part.

        Parameters
        ----------
        n : int
            Windows in a sequence; those at the end of a recording that fill none are left out.
        stride : int, optional
            Windows from the start of one sequence to that of the next; by default `n`, so that no
            window is in two.

        Raises
        ------
        SampleError
            If these samples are not windows, or no recording has `n`.
        """
        return Samples(windowing.sequences(self.selection, n, stride))

    def stateful_order(self, batch_size: int) -> IntArray:
        """Return ids in the order that stateful networks need, for `order=`.

        In batches of `batch_size`, sample i of a batch follows sample i of the batch before: the
        samples are cut into as many stretches, and each batch has the next one of each. Where a
        recording ends inside a stretch, the next one follows. All batches are full; up to
        `batch_size` - 1 samples at the end are left out.

        Raises
        ------
        SampleError
            If there are fewer samples than `batch_size`.
        """
        return windowing.stateful_order(self.selection, batch_size)

    # Dividing ----------------------------------------------------------------------------

    def split(
        self,
        *given: object,
        val: Wanted = None,
        test: Wanted = None,
        seed: int = 0,
        stratify: bool = False,
        group: Group = None,
        within: str | None = None,
        gap: int = 0,
        allow_overlap: bool = False,
        **unknown: object,
    ) -> "Split":
        """Divide by subjects: (train, test), (train, val) or (train, val, test).

        Parameters
        ----------
        val, test : names, a count or a fraction of subjects
            Always whole subjects. Counts and fractions are drawn with `seed`; the `repr` of the
            split says who was drawn.
        stratify : bool
            Whom counts and fractions draw is chosen so that all parts have about the same
            proportions of classes.
        group : str, dict, callable or array, optional
            What stays whole (and is named, counted and drawn) instead of the subject:
            "recording", a column of what the study says of each (such as "site"), or the group
            of each subject, or of each recording of the store.
        within : "subject" or "recording", optional
            Divide each subject (or recording) in time instead: its first samples train, the last
            are held out. `val` and `test` are fractions or counts of its samples then. Everybody
            is on all sides.
        gap : int
            With `within`: samples left out between two parts, because neighbours are alike; of
            windows that overlap, at least so many that no row is in two parts.
        allow_overlap : bool
            Recordings of one subject may be in several groups.

        Raises
        ------
        SampleError
            If a name is unknown, or no subject is left to train on.
        """
        refuse_positional("split", given, "test={0}", "val={0}")
        refuse_unknown(self.split, unknown)
        from zarrts.split import Split

        parts = splitting.split(
            self.selection,
            val=val,
            test=test,
            seed=seed,
            stratify=stratify,
            group=group,
            within=within,
            gap=gap,
            allow_overlap=allow_overlap,
        )
        return Split.of(parts, allow_overlap=allow_overlap or within is not None)

    def folds(
        self,
        k: Folds = None,
        *,
        val: int = 0,
        seed: int = 0,
        stratify: bool = False,
        repeats: int = 1,
        group: Group = None,
        within: str | None = None,
        gap: int = 0,
        allow_overlap: bool = False,
        **unknown: object,
    ) -> "Iterator[Split]":
        """Yield (train, test) of each fold, or (train, val, test) with val=1 or more.

        Without `k`, leaves one subject out at a time; with it, k groups of subjects drawn at
        random. Every subject is tested once. Folds of folds: `train.folds(...)`.

        Parameters
        ----------
        k : int, or list of lists of names
            Who is tested in each fold; whom a list does not name is always trained on.
        val : int
            Subjects that validate: those tested in the folds after.
        stratify : bool
            Draw folds of about the same proportions of classes.
        repeats : int
            Draw all folds so many times.
        group, within, gap, allow_overlap
            As for `split`. Within subjects, fold i tests the i-th of k stretches of each, and
            `gap` samples before and after it are left out.
        """
        refuse_unknown(self.folds, unknown)
        from zarrts.split import Split

        found = splitting.folds(
            self.selection,
            k,
            val=val,
            seed=seed,
            stratify=stratify,
            repeats=repeats,
            group=group,
            within=within,
            gap=gap,
            allow_overlap=allow_overlap,
        )
        for parts in found:
            yield Split.of(parts, allow_overlap=allow_overlap or within is not None)

    def split_by(self, splitter: Any, *, allow_overlap: bool = False) -> "Iterator[Split]":
        """Yield (train, test) as a splitter of scikit-learn divides these samples.

        It is given the subject of each sample as `groups`, and classes as `y`.

        Raises
        ------
        SampleError
            If it puts a subject on both sides, as those without "Group" in their names do; or
            is not a splitter.
        """
        from zarrts.split import Split

        for parts in splitting.split_by(self.selection, splitter):
            yield Split.of(parts, allow_overlap=allow_overlap)

    # Measuring ---------------------------------------------------------------------------

    def stats(self) -> Statistics | InputStatistics:
        """Return count, mean, std, min, max and quantiles per channel of exactly these samples.

        A merge of what the conversion gathered, without reading, for whole recordings. Windows,
        and samples of recordings that are cut, are read once (a second time for quantiles, when
        they are asked for); a row counts as often as it occurs in them. NaN are counted apart,
        and left out of all else.

        Raises
        ------
        SampleError
            If there are no samples.
        """
        found = statistics_of(self.selection)
        return found[""] if "" in found else InputStatistics(found)

    def class_weight(self) -> dict[int, float]:
        """Return Keras' `class_weight` that balances the classes: n / (n_classes · count).

        Keys are positions as label_mode="int" gives them; classes that do not occur are left out.

        Raises
        ------
        SampleError
            If samples have several labels each, which Keras would weigh wrongly without a word.
        """
        return class_counts.class_weight(self.selection)

    def view(self, results: Any = None, **options: Any) -> "Viewer":
        """Serve a page on this machine that scrolls through these recordings; see `zarrts.view`.

        Parameters
        ----------
        results : Evaluation, Predictions or path, optional
            What a network said of them: `zarrts.evaluate(predictions=True)`.
        """
        from zarrts.view import view

        return view(self, results, **options)

    # Reading -----------------------------------------------------------------------------

    def load(self, memory: int | str = "2GiB") -> tuple[Loaded, Labels | list[Labels]]:
        """Return all of these samples as arrays (x, y) in RAM, as stored.

        Samples of unequal lengths are a list of arrays; so are their labels, where each row has
        one.

        Raises
        ------
        SampleError
            If they take more than `memory`.
        """
        return load(self.selection.reader, memory)

    def load_labels(self) -> Labels | list[Labels]:
        """Return the labels of all of these samples, as stored, in RAM; a list, as for `load`."""
        return labels_by_name(load_labels(self.selection.reader))

    def to_dask(self) -> tuple[Any, Any]:
        """Return these samples as Dask arrays (x, y), as stored, which read when they are computed.

        To look, sum and map with what Dask knows; to train, use `batches` or `ZarrSequence`: a
        block is read as a whole, and is about 64 MiB. Samples of unequal lengths are a list of
        arrays; so are their labels, where each row has one. Several labels are a dictionary.
        """
        from zarrts.reading.dask_arrays import to_dask

        return to_dask(self.selection)

    @takes_batch_options(without=("mask",), **_AS_STORED)
    def batches(
        self,
        batch_size: int,
        *,
        shuffle: Shuffle = True,
        epoch: int = 0,
        **options: Unpack[BatchKeywords],
    ) -> BatchStream:
        """Return the batches of one epoch, for training without Keras.

        Parameters
        ----------
        batch_size : int
        shuffle : bool or "global"
        epoch : int
            Whose batches; each epoch has another order.
        **options
            As `BatchOptions` describes them; by default labels and x are as stored.

        Returns
        -------
        iterator of Batch, with `close()`; also a context manager.
        """
        defaults = {"batch_size": batch_size, "shuffle": shuffle, **_AS_STORED}
        chosen = batch_options(self.batches, options, defaults)
        return EpochLoader(self.selection, chosen).stream(check_epoch(epoch))

    @takes_batch_options()
    def to_torch(
        self, batch_size: int, *, shuffle: Shuffle = True, **options: Unpack[BatchKeywords]
    ) -> "TorchBatches":
        """Return an IterableDataset of torch whose items are batches (x, y) of tensors.

        Loop over it as it is, or give it to `DataLoader(dataset, batch_size=None)`. It needs no
        workers, since threads read ahead of it; those of a DataLoader each take a part of the
        batches, and `memory` once more. Call `dataset.set_epoch(epoch)` before each epoch, or each
        is like the first.

        Integer labels come as int64, as torch's losses want them. With label_mode=None, items are
        x alone; with `sample_weight`, they are (x, y, sample_weight).

        Parameters
        ----------
        batch_size : int
        shuffle : bool or "global"
        **options
            As `BatchOptions` describes them; `dtype` may be one of torch, and is its default.
        """
        from zarrts.loading.torch_dataset import TorchBatches, numpy_dtype

        options["dtype"] = numpy_dtype(options.get("dtype"))
        defaults = {"batch_size": batch_size, "shuffle": shuffle}
        chosen = batch_options(self.to_torch, options, defaults)
        return TorchBatches(self.selection, chosen)
