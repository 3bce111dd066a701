"""A conversion that is understood: what `prepare` makes, and `run` does."""

from dataclasses import dataclass, replace

from zarrts.conversion.encoding import Encoding
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.packing import PackPlan
from zarrts.conversion.plan import ShardLayout
from zarrts.conversion.provenance import provenance_of
from zarrts.conversion.target import Target
from zarrts.conversion.understanding import warnings_of
from zarrts.labels.counting import LabelCounter
from zarrts.labels.scheme import LabelScheme
from zarrts.storage.journal import Provenance
from zarrts.storage.store import StoreHeader
from zarrts.types import Description, LabelsPer, SourceRecording


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A conversion that is understood and checked; nothing is written yet.

    Attributes
    ----------
    target : Target
        The place as it was when it was looked at.
    is_done : bool
        Whether it holds all of this already, as far as is seen without reading all of it.
    touched : tuple of int
        Recordings that have to be read and compared before that is certain.
    recordings : tuple of SourceRecording
    layout : ShardLayout
    labels : LabelScheme
    counters : tuple of LabelCounter
        Labels of each recording.
    digests : tuple of str
        Of the labels of each; see `count_labels`.
    workers : int
        Tasks that run at once.
    source_bytes, raw_bytes, stored_bytes, free_bytes : int
        To be read; of the arrays in memory; to be written (an estimate from a few compressed
        chunks); and free on the disk, None in a bucket.
    seconds : float
        Estimate from the same chunks.
    provenance : Provenance
        What the new segment is made from.
    description : Description
        What columns and rows of all recordings mean.
    notes : tuple of str
        See `sources.Found`.
    passed_over : tuple of str
        Files among the sources that are of no kind that is read.
    base : StoreHeader, or None
        The store that the segment is added to.
    packing : PackPlan, or None
        How x is stored as 16-bit counts; None where it is stored as values.
    of_values : Prepared, or None
        The same, to be stored as values: what is done where one is found that no count stands for.
    """

    target: Target
    is_done: bool
    touched: tuple[int, ...]
    options: ConvertOptions
    recordings: tuple[SourceRecording, ...]
    layout: ShardLayout
    labels: LabelScheme
    counters: tuple[LabelCounter, ...]
    digests: tuple[str, ...]
    workers: int
    source_bytes: int
    raw_bytes: int
    stored_bytes: int
    free_bytes: int | None
    seconds: float
    provenance: Provenance
    has_subjects_given: bool
    description: Description
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    base: StoreHeader | None = None
    packing: PackPlan | None = None
    of_values: "Prepared | None" = None

    def packed(self, plan: PackPlan) -> "Prepared":
        """Return the same, of values, with some inputs to be stored as counts."""
        options = replace(self.options, codec=plan.codec)
        provenance = provenance_of(
            self.recordings, self.digests, self.layout, options, self.base, plan.recorded
        )
        return replace(
            self,
            options=options,
            stored_bytes=int(self.raw_bytes * plan.ratio),
            seconds=self.raw_bytes / plan.bytes_per_s / self.workers,
            provenance=provenance,
            packing=plan,
            of_values=self,
        )

    def with_values_of(self, name: str) -> "Prepared | None":
        """Return the same with one input less as counts; None where it is none of these."""
        if self.of_values is None or self.packing is None or name not in self.packing.packed:
            return None
        left = self.packing.only(self.packing.packed.keys() - {name})
        return self.of_values.packed(left) if left.packed else self.of_values

    @property
    def encoding(self) -> Encoding:
        """The way rows become what is stored."""
        countings = {} if self.packing is None else self.packing.countings
        return Encoding(dtype=self.layout.dtype, countings=countings)

    @property
    def labels_per(self) -> LabelsPer:
        """The unit that has a label: a sample that is a row; or a recording, or its rows."""
        return self.recordings[0].labels_per

    @property
    def is_ragged(self) -> bool:
        """True where a sample is a recording of any length."""
        return self.labels_per != "sample"

    @property
    def warnings(self) -> list[str]:
        """Warnings of what looks wrong, but need not be."""
        return warnings_of(
            self.recordings, self.counters, self.layout, self.options, self.passed_over
        )

    @property
    def is_begun(self) -> bool:
        """Whether the target holds all of this, as values, or an unfinished part of it.

        Values are the same whether they are packed or not: a store of an earlier version is
        complete, and what was found to fit no counts goes on as it was begun.
        """
        options, target = self.options, self.target
        is_there = not options.overwrite and target.holds(
            self.provenance, is_append=self.base is not None
        )
        is_unfinished = target.unfinished is not None and not target.is_of_another(self.provenance)
        is_lossless = options.packing.is_lossless
        return is_lossless and (is_there or (is_unfinished and not options.restart))
