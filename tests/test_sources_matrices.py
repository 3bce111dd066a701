"""Series of unequal lengths in every container: each is a recording, with its own label."""

import numpy as np
import pytest

import zarrts
from zarrts.sources import SourceOptions, find

LENGTHS = (9, 12, 7)


def matrices(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, 2)).astype("f4") for n in lengths]


def objects(items):
    found = np.empty(len(items), object)
    found[:] = items
    return found


LABELS = ["W", "N1", "R"]

CONTAINERS = {
    "npz, objects": lambda path: np.savez(path, x=objects(matrices()), y=LABELS),
    "npz, objects and text as objects": lambda path: np.savez(
        path, x=objects(matrices()), y=np.array(LABELS, object)
    ),
    "npz, without names": lambda path: np.savez(path, *matrices(), labels=LABELS),
    "npz, compressed, without names": lambda path: np.savez_compressed(
        path, *matrices(), labels=LABELS
    ),
    "npz, text in StringDType": lambda path: np.savez(
        path, x=objects(matrices()), y=np.array(LABELS, np.dtypes.StringDType())
    ),
}


def check(found, labels=LABELS):
    assert found.problems == ()
    assert len(found.recordings) == len(LENGTHS)
    for it, matrix, label in zip(found.recordings, matrices(), labels, strict=True):
        assert it.labels_per == "recording"
        assert np.array_equal(it.x.read(0, it.x.shape[0]), matrix)
        assert np.array_equal(it.x.read(2, 5), matrix[2:5])
        assert it.y.read(0, 1).tolist() == [label]
        it.x.close()


@pytest.mark.filterwarnings("ignore:Custom dtypes are saved")
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_list_in_an_archive_is_a_recording_each(tmp_path, container):
    CONTAINERS[container](tmp_path / "p.npz")
    check(find(str(tmp_path)))


def test_more_than_ten_arrays_without_names_come_in_the_order_of_their_numbers(tmp_path):
    some = [np.full((i + 3, 1), i, "f4") for i in range(12)]
    np.savez(tmp_path / "p.npz", *some, labels=np.arange(12))
    found = find(str(tmp_path))
    assert [it.x.read(0, 1)[0, 0] for it in found.recordings] == list(range(12))
    assert [it.y.read(0, 1)[0] for it in found.recordings] == list(range(12))


def test_one_of_the_arrays_without_names_can_still_be_asked_for(tmp_path):
    x, other = np.zeros((6, 5, 2), "f4"), np.ones((6, 5, 2), "f4")
    np.savez(tmp_path / "p.npz", other, x, y=np.arange(6))
    (it,) = find(str(tmp_path), SourceOptions(x="arr_1")).recordings
    assert it.x.shape == (6, 5, 2) and not it.x.read(0, 6).any()


def test_arrays_of_one_length_without_names_are_samples(tmp_path):
    some = matrices((5, 5, 5))
    np.savez(tmp_path / "p.npz", *some, labels=LABELS)
    (it,) = find(str(tmp_path)).recordings
    assert it.labels_per == "sample"
    assert np.array_equal(it.x.read(0, 3), np.stack(some))


def test_compressed_objects_say_how_to_save_them(tmp_path):
    np.savez_compressed(tmp_path / "p.npz", x=objects(matrices()), y=LABELS)
    (text,) = find(str(tmp_path)).problems
    assert "array 'x'" in text and "np.savez instead of np.savez_compressed" in text
    np.savez(tmp_path / "p.npz", x=objects(matrices()), y=LABELS)  # the remedy
    check(find(str(tmp_path)))


def test_compressed_text_as_objects_is_read(tmp_path):
    x, y = np.zeros((3, 5, 2), "f4"), np.array(["W", None, "R"], object)
    np.savez_compressed(tmp_path / "p.npz", x=x, y=y)
    (it,) = find(str(tmp_path)).recordings
    assert it.y.read(0, 3).tolist() == ["W", "", "R"]


@pytest.mark.filterwarnings("ignore:Custom dtypes are saved")
@pytest.mark.parametrize("missing", [None, float("nan")])
def test_text_of_numpy_2_is_read_from_npy_and_npz(tmp_path, missing):
    dtype = np.dtypes.StringDType(na_object=missing)
    y = np.array(["wake", missing, "REM"], dtype)
    x = np.zeros((3, 5, 2), "f4")
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "p_x.npy", x)
    np.save(tmp_path / "a" / "p_y.npy", y)
    (tmp_path / "b").mkdir()
    np.savez(tmp_path / "b" / "p.npz", x=x, y=y)
    for folder in "ab":
        (it,) = find(str(tmp_path / folder)).recordings
        assert it.y.read(0, 3).tolist() == ["wake", "", "REM"]


@pytest.mark.parametrize("name", ["C3:A2", "EEG C3:A2", "a:b:c", ":x"])
def test_names_of_arrays_may_hold_colons(tmp_path, name):
    x = np.arange(60, dtype="f4").reshape(6, 5, 2)
    np.savez(tmp_path / "p.npz", **{name: x, "y": np.arange(6) % 2})
    (it,) = find(str(tmp_path), SourceOptions(x=name)).recordings
    assert np.array_equal(it.x.read(0, 6), x)


@pytest.mark.parametrize("name", ["C:/x", "../x", "a/../x", "/x"])
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path, name):
    np.savez(tmp_path / "p.npz", **{name: np.zeros((6, 5, 2)), "y": np.arange(6) % 2})
    (text,) = find(str(tmp_path)).problems
    assert "leads out of the archive" in text


# Arrays of matrices ------------------------------------------------------------------------------


def stacks(folder):
    """Two files, of matrices of 5 and of 8 steps."""
    folder.mkdir()
    for name, length, seed in (("p", 5, 1), ("q", 8, 2)):
        x = np.stack(matrices([length] * 3, seed))
        np.savez(folder / f"{name}.npz", x=x, y=LABELS)
    return [*matrices([5] * 3, 1), *matrices([8] * 3, 2)]


def test_files_of_other_lengths_are_kept_where_that_is_asked_for(tmp_path):
    expected = stacks(tmp_path / "in")
    with pytest.raises(zarrts.SourceError, match=r"kind='ragged' \(--kind ragged\)"):
        zarrts.convert(tmp_path / "in", tmp_path / "a.zarr", progress=False)
    options = {"kind": "ragged", "progress": False}
    with zarrts.convert(tmp_path / "in", tmp_path / "a.zarr", **options) as store:
        assert store.class_names == ["N1", "R", "W"] and len(store.samples) == 6
        for number, matrix in enumerate(expected):
            x, y = store.samples.select(ids=[number]).load()
            assert np.array_equal(x[0], matrix)
            assert store.class_names[y[0]] == LABELS[number % 3]
        assert store.subjects == ["p", "q"]


def test_labels_of_the_steps_of_such_matrices_stay_with_them(tmp_path):
    for name, length in (("p", 5), ("q", 8)):
        x = np.stack(matrices([length] * 3))
        y = np.arange(3 * length).reshape(3, length)
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
    found = find(str(tmp_path), SourceOptions(kind="ragged"))
    assert [it.labels_per for it in found.recordings] == ["row"] * 6
    assert found.recordings[4].y.read(0, 8).tolist() == list(range(8, 16))


def test_an_array_beside_lists_is_as_many_recordings(tmp_path):
    np.save(tmp_path / "a.npy", {"x": matrices(), "y": LABELS}, allow_pickle=True)
    equal = matrices((5, 5, 5), 3)
    np.save(tmp_path / "b.npy", {"x": np.stack(equal), "y": LABELS}, allow_pickle=True)
    found = find(str(tmp_path))
    assert found.problems == () and len(found.recordings) == 6
    for it, matrix in zip(found.recordings, [*matrices(), *equal], strict=True):
        assert np.array_equal(it.x.read(0, it.x.shape[0]), matrix)


def test_lists_of_one_length_beside_an_array_of_another_are_ragged_together(tmp_path):
    np.save(tmp_path / "a.npy", {"x": matrices((6, 6)), "y": LABELS[:2]}, allow_pickle=True)
    np.save(tmp_path / "b.npy", {"x": np.stack(matrices((5, 5))), "y": LABELS[:2]})
    found = find(str(tmp_path))
    assert found.problems == ()
    assert [it.x.shape for it in found.recordings] == [(6, 2)] * 2 + [(5, 2)] * 2


def test_one_series_of_matrices_stays_one(tmp_path):
    """Spectrograms that follow in time, with a label for each, in files that agree."""
    for name in "pq":
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((30, 4, 3), "f4"), y=np.arange(30) % 2)
    found = find(str(tmp_path), SourceOptions(kind="ragged"))
    assert [it.x.shape for it in found.recordings] == [(30, 4, 3)] * 2
    assert {it.labels_per for it in found.recordings} == {"row"}


# In memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [list, tuple, objects], ids=["list", "tuple", "objects"])
@pytest.mark.parametrize("labels", [LABELS, np.array(LABELS), tuple(LABELS)])
def test_a_recording_may_be_a_list_of_matrices(pack, labels):
    check(find(zarrts.Recording("p", pack(matrices()), labels)))


def test_a_list_of_matrices_with_labels_of_their_steps():
    labels = [np.arange(len(it)) for it in matrices()]
    found = find(zarrts.Recording("p", matrices(), labels), SourceOptions(kind="ragged"))
    assert found.problems == ()
    for it, own in zip(found.recordings, labels, strict=True):
        assert it.labels_per == "row" and it.y.read(0, len(own)).tolist() == own.tolist()


def test_a_list_of_matrices_with_several_labels():
    labels = {"stage": LABELS, "age": [20.0, 30.0, 40.0]}
    found = find(zarrts.Recording("p", matrices(), labels))
    assert found.problems == ()
    assert [it.y.read(0, 1)["age"][0] for it in found.recordings] == labels["age"]


def test_equal_matrices_in_a_list_are_samples_unless_others_are_unequal():
    same = matrices((5, 5, 5))
    (it,) = find(zarrts.Recording("p", same, LABELS)).recordings
    assert it.x.shape == (3, 5, 2) and it.labels_per == "sample"
    mixed = [zarrts.Recording("p", same, LABELS), zarrts.Recording("q", matrices(), LABELS)]
    assert [it.x.shape[0] for it in find(mixed).recordings] == [5, 5, 5, *LENGTHS]
    stacked = [zarrts.Recording("p", np.stack(same), LABELS), mixed[1]]
    assert [it.x.shape[0] for it in find(stacked).recordings] == [5, 5, 5, *LENGTHS]


def test_as_many_labels_as_matrices_are_needed():
    found = find(zarrts.Recording("p", matrices(), LABELS[:2]))
    assert "recording 1 (p): 3 series in x, but 2 labels in y" in found.problems[0]


def test_a_list_of_matrices_is_converted_and_trained_on(tmp_path):
    recordings = [zarrts.Recording(name, matrices(seed=i), LABELS) for i, name in enumerate("pq")]
    with zarrts.convert(recordings, tmp_path / "a.zarr", progress=False) as store:
        assert store.subjects == ["p", "q"] and len(store.samples) == 6
        batches = list(store.samples.batches(3, shuffle=False, pad="batch"))
    assert np.array_equal(batches[1].x[2, :7], matrices(seed=1)[2])
    assert batches[1].length.tolist() == list(LENGTHS)
