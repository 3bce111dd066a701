"""Labels in any container of text, and inputs in any array that gives slices."""

import h5py
import numpy as np
import pytest
import zarr

from zarrts.sources import find
from zarrts.types import Recording

TEXT = ["wake", "REM", "", "N1", "REM"]
X = np.arange(5 * 4 * 2, dtype="f4").reshape(5, 4, 2)


def read(x, y):
    found = find(Recording("p", x, y))
    assert found.problems == ()
    (it,) = found.recordings
    return it.x.read(0, 5), it.y.read(0, 5).tolist()


def string_dtype(folder, text):
    return np.array(text, np.dtypes.StringDType())


def zarr_text(folder, text):
    made = zarr.create_array(folder / "t.zarr", shape=(5,), dtype=str, chunks=(2,))
    made[:] = np.array(text, object)
    return made


def hdf5(folder, text):
    file = h5py.File(folder / "t.h5", "w")
    return file.create_dataset("t", data=text, dtype=h5py.string_dtype())


def hdf5_as_text(folder, text):
    return hdf5(folder, text).asstr()


def hdf5_fixed(folder, text):
    file = h5py.File(folder / "t.h5", "w")
    return file.create_dataset("t", data=np.array(text, "S5"))


def arrow(folder, text):
    return pytest.importorskip("pyarrow").array(text)


def arrow_with_none(folder, text):
    return pytest.importorskip("pyarrow").array([it or None for it in text])


def arrow_in_chunks(folder, text):
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.chunked_array([text[:2], text[2:]])


def arrow_dictionary(folder, text):
    return pytest.importorskip("pyarrow").array(text).dictionary_encode()


def pandas_text(folder, text):
    return pytest.importorskip("pandas").Series([it or None for it in text], dtype="string")


def pandas_categories(folder, text):
    return pytest.importorskip("pandas").Series([it or None for it in text], dtype="category")


def string_dtype_with_none(folder, text):
    return np.array([it or None for it in text], np.dtypes.StringDType(na_object=None))


CONTAINERS = [
    string_dtype,
    string_dtype_with_none,
    zarr_text,
    hdf5,
    hdf5_as_text,
    hdf5_fixed,
    arrow,
    arrow_with_none,
    arrow_in_chunks,
    arrow_dictionary,
    pandas_text,
    pandas_categories,
]


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("container", CONTAINERS, ids=[it.__name__ for it in CONTAINERS])
def test_text_in_any_container_is_labels(tmp_path, container):
    labels = container(tmp_path, TEXT)
    x, y = read(X, labels)
    assert np.array_equal(x, X) and y == TEXT
    if hasattr(labels, "file"):
        labels.file.close()


def test_numbers_of_arrow_are_labels_and_nulls_are_missing():
    pyarrow = pytest.importorskip("pyarrow")
    assert read(X, pyarrow.array([0, 1, 2, 1, 0]))[1] == [0, 1, 2, 1, 0]
    y = read(X, pyarrow.array([0, 1, None, 1, 0]))[1]
    assert y[:2] == [0, 1] and np.isnan(y[2])


def test_zarr_arrays_in_chunks_of_unequal_lengths_are_inputs(tmp_path):
    pytest.importorskip("zarr", minversion="3.2")
    with zarr.config.set({"array.rectilinear_chunks": True}):
        made = zarr.create_array(
            tmp_path / "x.zarr", shape=X.shape, dtype="f4", chunks=[[2, 3], [4], [2]]
        )
        made[:] = X
        (it,) = find(Recording("p", made, TEXT)).recordings
        assert np.array_equal(it.x.read(1, 4), X[1:4])
        assert it.x.block_rows == 3
