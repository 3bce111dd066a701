"""Let a network predict samples of a store, or files that it has never seen, and count what is
right; out of core, a batch at a time.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.batch import Batch
from zarrts.buckets.addresses import is_known, is_remote
from zarrts.errors import ReadError, SampleError, StoreError
from zarrts.keras.confusion import Confusion, output_of
from zarrts.keras.input_names import refuse_other_inputs
from zarrts.keras.likeness import Like, names_of_x, on_error_of, spec_of_like
from zarrts.keras.meaning import reference_of, refuse_other_meaning
from zarrts.keras.new_data import (
    as_recordings,
    codes_in,
    cut_at,
    cut_like,
    is_array,
    with_classes_of,
)
from zarrts.keras.opening import Opening
from zarrts.keras.places import places_of_files, places_of_samples
from zarrts.keras.prediction_files import new_values, publish_values, shortened
from zarrts.keras.sequence import ZarrSequence, refuse_other_counts
from zarrts.keras.source_batches import (
    Fed,
    batches_of_files,
    inputs_with_labels,
    labelled_batches,
)
from zarrts.keras.source_cuts import SourceCuts
from zarrts.keras.spec import Spec
from zarrts.loading.epochs import EpochPart
from zarrts.loading.options import OnError
from zarrts.progress import show_count
from zarrts.reading.events import ANNOTATIONS
from zarrts.results import Evaluation, Merge, Predictions
from zarrts.samples import Samples
from zarrts.sources import SourceOptions, find_inputs
from zarrts.storage.location import locate, refuse_unused
from zarrts.storage.store import is_store
from zarrts.store import Store
from zarrts.types import Recording


def predict(
    model: Any,
    samples: Any,
    *,
    like: Like,
    out: str | Path | None = None,
    merge: Merge | None = None,
    x: str | Sequence[str] | Mapping[str, Any] | None = None,
    axes: Sequence[str] | None = None,
    stride: int | None = None,
    functions: Mapping[str, Any] | None = None,
    at: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Predictions:
    """Return what a network predicts of samples, or of files that need no labels.

    Parameters
    ----------
    model : keras.Model
    samples : Samples, Store, path, zarrts.Recording or array
        A path or address is that of a store, or of source files (a file, a folder, a pattern, a
        table, or a list). Labels of a Recording are not looked at. An array holds samples, as
        `load()` has them; where the network takes windows or whole recordings, it is one series
        (time, channel), or several of equal length. Lists may hold several of these.
    like : ZarrSequence, Spec or path
        What the network was trained with, for scaling, lengths and class names; or what
        `seq.save_spec(path)` wrote.
    out : path, optional
        Write the predictions there as they come: `.npy` for one array, `.zarr` for a group of
        `prediction` and `sample_id`. By default they are kept in memory.
    merge : "mean" or "vote", optional
        One prediction a recording; see `Predictions.merged`.
    x, axes
        Of source files, as for `convert`.
    stride : int, optional
        Of windows of source files, and of recordings of a store that are not cut into windows, in
        rows; by default they do not overlap.
    functions : dict, optional
        From name to function, of those that a step `map` of the training called, where they cannot
        be imported. Steps are taken on source files as they were in the training.
    at : optional
        Of networks that were trained on windows at events: where events are in source files, or in
        recordings of a store that are not cut; see `Samples.windows`.
    storage_options : dict, optional
        Of addresses, as for `convert`.
    progress : bool
        Show how far it is, on a terminal.

    Returns
    -------
    Predictions
        In ascending order of sample ids; of source files, in the order of files and rows.

    Raises
    ------
    SampleError, SourceError, StoreError
        If the samples do not fit what the network was trained with.
    """
    if merge is not None and out is not None:
        raise SampleError("merge= with out=: merge the predictions afterwards, .merged(...).")
    _refuse_no_model(model)
    spec = spec_of_like(like)
    refuse_other_inputs(model, spec.fed_names)
    with ExitStack() as stack:
        if _is_source(samples, storage_options):
            refuse_unused(storage_options, samples, None)
            options = SourceOptions(
                x=names_of_x(x, spec),
                axes=axes,
                time=spec.time,
                y=False,
                missing=spec.missing,
                **spec.of_files(functions),
            )
            reference = reference_of(spec.description, spec.input_steps)
            given = as_recordings(samples, spec)
            if isinstance(at, str) and at == ANNOTATIONS:  # which are labels, and have to be read
                inputs = inputs_with_labels(given, replace(options, y=None), storage_options)
            else:
                inputs = find_inputs(given, options, storage_options, reference)
            cuts = SourceCuts(inputs, spec, stride, at)
            n_samples, batches = cuts.n_samples, batches_of_files(cuts)
            locate_samples = partial(places_of_files, cuts)
        else:
            opened = Opening(storage_options).samples_of(samples)
            refuse_other_meaning(opened.store, spec.description, spec.steps)
            if at is not None:
                opened = cut_at(opened, spec, at, stride, has_labels=False)
            seq = stack.enter_context(_sequence(opened, spec, None, stride, on_error_of(like)))
            n_samples, batches = len(seq.samples), _of_sequence(seq)
            locate_samples = partial(places_of_samples, seq.samples)
        with show_count("predict", n_samples, progress) as on_samples:
            found = _predict(model, batches, n_samples, out, spec.class_names, on_samples)
        found = replace(found, places=locate_samples(found.sample_ids, found.recordings))
    return found if merge is None else found.merged(merge)


def evaluate(
    model: Any,
    samples: Any,
    *,
    like: Like,
    x: str | Sequence[str] | Mapping[str, Any] | None = None,
    y: str | None = None,
    axes: Sequence[str] | None = None,
    subject: Any = None,
    label_every: int | str | None = None,
    labels: Any = None,
    unlabelled: str | None = None,
    stride: int | None = None,
    functions: Mapping[str, Any] | None = None,
    at: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    predictions: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Return how many samples of each subject and class a network takes for which class.

    Samples without a label are left out.

    Parameters
    ----------
    model : keras.Model
        Gives one value a class, or for two classes a single one, above 0.5 for the second.
    samples : Samples, Store, path or zarrts.Recording
        A path or address is that of a store, or of source files with labels.
    like : ZarrSequence, Spec or path
        What the network was trained with, or what `seq.save_spec(path)` wrote.
    x, y, axes, subject, label_every, labels, unlabelled
        Of source files, as for `convert`; columns of tables are by default those of the training.
    stride : int, optional
        Of windows of source files, and of recordings of a store that are not cut into windows, in
        rows; by default they do not overlap.
    functions : dict, optional
        From name to function, of those that a step `map` of the training called, where they cannot
        be imported. Steps are taken on source files as they were in the training.
    at : optional
        As for `predict`; the labels are those of the events.
    storage_options : dict, optional
        Of an address; by default those of `like`, where that is a sequence.
    predictions : bool
        Keep what the network gives for each sample, with its true class, file and time, in
        memory, as `.predictions`; `save("results.npz")` and `zarrts view --results` show it.
    progress : bool
        Show how far it is, on a terminal.

    Raises
    ------
    SampleError
        If labels are not classes, none is there, or the network has not one output a class.
    """
    _refuse_no_model(model)
    spec = spec_of_like(like)
    refuse_other_inputs(model, spec.fed_names)
    names = spec.class_names
    if names is None:
        raise SampleError("evaluate counts classes, but these labels are numbers.")
    more = storage_options
    if isinstance(like, ZarrSequence) and isinstance(samples, str) and is_remote(samples):
        more = storage_options or like._opening.storage_options
    if _is_source(samples, more):
        refuse_unused(storage_options, samples, None, subject, labels)
        options = SourceOptions(
            x=names_of_x(x, spec),
            y=y,
            time=spec.time,
            labels=labels,
            unlabelled=unlabelled,
            axes=axes,
            subject=subject,
            label_every=label_every,
            **spec.of_files(functions),
        )
        found = labelled_batches(samples, options, spec, stride, more, at)
        counts = Confusion(model, found.subjects, names, keeps=predictions)
        with show_count("evaluate", found.cuts.n_samples, progress) as on_samples:
            for inputs, true, ids, recordings in found.batches:
                counts.add(inputs, true, found.owners[recordings], ids, recordings)
                on_samples(len(ids))
        every = np.arange(len(found.subjects))
        return counts.evaluation(every, partial(places_of_files, found.cuts))
    if at is not None:
        opened = Opening(storage_options).samples_of(samples)
        refuse_other_meaning(opened.store, spec.description)
        known = with_classes_of(cut_at(opened, spec, at, stride, has_labels=True), spec)
    elif isinstance(like, ZarrSequence):
        given = Opening(storage_options).samples_of(samples) if storage_options else samples
        known = like.alike(given)
    else:
        known = with_classes_of(Opening(storage_options).samples_of(samples), spec)
    with ExitStack() as stack:
        seq = stack.enter_context(_sequence(known, spec, "int", stride, on_error_of(like)))
        catalog, codes = seq.samples.store.catalog, codes_in(seq.class_names, names)
        counts = Confusion(model, catalog.subjects, names, keeps=predictions)
        on_samples = stack.enter_context(show_count("evaluate", len(seq.samples), progress))
        for batch in _batches(seq):
            true = codes[np.asarray(batch.y)]
            if batch.sample_weight is not None:  # 0 of labels that are missing
                true[np.asarray(batch.sample_weight) == 0] = -1
            inside = batch.label_mask(true.shape[1]) if true.ndim == 2 else None
            if inside is not None:
                true[~inside] = -1
            ids = batch.sample_id
            recordings = seq.samples.selection.recordings_of(ids)
            owner = catalog.subject_codes[recordings]
            counts.add(seq.feed.inputs_of(batch), true, owner, ids, recordings)
            on_samples(len(ids))
        chosen = seq.samples.selection.subject_codes
        return counts.evaluation(chosen, partial(places_of_samples, seq.samples))


# Samples of a store -----------------------------------------------------------------------


def _sequence(
    samples: Samples, spec: Spec, label_mode: Any, stride: int | None, on_error: OnError
) -> ZarrSequence:
    """Return a sequence of samples in their order, cut and fed as `spec` says."""
    samples = cut_like(samples, spec, stride, has_labels=label_mode is not None)
    longest = 0
    if not samples.selection.view.cut.is_of_equal_lengths:
        longest = int(samples.selection.reader.lengths_of_store.max(initial=0))
    options = spec.options(label_mode, longest).keywords()
    seq = ZarrSequence(samples, **{**options, "on_error": on_error})
    found = seq.spec
    if (found.row_shape, found.x_steps) != (spec.row_shape, spec.x_steps):
        raise SampleError(
            f"{samples!r} has rows of shape {found.row_shape} cut at {found.x_steps}, but the "
            f"network was trained on {spec.row_shape} cut at {spec.x_steps}; cut the same windows."
        )
    refuse_other_counts(seq, spec)
    return seq


def _batches(seq: ZarrSequence) -> Iterator[Batch]:
    current = seq.feed.passes.begin(part=EpochPart(epoch=0, start=0, stop=len(seq)))
    while (batch := seq.feed.passes.take(current)) is not None:
        if len(batch.sample_id):  # or none of its samples can be read, and these are skipped
            yield batch


def _of_sequence(seq: ZarrSequence) -> Iterator[Fed]:
    for batch in _batches(seq):
        recordings = seq.samples.selection.recordings_of(batch.sample_id)
        yield seq.feed.inputs_of(batch), batch.sample_id, recordings


# Source files -----------------------------------------------------------------------------


def _is_source(samples: Any, storage_options: Mapping[str, Any] | None) -> bool:
    """Whether these are files to be read as they are; a folder may be a store."""
    if isinstance(samples, Samples | Store):
        return False
    if isinstance(samples, list | tuple | Recording) or is_array(samples):
        return True
    if not isinstance(samples, str | os.PathLike):
        raise StoreError(
            "predict reads samples, a store, source files, a zarrts.Recording or arrays, not "
            f"{type(samples).__name__}."
        )
    if str(samples).lower().endswith(".csv"):
        return True
    scheme = str(samples).partition("://")[0]
    if is_remote(samples) and not is_known(scheme):
        return True  # where no store can be
    return not is_store(locate(samples, storage_options))


# Predicting -------------------------------------------------------------------------------


def _refuse_no_model(model: Any) -> None:
    if isinstance(model, str | os.PathLike):
        raise SampleError(
            f"model={os.fspath(model)!r} is a path; load it: keras.models.load_model(path)."
        )
    if not hasattr(model, "predict_on_batch"):
        raise SampleError(
            f"model= has to be a Keras model, not {type(model).__name__}; it comes first, then the "
            "samples."
        )


def _predict(
    model: Any,
    batches: Iterator[Fed],
    n_samples: int,
    out: str | Path | None,
    class_names: Any,
    on_samples: Callable[[int], None],
) -> Predictions:
    """Predict batch after batch into memory or a file, which appears when it is whole."""
    if n_samples == 0:
        raise SampleError("There are no samples to predict: the files are shorter than a window.")
    target = None if out is None else Path(out)
    if target is not None and target.suffix not in (".npy", ".zarr"):
        raise SampleError(f"out={str(out)!r} has to end in .npy or .zarr.")
    partial = None if target is None else target.with_name(target.name + ".partial")
    values: Any = None
    ids, recordings = np.empty(n_samples, np.int64), np.empty(n_samples, np.int64)
    done = 0
    for x, some_ids, some_recordings in batches:
        found = output_of(model, x)
        if values is None:
            values = new_values(partial, (n_samples, *found.shape[1:]), found.dtype, target)
        if found.shape[1:] != values.shape[1:]:
            raise SampleError(
                f"The network gives shape {found.shape[1:]} and {values.shape[1:]}: predictions of "
                "unequal lengths fit no array; pad to one length."
            )
        part = slice(done, done + len(found))
        values[part], ids[part], recordings[part] = found, some_ids, some_recordings
        done += len(found)
        on_samples(len(found))
    if values is None:
        raise ReadError(
            "None of these samples can be read, or, where the network was trained with "
            "nan='drop', all hold NaN or masked rows: repair the store, or give other samples."
        )
    if done < n_samples:  # the others hold NaN, or cannot be read, which was warned of
        ids, recordings = ids[:done], recordings[:done]
        values, partial = shortened(values, done, partial)
    if partial is not None and target is not None:
        if isinstance(values, np.memmap):
            values.flush()
        values = None  # Windows renames no file that is mapped
        values = publish_values(partial, target, ids)
    return Predictions(
        values=values, sample_ids=ids, recordings=recordings, class_names=class_names
    )
