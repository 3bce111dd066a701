"""Work out what the options of batches mean for a selection of samples."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.padding import BatchLengths, Padding, describe_lengths
from zarrts.labels.label_sets import targets_of
from zarrts.loading.options import BatchOptions
from zarrts.loading.postprocessing import PostProcessing
from zarrts.loading.unpacking import Unpacking
from zarrts.loading.weights import weights_of
from zarrts.ordering.sampling import Sampling
from zarrts.reading.balancing import sampling_of
from zarrts.reading.sample_reader import SampleReader
from zarrts.reading.sample_statistics import (
    may_hold_nan,
    refuse_infinite_samples,
    scale_of_counts,
    scaling_of,
)
from zarrts.reading.selection import Selection
from zarrts.stats.scaling import Scaler, Scaling, make_scaler
from zarrts.storage.packing import COUNTS
from zarrts.types import AnyArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options, and what they mean for some samples.

    Attributes
    ----------
    options : BatchOptions
    scaling : Scaling, or None
    sampling : Sampling, or None
        Which samples an epoch shows; None: each one once.
    processing : PostProcessing
        What is done to each batch.
    """

    options: BatchOptions
    scaling: Scaling | None
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
        scaling = scaling_of(selection, options.stats, options.scale)
        sampling = sampling_of(
            selection,
            balance=options.balance,
            resample=options.resample,
            order=options.order,
            shuffle=options.shuffle,
        )
        weigh = None
        if options.label_mode is not None:
            weigh = weights_of(selection, options.sample_weight, weighs_missing=weighs_missing)
        skips = options.on_error == "skip"
        has_nan = may_hold_nan(selection, options.nan, skips_damage=skips)
        refuse_infinite_samples(selection, scaling, skips_damage=skips)
        fills = has_nan and options.nan == "fill"
        dtype = selection.store.dtype if options.dtype is None else options.dtype
        if options.hands_out_stored:
            dtype = _dtype_stored(selection, options, fills=fills)
        scaler = None
        if scaling is not None:
            scaler = _scaler(selection, scaling, dtype=dtype, has_nan=has_nan, fills=fills)
        processing = PostProcessing(
            dtype=dtype,
            scaler=scaler,
            fills=fills,
            weigh=weigh,
            transform=options.transform,
            rng_key=(options.seed, options.place[0]),
            lengths=_lengths(reader, options.padding),
            pad_value=options.pad_value,
            has_step_labels=reader.cut.y_steps is None,
            unpacking=None
            if options.hands_out_stored
            else _unpacking(selection, scaling, scaler, dtype=dtype, fills=fills),
        )
        processing = _with_target(processing, selection, options)
        return Settings(options=options, scaling=scaling, sampling=sampling, processing=processing)


def _with_target(
    processing: PostProcessing, selection: Selection, options: BatchOptions
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

    def as_x(stored: AnyArray) -> AnyArray:
        return stored.astype(processing.dtype, copy=False)

    scaler = processing.scaler
    target_scaler = scaler and scaler.of_targets(cut.y_channels)
    return replace(processing, target=as_x, target_scaler=target_scaler)


def _scaler(
    selection: Selection,
    scaling: Scaling,
    *,
    dtype: np.dtype[Any],
    has_nan: bool,
    fills: bool,
) -> Scaler:
    spec = selection.store.readers.x[0].spec
    row_of: Callable[[IntArray], IntArray] | None = None
    if scaling.subjects:
        by_code = _rows_of_subjects(selection, scaling)
        units = selection.units

        def row_of(ids: IntArray) -> IntArray:
            return np.asarray(by_code[units.group_of(ids)])

    return make_scaler(
        scaling,
        stored=spec.dtype,
        n_channels=spec.row_shape[-1] if spec.row_shape else 1,
        dtype=dtype,
        has_nan=has_nan,
        fills=fills,
        row_of=row_of,
    )


def _dtype_stored(selection: Selection, options: BatchOptions, *, fills: bool) -> np.dtype[Any]:
    """Return the dtype of x as it lies in the store.

    Raises
    ------
    SampleError
        If counts do not mean the same everywhere, or something has to be done with values.
    """
    if scale_of_counts(selection) is None:
        return selection.store.dtype
    wrong = {
        "stats=": options.stats is not None,
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
    return COUNTS


def _rows_of_subjects(selection: Selection, scaling: Scaling) -> IntArray:
    """Return which numbers of a scaling each subject of the store gets; -1 where it has none."""
    rows = {name: row for row, name in enumerate(scaling.subjects)}
    return np.array([rows.get(name, -1) for name in selection.store.subjects], np.int64)


def _unpacking(
    selection: Selection,
    scaling: Scaling | None,
    scaler: Scaler | None,
    *,
    dtype: np.dtype[Any],
    fills: bool,
) -> Unpacking | None:
    """Return what turns counts into batches; None where the memory of chunks holds values."""
    store = selection.store
    if not store.readers.are_counts:
        return None
    linear_rows = None
    if scaling is not None and scaling.subjects:
        linear_rows = _rows_of_subjects(selection, scaling)[store.catalog.subject_codes]
    packing = store.readers.tables.packing
    if not store.catalog.moments.nan_count.any():
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
