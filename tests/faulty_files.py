"""Files and stores that are refused, for docs/errors.md: each with the remedy that it names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edf_files import write_raw_edf

import zarrts


@dataclass(frozen=True)
class Fault:
    """A fault, and the remedy that the page names for it.

    Attributes
    ----------
    make : function of a folder
        Writes what is at fault there.
    wrong : dict
        Options of `zarrts.convert` that end with the message.
    right : dict
        Options of the remedy.
    mend : function of a folder, optional
        Of the remedy, what is done to the files.
    """

    make: Callable[[Path], Any]
    wrong: dict[str, Any]
    right: dict[str, Any]
    mend: Callable[[Path], Any] = lambda folder: None

    def act(self, place: SimpleNamespace) -> Any:
        """End with the message."""
        folder = place.tmp / f"faulty{len(list(place.tmp.iterdir()))}"
        return _convert(self.make, folder, place.tmp / "never.zarr", self.wrong)

    def remedy(self, place: SimpleNamespace, folder: Path) -> None:
        """Do what the page says, and train on what comes of it."""

        def mended(files: Path) -> Any:
            found = self.make(files)
            return self.mend(files) or found

        with _convert(mended, folder / "files", folder / "a.zarr", self.right) as store:
            assert len(store.samples) > 0


def _convert(
    make: Callable[[Path], Any], folder: Path, target: Path, options: dict[str, Any]
) -> zarrts.Store:
    folder.mkdir()
    source = make(folder)
    return zarrts.convert(folder if source is None else source, target, progress=False, **options)


SCORED = [("+0", "30", "W"), ("+30", "30", "N1")]


def _edf(annotations: Any, *dummies: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        signals: list[Any] = [
            (name, np.arange(600), 10, (-1000, 1000), (-1000, 1000)) for name in ("C3", "T8", "T8")
        ]
        signals += [(name, np.zeros(600), 10, (0, 0), (-1000, 1000)) for name in dummies]
        write_raw_edf(folder / "s01.edf", signals, annotations)

    return make


def _scored(folder: Path) -> None:
    _edf([])(folder)
    (folder / "s01.edf").rename(folder / "s01 PSG.edf")
    write_raw_edf(folder / "s01 Base.edf", [], SCORED, record_s="0")


def _numbers(folder: Path) -> zarrts.Recording:
    return zarrts.Recording("p", np.zeros((9, 4, 2), "f4"), np.arange(9) % 2)


def _hdf5(fill: Callable[[Any], Any], **options: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import h5py

        with h5py.File(folder / "s01.h5", "w") as file:
            fill(file)
            file["y"] = LABELS

    return make


def _unknown_filter(file: Any) -> None:
    import h5py

    packed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    packed.set_chunk(X.shape)
    packed.set_filter(300, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple(X.shape)
    made = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, packed)
    made.write_direct_chunk((0, 0, 0), X.tobytes())


def _vlen(file: Any) -> None:
    import h5py

    flat = file.create_dataset("x", (len(X),), dtype=h5py.vlen_dtype("f4"))
    for number, matrix in enumerate(X):
        flat[number] = matrix[: number + 2].reshape(-1)


def _as_list(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "s01.h5") as file:
        series = [flat.reshape(-1, 2) for flat in file["/x"]]
    np.savez(folder / "s01.npz", *series, labels=LABELS)
    (folder / "s01.h5").unlink()


def _matlab(**variables: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import scipy.io

        scipy.io.savemat(folder / "s01.mat", variables)

    return make


def _cell(*items: Any) -> Any:
    found = np.empty(len(items), object)
    found[:] = items
    return found


def _table(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / f"s01{suffix}").write_text("x,y\n" + "".join(f"{i},W\n" for i in range(9)))

    return make


def _read_table(folder: Path) -> zarrts.Recording:
    columns = np.genfromtxt(folder / "s01.txt", delimiter=",", names=True, dtype=None)
    return zarrts.Recording("s01", columns["x"][:, None], columns["y"].astype(str))


def _edf_and_table(folder: Path) -> None:
    _edf(SCORED)(folder)
    (folder / "s01_stages.csv").write_text("start,stop,label\n0,300,W\n")


def _scored_in_python(folder: Path) -> zarrts.Recording:
    start, stop, label = (folder / "s01_stages.csv").read_text().split()[1].split(",")
    kinds = [("start", int), ("stop", int), ("label", "U9")]
    intervals = np.array([(int(start), int(stop), label)], kinds)
    return zarrts.Recording("s01", np.zeros((600, 2), "f4"), intervals)


X = np.arange(9 * 12 * 2, dtype="f4").reshape(9, 12, 2)
LABELS = np.arange(9) % 2


def _one_hot(folder: Path) -> None:
    y = np.eye(3)[np.arange(9) % 3]
    y[4] = 0
    np.savez(folder / "s01.npz", x=X, y=y)


def _with_a_column(folder: Path) -> None:
    with np.load(folder / "s01.npz") as file:
        y = file["y"]
    np.savez(folder / "s01.npz", x=X, y=np.c_[y, y.sum(axis=1) == 0])


def _with_gaps(folder: Path) -> None:
    import zarr

    group = zarr.open_group(folder / "s01.zarr", mode="w")
    x = group.create_array("x", shape=X.shape, dtype="f4", chunks=(3, 12, 2), fill_value=0)
    x[3:] = X[3:] + 1  # the first chunk is never written
    group.create_array("y", data=LABELS)


def _sound(folder: Path) -> None:
    pytest.importorskip("soundfile", reason="pip install 'zarrts[audio]'").write(
        folder / "s01.wav", np.zeros((900, 1)), 8000
    )


FAULTY = {
    "a sound file holds no labels": Fault(_sound, {}, {"y": False}),
    "of its 3 chunks are not there": Fault(_with_gaps, {}, {"missing_chunks": "fill"}),
    "labels have no 1, and all others have one": Fault(_one_hot, {}, {}, _with_a_column),
    "is packed with the HDF5 filter": Fault(
        _hdf5(_unknown_filter),
        {},
        {},
        _hdf5(lambda file: file.create_dataset("x", data=X, compression="gzip")),
    ),
    "arrays of variable length": Fault(_hdf5(_vlen), {}, {}, _as_list),
    "holds arrays as objects and is compressed": Fault(
        lambda folder: np.savez_compressed(folder / "s.npz", x=_cell(X[0], X[1, 3:]), y=[0, 1]),
        {},
        {},
        lambda folder: np.savez(folder / "s.npz", x=_cell(X[0], X[1, 3:]), y=[0, 1]),
    ),
    "examples/recording_tables.py": Fault(_table(".txt"), {}, {"kind": "ragged"}, _read_table),
    "name the columns of such files": Fault(_table(".csv"), {}, {"x": ["x"], "y": "y"}),
    "beside an EDF file of the same name": Fault(
        _edf_and_table, {}, {"kind": "ragged"}, _scored_in_python
    ),
    "so that no sample has a value": Fault(
        _edf(SCORED, "-"), {}, {"channels": ["C3", "T8#1", "T8#2"]}
    ),
    "has not exactly one signal named": Fault(
        _edf(SCORED), {"channels": ["C3", "T8"]}, {"channels": ["C3", "T8#2"]}
    ),
    "overlap, so that a row has two labels": Fault(
        _edf([*SCORED, ("+41", "3", "Arousal")]), {}, {"annotations": ["W", "N1"]}
    ),
    "chooses none of its annotations": Fault(
        _edf(SCORED), {"annotations": ["Wake"]}, {"annotations": ["W", "N1"]}
    ),
    "none lasts for a while within the recording": Fault(
        _edf([("+3", "", "start")]), {}, {"unlabelled": "background"}
    ),
    "would be called": Fault(
        _scored,
        {},
        {},
        lambda folder: (folder / "s01 Base.edf").rename(folder / "s01 Hypnogram.edf") and None,
    ),
    "among labels that are text": Fault(_numbers, {"unlabelled": "rest"}, {}),
}
