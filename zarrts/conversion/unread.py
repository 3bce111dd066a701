"""Warnings of files among the sources that are not read, but hold recordings or labels perhaps."""

from collections.abc import Sequence
from pathlib import PurePath

from zarrts.lists import listed
from zarrts.types import SourceRecording

_MAX_SHOWN = 4
_PERHAPS_RECORDINGS = frozenset(
    [
        *(".pkl", ".pickle", ".p", ".joblib", ".parquet", ".feather", ".pt", ".pth", ".gz", ".zip"),
        *(".mff", ".c3d", ".xlsx", ".arff", ".tfrecord", ".rec"),
    ]
)

_PERHAPS_SCORINGS = frozenset([".csv", ".tsv", ".txt", ".xml", ".json", ".tal", ".hyp", ".annot"])


def data_unread(passed_over: Sequence[str]) -> list[str]:
    """Return a warning of files that hold recordings perhaps, but are of no kind that is read."""
    some = [path for path in passed_over if PurePath(path).suffix.lower() in _PERHAPS_RECORDINGS]
    if not some:
        return []
    return [
        f"{listed(some, _MAX_SHOWN)}: not read. If these are recordings, save them as "
        "np.savez('s01.npz', x=x, y=y), or give them as zarrts.Recording('s01', x, y)."
    ]


def scorings_unread(recordings: Sequence[SourceRecording], passed_over: Sequence[str]) -> list[str]:
    """Return a warning of tables beside EDF files that have their names: scorings, perhaps."""
    stems = {
        PurePath(it.origin).with_suffix("").as_posix().lower()
        for it in recordings
        if PurePath(it.origin).suffix.lower() in (".edf", ".bdf")
    }
    some = [
        path
        for path in passed_over
        if PurePath(path).suffix.lower() in _PERHAPS_SCORINGS
        and any(_begins_with(PurePath(path), stem) for stem in stems)
    ]
    if not some:
        return []
    return [
        f"{listed(some, _MAX_SHOWN)}: beside an EDF file of the same name, and not read. If these "
        "hold the labels, read both in Python, and give them as "
        "zarrts.Recording('s01', x, intervals)."
    ]


def _begins_with(path: PurePath, stem: str) -> bool:
    name = path.with_suffix("").as_posix().lower()
    return name == stem or (name.startswith(stem) and not name[len(stem)].isalnum())
