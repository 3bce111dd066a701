"""The recordings of a study, found in files by their headers alone."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from zarrts.errors import SourceError
from zarrts.sources import fingerprint, given, npy, npz, subjects
from zarrts.sources.kind import ArrayOptions, Draft, SourceFile
from zarrts.sources.names import session_like
from zarrts.sources.search import search
from zarrts.sources.subjects import SubjectOption
from zarrts.types import Recording, SourceRecording

__all__ = ["Found", "Source", "SubjectOption", "find", "refuse_changes", "session_like"]

Source = str | os.PathLike[str] | Recording
"""A file, a folder, a glob pattern, or arrays."""

_KINDS = (npy, npz)
"""Each has a SUFFIX and find_drafts(files, options) -> (drafts, problems)."""


@dataclass(frozen=True)
class Found:
    """What `find` found.

    Attributes
    ----------
    recordings : tuple of SourceRecording
        Those of files in sorted order of `origin`, then those given as arrays in their order.
    problems : tuple of str
        One complete sentence for each file that cannot be used; none is left out.
    has_subjects_given : bool
        Someone said whose recordings they are; no subject is merely the name of a file.
    """

    recordings: tuple[SourceRecording, ...]
    problems: tuple[str, ...]
    has_subjects_given: bool


def find(
    source: Source | Sequence[Source],
    *,
    subject: SubjectOption | None = None,
    x: str | None = None,
    y: str | None = None,
    axes: Sequence[str] | None = None,
) -> Found:
    """Find the recordings in `source`; reads headers, and blocks of the files for fingerprints.

    Parameters
    ----------
    source : path, glob pattern, Recording, or a list of these
        Folders are searched to the bottom, hidden names and Zarr stores passed over.
    subject : str, path, mapping or callable, optional
        Who a file belongs to: a regular expression (its group 1, or all of the match) for the
        relative path with "/"; a function of that path; a mapping from relative path (or name
        without suffix) to subject; or the path of a `.csv` table with the columns file and
        subject. By default each file (pair) is a subject of its own name, or of its relative
        path where two have the same name. Says nothing about a Recording, which has a subject.
    x, y : str, optional
        Names of the arrays in `.npz` files; for pairs of `.npy` files see `names.pair_up`.
    axes : sequence of str, optional
        What the axes of x in the files are called, such as ("sample", "channel", "time"). They
        come out with "sample" first, then "time", others as given, "channel" last.

    Returns
    -------
    Found
        With every bad file in `problems`, none raised.

    Raises
    ------
    SourceError
        If an option cannot be used, a path does not exist, or there is nothing to read.
    """
    options = ArrayOptions.of(x, y, axes)
    paths, recordings = _sorted_out(source)
    found = search(paths, [kind.SUFFIX for kind in _KINDS])
    if not (found.files or found.problems or recordings):
        raise found.nothing(paths, [kind.SUFFIX for kind in _KINDS])
    drafts, problems = _drafts(found.files, options)
    of_files, more = _with_subjects(drafts, subject)
    of_arrays, bad_arrays = given.find_recordings(recordings, options)
    return Found(
        recordings=(*of_files, *of_arrays),
        problems=(*found.problems, *problems, *more, *bad_arrays),
        has_subjects_given=subject is not None or not paths,
    )


def _sorted_out(source: Source | Sequence[Source]) -> tuple[list[str], list[Recording]]:
    """Return the paths and the arrays in `source`, each in the order given."""
    items = source if isinstance(source, list | tuple) else [source]
    paths: list[str] = []
    recordings: list[Recording] = []
    for item in items:
        if isinstance(item, Recording):
            recordings.append(item)
        elif isinstance(item, str | os.PathLike):
            path = os.fspath(item)
            if not (isinstance(path, str) and path):
                raise SourceError(f"a source must be a path, not {path!r}.")
            paths.append(path)
        else:
            raise SourceError(
                "a source must be a path, a zarrts.Recording or a list of these, not "
                f"{type(item).__name__}."
            )
    if not items:
        raise SourceError("no sources were given; give a file, a folder or a zarrts.Recording.")
    return paths, recordings


def _drafts(files: Sequence[SourceFile], options: ArrayOptions) -> tuple[list[Draft], list[str]]:
    drafts: list[Draft] = []
    problems: list[str] = []
    for kind in _KINDS:
        of_kind = [file for file in files if file.path.lower().endswith(kind.SUFFIX)]
        some, bad = kind.find_drafts(of_kind, options)
        drafts += some
        problems += bad
    drafts.sort(key=lambda draft: draft.origin)
    return drafts, sorted(problems)


def _with_subjects(
    drafts: Sequence[Draft], subject: SubjectOption | None
) -> tuple[list[SourceRecording], list[str]]:
    names, problems = subjects.assign(drafts, subject)
    found: list[SourceRecording] = []
    for draft, name in zip(drafts, names, strict=True):
        if name is None:
            continue
        try:
            stamp = fingerprint.stamp_of(draft.paths)
            size_bytes, digest = fingerprint.of_files(draft.paths)
        except SourceError as error:
            problems.append(str(error))
            continue
        found.append(
            SourceRecording(
                subject=name,
                origin=draft.origin,
                x=draft.x,
                y=draft.y,
                x_name=draft.x_name,
                y_name=draft.y_name,
                size_bytes=size_bytes,
                fingerprint=digest,
                paths=tuple(draft.paths),
                stamp=stamp,
            )
        )
    return found, problems


def refuse_changes(recordings: Sequence[SourceRecording]) -> None:
    """Raise SourceError naming every file that is not as it was when it was found."""
    changed = [
        it.origin for it in recordings if it.paths and fingerprint.stamp_of(it.paths) != it.stamp
    ]
    if changed:
        raise SourceError(
            f"{', '.join(changed)}: changed while it was converted; convert again once nothing "
            "writes to it."
        )
