"""Statistics of samples: a merge of what is stored for whole recordings, a pass over the others."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.reading.contents import Contents
from zarrts.reading.measuring import measure_samples, sketch_samples
from zarrts.reading.nans import OnNan, check_nan, refuse_nan
from zarrts.reading.sample_reader import SampleReader
from zarrts.samples.cuts import View
from zarrts.samples.units import Ranges
from zarrts.stats.moments import Moments, merge_all, pool, pool_by
from zarrts.stats.scaling import Scaling, check_scale
from zarrts.stats.sketches import Sketch
from zarrts.stats.statistics import Linear, Scale, Statistics
from zarrts.types import IntArray

Stats = Moments | Scaling | Literal["subject", "sample"]


class Measured:
    """Samples that have statistics; `Samples` is one, and adds all else."""

    store: Contents
    selection: Ranges
    view: View

    @cached_property
    def reader(self) -> SampleReader:
        """What reads these samples."""
        raise NotImplementedError

    @property
    def starts(self) -> IntArray:
        """First id of each recording of the store, selected or not, and the number of ids."""
        raise NotImplementedError

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects that these samples belong to, in the order of the store."""
        raise NotImplementedError

    def of_recordings(self, chosen: IntArray | NDArray[np.bool_]) -> Self:
        """Return those of these samples that belong to some recordings of the store."""
        raise NotImplementedError

    @cached_property
    def per_recording(self) -> IntArray:
        """How many of these samples each recording of the store holds."""
        return np.diff(self.selection.count_below(self.starts))

    def whole_and_partial(self) -> tuple[IntArray, Self | None]:
        """Return the recordings that are selected whole, and the samples of all others.

        No recording is whole where samples are windows: they overlap, or leave rows out.
        """
        if self.view is not self.store.view:
            return np.zeros(0, np.int64), self
        if not self.view.cut.is_of_equal_lengths:
            return np.flatnonzero(self.per_recording), None
        sizes = np.diff(self.starts)
        whole = np.flatnonzero((self.per_recording == sizes) & (sizes > 0))
        cut = np.flatnonzero((self.per_recording > 0) & (self.per_recording < sizes))
        if len(cut) == 0:
            return whole, None
        return whole, self.of_recordings(cut)

    def stats(self) -> Statistics:
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
        if len(self.selection) == 0:
            raise SampleError("The selection holds no samples.")
        whole, partial = self.whole_and_partial()
        parts = [pool(self.store.catalog.moments.row(whole))] if len(whole) else []
        if partial is not None:
            parts.append(measure_samples(partial.reader))
        return Statistics.with_sketch(merge_all(parts), lambda: self._sketch(whole, partial))

    def _sketch(self, whole: IntArray, partial: Self | None) -> Sketch:
        parts = []
        if len(whole):
            kept = self.store.catalog.sketch(whole)
            parts.append(kept or sketch_samples(self.of_recordings(whole).reader))
        if partial is not None:
            parts.append(sketch_samples(partial.reader))
        return Sketch.joined(parts)

    # Scaling -----------------------------------------------------------------------------

    def scaling(self, stats: Stats | None, scale: Scale = "standard") -> Scaling | None:
        """Return how these samples are scaled; what each means stands at `batches`.

        Parameters
        ----------
        stats : Moments, "subject", "sample", Scaling or None
            A Scaling is that of other samples: each subject that it knows stays as it is there.

        Raises
        ------
        SampleError
            If the statistics are of other channels, or there is no such scale.
        """
        check_scale(scale)
        if stats is None:
            if scale != "standard":
                raise SampleError(f"scale={scale!r} needs numbers: give stats= too.")
            return None
        if isinstance(stats, Scaling):
            if stats.per == "sample":
                self._refuse_single_steps()
            if stats.linear is not None:
                self._refuse_channels(stats.linear.shift.shape[-1])
            return self._per_subject(stats.scale, stats) if stats.per == "subject" else stats
        if isinstance(stats, Moments):
            self._refuse_channels(stats.mean.shape[-1])
            return Scaling(scale=scale, per="all", linear=Linear.of(stats, scale))
        if stats == "subject":
            return self._per_subject(scale, None)
        if stats == "sample":
            self._refuse_single_steps()
            return Scaling(scale=scale, per="sample")
        raise SampleError(
            f"stats={stats!r} is unknown; give samples.stats() of the training part, 'subject' or "
            "'sample'."
        )

    def _per_subject(self, scale: Scale, known: Scaling | None) -> Scaling:
        origin = self.store.header.segments[0].write_id
        rows: dict[str, Linear] = {}
        if known is not None and known.linear is not None and known.origin == origin:
            rows = {name: known.linear.row(i) for i, name in enumerate(known.subjects)}
        new = [name for name in self.subjects if name not in rows]
        rows.update(self._linear_by_subject(new, scale) if new else {})
        return Scaling(
            scale=scale,
            per="subject",
            linear=Linear.stack(list(rows.values())),
            subjects=tuple(rows),
            origin=origin,
        )

    def _linear_by_subject(self, names: Sequence[str], scale: Scale) -> dict[str, Linear]:
        """Return how each of some subjects is scaled by its own samples."""
        catalog = self.store.catalog
        whole, partial = self.whole_and_partial()
        if partial is not None:
            own = {name: self.of_recordings(catalog.recordings_of(name)) for name in names}
            return {name: Linear.of(it.stats(), scale) for name, it in own.items()}
        numbers = np.full(len(catalog.subjects), -1)
        numbers[[catalog.codes[name] for name in names]] = np.arange(len(names))
        numbers = numbers[catalog.subject_codes[whole]]
        whole, numbers = whole[numbers >= 0], numbers[numbers >= 0]
        moments = pool_by(catalog.moments.row(whole), numbers)
        if scale != "robust":
            linear = Linear.of(moments, scale)
            return {name: linear.row(i) for i, name in enumerate(names)}
        edges = np.cumsum(np.bincount(numbers))[:-1]
        recordings = np.split(whole[np.argsort(numbers, kind="stable")], edges)

        def of_subject(number: int) -> Linear:
            def sketch() -> Sketch:
                return self._sketch(recordings[number], None)

            return Linear.of(Statistics.with_sketch(moments.row(number), sketch), scale)

        return {name: of_subject(number) for number, name in enumerate(names)}

    def _refuse_channels(self, n_channels: int) -> None:
        row_shape = self.store.header.segments[0].x.row_shape
        expected = row_shape[-1] if row_shape else 1
        if n_channels != expected:
            raise SampleError(
                f"stats are of {n_channels} channels, but these samples have {expected}; take "
                "them from samples of the same store."
            )

    def _refuse_single_steps(self) -> None:
        shape = self.view.cut.x_shape(self.store.header.segments[0].x.row_shape)
        if shape[:-1] in ((), (1,)) and len(self.store.header.segments[0].x.row_shape) > 0:
            raise SampleError(
                f"stats='sample' scales each channel of a sample by its own statistics, but these "
                f"samples, of shape {shape}, have one value a channel; use stats='subject' or "
                "samples.stats()."
            )

    # NaN ---------------------------------------------------------------------------------

    def has_nan(self, nan: OnNan, *, skips_damage: bool = False) -> bool:
        """Return whether batches of these samples may hold NaN, by what the conversion counted.

        Parameters
        ----------
        nan : str
            "error": none may; recordings that hold some are read until one is found.
        skips_damage : bool
            What cannot be read is left out.

        Raises
        ------
        SampleError
            That names the first sample with NaN, if these may hold none.
        """
        check_nan(nan)
        if self.store.dtype.kind != "f":
            return False
        catalog = self.store.catalog
        holds = (catalog.moments.nan_count > 0).any(axis=1) & (self.per_recording > 0)
        if not holds.any():
            return False
        if nan != "keep":
            some, names = self.of_recordings(holds), self.store.header.channels
            refuse_nan(some.reader, catalog, names, nan=nan, skips_damage=skips_damage)
        return nan != "error"
