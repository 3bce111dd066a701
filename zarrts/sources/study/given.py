"""Sources as users give them: which are files, tables and arrays, and which files there are."""

import os
from collections.abc import Sequence
from dataclasses import replace

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.formats.registry import are_lists, format_of, suffixes
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study import recording_table
from zarrts.sources.study.elsewhere import Intervals
from zarrts.sources.study.search import Search, search
from zarrts.types import Recording

Source = str | os.PathLike[str] | Recording
"""A file, a folder, a glob pattern, an address of any of these, or arrays."""


def search_files(
    paths: Sequence[str],
    mounts: Mounts,
    options: SourceOptions,
    intervals: Intervals | None = None,
) -> Search:
    """Find files; those that have a known suffix, but are of another kind, are such files."""
    known = suffixes(options)
    found = search(paths, known, follow_links=options.follow_links, mounts=mounts)
    unlike = {it.origin for it in found.files if format_of(it, options) is None}
    unlike |= {it.origin for it in are_lists(found.files)}
    if intervals is not None:
        unlike |= {it.origin for it in found.files if it.path == intervals.path}
    files = [it for it in found.files if it.origin not in unlike]
    return replace(found, files=files, others=sorted([*found.others, *unlike]))


def passed_over(others: Sequence[str], drafts: Sequence[Draft]) -> tuple[str, ...]:
    """Return the files of other kinds that belong to no recording: a header names its data."""
    taken = {
        "/".join(filter(None, (it.origin.rpartition("/")[0], os.path.basename(path))))
        for it in drafts
        for path in it.paths
        if isinstance(path, str)
    }
    return tuple(it for it in others if it not in taken)


def sorted_out(
    source: Source | Sequence[Source], options: SourceOptions, *, may_be_none: bool = False
) -> tuple[list[str], list[str], list[Recording]]:
    """Return the paths, the tables and the arrays in `source`, each in the order given."""
    items = source if isinstance(source, list | tuple) else [source]
    paths: list[str] = []
    tables: list[str] = []
    recordings: list[Recording] = []
    for item in items:
        if isinstance(item, Recording):
            recordings.append(item)
        elif isinstance(item, str | os.PathLike):
            path = os.fspath(item)
            if not (isinstance(path, str) and path):
                raise SourceError(f"a source must be a path, not {path!r}.")
            is_table = path.lower().endswith(recording_table.SUFFIX)
            if options.has_columns and not isinstance(item, recording_table.TablePath):
                is_table = False  # but a recording
            (tables if is_table else paths).append(path)
        else:
            raise SourceError(
                "a source must be a path, a zarrts.Recording('s01', x, y) or a list of these, not "
                f"{type(item).__name__}."
            )
    if not items and not may_be_none:
        raise SourceError("no sources were given; give a file, a folder or a zarrts.Recording.")
    return paths, tables, recordings
