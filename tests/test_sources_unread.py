"""Sound files that cannot be read: the message says what they hold, and a remedy that works."""

import ast
import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from edf_files import STAGES, write_edf

import zarrts
from zarrts import system
from zarrts.sources import SourceOptions, find

X, Y = np.arange(3 * 20 * 4, dtype="f8").reshape(3, 20, 4), np.array([0.0, 1.0, 0.0])
NOT_TRUE = ("damaged", "pickled", "not clear", "copy or save it again")


def problem(path, **options):
    (text,) = find(str(path), SourceOptions(**options)).problems
    assert not any(word in text for word in NOT_TRUE)
    return text


def only(path, **options):
    found = find(str(path), SourceOptions(**options))
    assert found.problems == ()
    return found.recordings[0]


def read(rows):
    return rows.read(0, rows.shape[0])


# HDF5 --------------------------------------------------------------------------------------------


def packed_with(path, code):
    """A data set that was packed with a filter that this HDF5 does not have."""
    with h5py.File(path, "w") as file:
        packed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        packed.set_chunk((3, 20, 4))
        packed.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        space = h5py.h5s.create_simple(X.shape)
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, packed)
        made.write_direct_chunk((0, 0, 0), X.tobytes())
        file["y"] = Y


def test_a_filter_that_is_not_there_is_named(tmp_path):
    packed_with(tmp_path / "a.h5", 300)
    text = problem(tmp_path)
    assert "the HDF5 filter 300" in text and "pip install hdf5plugin" in text and "h5repack" in text


def test_the_package_that_brings_filters_is_asked_for_them(tmp_path, monkeypatch):
    asked = []
    plain = importlib.import_module
    packed_with(tmp_path / "a.h5", 300)

    def imported(name):
        asked.append(name)
        return plain(name) if name == "h5py" else None

    monkeypatch.setattr("importlib.import_module", imported)
    problem(tmp_path)
    assert [it for it in asked if it != "h5py"] == ["hdf5plugin"]


def test_numbers_of_variable_length_name_a_remedy_that_works(tmp_path):
    lengths = (4, 6, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        flat = file.create_dataset("x", (3,), dtype=h5py.vlen_dtype("f4"))
        for i, n in enumerate(lengths):
            flat[i] = np.arange(n * 2)
        file["y"] = [0, 1, 0]
    text = problem(tmp_path)
    assert "/x: holds 3 arrays of variable length (of float32)" in text
    code = text[text.index("np.savez(") :].removesuffix(".")
    with h5py.File(tmp_path / "a.h5") as file:
        # What the message says, word for word.
        names = {"np": np, "file": file, "labels": file["y"][:], "n_channels": 2}
        exec(code.replace("'s01.npz'", repr(str(tmp_path / "s01.npz"))), names)
    (tmp_path / "a.h5").unlink()
    assert [it.x.shape for it in find(str(tmp_path)).recordings] == [(n, 2) for n in lengths]


def test_labels_of_variable_length_and_references_are_said_as_such(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = X
        file.create_dataset("y", (3,), dtype=h5py.vlen_dtype("i8"))
    assert "/y: holds 3 arrays of variable length (of int64)" in problem(tmp_path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = X
        refs = file.create_dataset("y", (3,), dtype=h5py.ref_dtype)
        refs[:] = [file["x"].ref] * 3
    assert "references to other data sets" in problem(tmp_path)


# MATLAB ------------------------------------------------------------------------------------------


def save73(path, fill):
    """A file as MATLAB 7.3 writes it, with x of shape (3, 20, 4)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_dataset("x", data=X.T)
        data.attrs["MATLAB_class"] = np.bytes_("double")
        fill(file)
    with open(path, "r+b") as stream:
        stream.write((b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM").ljust(512, b"\0"))


def classed(item, name, **attributes):
    item.attrs["MATLAB_class"] = np.bytes_(name)
    for key, value in attributes.items():
        item.attrs[f"MATLAB_{key}"] = value
    return item


def sparse73(file):
    group = classed(file.create_group("y"), "double", sparse=np.uint64(4))
    group["jc"] = np.array([0, 0], "u8")


def empty_cell73(file):
    classed(file.create_dataset("y", data=np.zeros(2, "u8")), "cell", empty=np.uint8(1))


def string73(file):
    y = classed(file.create_dataset("y", data=np.zeros((1, 6), "u4")), "string")
    y.attrs["MATLAB_object_decode"] = np.int32(3)


@pytest.mark.parametrize(
    ("fill", "what", "remedy"),
    [
        (sparse73, "is a sparse array", "y = full(y)"),
        (empty_cell73, "is an empty cell", "save it with what it should hold"),
        (string73, "is a string", "y = cellstr(y)"),
    ],
)
def test_variables_of_matlab_73_say_what_they_are(tmp_path, fill, what, remedy):
    save73(tmp_path / "a.mat", fill)
    text = problem(tmp_path)
    assert "variable 'y'" in text and what in text and remedy in text
    with pytest.raises(zarrts.SourceError, match="x="):  # the summary of each is made
        zarrts.convert(tmp_path, tmp_path / "a.zarr", x="nobody", progress=False)


def opaque(name, kind):
    """An element of an object, such as a string, as MATLAB 5 files have it."""

    def part(code, content):
        padded = content.ljust(-(-len(content) // 8) * 8, b"\0")
        return np.array([code, len(content)], "<u4").tobytes() + padded

    content = part(6, np.array([17, 0], "<u4").tobytes())
    content += part(1, name) + part(1, b"MCOS") + part(1, kind)
    content += part(14, part(6, np.array([13, 0], "<u4").tobytes()))
    return part(14, content)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (b"string", "stages = cellstr(stages)"),
        (b"categorical", "stages = cellstr(stages)"),
        (b"table", "as a variable of its own"),
    ],
)
def test_objects_of_matlab_5_are_there_and_named(tmp_path, kind, remedy):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"x": X})
    path.write_bytes(path.read_bytes() + opaque(b"stages", kind))
    text = problem(tmp_path)
    assert f"variable 'stages': is {kind.decode()}" in text and remedy in text


# Of other kinds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_folder_of_files_of_columns_asks_for_these(tmp_path, suffix):
    (tmp_path / f"s01{suffix}").write_text("a,b\n1,2\n")
    with pytest.raises(zarrts.SourceError) as error:
        find(str(tmp_path))
    assert f"1 {suffix}" in str(error.value)
    assert "name the columns of such files: x=[" in str(error.value)
    found = find(str(tmp_path), SourceOptions(x=("a",), y="b"))
    assert [it.subject for it in found.recordings] == ["s01"]


@pytest.mark.parametrize("suffix", [".txt", ".feather"])
def test_a_folder_of_tables_names_recordings_and_the_example(tmp_path, suffix):
    (tmp_path / f"s01{suffix}").write_text("a,b\n1,2\n")
    with pytest.raises(zarrts.SourceError) as error:
        find(str(tmp_path))
    assert f"1 {suffix}" in str(error.value)
    assert "zarrts.Recording('s01', x, y)" in str(error.value)
    assert "examples/recording_tables.py" in str(error.value)


def test_a_scoring_in_a_table_beside_an_edf_is_not_passed_over_in_silence(tmp_path):
    (tmp_path / "in").mkdir()
    write_edf(tmp_path / "in" / "s01.edf", annotations=STAGES)
    (tmp_path / "in" / "s01.csv").write_text("onset,stage\n0,W\n")
    (tmp_path / "in" / "participants.csv").write_text("subject,age\ns01,30\n")
    with pytest.warns(UserWarning, match=r"s01\.csv.*beside.*not read") as seen:
        zarrts.convert(tmp_path / "in", tmp_path / "a.zarr", progress=False).close()
    assert "participants" not in str(seen[0].message)


def test_no_warning_without_such_a_table(tmp_path):
    (tmp_path / "in").mkdir()
    write_edf(tmp_path / "in" / "s01.edf", annotations=STAGES)
    (tmp_path / "in" / "README.txt").write_text("hello")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zarrts.convert(tmp_path / "in", tmp_path / "a.zarr", progress=False).close()


# The end of the interpreter ----------------------------------------------------------------------

LEFT_OPEN = """
import sys, numpy as np, zarrts
x = np.zeros((64, 8, 2), "f4")
people = [zarrts.Recording(n, x + (n == "a"), np.arange(64) % 2) for n in "ab"]
store = zarrts.convert(people, sys.argv[1], progress=False)
batches = iter(store.samples.batches(8))
next(batches)
class Circle: pass
it = Circle(); it.me, it.store, it.batches = it, store, batches
sys.modules["kept"] = it
from zarrts.system import PositionalFile
files = [PositionalFile(__file__)]
files.append(files)
sys.modules["files"] = files
"""


def test_what_is_left_open_says_nothing_when_python_ends(tmp_path):
    (tmp_path / "run.py").write_text(LEFT_OPEN)
    done = subprocess.run(
        [sys.executable, "-W", "error", tmp_path / "run.py", tmp_path / "a.zarr"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "" == done.stdout


def test_a_file_is_closed_when_modules_have_lost_their_names(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1234")
    file = system.PositionalFile(tmp_path / "a")
    descriptor = file._fd
    with monkeypatch.context() as patch:
        patch.setattr(system, "os", None)  # as at the end of the interpreter
        file.__del__()
    with pytest.raises(OSError, match=r"[Bb]ad file descriptor"):
        os.fstat(descriptor)


def test_no_other_class_has_a_finalizer():
    """Each one has to work without the names of its module, as the test above says."""
    found = {
        f"{path.stem}.{node.name}"
        for path in Path(zarrts.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(it, ast.FunctionDef) and it.name == "__del__" for it in node.body)
    }
    assert found == {"system.PositionalFile"}
