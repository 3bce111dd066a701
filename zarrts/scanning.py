"""The function that looks at files before they are stored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from zarrts.conversion.options import options_given
from zarrts.errors import PlanError
from zarrts.keywords import refuse_unknown
from zarrts.sources import with_table
from zarrts.study import Study


def scan(
    source: Any,
    *,
    folders: str = "auto",
    subject: Any = None,
    x: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    y: str | Sequence[str] | Literal[False] | None = None,
    table: str | Path | None = None,
    class_names: Sequence[str | int] | None = None,
    follow_links: bool = False,
    kind: str = "auto",
    axes: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    rate_hz: float | None = None,
    units: str | Sequence[str] | None = None,
    override: Sequence[str] = (),
    label_every: int | str | None = None,
    annotations: str | Sequence[str] | None = None,
    unlabelled: str | None = None,
    missing: float | None = None,
    time: str | None = None,
    labels: Any = None,
    missing_chunks: Literal["fill"] | None = None,
    steps: Sequence[Any] | Mapping[str, Any] = (),
    dtype: Any = "auto",
    memory: int | str = "1GiB",
    chunk: int | str = "1MiB",
    shard: int | str = "64MiB",
    storage_options: Mapping[str, Any] | None = None,
    **unknown: object,
) -> Study:
    """Find the recordings of a study, and read none of their rows.

    Print the study to see what `convert` would store of it, look at its rows as Dask arrays, and
    take steps on it: `zarrts.scan("subjects/").pick(["C3", "C4"]).resample("100Hz")`.

    Parameters
    ----------
    source, folders, subject, x, y, table, class_names, follow_links, kind, axes, channels, rate_hz,
    units, override, label_every, annotations, unlabelled, missing, time, labels, missing_chunks,
    steps, storage_options
        As in `convert`.
    dtype, memory, chunk, shard
        As in `convert`, which takes those of the study unless it is given others. Blocks of the
        Dask arrays are as large as a shard.

    Returns
    -------
    Study

    Raises
    ------
    SourceError
        If a path does not exist, there is nothing to read, or an option cannot be used. What is
        wrong with single files is said where the study is printed, used or converted.
    PlanError
        If an option cannot be meant so.
    """
    refuse_unknown(scan, unknown)
    options = options_given(
        folders=folders,
        subject=subject,
        x=x,
        y=y,
        class_names=class_names,
        follow_links=follow_links,
        kind=kind,
        axes=axes,
        channels=channels,
        rate_hz=rate_hz,
        units=units,
        override=override,
        label_every=label_every,
        annotations=annotations,
        unlabelled=unlabelled,
        missing=missing,
        time=time,
        labels=labels,
        missing_chunks=missing_chunks,
        steps=steps,
        dtype=dtype,
        memory=memory,
        chunk=chunk,
        shard=shard,
    )
    if isinstance(source, Study):
        raise PlanError("scan takes files and recordings; this is a study already.")
    return Study(with_table(source, table), options, storage_options)
