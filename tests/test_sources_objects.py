"""Objects in `.npy` files: read where they lie, never unpickled."""

import pickle

import numpy as np
import pytest

from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions

X = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
Y = np.array(["N1", "W", "W", "R", "N1"])


def objects(*items):
    """Return an array of objects, whatever NumPy would make of the items."""
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out


def save(path, value, protocol=None):
    """Write what `np.save` writes of an object, with any protocol."""
    array = np.empty((), dtype=object) if not isinstance(value, np.ndarray) else value
    if array.shape == () and array is not value:
        array[()] = value
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": array.shape}
        )
        pickle.dump(array, file, protocol=4 if protocol is None else protocol)


def only(folder, **options):
    found = sources.find(folder, SourceOptions(**options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


def content(recording):
    x, y = recording.x, recording.y
    return x.read(0, x.shape[0]), y.read(0, y.shape[0])


SHAPES = {
    "list of two": lambda x, y: objects(x, y),
    "labels in a list": lambda x, y: objects(x, y.tolist()),
    "dict": lambda x, y: {"X": x, "y": y},
    "dict of lists": lambda x, y: {
        "X": list(x),
        "y": y.tolist(),
        "notes": np.zeros(3),
        "rate": 50,
        "by": {1: None},
    },
    "labels first in a dict": lambda x, y: {"label": y, "signal": x},
    "series and labels": lambda x, y: objects(objects(*x), y),
    "Fortran": lambda x, y: objects(np.asfortranarray(x), y),
    "big-endian": lambda x, y: objects(x.astype(">f4"), y.astype(">U2")),
    "bytes": lambda x, y: objects(x, np.char.encode(y)),
    "tuple": lambda x, y: {"a": (x, y)}["a"],
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", SHAPES)
def test_what_people_put_together_is_understood(tmp_path, name, protocol):
    save(tmp_path / "s01.npy", SHAPES[name](X, Y), protocol)
    recording = only(tmp_path)
    x, y = content(recording)
    np.testing.assert_array_equal(x, X)
    assert x.dtype == np.float32
    assert y.tolist() == Y.tolist()
    again = pickle.loads(pickle.dumps(recording.x))
    np.testing.assert_array_equal(again.read(1, 3), X[1:3])


def test_what_np_save_writes_is_read(tmp_path):
    np.save(tmp_path / "a.npy", objects(X, Y))
    np.save(tmp_path / "b.npy", {"X": X + 1, "y": Y})
    found = sources.find(tmp_path)
    assert found.problems == ()
    np.testing.assert_array_equal(content(found.recordings[0])[0], X)
    np.testing.assert_array_equal(content(found.recordings[1])[0], X + 1)


# Lists of series ---------------------------------------------------------------------------------


def series(*lengths):
    return [np.full((n, 2), n, np.float32) for n in lengths]


def test_series_of_one_length_in_all_files_are_samples(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.npy", {"X": objects(*series(4, 4, 4)), "y": np.arange(3)})
    for recording in sources.find(tmp_path).recordings:
        assert recording.x.shape == (3, 4, 2)
        assert recording.labels_per == "sample"


def test_series_of_unequal_length_in_any_file_are_recordings_in_all(tmp_path):
    save(tmp_path / "a.npy", {"X": objects(*series(4, 4)), "y": np.array(["u", "v"])})
    save(tmp_path / "b.npy", {"X": objects(*series(4, 7)), "y": np.array(["v", "w"])})
    found = sources.find(tmp_path)
    assert found.problems == ()
    assert [it.origin for it in found.recordings] == [
        "a.npy[0]",
        "a.npy[1]",
        "b.npy[0]",
        "b.npy[1]",
    ]
    assert [it.subject for it in found.recordings] == ["a", "a", "b", "b"]
    assert len({it.fingerprint for it in found.recordings}) == 4
    for it, length, label in zip(found.recordings, (4, 4, 4, 7), "uvvw", strict=True):
        x, y = content(it)
        np.testing.assert_array_equal(x, np.full((length, 2), length))
        assert (it.labels_per, y.tolist()) == ("recording", [label])


def test_labels_in_a_list_of_series_are_those_of_rows(tmp_path):
    labels = objects(np.arange(4), np.arange(7))
    save(tmp_path / "a.npy", {"X": objects(*series(4, 7)), "y": labels})
    found = sources.find(tmp_path)
    assert [it.labels_per for it in found.recordings] == ["row", "row"]
    assert content(found.recordings[1])[1].tolist() == list(range(7))


def test_kind_decides_what_lists_are(tmp_path):
    save(tmp_path / "a.npy", {"X": objects(*series(4, 4)), "y": np.arange(2)})
    found = sources.find(tmp_path, SourceOptions(kind="ragged")).recordings
    assert [(it.x.shape, it.labels_per) for it in found] == [((4, 2), "recording")] * 2
    save(tmp_path / "b.npy", {"X": objects(*series(4, 5)), "y": np.arange(2)})
    found = sources.find(tmp_path, SourceOptions(kind="dense"))
    (problem,) = found.problems
    assert problem.startswith("b.npy: holds 2 series of 2 different shapes (4 to 5 rows)")
    assert [it.x.shape for it in found.recordings] == [(2, 4, 2)]


def test_a_list_needs_as_many_labels(tmp_path):
    save(tmp_path / "a.npy", {"X": objects(*series(4, 5)), "y": np.arange(3)})
    (problem,) = sources.find(tmp_path).problems
    assert "2 series in 'X', but 3 labels in 'y'" in problem


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_a_single_label_is_that_of_one_series(tmp_path, suffix):
    if suffix == "npz":
        np.savez(tmp_path / "a.npz", x=X[0], y=np.array("R"))
    else:
        save(tmp_path / "a.npy", {"x": X[0], "y": np.array("R")})
    recording = only(tmp_path)
    assert recording.x.shape == (4, 3)
    assert content(recording)[1].tolist() == ["R"]


# What is refused ---------------------------------------------------------------------------------


def test_what_is_no_array_is_refused(tmp_path):
    for value, says in [
        ({"X": X, "y": None}, "'y': is NoneType"),
        ({"X": X, "y": ["a", 1]}, "mixes int, str"),
        ({"X": X, "y": [{}]}, "holds dict"),
        ({"X": X, "y": 2**80}, "holds Python objects"),
        (objects(X, {}), "holds an array among its values"),
        ({"X": X, 0: Y, "0": Y}, "a key as text and as a number"),
    ]:
        save(tmp_path / "a.npy", value)
        (problem,) = sources.find(tmp_path).problems
        assert problem.startswith("a.npy: ") and says in problem


def test_a_reader_of_a_file_that_changed_says_so(tmp_path):
    save(tmp_path / "a.npy", objects(X, Y))
    recording = only(tmp_path)
    save(tmp_path / "a.npy", objects(X, Y[::-1]))
    with pytest.raises(SourceError, match="changed while it was in use"):
        recording.x.read(0, 1)
