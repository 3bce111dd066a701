"""The loaders that are compared, one small module each.

A module has `prepare(folder, source)`, which writes the samples in the loader's own format, and
`batches(folder, epoch, batch_size, **options)`, which yields (x, y) of one shuffled epoch. What
is opened once for all epochs is kept in the module. Instead of `batches` a module may have
`run(folder, epoch)`, which does the work of an epoch and returns the number of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import ModuleType
from typing import Any

CAPPED_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One row of the table.

    Attributes
    ----------
    key : str
        What `--only` calls it.
    title : str
        What the table calls it.
    module : str
        In this package.
    store : str
        Folder of its files, which several peers may share.
    needs : tuple of str
        Modules to import; a peer that lacks one is named as not installed.
    options : mapping
        Passed to `batches`.
    cap_s : float, optional
        Own limit of a measurement, for loaders that would take minutes.
    note : str
        What it holds in memory and what else a reader must know.
    """

    key: str
    title: str
    module: str
    store: str
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    cap_s: float | None = None
    note: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that are not installed."""
        return tuple(name for name in self.needs if find_spec(name) is None)

    def load(self) -> ModuleType:
        """Import the module, and with it the loader's own library."""
        from importlib import import_module

        return import_module(f"peers.{self.module}")


def _ours(key: str, title: str, memory: str, note: str, fresh: bool = False) -> Peer:
    return Peer(
        key=key,
        title=title,
        module="ours",
        store="ours",
        needs=("zarrts",),
        options={"memory": memory, "fresh": fresh},
        note=note,
    )


PEERS = (
    _ours("ours", "zarrts, 128 MiB", "128MiB", "compressed, crc32c checked"),
    _ours("ours-256", "zarrts, 256 MiB", "256MiB", "compressed, crc32c checked"),
    _ours("ours-batches", "zarrts, samples.batches", "128MiB", "new memory each epoch", fresh=True),
    _ours("ours-all", "zarrts, all in budget", "2GiB", "decoded once, then kept in RAM"),
    Peer(key="ram", title="NumPy in RAM", module="ram", store="raw", note="all samples in RAM"),
    Peer(
        key="memmap",
        title="np.memmap",
        module="memmap",
        store="raw",
        note="uncompressed, held by the page cache",
    ),
    Peer(
        key="floor",
        title="decode floor, no batches",
        module="decode_floor",
        store="ours",
        needs=("zarrts", "numcodecs", "awscrt"),
        note="every chunk decoded by two threads, nothing gathered",
    ),
    Peer(
        key="tfdata",
        title="tf.data",
        module="tfdata",
        store="tfrecord",
        needs=("tensorflow",),
        note="uncompressed TFRecords; shuffle buffer of 4,096 samples (64 MiB)",
    ),
    Peer(
        key="tensorstore",
        title="tensorstore",
        module="tensorstore_read",
        store="zarr",
        needs=("tensorstore", "zarr"),
        note="groups of 32 chunks, the next 32 in flight; no checksum",
    ),
    Peer(
        key="tensorstore-into",
        title="tensorstore, hand-tuned",
        module="tensorstore_read",
        store="zarr",
        needs=("tensorstore", "zarr"),
        options={"reuse": True, "group": 48},
        note="as above, but read into two reused slabs of 48 chunks; no checksum",
    ),
    Peer(
        key="annbatch",
        title="annbatch",
        module="annbatch_loader",
        store="zarr-sharded",
        needs=("annbatch", "zarr", "zarrs"),
        note="zarrs pipeline; groups of 32 chunks, two held; no checksum",
    ),
    Peer(
        key="annbatch-preshuffled",
        title="annbatch, pre-shuffled store",
        module="annbatch_loader",
        store="zarr-preshuffled",
        needs=("annbatch", "zarr", "zarrs"),
        note="as annbatch, from a store rewritten in random order",
    ),
    Peer(
        key="insitubatch",
        title="insitubatch",
        module="insitubatch_loader",
        store="zarr",
        needs=("insitubatch", "zarr"),
        note="blocks of 32 chunks, two held, 32 in flight; nothing cached; no checksum",
    ),
    Peer(
        key="grain",
        title="grain, ArrayRecord",
        module="grain_loader",
        store="arrayrecord",
        needs=("grain", "array_record"),
        note="uncompressed, one record per sample, read at random",
    ),
    Peer(
        key="torch",
        title="torch DataLoader, memmap",
        module="torch_loader",
        store="raw",
        needs=("torch",),
        note="uncompressed, held by the page cache",
    ),
    Peer(
        key="zarr-fused",
        title="zarr-python, fused pipeline",
        module="zarr_fused",
        store="zarr",
        needs=("zarr",),
        note="groups of 32 chunks, one read ahead into reused memory; no checksum",
    ),
    Peer(
        key="oindex",
        title="zarr-python oindex",
        module="zarr_oindex",
        store="zarr",
        needs=("zarr",),
        cap_s=CAPPED_S,
        note="random rows; no checksum",
    ),
    Peer(
        key="h5py",
        title="h5py, lzf",
        module="h5py_loader",
        store="hdf5",
        needs=("h5py",),
        cap_s=CAPPED_S,
        note="random rows, chunk cache of 128 MiB",
    ),
)


def by_key(key: str) -> Peer:
    """The peer of that name."""
    return {peer.key: peer for peer in PEERS}[key]
