"""HDF5 and MATLAB files, against h5py and SciPy."""

import pickle
import sys

import h5py
import numpy as np
import pytest
import scipy.io

from zarrts import sources
from zarrts.sources import SourceOptions
from zarrts.sources.formats import matlab5

X = np.arange(6 * 5 * 4, dtype=np.float32).reshape(6, 5, 4)
Y = np.array([0, 2, 1, 1, 0, 2])
TEXT = np.array(["W", "N1", "R", "N1", "W", "Schlaf ä"])


def only(folder, **options):
    found = sources.find(folder, SourceOptions(**options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


def problem(folder, **options):
    found = sources.find(folder, SourceOptions(**options))
    assert not found.recordings
    (sentence,) = found.problems
    return sentence


def rows(reader):
    n = reader.shape[0]
    whole = reader.read(0, n)
    assert whole.dtype == reader.dtype and whole.shape == reader.shape
    assert whole.flags.c_contiguous
    np.testing.assert_array_equal(reader.read(1, n - 1), whole[1 : n - 1])
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.read(0, n), whole)
    reader.close()
    again.close()
    return whole


# HDF5 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (4, 2, 4)},
        {"chunks": (2, 5, 4), "compression": "gzip", "shuffle": True},
        {"chunks": (3, 5, 1), "compression": "lzf", "fletcher32": True},
    ],
)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8", "i2", ">u4", "f2", "?"])
def test_data_sets_are_read_however_they_are_stored(tmp_path, options, dtype):
    x = (X % 7).astype(dtype)
    with h5py.File(tmp_path / "s01.h5", "w") as file:
        file.create_dataset("data", data=x, **options)
        file["stages"] = Y
    recording = only(tmp_path)
    assert (recording.subject, recording.x_name, recording.y_name) == ("s01", "data", "stages")
    np.testing.assert_array_equal(rows(recording.x), x)
    np.testing.assert_array_equal(rows(recording.y), Y)
    assert recording.x.block_rows == options.get("chunks", (1,))[0]


@pytest.mark.parametrize("fixed", [True, False])
def test_text_labels_of_any_length(tmp_path, fixed):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = X
        values = np.char.encode(TEXT, "utf-8") if fixed else TEXT.tolist()
        file["y"] = values
    assert rows(only(tmp_path).y).tolist() == TEXT.tolist()


def test_axes_come_out_as_named(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("x", data=X.transpose(2, 1, 0), chunks=(4, 5, 2))
        file["y"] = Y
    recording = only(tmp_path, axes=("channel", "time", "sample"))
    np.testing.assert_array_equal(rows(recording.x), X)


def test_groups_are_recordings_named_as_they_are(tmp_path):
    with h5py.File(tmp_path / "study.h5", "w") as file:
        for name, more in (("s01", 0), ("s02", 1)):
            file[f"{name}/x"], file[f"{name}/y"] = X + more, Y
    found = sources.find(tmp_path)
    assert [(it.subject, it.origin) for it in found.recordings] == [
        ("s01", "study.h5/s01"),
        ("s02", "study.h5/s02"),
    ]
    np.testing.assert_array_equal(rows(found.recordings[1].x), X + 1)
    assert len({it.fingerprint for it in found.recordings}) == 2


def test_paths_below_groups_are_named_with_x_and_y(tmp_path):
    with h5py.File(tmp_path / "study.h5", "w") as file:
        for name in ("s01", "s02"):
            file[f"{name}/raw/eeg"], file[f"{name}/raw/eog"], file[f"{name}/stage"] = X, X, Y
    found = sources.find(tmp_path, SourceOptions(x="raw/eeg", y="stage"))
    assert [it.subject for it in found.recordings] == ["s01", "s02"]


def test_a_single_group_is_the_file(tmp_path):
    with h5py.File(tmp_path / "s01.h5", "w") as file:
        file["eeg/x"], file["eeg/y"] = X, Y
    assert only(tmp_path).subject == "s01"


def test_channels_and_rate_are_those_of_the_attributes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = X, Y
        file["x"].attrs["channels"] = ["Fz", "Cz", "Pz", "Oz"]
        file.attrs["sfreq"] = 100
    recording = only(tmp_path)
    described = recording.description
    assert (described.channels, described.rate_hz) == (("Fz", "Cz", "Pz", "Oz"), 100.0)


def test_virtual_data_sets_are_read_and_their_files_watched(tmp_path):
    (tmp_path / "raw").mkdir()
    layout = h5py.VirtualLayout((6, 5, 4), "f4")
    for i in range(2):
        with h5py.File(tmp_path / "raw" / f"{i}.h5", "w") as file:
            file["part"] = X[3 * i : 3 * i + 3]
        layout[3 * i : 3 * i + 3] = h5py.VirtualSource(f"raw/{i}.h5", "part", (3, 5, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
        file["y"] = Y
    recording = only(tmp_path / "a.h5")
    np.testing.assert_array_equal(rows(recording.x), X)
    assert len(recording.paths) == 3
    (tmp_path / "raw" / "1.h5").unlink()
    assert "'raw/1.h5', which is not there" in problem(tmp_path / "a.h5")


def test_what_leads_elsewhere_or_was_never_written_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    for write, says in [
        (lambda f: f.__setitem__("x", h5py.ExternalLink("b.h5", "x")), "a link into 'b.h5'"),
        (
            lambda f: f.create_dataset("x", (6, 5, 4), "f4", external=[("raw.bin", 0, 480)]),
            "in other files",
        ),
        (lambda f: f.create_dataset("x", (6, 5, 4), "f4"), "480 bytes, but 0 were written"),
        (
            lambda f: f.create_dataset("x", (10**6, 10**6), "f4", chunks=(1000, 1000)),
            "0 of its 1,000,000 pieces",
        ),
        (lambda f: f.create_dataset("x", data=X.astype(complex)), "complex"),
        (lambda f: f.create_dataset("x", data=np.zeros(6, "i4,f4")), "structured"),
        (lambda f: f.create_dataset("x", data=h5py.Empty("f4")), "holds nothing"),
    ]:
        with h5py.File(path, "w") as file:
            write(file)
            file["y"] = Y
        assert says in problem(path)
        assert problem(path).startswith("a.h5: ")


def test_groups_that_hold_themselves_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/x"], file["g/y"] = X, Y
        file["g/loop"] = file["g"]
        file["g/soft"] = h5py.SoftLink("/g")
    np.testing.assert_array_equal(rows(only(tmp_path).x), X)


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch, suffix):
    with h5py.File(tmp_path / f"a{suffix}", "w") as file:
        file["x"], file["y"] = X, Y
    monkeypatch.setitem(sys.modules, "h5py", None)
    extra = {".h5": "hdf5", ".mat": "mat"}[suffix]
    assert f"pip install 'zarrts[{extra}]'" in problem(tmp_path)


# MATLAB ------------------------------------------------------------------------------------------


def cells(*items):
    out = np.empty((len(items), 1), dtype=object)
    out[:, 0] = items
    return out


@pytest.fixture(params=["5", "5 compressed", "7.3"])
def save_mat(request):
    """A function that writes a .mat file as MATLAB does."""

    def save(path, **variables):
        if request.param != "7.3":
            scipy.io.savemat(path, variables, do_compression="compressed" in request.param)
            return
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, value in variables.items():
                write_73(file, name, value)
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")

    return save


def write_73(file, name, value):
    value = np.atleast_2d(value)
    if value.dtype == object:
        refs = np.empty(value.T.shape, dtype=h5py.ref_dtype)
        for at, item in np.ndenumerate(value.T):
            inner = f"#refs#/{name}{'_'.join(map(str, at))}"
            write_73(file, inner, item)
            refs[at] = file[inner].ref
        file.create_dataset(name, data=refs, dtype=h5py.ref_dtype)
        kind = "cell"
    elif value.dtype.kind == "U":
        lines = [text.ljust(value.dtype.itemsize // 4) for text in value.reshape(-1).tolist()]
        file[name] = np.array([[ord(letter) for letter in line] for line in lines], "u2").T
        kind = "char"
    else:
        stored = value.astype("u1") if value.dtype == bool else value
        file[name] = stored.T
        kind = {"?": "logical", "f8": "double", "f4": "single"}.get(
            value.dtype.str[1:] if value.dtype != bool else "?", value.dtype.name
        )
    file[name].attrs["MATLAB_class"] = np.bytes_(kind)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1", "i8", "?"])
def test_variables_have_the_shape_that_matlab_shows(tmp_path, save_mat, dtype):
    x = (X % 7).astype(dtype)
    save_mat(tmp_path / "s01.mat", X=x, y=Y[:, None].astype("f8"))
    recording = only(tmp_path)
    assert recording.subject == "s01"
    np.testing.assert_array_equal(rows(recording.x), x)
    assert recording.x.dtype == x.dtype
    assert rows(recording.y).tolist() == Y.tolist()
    recording.x.close()


@pytest.mark.parametrize(
    "labels",
    [cells(*TEXT), TEXT, Y[None], Y[:, None], cells(*(np.array([[v]]) for v in Y)), Y == 1],
    ids=["cells of text", "lines of text", "row", "column", "cells of numbers", "logical"],
)
def test_labels_in_every_form(tmp_path, save_mat, labels):
    save_mat(tmp_path / "a.mat", x=X, y=labels)
    expected = TEXT if labels.dtype.kind == "U" or isinstance(labels.flat[0], str) else Y
    if labels.dtype == bool:
        expected = labels
    assert rows(only(tmp_path).y).tolist() == expected.tolist()


def test_cells_of_matrices_are_series(tmp_path, save_mat):
    series = [np.full((n, 2), n, np.float64) for n in (4, 7, 4)]
    save_mat(tmp_path / "a.mat", x=cells(*series), y=cells("u", "v", "w"))
    found = sources.find(tmp_path)
    assert found.problems == ()
    for recording, values, label in zip(found.recordings, series, "uvw", strict=True):
        np.testing.assert_array_equal(rows(recording.x), values)
        assert recording.y.read(0, 1).tolist() == [label]
        assert recording.labels_per == "recording"


def test_one_series_and_its_label(tmp_path, save_mat):
    save_mat(tmp_path / "a.mat", x=X[0], y=np.array(["R"]))
    recording = only(tmp_path)
    np.testing.assert_array_equal(rows(recording.x), X[0])
    assert recording.y.read(0, 1).tolist() == ["R"]


def test_what_is_no_array_is_named(tmp_path, save_mat):
    save_mat(tmp_path / "a.mat", x=X.astype(complex), y=Y)
    assert "complex" in problem(tmp_path) or "structured" in problem(tmp_path)
    scipy.io.savemat(tmp_path / "a.mat", {"x": {"a": "text"}, "y": Y})
    assert "variable 'x.a': is char, which cannot be read" in problem(tmp_path)


def test_old_and_other_files_are_told(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 9 file" * 20)
    assert "is not a MATLAB file" in problem(tmp_path)
    (tmp_path / "a.mat").write_bytes(b"")
    assert "is not a MATLAB file" in problem(tmp_path)


def test_large_text_and_compressed_cells_are_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab5, "MAX_SMALL_BYTES", 100)
    scipy.io.savemat(tmp_path / "a.mat", {"x": cells(X[0], X[1]), "y": Y[:2]}, do_compression=True)
    assert "more than the 100 that are held in memory" in problem(tmp_path)
    scipy.io.savemat(tmp_path / "a.mat", {"x": cells(X[0], X[1]), "y": Y[:2]})
    np.testing.assert_array_equal(rows(only(tmp_path, kind="dense").x), X[:2])
