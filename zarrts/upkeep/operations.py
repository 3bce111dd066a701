"""The functions that check, mend and change a store, as users call them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zarrts.buckets.addresses import is_remote
from zarrts.conversion.options import size_given
from zarrts.keywords import refuse_unknown
from zarrts.progress import show_count
from zarrts.storage.location import opened, refuse_unused
from zarrts.upkeep.compaction import Compacted, compact_store, count_rows
from zarrts.upkeep.matching import Sources
from zarrts.upkeep.removal import Removed, remove_subject
from zarrts.upkeep.repair import Repaired, repair_store
from zarrts.upkeep.verification import Verification, verify_store


def verify(
    store: str | Path,
    *,
    deep: bool = False,
    sources: Any = None,
    functions: Mapping[str, Any] | None = None,
    labels: Any = None,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **unknown: object,
) -> Verification:
    """Compare a store with its list of files, in seconds; or all of it, or with its sources.

    Parameters
    ----------
    store : path
    deep : bool
        Read everything: the checksum of each file, each chunk, label and statistic.
    sources : path or address, or list of them, optional
        What was converted, where it was then: each sample and label is compared with it, after
        the steps that the store was made with.
    functions : dict, optional
        From name to function, of those that a step `map` called, where they cannot be imported.
    labels : path, address or table, optional
        The table of intervals that the labels were taken from (`convert(labels=)`).
    workers : int, optional
        Files that are read at once; as many as there are processors by default.
    storage_options
        As in `convert`.

    Returns
    -------
    Verification
        Its `problems` are empty where nothing is wrong; each names file, subjects and sample ids.

    Raises
    ------
    StoreError
        If there is no complete store, or its root is damaged.
    SourceError
        If there are no sources to be read.
    """
    refuse_unknown(verify, unknown)
    refuse_unused(storage_options, sources, store, labels)
    with opened(store, storage_options if is_remote(store) else None) as root:
        given = (
            None if sources is None else Sources(sources, storage_options, store, functions, labels)
        )
        return verify_store(root, is_deep=deep, source=given, workers=workers)


def repair(
    store: str | Path,
    sources: Any,
    *,
    functions: Mapping[str, Any] | None = None,
    labels: Any = None,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **unknown: object,
) -> Repaired:
    """Write the damaged files of a store anew, from the files that were converted.

    Raises
    ------
    StoreError
        If what is damaged cannot be repaired.
    SourceError
        If the files that are needed are not there, or have changed.
    PlanError
        If somebody else writes to the store.
    """
    refuse_unknown(repair, unknown)
    refuse_unused(storage_options, sources, store, labels)
    with opened(store, storage_options if is_remote(store) else None) as root:
        return repair_store(
            root, Sources(sources, storage_options, store, functions, labels), workers
        )


def remove(
    store: str | Path,
    *,
    subject: str,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **unknown: object,
) -> Removed:
    """Take a subject out of a store, whose files are not needed; nothing of it is left.

    Versions of the store that hold the subject are gone after that.

    Raises
    ------
    SampleError
        If the store has no such subject, or no other.
    PlanError
        If somebody else writes to the store.
    """
    refuse_unknown(remove, unknown)
    with opened(store, storage_options) as root:
        return remove_subject(root, subject, workers)


def compact(
    store: str | Path,
    *,
    drop_versions: bool = False,
    memory: int | str = "1GiB",
    workers: int | None = None,
    progress: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    **unknown: object,
) -> Compacted:
    """Join the parts of a store, one for each `append`, into one; their files are not needed.

    Samples, their order and ids, labels and sources stay as they are. Neighbouring parts are joined
    where the options that they were made with are the same. It is one new version; whoever has
    an earlier one open has to open the store again.

    Parameters
    ----------
    store : path
    drop_versions : bool
        Earlier versions, which are made of the parts, cannot be opened any more. Where there are
        any, nothing is done unless this is True.
    memory : size
        Bounds the memory that it takes.
    workers : int, optional
        Files that are written at once; as many as there are processors by default.
    progress : bool
        Show a progress bar, if there is a terminal.
    storage_options
        As in `convert`.

    Returns
    -------
    Compacted
        How many parts there were and are, and which versions are gone.

    Raises
    ------
    PlanError
        If earlier versions would go, somebody else writes to the store, or memory or disk space
        are too little.
    StoreError, ReadError
        If a part is damaged; the store stays as it was.
    """
    refuse_unknown(compact, unknown)
    memory_bytes = size_given("memory", memory)
    with (
        opened(store, storage_options) as root,
        show_count("compact", lambda: count_rows(root), progress) as on_rows,
    ):
        return compact_store(
            root,
            drop_versions=drop_versions,
            memory_bytes=memory_bytes,
            workers=workers,
            on_rows=on_rows,
        )
