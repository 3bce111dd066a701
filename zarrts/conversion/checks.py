"""Checks of recordings before a conversion: what they have in common, and what is refused early."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sizes import format_budget, format_count
from zarrts.sources import Found, is_sleep_edf, session_like, whole_bytes
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import RecordingNames
from zarrts.types import SourceRecording

_MAX_NAMES = 8
_MAX_SHOWN = 4


def check_recordings(
    recordings: Sequence[SourceRecording], *, kind: str, channels: Sequence[str] | None
) -> list[str]:
    """Return every problem of the recordings with each other, one sentence each."""
    is_ragged = any(it.labels_per != "sample" for it in recordings)
    filled = [it for it in recordings if it.x.shape[0] > 0]
    problems = _check_series(recordings) if is_ragged else _check_samples(recordings)
    if is_ragged:  # of which those without rows are stored as well
        filled = list(recordings)
        problems += _odd_ones(filled, _channels, "rows of", _channels_remedy)
    else:
        problems += _odd_ones(filled, _row_shape, "samples of shape", _shape_remedy)
    problems += _odd_ones(filled, lambda it: it.y.shape[1:], "labels of shape", _label_remedy)
    problems += _odd_ones(
        filled,
        lambda it: _label_family(it.y.dtype),
        "labels that are",
        lambda it, usual: "; save all of them alike, as text or as numbers.",
    )
    is_flat = bool(filled) and all(len(it.x.shape) == 2 for it in filled)
    if kind == "auto" and is_flat and not is_ragged:
        problems.append(_two_readings(filled))
    if channels is not None and not isinstance(channels, Mapping):
        problems += _wrong_channels(filled, channels)
    return problems


def _check_samples(recordings: Sequence[SourceRecording]) -> list[str]:
    problems = []
    for it in recordings:
        n_inputs, n_labels = it.x.shape[0], it.y.shape[0] if it.y.shape else 0
        if n_inputs != n_labels:
            problems.append(
                f"{it.origin}: {n_inputs:,} inputs in {it.x_name!r}, but {n_labels:,} labels in "
                f"{it.y_name!r}; each input needs one label"
                + (_stretch_remedy(it) or _axis_remedy(it, n_labels))
            )
        elif n_inputs == 0:
            problems.append(f"{it.origin}: holds no samples; remove the file.")
    return problems


def _check_series(recordings: Sequence[SourceRecording]) -> list[str]:
    problems = []
    for it in recordings:
        n_rows, n_labels = it.x.shape[0], it.y.shape[0]
        if len(it.x.shape) < 2 and it.x.dtype.names is None:
            problems.append(
                f"{it.origin}: {it.x_name!r} has shape {it.x.shape}, but a series is (time, "
                "channel); for a single channel, save x[:, None]."
            )
        elif n_labels != (1 if it.labels_per == "recording" else n_rows):
            problems.append(
                f"{it.origin}: {n_rows:,} time steps in {it.x_name!r}, but {n_labels:,} labels in "
                f"{it.y_name!r}; a series needs one label in all, or one for each time step"
                + (_stretch_remedy(it) or ".")
            )
    if not any(it.x.shape[0] for it in recordings):
        problems.append("No recording holds a single time step; give files that are not empty.")
    return problems


def _stretch_remedy(recording: SourceRecording) -> str:
    """Return what to say of a label for each stretch of time, such as 30 s of sleep."""
    shape, n_labels = recording.x.shape, recording.y.shape[0] if recording.y.shape else 0
    n_rows = shape[0]
    if not 1 < n_labels < n_rows:
        return ""
    if n_rows % n_labels:
        if len(shape) != 2 or n_labels in shape or 2 * n_labels > n_rows:
            return ""
        return (
            ". If each label is that of a stretch of time, say of how long a one, such as "
            "label_every='30s' (--label-every 30s) or a number of time steps."
        )
    n_each = n_rows // n_labels
    return (
        f". If each label is that of {n_each:,} time steps, say label_every={n_each} "
        f"(--label-every {n_each}), or a time, such as '30s'; windows are cut, and get a label "
        "each, while training."
    )


def _channels(recording: SourceRecording) -> str:
    inner = _row_shape(recording)
    if len(inner) != 1 or recording.x.dtype.names is not None:
        return f"shape {inner}"
    return f"{format_count(inner[0], 'channel')}"


def _row_shape(recording: SourceRecording) -> Any:
    """Return the shape of a row; of several inputs, that of each by name."""
    dtype = recording.x.dtype
    if dtype.names is None:
        return recording.x.shape[1:]
    return tuple((name, dtype[name].shape) for name in dtype.names)


def _channels_remedy(recording: SourceRecording, usual: str) -> str:
    return "; all recordings need the same channels: leave the file out or save it alike."


def _names(channels: Sequence[str]) -> str:
    return f"{', '.join(channels[:_MAX_NAMES])}{', ...' if len(channels) > _MAX_NAMES else ''}"


def _wrong_channels(recordings: Sequence[SourceRecording], channels: Sequence[str]) -> list[str]:
    by_count: dict[int, list[str]] = defaultdict(list)
    for it in recordings:
        by_count[it.x.shape[-1] if it.x.shape[1:] else 0].append(it.origin)
    return [
        f"{listed(origins, 1)}: {count} channels (the last axis), but channels= names "
        f"{len(channels)} ({_names(channels)}); name "
        "each once, or say which axis is which with axes=."
        for count, origins in by_count.items()
        if count != len(channels)
    ]


def _odd_ones(
    recordings: Sequence[SourceRecording], value: Any, what: str, remedy: Any
) -> list[str]:
    """Return a sentence for each recording that differs from what most have."""
    if not recordings:
        return []
    usual, n_usual = Counter(value(it) for it in recordings).most_common(1)[0]
    like = next(it.origin for it in recordings if value(it) == usual)
    return [
        f"{it.origin}: {what} {value(it)}, but {n_usual} of {len(recordings)} files, such as "
        f"{like}, have {usual}" + (remedy(it, usual) if remedy else ".")
        for it in recordings
        if value(it) != usual
    ]


def _shape_remedy(recording: SourceRecording, usual: tuple[int, ...]) -> str:
    if recording.x.dtype.names is not None:
        return "; save all alike, or leave the file out."
    if recording.x.shape[1:][::-1] == usual:
        return "; the axes seem swapped: save them alike."
    if len(usual) == 2 and recording.x.shape[2:] == usual[1:]:
        return (
            "; cut or pad all series to one length before saving, or keep their lengths with "
            "kind='ragged' (--kind ragged)."
        )
    return "; leave the file out or save it alike."


def _label_remedy(recording: SourceRecording, usual: tuple[int, ...]) -> str:
    if len(recording.y.shape) == 2 and not usual:
        return "; if these are one-hot, save y.argmax(axis=1), which are the classes' numbers."
    return "; save all of them alike."


def _axis_remedy(recording: SourceRecording, n_labels: int) -> str:
    others = list(recording.x.shape[1:])
    if n_labels not in others:
        return "."
    names = ["time", *(f"axis_{n}" for n in range(1, len(others) - 1)), "channel"][: len(others)]
    names.insert(1 + others.index(n_labels), "sample")
    return (
        f" (its shape is {recording.x.shape}: if samples are not on the first axis, say which is "
        f"which, for example axes=({', '.join(map(repr, names))}))."
    )


def _label_family(dtype: np.dtype[Any]) -> str:
    if dtype.names is not None:
        fields = ((name, dtype[name]) for name in dtype.names)
        return ", ".join(
            f"{name} ({_label_family(it.base)}{it.shape or ''})" for name, it in fields
        )
    return "text" if dtype.kind == "U" else "numbers"


def _two_readings(recordings: Sequence[SourceRecording]) -> str:
    first = recordings[0]
    rows, columns = first.x.shape
    return (
        f"{listed((it.origin for it in recordings), 1)}: {first.x_name!r} has shape "
        f"({rows:,}, {columns:,}), which can be read in two "
        f"ways. If each row is a sample ({rows:,} samples of {columns:,} values), say "
        "kind='dense' (--kind dense). If rows are consecutive in time (one series of "
        f"{rows:,} time steps x {columns:,} channels), say kind='ragged' (--kind ragged)"
        + (", and axes=('channel', 'time') if it is so" if columns > rows else "")
        + "."
    )


def check_duplicates(
    recordings: Sequence[SourceRecording], stored: Iterable[tuple[str, int, str]] = ()
) -> list[str]:
    """Return a sentence for each group of sources with the same content.

    Parameters
    ----------
    stored : iterable of (fingerprint, number of samples, origin)
        What is in the store already.
    """
    by_content: dict[tuple[str, int], list[str]] = defaultdict(list)
    for fingerprint, n_samples, origin in stored:
        by_content[fingerprint, n_samples].append(f"{origin} (in the store)")
    for it in recordings:
        if it.x.shape[0]:
            by_content[it.fingerprint, it.x.shape[0]].append(it.origin)
    return [
        f"{' and '.join(same)}: the same content under {len(same)} names; remove the copies, "
        "or one person's data are on both sides of a split."
        for same in by_content.values()
        if len(same) > 1
    ]


def check_sessions(subjects: Sequence[str]) -> list[str]:
    """Return a sentence if names look like several sessions of one person."""
    groups = session_like(sorted({*subjects}))
    if not groups:
        return []
    shown = (
        f"{', '.join(names[:_MAX_SHOWN])}{' ...' if len(names) > _MAX_SHOWN else ''}"
        for names in groups
    )
    example = "r'^[^_]+' for what comes before the first underscore"
    if all(is_sleep_edf(name) for names in groups for name in names):
        example = "r'S[CT]\\d{3}', as in Sleep-EDF names are SC4, the person, the night"
    names = listed(shown, _MAX_SHOWN, between="; ")
    return [
        f"{names}: these names look like several sessions of one person, and one "
        "person on both sides of a split is a leak. Say who is who with subject= (--subject), "
        f"for example {example}; or r'.+(?=\\.)', if each file is another person."
    ]


def check_spellings(subjects: Iterable[str]) -> list[str]:
    """Return a sentence if names differ only in case, blanks, or how a letter is written.

    Whoever gave them: a blank at the end of a line of a table makes two persons of one as well.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in subjects:
        plain = unicodedata.normalize("NFKC", name).casefold()
        spellings[unicodedata.normalize("NFKC", " ".join(plain.split()))].add(name)
    groups = [sorted(names) for names in spellings.values() if len(names) > 1]
    if not groups:
        return []
    shown = (
        f"{', '.join(map(ascii, names[:_MAX_SHOWN]))}{' ...' if len(names) > _MAX_SHOWN else ''}"
        for names in groups
    )
    spelled = listed(shown, _MAX_SHOWN, between="; ")
    return [
        f"{spelled}: these names of subjects differ only in case, blanks, or how a letter is "
        "written, and one person on both sides of a split is a leak. Give one person one name, "
        "and two persons names that differ in more, for example with subject= (--subject)."
    ]


def check_whole(recordings: Sequence[SourceRecording], memory_bytes: int) -> list[str]:
    """Return a sentence for each recording that a step has to hold in memory, and cannot."""
    needed = {it.origin: whole_bytes(it.x) for it in recordings}
    return [
        f"{origin}: a step takes it whole, which needs {format_budget(n_bytes)}, but memory= is "
        f"{format_budget(memory_bytes)}; raise memory to at least that, or take a step that works "
        "on blocks (method='fir', or map with halo=)."
        for origin, n_bytes in needed.items()
        if n_bytes > memory_bytes
    ]


def check_fit(base: StoreHeader, tables: Sequence[RecordingNames], found: Found) -> list[str]:
    """Return a sentence for each recording that does not fit the store it is added to."""
    new = {it.fingerprint for it in found.recordings}
    stored = [
        (fingerprint, int(n_samples), source)
        for table in tables
        if not new.isdisjoint(table.fingerprint)
        for fingerprint, n_samples, source in zip(
            table.fingerprint, np.diff(table.starts), table.source, strict=True
        )
    ]
    problems = check_duplicates(found.recordings, stored)
    problems += (odd := _of_other_length(found.recordings, base))
    known = {name for table in tables for name in table.subject}
    contents = {(fingerprint, n_samples) for fingerprint, n_samples, _ in stored}
    for it in found.recordings:
        misfit = None if odd else _misfit(it, base)
        if misfit is not None:
            problems.append(f"{it.origin}: {misfit}.")
        # The subject of a copy is not a second problem: the copy has to go anyway.
        is_copy = it.x.shape[0] > 0 and (it.fingerprint, it.x.shape[0]) in contents
        if it.subject in known and not found.has_subjects_given and not is_copy:
            problems.append(
                f"{it.origin}: the store has a subject {it.subject} already. If it is the same "
                "person, or another one, say who is who with subject= (--subject)."
            )
    return problems


def _of_other_length(recordings: Sequence[SourceRecording], base: StoreHeader) -> list[str]:
    """Return a sentence for each series that is no sample of a dense store, where others are."""
    shape = base.segments[0].x.row_shape
    series = [it.x.shape for it in recordings if it.labels_per != "sample"]
    if base.kind != "dense" or len(series) < len(recordings) or shape not in series:
        return []
    return [
        f"{it.origin}: a series of shape {it.x.shape}, but each sample of the store has {shape}; "
        "cut or pad it to that length before, or leave it out."
        for it in recordings
        if it.x.shape != shape
    ]


def _misfit(recording: SourceRecording, base: StoreHeader) -> str | None:
    """Return what of a recording is not as in the store, and the remedy."""
    it, x, y = recording, base.segments[0].x, base.segments[0].y
    if (it.labels_per == "sample") != (base.kind == "dense"):
        here = "ragged" if base.kind == "dense" else "dense"
        return f"is {here}, but the store is {base.kind}; make a store of its own"
    if it.labels_per != base.labels_per:
        return (
            f"has one label for each {it.labels_per}, but the store has one for each "
            f"{base.labels_per}; save them alike"
        )
    if it.x.dtype.names != x.dtype.names:
        here, there = (
            ", ".join(names or ("one without a name",))
            for names in (it.x.dtype.names, x.dtype.names)
        )
        return f"its inputs are {here}, but the store's {there}; name them alike with x="
    if x.dtype.names is not None and _row_shape(it) != tuple(
        (name, x.dtype[name].shape) for name in x.dtype.names
    ):
        return f"rows of shape {_row_shape(it)}, which the store's do not have; save them alike"
    if it.x.shape[1:] != x.row_shape:
        what = "rows" if base.kind == "ragged" else "samples"
        return (
            f"{what} of shape {it.x.shape[1:]}, but the store's have {x.row_shape}; save them alike"
        )
    if it.y.shape[1:] != y.row_shape:
        return (
            f"labels of shape {it.y.shape[1:]}, but the store's have {y.row_shape}; save them alike"
        )
    return None


def refuse(problems: Sequence[str], what: str = "Nothing was converted.") -> None:
    """Raise one error that lists every problem, if there is any; what is alike on one line."""
    if not problems:
        return
    places: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        place, colon, reason = problem.partition(": ")
        places[colon + reason if colon else problem].append(place if colon else "")
    lines = [f"  - {', '.join(filter(None, at))}{reason}" for reason, at in places.items()]
    head = f"{what} {format_count(len(lines), 'problem')}:"
    raise SourceError("\n".join([head, *lines]))
