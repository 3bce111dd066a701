"""Work out what the options of batches mean for a selection of samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.padding import BatchLengths, Padding, describe_lengths
from zarrts.labels.label_sets import targets_of
from zarrts.loading.options import BatchOptions
from zarrts.loading.postprocessing import PostProcessing, Treatment
from zarrts.loading.unpacking import Unpacking
from zarrts.loading.weights import weights_of
from zarrts.ordering.sampling import Sampling
from zarrts.reading.balancing import sampling_of
from zarrts.reading.sample_reader import SampleInput, SampleReader
from zarrts.reading.sample_statistics import (
    channels_of,
    may_hold_nan,
    refuse_infinite_samples,
    scale_of_counts,
    scalings_of,
)
from zarrts.reading.selection import Selection
from zarrts.stats.scaling import Scaler, Scaling, make_scaler
from zarrts.types import AnyArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options, and what they mean for some samples.

    Attributes
    ----------
    options : BatchOptions
    scalings : dict
        The Scaling of each input by name, or None.
    sampling : Sampling, or None
        Which samples an epoch shows; None: each one once.
    processing : PostProcessing
        What is done to each batch.
    """

    options: BatchOptions
    scalings: Mapping[str, Scaling | None]
    sampling: Sampling | None
    processing: PostProcessing

    @staticmethod
    def of(
        selection: Selection,
        options: BatchOptions,
        reader: SampleReader,
        *,
        weighs_missing: bool = False,
    ) -> "Settings":
        """Return the settings for the samples of a selection.

        Parameters
        ----------
        reader : SampleReader
            That of the selection, with units as the loader reads them.
        weighs_missing : bool
            Labels that are missing count 0, even where nothing is given as `sample_weight`.

        Raises
        ------
        SampleError
            If the options do not fit the samples.
        """
        scalings = scalings_of(selection, options.stats, options.scale)
        sampling = sampling_of(
            selection,
            balance=options.balance,
            resample=options.resample,
            order=options.order,
            shuffle=options.shuffle,
            memory_bytes=options.memory_bytes,
        )
        weigh = None
        if options.label_mode is not None:
            weigh = weights_of(selection, options.sample_weight, weighs_missing=weighs_missing)
        skips = options.on_error == "skip"
        has_nan = may_hold_nan(selection, options.nan, skips_damage=skips)
        refuse_infinite_samples(selection, scalings, skips_damage=skips)
        fills = has_nan and options.nan == "fill"
        if options.hands_out_stored:
            _refuse_of_counts(selection, reader, scalings, options, fills=fills)
        treatments = {
            it.name: _treatment(
                selection, it, scalings[it.name], options, has_nan=has_nan, fills=fills
            )
            for it in reader.inputs
        }
        processing = PostProcessing(
            inputs=treatments,
            weigh=weigh,
            transform=options.transform,
            rng_key=(options.seed, options.place[0]),
            lengths=_lengths(reader, options.padding),
            pad_value=options.pad_value,
            has_step_labels=reader.cut.y_steps is None,
        )
        processing = _with_target(processing, selection, reader, scalings, options)
        return Settings(
            options=options, scalings=scalings, sampling=sampling, processing=processing
        )


def _with_target(
    processing: PostProcessing,
    selection: Selection,
    reader: SampleReader,
    scalings: Mapping[str, Scaling | None],
    options: BatchOptions,
) -> PostProcessing:
    if options.label_mode is None:
        return processing
    cut = selection.view.cut
    if cut.y_of != "x":
        return replace(processing, target=targets_of(selection.scheme, options.label_mode)[0])
    if options.label_mode not in ("auto", "raw"):
        raise SampleError(
            f"label_mode={options.label_mode!r} is for labels, but target='x' gives values; use "
            "'auto'."
        )

    source = reader.target_input
    treatment = _treatment(selection, source, scalings[source.name], options)

    def as_x(stored: AnyArray) -> AnyArray:
        return stored.astype(treatment.dtype, copy=False)

    scaler = treatment.scaler
    return replace(
        processing,
        target=as_x,
        of_targets=replace(treatment, scaler=scaler and scaler.of_targets(cut.y_channels)),
    )


def _treatment(
    selection: Selection,
    one: SampleInput,
    scaling: Scaling | None,
    options: BatchOptions,
    *,
    has_nan: bool = False,
    fills: bool = False,
) -> Treatment:
    """Return what is done to one input."""
    if options.hands_out_stored and one.are_counts:
        return Treatment(dtype=one.held[0].spec.dtype, fills=fills)
    is_as_stored = options.dtype is None or options.hands_out_stored
    wanted = one.spec.dtype if is_as_stored else np.dtype(options.dtype)
    scaler = None
    if scaling is not None:
        scaler = _scaler(selection, one, scaling, dtype=wanted, has_nan=has_nan, fills=fills)
    fills = fills and one.spec.dtype.kind == "f"
    return Treatment(
        dtype=wanted,
        scaler=scaler,
        fills=fills,
        unpacking=_unpacking(selection, one, scaling, scaler, dtype=wanted, fills=fills),
    )


def _scaler(
    selection: Selection,
    one: SampleInput,
    scaling: Scaling,
    *,
    dtype: np.dtype[Any],
    has_nan: bool,
    fills: bool,
) -> Scaler:
    row_of: Callable[[IntArray], IntArray] | None = None
    if scaling.subjects:
        by_code = _rows_of_subjects(selection, scaling)
        units = selection.units

        def row_of(ids: IntArray) -> IntArray:
            return np.asarray(by_code[units.group_of(ids)])

    return make_scaler(
        scaling,
        stored=one.spec.dtype,
        n_channels=one.n_channels,
        dtype=dtype,
        has_nan=has_nan,
        fills=fills,
        row_of=row_of,
    )


def _refuse_of_counts(
    selection: Selection,
    reader: SampleReader,
    scalings: Mapping[str, Scaling | None],
    options: BatchOptions,
    *,
    fills: bool,
) -> None:
    """Refuse what cannot be done with the counts of a store.

    Raises
    ------
    SampleError
        If counts do not mean the same everywhere, or something has to be done with values.
    """
    of_counts = [it.name for it in reader.inputs if scale_of_counts(selection, it.name) is not None]
    if not of_counts:
        return
    wrong = {
        "stats=": any(scalings[name] is not None for name in of_counts),
        "pad=": options.padding is not None,
        "nan='fill'": fills,
        "target='x'": selection.view.cut.y_of == "x",
    }
    given = [name for name, is_given in wrong.items() if is_given]
    if given:
        raise SampleError(
            f"dtype='stored' hands out 16-bit counts, which {given[0]} is not for: scale them in "
            "the network, with samples.stats().as_layer(stored=True), or leave dtype= out."
        )


def _rows_of_subjects(selection: Selection, scaling: Scaling) -> IntArray:
    """Return which numbers of a scaling each subject of the store gets; -1 where it has none."""
    rows = {name: row for row, name in enumerate(scaling.subjects)}
    return np.array([rows.get(name, -1) for name in selection.store.subjects], np.int64)


def _unpacking(
    selection: Selection,
    one: SampleInput,
    scaling: Scaling | None,
    scaler: Scaler | None,
    *,
    dtype: np.dtype[Any],
    fills: bool,
) -> Unpacking | None:
    """Return what turns counts into batches; None where the memory of chunks holds values."""
    store = selection.store
    if not one.are_counts:
        return None
    linear_rows = None
    if scaling is not None and scaling.subjects:
        linear_rows = _rows_of_subjects(selection, scaling)[store.catalog.subject_codes]
    packing = store.readers.tables.packing(one.name)
    if not store.catalog.moments.nan_count[:, channels_of(selection)[one.name]].any():
        # To look for the count that stands for NaN takes a fifth of the time.
        packing = replace(packing, packed=replace(packing.packed, missing=None))
    return Unpacking(
        packing=packing,
        recordings_of=selection.recordings_of,
        scaler=scaler,
        linear_rows=linear_rows,
        dtype=dtype,
        fills=fills,
    )


def _lengths(reader: SampleReader, padding: Padding | None) -> BatchLengths | None:
    if reader.cut.is_of_equal_lengths:
        if padding is not None:
            raise SampleError("pad= is for samples of unequal lengths; these all have one.")
        return None
    lengths = reader.lengths_of_store
    if padding is None:
        raise SampleError(
            f"These samples have {describe_lengths(lengths)}, and a batch is one array: pad "
            "them, with pad='batch', pad='longest' or pad=LENGTH, or cut them into windows of "
            "one length, with samples.windows(LENGTH)."
        )
    return padding.lengths_of(lengths)
