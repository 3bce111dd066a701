"""A study as it is understood: its recordings checked, its labels counted, its rows laid out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zarrts import sources
from zarrts.conversion.checks import (
    check_duplicates,
    check_fit,
    check_recordings,
    check_sessions,
    check_spellings,
    check_whole,
    refuse,
)
from zarrts.conversion.one_hot import rows_without_one, where_not_one_hot
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.plan import ShardLayout, lay_out, lay_out_in, stored_dtype, warn_of_axes
from zarrts.conversion.provenance import count_labels
from zarrts.conversion.unread import data_unread, scorings_unread
from zarrts.errors import SourceError
from zarrts.labels.counting import LabelCounter
from zarrts.labels.label_sets import extended_scheme, scheme_of_study
from zarrts.labels.scheme import LabelScheme
from zarrts.sources.study.integer_labels import with_integer_labels
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import RecordingNames
from zarrts.types import Description, LabelsPer, SourceRecording


@dataclass(frozen=True, kw_only=True)
class Understood:
    """A study that is understood and checked, whatever place it is written to.

    Attributes
    ----------
    options : ConvertOptions
    recordings : tuple of SourceRecording
    layout : ShardLayout
    labels : LabelScheme
    counters : tuple of LabelCounter
        Labels of each recording.
    digests : tuple of str
        Of the labels of each; see `count_labels`.
    has_subjects_given, description, notes, passed_over
        See `sources.Found`.
    """

    options: ConvertOptions
    recordings: tuple[SourceRecording, ...]
    layout: ShardLayout
    labels: LabelScheme
    counters: tuple[LabelCounter, ...]
    digests: tuple[str, ...]
    has_subjects_given: bool
    description: Description
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def labels_per(self) -> LabelsPer:
        """The unit that has a label: a sample that is a row; or a recording, or its rows."""
        return self.recordings[0].labels_per

    @property
    def is_ragged(self) -> bool:
        """True where a sample is a recording of any length."""
        return self.labels_per != "sample"

    @property
    def source_bytes(self) -> int:
        """Size of the files."""
        return sum(it.size_bytes for it in self.recordings)

    @property
    def warnings(self) -> list[str]:
        """Warnings of what looks wrong, but need not be."""
        return warnings_of(
            self.recordings, self.counters, self.layout, self.options, self.passed_over
        )


def warnings_of(
    recordings: Sequence[SourceRecording],
    counters: Sequence[LabelCounter],
    layout: ShardLayout,
    options: ConvertOptions,
    passed_over: Sequence[str],
) -> list[str]:
    """Return warnings of what looks wrong, but need not be."""
    warnings = data_unread(passed_over)
    warnings += scorings_unread(recordings, passed_over)
    warnings += rows_without_one(recordings, counters)
    if options.axes is not None:
        return warnings
    shape, is_ragged = layout.row_shape, recordings[0].labels_per != "sample"
    if is_ragged:
        shape = (max(it.x.shape[0] for it in recordings), *shape)
    return warnings + warn_of_axes(shape, is_series=is_ragged)


def understand(
    found: sources.Found,
    options: ConvertOptions,
    store: StoreHeader | None = None,
    tables: Sequence[RecordingNames] = (),
) -> Understood:
    """Check recordings against each other, and against the store that they are added to.

    Raises
    ------
    SourceError
        Naming every recording that cannot be used, and why.
    """
    if options.before_steps is None and found.before_steps is not None:
        options = replace(options, before_steps=found.before_steps)
    if store is not None:
        recordings = tuple(sources.as_in_store(it, store.labels_per) for it in found.recordings)
        found = replace(found, recordings=recordings)
    recordings = found.recordings
    problems = [*found.problems]
    # With steps, those are the channels before them.
    channels = None if options.steps else options.channels
    problems += check_recordings(recordings, kind=options.kind, channels=channels)
    problems += check_fit(store, tables, found) if store else check_duplicates(recordings)
    stored = {name for table in tables for name in table.subject}
    subjects = [*{it.subject for it in recordings}, *stored]
    problems += check_spellings(subjects)
    if not found.has_subjects_given:
        problems += check_sessions(subjects)
    problems += check_whole(recordings, options.memory_bytes)
    refuse(problems, "Nothing was added." if store else "Nothing was converted.")
    recordings = with_integer_labels(recordings, are_classes=_are_classes(options, store))
    counters, digests = zip(*(count_labels(it) for it in recordings), strict=True)
    return Understood(
        options=options,
        recordings=recordings,
        layout=_layout(recordings, options, store),
        labels=_labels(recordings, counters, options, store),
        counters=counters,
        digests=digests,
        has_subjects_given=found.has_subjects_given,
        description=found.description,
        notes=found.notes,
        passed_over=found.passed_over,
    )


def _labels(
    recordings: Sequence[SourceRecording],
    counters: Sequence[LabelCounter],
    options: ConvertOptions,
    base: StoreHeader | None,
) -> LabelScheme:
    dtypes = [it.y.dtype for it in recordings]
    if base is not None:
        try:
            return extended_scheme(base.labels, counters, dtypes)
        except SourceError as error:
            is_one_hot = base.labels.encoding == "one_hot"
            more = where_not_one_hot(recordings, counters) if is_one_hot else ""
            raise SourceError(f"{error}{more}") from error
    return scheme_of_study(counters, dtypes, options.class_names, allows_missing=True)


def _layout(
    recordings: Sequence[SourceRecording], options: ConvertOptions, base: StoreHeader | None
) -> ShardLayout:
    if base is not None:
        x = base.segments[0].x_values
        return lay_out_in(recordings, x.dtype, x.chunk_rows, x.shard_rows)
    return lay_out(
        recordings,
        stored_dtype(recordings, options.dtype),
        chunk_bytes=options.chunk_bytes,
        shard_bytes=options.shard_bytes,
    )


def _are_classes(options: ConvertOptions, base: StoreHeader | None) -> bool:
    """Return whether labels that are numbers are classes, as somebody said."""
    if base is None:
        return options.class_names is not None
    return base.labels.encoding == "numbers" and base.labels.class_names is not None
