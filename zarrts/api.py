"""The functions that make and open a store."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from zarrts.conversion.options import (
    ConvertOptions,
    names_given,
    options_given,
    override_given,
    size_given,
)
from zarrts.conversion.pack_option import Pack
from zarrts.conversion.prepare import prepare, prepare_append
from zarrts.conversion.run import run
from zarrts.keywords import refuse_unknown
from zarrts.progress import show_progress
from zarrts.sources import with_table
from zarrts.store import Store, open_store
from zarrts.study import Study

open = open_store


def convert(
    source: Any,
    target: str | Path,
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
    channels: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    rate_hz: float | Mapping[str, float] | None = None,
    units: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
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
    codec: str = "lz4",
    pack: Pack = "auto",
    workers: int | None = None,
    scheduler: Any = None,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    **unknown: object,
) -> Store:
    """Turn the files of a study into one compressed store, and open it.

    The same sources and options again find the complete store and return at once; after a crash
    they go on with what was finished before it. Files that were touched since, and large arrays in
    memory, are compared with the store as a whole; functions are known by samples of their rows.

    Parameters
    ----------
    source : path, address, glob pattern, or a list of them or of Recording; or Study
        A study is what `zarrts.scan` found; None goes with a table. A folder, or what lies below
        an address such as s3://lab/subjects/, is searched for `.npz`, `.npy`, HDF5 (extra hdf5),
        MATLAB (7.3: extra mat), EDF and BDF files; docs/files.md says what may be in them.
    target : path
        Folder of the store to be made, or its address, such as s3://lab/study.zarr (extra cloud).
    folders : str
        What folders stand for. "auto": nothing, they only tell apart files of one name.
        "subjects": root/subject/..., each folder is a person. "classes": root/class/series.npy,
        each `.npy` file is one sample, labelled with its folder; a second level of folders names
        the subjects, and where it is not clear which level is which, "classes/subjects" or
        "subjects/classes" says so.
    subject : str, callable or mapping, optional
        Who a file belongs to: a regular expression that is searched in its path (group 1, or
        all that matches), a function of the path, a mapping from path or name, or the path or
        address of a CSV file with columns file and subject. By default an array named subject in
        the file says it, for each row or all of them; else each file is one subject.
    x, y : str or sequence of str, optional
        Names of the arrays of inputs and labels, where they are not obvious; their numbers,
        "0", "1", ..., in files where arrays have no names. A list of names for y stores several
        arrays of labels, and batches have a dictionary of them; a list of names for x stores
        several inputs, each of its own shape and rate; so does a dictionary, which names each
        input, and says what it is in a file: an array, or a list of signals (of EDF files, whose
        signals of several rates are an input for each rate by default) or columns. y=False says
        that there are no labels, whatever arrays the files hold. Of CSV and Parquet files (extra
        tables), x is a list of columns, which are the channels, or such a dictionary, and y a
        column; CSV files are recordings only where x is one of these.
    table : path, optional
        A CSV file with a line for each recording, for files that nothing else describes: the
        columns subject, x and y name whose it is and where its arrays are (file.npz::eeg is the
        array eeg of a file); label is one label for all of it, start and stop choose its rows.
    class_names : sequence of str or int, optional
        All classes that labels (text, class folders, or whole numbers) may name, in the order of
        their codes. By default those that occur, sorted. Integers make classes of labels that
        were saved as floats, as MATLAB does.
    follow_links : bool
        Search folders that links lead to, too.
    kind : str
        "dense": x[i] is sample i, whatever the number of axes. "ragged": x is one series, x[i]
        its step i in time; series may be of unequal lengths, and a label belongs to a whole
        series, or to each of its steps. "auto": ragged where 2-D arrays have a single label, else
        dense; 2-D arrays with a label for each row could be either, and are refused.
    axes : sequence of str, optional
        What the axes of x are, such as ("sample", "channel", "time"), stored as
        (sample, time, channel); or of one series, ("channel", "time").
    channels : sequence of str, optional
        Names of the channels, the last axis. Of files that name theirs, these channels are stored,
        in this order. Of several inputs, a dictionary by name, as are rate_hz and units.
    rate_hz : float or dict, optional
        Time steps per second, where files do not say it. Of several inputs, "y" is that of labels,
        where these are as many as the rows of no input, or of several.
    units : str or sequence of str, optional
        Physical unit of all channels or of each, such as "uV", where files do not say it; files
        that say another one are converted, where the factor is known.
    override : sequence of str
        Which of "channels", "rate_hz" and "units" are right where a file says otherwise; by default
        such a file is refused.
    label_every : int or str, optional
        Each label is for so many time steps, or so much time, such as "30s", which needs the rate;
        the last one may be for fewer. By default a label is for one step, or for all of a series.
    annotations : list of str, or str, optional
        Of EDF and BDF files: which annotations are labels, by their texts, or by a regular
        expression that is searched in each text. By default all of them are.
    unlabelled : str, optional
        Name of a class for everything without a label, where labels are text: of time steps
        without an annotation, for example, where only events are annotated.
    missing : number, optional
        A value of x that stands for a missing one, such as -32768. It becomes NaN, and integers
        become floats.
    time : str, optional
        Of CSV and Parquet files: the column that says when each row was, in seconds or as dates;
        rate and gaps follow from it.
    labels : path, address or table, optional
        Labels that are elsewhere: a CSV file (or a dictionary, a data frame) with the columns
        subject or file; start and stop (or duration), in seconds from the first row or as dates;
        and label. What no line covers has no label, or that of `unlabelled`.
    missing_chunks : "fill", optional
        Chunks that were never written into an array of Zarr hold its fill value, as Zarr has it; by
        default they are counted, and refused.
    steps : list of tuple or str
        What is done with recordings before they are stored, in this order: the methods of `Study`,
        as [("pick", ["C3", "C4"]), ("filter", 1, 40), ("resample", "100Hz")], or as the command
        has them, ["filter 1 40"]. The store keeps them; `append` and `predict` repeat them. Of
        several inputs, a dictionary of such lists by name.
    dtype : str or NumPy dtype
        "auto": float64 becomes float32, the rest is kept; "keep"; or a dtype.
    memory : size
        Bounds the memory that the conversion takes, whatever the size of the files.
    chunk, shard : size
        How much is read at once, and how large the files of the store are. `zarrts info` says
        what windows cost to read, which is less with smaller chunks.
    codec : str
        "lz4" is fast to read, "zstd" is smaller, "none" does not compress. "auto" is "lz4", or
        "none" where lz4 saves less than a twentieth of the bytes of a few samples.
    pack : "auto", False, float or str, or a dictionary of these
        Store float32 as 16-bit counts with a gain and an offset for each recording and channel,
        at about half the size; batches are float32 as ever. "auto": where nothing is lost, as in
        EDF and whatever else a converter counted; each value is verified (-0.0 becomes 0.0).
        False: never. A largest error, in the unit of the data (1e-3) or with its unit ("0.1uV"):
        values are rounded where they need it. Where 16 bits do not suffice, values are stored.
        Of several inputs, one for all, or by name; others are "auto".
    workers : int, optional
        Parts that are written at once: by threads, as many as there are processors by default;
        with a scheduler, by all of its threads.
    scheduler : str, or Client or cluster of dask.distributed, optional
        Who writes the parts instead (extra cluster): the workers of a Dask scheduler, given as
        "tcp://host:8786" or as the path of its file (.json), which see sources and store under
        the same paths; or "processes", `workers` of them on this machine. The store is the same
        to the byte. `memory` is then what each worker may take, and of "processes" all together.
    overwrite : bool
        Write the store anew, whatever is there of the same, of other sources or options, or
        damaged; the old one stays until the new one is complete.
    restart : bool
        Give up what an unfinished conversion of other sources or options left.
    progress : bool
        Show a progress bar, if there is a terminal.
    storage_options : dict, optional
        Of addresses, those of sources and store alike, as fsspec has them: key, secret,
        endpoint_url, ...; or under the start of an address, a dict of options for what begins with
        it. By default the credentials are those of the environment.

    Returns
    -------
    Store

    Raises
    ------
    SourceError
        Naming every file that cannot be used, and why; nothing is written.
    PlanError
        Where memory, disk space, an option or the target forbids it.
    BucketError
        If the bucket cannot be read or written.
    """
    refuse_unknown(convert, unknown)
    given = options_given(
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
        codec=codec,
        pack=pack,
        workers=workers,
        scheduler=scheduler,
        overwrite=overwrite,
        restart=restart,
    )
    if isinstance(source, Study):
        scanned, options = source.for_conversion(given, table)
        prepared = prepare(scanned, target, options, storage_options)
    else:
        prepared = prepare(with_table(source, table), target, given, storage_options)
    is_shown = progress and not (prepared.is_done and not prepared.touched)
    if not prepared.is_done:
        for warning in prepared.warnings:
            warnings.warn(warning, stacklevel=2)
    with show_progress(prepared.raw_bytes, prepared.layout.n_rows, is_shown) as on_rows:
        run(prepared, on_rows)
    if prepared.is_done and prepared.target.header is not None:
        return Store(prepared.target.root, prepared.target.header)
    return open_store(prepared.target.root)


def append(
    store: str | Path,
    source: Any,
    *,
    folders: str = "auto",
    subject: Any = None,
    x: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    y: str | Sequence[str] | Literal[False] | None = None,
    table: str | Path | None = None,
    follow_links: bool = False,
    kind: str = "auto",
    axes: Sequence[str] | None = None,
    override: Sequence[str] = (),
    label_every: int | str | None = None,
    functions: Mapping[str, Any] | None = None,
    labels: Any = None,
    unlabelled: str | None = None,
    memory: int | str = "1GiB",
    workers: int | None = None,
    scheduler: Any = None,
    restart: bool = False,
    progress: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    **unknown: object,
) -> Store:
    """Add the files of more subjects to a store, as a new version of it, and open that.

    Whoever has the store open goes on with the version that was opened, and `zarrts.open` gives
    it again with version=. New class names go to the end, so that codes never change.

    Parameters
    ----------
    store : path
        That `convert` wrote. It decides dtype, sizes and codec.
    override : sequence of str
        Which of "channels", "rate_hz" and "units" of the store are right where a file says
        otherwise; by default such a file is refused.
    label_every : int or str, optional
        As in `convert`, and as it was said there by default; 1 where each time step has a label.
    functions : dict, optional
        From name to function, of those that a step `map` of the store called, where they cannot be
        imported. The steps of the store are taken on new sources, too.
    source, folders, subject, x, y, table, follow_links, kind, axes, labels, unlabelled, memory,
    workers, scheduler, restart, progress, storage_options
        As in `convert`.

    Returns
    -------
    Store

    Raises
    ------
    StoreError
        If there is no complete store.
    SourceError
        Naming every file that cannot be used or does not fit the store; nothing is written.
    PlanError
        Where memory, disk space or an option forbids it.
    """
    refuse_unknown(append, unknown)
    options = ConvertOptions(
        folders=folders,
        subject=subject,
        x=x if x is None or isinstance(x, str | Mapping) else tuple(x),
        y=y if isinstance(y, str) or y is None or y is False else tuple(y),
        follow_links=follow_links,
        kind=kind,
        axes=names_given("axes", axes),
        override=override_given(override),
        label_every=label_every,
        labels=labels,
        unlabelled=unlabelled,
        memory_bytes=size_given("memory", memory),
        workers=workers,
        scheduler=scheduler,
        restart=restart,
    )
    prepared = prepare_append(with_table(source, table), store, options, storage_options, functions)
    is_shown = progress and not prepared.is_done
    with show_progress(prepared.raw_bytes, prepared.layout.n_rows, is_shown) as on_rows:
        header = run(prepared, on_rows)
    root = prepared.target.root
    return open_store(root) if header is None else Store(root, header)
