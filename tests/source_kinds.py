"""One study written as every kind of file."""

import io
import pickle
import zipfile

import h5py
import numpy as np
import scipy.io
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

X_DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u4", "<i8", ">f2", "<f4", ">f4", "<f8"]
SUBJECTS = ("ann", "bob")
QUICK = {
    "deadline": None,
    "phases": [Phase.generate],
    "suppress_health_check": [HealthCheck.too_slow],
}


def npy_bytes(values, version=(1, 0)):
    out = io.BytesIO()
    np.lib.format.write_array(out, values, version=version)
    return out.getvalue()


def as_object(value, version=(1, 0), protocol=4):
    out = io.BytesIO()
    write_header = np.lib.format.write_array_header_1_0
    if version > (1, 0):
        write_header = np.lib.format.write_array_header_2_0
    write_header(out, {"descr": "|O", "fortran_order": False, "shape": value.shape})
    out.getbuffer()[6] = version[0]  # 2 and 3 differ in fields' names alone
    pickle.dump(value, out, protocol=protocol)
    return out.getvalue()


def objects(*items):
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out


def write_npz(folder, name, x, y, more):
    with zipfile.ZipFile(folder / f"{name}.npz", "w", more["method"]) as archive:
        for member, values in (("x.npy", x), ("y.npy", y)):
            with archive.open(member, "w", force_zip64=True) as file:
                file.write(npy_bytes(values, more["version"]))


def write_pair(folder, name, x, y, more):
    (folder / f"{name}_x.npy").write_bytes(npy_bytes(x, more["version"]))
    (folder / f"{name}_y.npy").write_bytes(npy_bytes(y, more["version"]))


def write_sequence(folder, name, x, y, more):
    content = npy_bytes(x, more["version"]) + npy_bytes(y, more["version"])
    (folder / f"{name}.npy").write_bytes(content)


def write_objects(folder, name, x, y, more):
    content = as_object(objects(x, y), more["version"], more["protocol"])
    (folder / f"{name}.npy").write_bytes(content)


def write_dict(folder, name, x, y, more):
    value = np.empty((), dtype=object)
    value[()] = {"X": objects(*x), "y": y.tolist()}
    content = as_object(value, more["version"], more["protocol"])
    (folder / f"{name}.npy").write_bytes(content)


def write_hdf5(folder, name, x, y, more):
    options = {"chunks": True, "compression": "gzip"} if more["method"] else {}
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file.create_dataset("x", data=x, **options)
        file["y"] = np.char.encode(y, "utf-8")


def write_groups(folder, name, x, y, more):
    with h5py.File(folder / "study.h5", "a") as file:
        file[f"{name}/x"], file[f"{name}/y"] = x, y.tolist()


def write_mat(folder, name, x, y, more):
    cells = np.empty((len(y), 1), dtype=object)
    cells[:, 0] = y.tolist()
    # SciPy writes neither big-endian numbers nor half of a float.
    x = x.astype(x.dtype.newbyteorder("="))
    values = {"x": x.astype(np.float32) if x.dtype == np.float16 else x, "y": cells}
    scipy.io.savemat(folder / f"{name}.mat", values, do_compression=bool(more["method"]))


WRITERS = {
    "npz": write_npz,
    "pair": write_pair,
    "sequence": write_sequence,
    "objects": write_objects,
    "dict": write_dict,
    "HDF5": write_hdf5,
    "groups": write_groups,
    "MATLAB": write_mat,
}


@st.composite
def studies(draw):
    inner = (draw(st.integers(1, 4)), draw(st.integers(2, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype, order = draw(st.sampled_from(X_DTYPES)), draw(st.sampled_from("CF"))
    study = []
    for _ in SUBJECTS:
        n = draw(st.integers(2, 5))
        x = np.asarray((rng.random((n, *inner)) * 100).astype(dtype), order=order)
        study.append((x, np.array(["W", "N1", "é"])[rng.integers(0, 3, n)]))
    return study, {
        "version": draw(st.sampled_from([(1, 0), (2, 0), (3, 0)])),
        "protocol": draw(st.sampled_from([2, 3, 4, 5])),
        "method": draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])),
    }
