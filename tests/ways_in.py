"""The same recordings written as files of several kinds, and each way that leads into a store."""

from dataclasses import dataclass, field, replace

import h5py
import numpy as np
import scipy.io
from edf_files import write_raw_edf

import zarrts

LABELS = ("W", "N1")


@dataclass(frozen=True)
class Piece:
    """A recording: x in its own units, (time, channel), and what its columns and rows mean."""

    name: str
    x: np.ndarray
    channels: tuple[str, ...] | None
    units: tuple[str, ...] | None
    rate_hz: float | None
    gain: float = 1.0
    extra: dict = field(default_factory=dict)

    @property
    def y(self):
        """Two stages, one after the other."""
        half = len(self.x) // 2
        return np.array([LABELS[0]] * half + [LABELS[1]] * (len(self.x) - half))

    def but(self, **changes):
        return replace(self, **changes)


def piece(name="a", n_rows=80, n_channels=10, rate_hz=10.0, seed=0):
    """Return a recording of whole microvolts, so that each file holds it exactly."""
    x = np.random.default_rng(seed).integers(-3000, 3000, (n_rows, n_channels)).astype("f8")
    names = tuple(f"c{i}" for i in range(n_channels))
    return Piece(name, x, names, ("uV",) * n_channels, rate_hz)


def write_edf_piece(folder, it):
    """Write an EDF+ file, whose samples are multiples of the gain."""
    n = round(it.rate_hz)
    record_s = it.extra.get("record_s", "1")
    scale = it.extra.get("scale", 1.0)  # of the limits, as in millivolts
    step = it.gain * scale
    limits = f"{-32768 * step:.6g}"[:8], f"{32767 * step:.6g}"[:8]
    digital = np.round(it.x / step).astype(int)
    signals = [
        (name, digital[:, i], n, limits, (-32768, 32767)) for i, name in enumerate(it.channels)
    ]
    half = len(it.x) // 2 / n * float(record_s)
    marks = [("+0", f"{half:g}", LABELS[0]), (f"+{half:g}", f"{half:g}", LABELS[1])]
    write_raw_edf(folder / f"{it.name}.edf", signals, marks, record_s, units=it.units or ())
    return f"{it.name}.edf"


def write_hdf5_piece(folder, it):
    """Write data sets x and y, with attributes."""
    with h5py.File(folder / f"{it.name}.h5", "w") as file:
        x = file.create_dataset("x", data=it.x.astype(it.extra.get("dtype", "f4")))
        file["y"] = it.y.tolist()
        if it.channels is not None:
            x.attrs["ch_names"] = list(it.channels)
        if it.units is not None:
            x.attrs["units"] = list(it.units)
        if it.rate_hz is not None:
            x.attrs["sfreq"] = it.rate_hz
    return f"{it.name}.h5"


def _arrays(it):
    more = {"ch_names": it.channels, "channel_units": it.units, "fs": it.rate_hz}
    return {name: value for name, value in more.items() if value is not None}


def write_npz_piece(folder, it):
    """Write arrays x and y, and small ones beside them."""
    x = it.x.astype(it.extra.get("dtype", "f4"))
    np.savez(folder / f"{it.name}.npz", x=x, y=it.y, **_arrays(it))
    return f"{it.name}.npz"


def write_mat_piece(folder, it):
    """Write variables x and y, and small ones beside them; texts as cells."""
    values = {"x": it.x.astype(it.extra.get("dtype", "f4"))}
    for name, value in {"y": it.y.tolist(), **_arrays(it)}.items():
        if isinstance(value, list | tuple):
            cells = np.empty((len(value), 1), dtype=object)
            cells[:, 0] = list(value)
            value = cells
        values[name] = value
    scipy.io.savemat(folder / f"{it.name}.mat", values)
    return f"{it.name}.mat"


WRITERS = {
    "edf": write_edf_piece,
    "hdf5": write_hdf5_piece,
    "npz": write_npz_piece,
    "mat": write_mat_piece,
}


def write(folder, kind, pieces):
    """Write each recording as a file of a kind into a folder, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    return [WRITERS[kind](folder, it) for it in pieces]


def in_memory(it):
    """Return a recording that is no file."""
    return zarrts.Recording(
        it.name,
        it.x.astype(it.extra.get("dtype", "f4")),
        it.y,
        channels=it.channels,
        units=it.units,
        rate_hz=it.rate_hz,
    )


def tabled(folder, kind, pieces):
    """Write the recordings and a table of them, and return the path of the table."""
    names = write(folder, kind, pieces)
    lines = []
    for it, name in zip(pieces, names, strict=True):
        x, y = (f"{name}::x", f"{name}::y") if kind != "edf" else (name, name)
        lines.append(f"{y},{it.name},{x}")
    (folder / "table.csv").write_text("\n".join(["y,subject,x", *lines]) + "\n")
    return folder / "table.csv"


def convert(source, target, **options):
    return zarrts.convert(source, target, kind="ragged", progress=False, **options)


def rows_of(store, subject):
    """Return all rows of a subject that a store holds."""
    x, _ = store.samples.select(subjects=[subject]).load()
    (rows,) = x
    return np.asarray(rows, "f8")
