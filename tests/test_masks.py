"""Masks of rows, and windows without rows that are NaN or masked, against naive slicing."""

import json
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.errors import SampleError, SourceError, StoreError
from zarrts.storage import schema

pytestmark = pytest.mark.usefixtures("no_leaks")
NAMES = np.array(["a", "b", "c"])
LENGTHS = (40, 7, 65, 30)


def study(lengths=LENGTHS, seed=0, nan=0.02, masked=0.05, runs=True):
    """Return x, y and masks of some recordings; None for the mask of every third."""
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal((n, 3)).astype(np.float32) for n in lengths]
    for it in x:
        it[rng.random(it.shape) < nan] = np.nan
    y = [NAMES[rng.integers(0, 3, n)] for n in lengths]
    masks = [
        None if number % 3 == 1 else (rng.random(n) < masked) * rng.integers(1, 4, n)
        for number, n in enumerate(lengths)
    ]
    return x, y, [it if it is None else it.astype(np.uint8) for it in masks]


def recordings(x, y, masks, names=None):
    names = names or [f"s{number}" for number in range(len(x))]
    return [
        zarrts.Recording(name, *it[:2], mask=it[2])
        for name, *it in zip(names, x, y, masks, strict=True)
    ]


def convert(given, path, **options):
    options = {"kind": "ragged", "chunk": 120, "shard": 480, "rate_hz": 10} | options
    return zarrts.convert(given, path, progress=False, **options)


def bad_rows(x, mask):
    bad = np.isnan(x).any(axis=1)
    return bad if mask is None else bad | (mask > 0)


def naive(x, masks, length, stride, rate=1):
    """Return (id, recording, first row, is good) of every window."""
    found, number = [], 0
    for recording, (it, mask) in enumerate(zip(x, masks, strict=True)):
        bad = bad_rows(it, mask)
        for start in range(0, len(it) - length + 1, stride):
            is_good = not bad[start : start + length : rate].any()
            found.append((number, recording, start, is_good))
            number += 1
    return found


@settings(deadline=None, max_examples=20)
@given(
    lengths=st.lists(st.integers(4, 60), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
    length=st.integers(1, 9),
    stride=st.integers(1, 12),
    rate=st.integers(1, 4),
    nan=st.sampled_from([0, 0.01, 0.2]),
    masked=st.sampled_from([0, 0.02, 0.3]),
    chunk=st.sampled_from([12, 60, 500]),
)
@pytest.mark.filterwarnings("ignore:.* recordings:UserWarning")
def test_windows_are_left_out_as_naive_slicing_leaves_them_out(
    tmp_path_factory, lengths, seed, length, stride, rate, nan, masked, chunk
):
    x, y, masks = study(lengths, seed, nan, masked)
    folder = tmp_path_factory.mktemp("masks")
    with convert(recordings(x, y, masks), folder / "s.zarr", chunk=chunk, shard=4 * chunk) as store:
        expected = naive(x, masks, length, stride, rate)
        good = [it for it in expected if it[3]]
        cut = {"length": length, "stride": stride, "sampling_rate": rate, "label": "last"}
        if not good:
            with pytest.raises(SampleError, match=r"fits|leaves none of"):
                store.samples.windows(**cut, nan="drop")
            return
        found = store.samples.windows(**cut, nan="drop")
        assert found.ids.tolist() == [it[0] for it in good]
        assert len(store.samples.windows(**cut)) == len(expected)
        values, labels = found.load()
        for value, label, (_, recording, start, _) in zip(values, labels, good, strict=True):
            assert np.array_equal(value, x[recording][start : start + length : rate])
            assert store.class_names[label] == y[recording][start + length - 1]


def test_the_mask_lies_beside_x_which_is_unchanged(tmp_path):
    x, y, masks = study()
    with convert(recordings(x, y, masks), tmp_path / "s.zarr") as store:
        import zarr

        group = zarr.open_group(tmp_path / "s.zarr", mode="r")
        joined = np.concatenate(
            [np.zeros(len(a), np.uint8) if b is None else b for a, b in zip(x, masks, strict=True)]
        )
        assert np.array_equal(group["0/mask"][:], joined)
        assert np.array_equal(group["0/x"][:], np.concatenate(x), equal_nan=True)
        assert group["0/mask"].metadata.dimension_names == ("row",)
        assert dict(group.attrs)["zarrts"]["schema"] == 2
        assert dict(group.attrs)["zarrts"]["needs"] == ["mask"]
        assert store.header.segments[0].needs == ("mask",)


def test_a_study_without_masks_is_stored_as_before(tmp_path):
    x, y, _ = study(nan=0)
    with convert(recordings(x, y, [None] * len(x)), tmp_path / "s.zarr") as store:
        assert store.header.segments[0].mask is None
    root = json.loads((tmp_path / "s.zarr" / "zarr.json").read_text())
    assert root["attributes"]["zarrts"]["schema"] == 1
    assert "needs" not in root["attributes"]["zarrts"]
    assert not (tmp_path / "s.zarr" / "0" / "mask").exists()


def test_a_version_that_does_not_know_masks_refuses_the_store(tmp_path, monkeypatch):
    convert(recordings(*study()), tmp_path / "s.zarr").close()
    monkeypatch.setattr(schema, "FEATURES", frozenset())
    with pytest.raises(StoreError, match="needs mask, which this version"):
        zarrts.open(tmp_path / "s.zarr")


def test_boolean_masks_are_masks_and_the_same_again_is_the_same_store(tmp_path):
    x, y, masks = study()
    flags = [None if it is None else it > 0 for it in masks]
    convert(recordings(x, y, flags), tmp_path / "s.zarr").close()
    before = (tmp_path / "s.zarr" / "zarr.json").read_bytes()
    convert(recordings(x, y, flags), tmp_path / "s.zarr").close()
    convert(recordings(x, y, flags), tmp_path / "t.zarr").close()
    assert (tmp_path / "s.zarr" / "zarr.json").read_bytes() == before
    assert (tmp_path / "t.zarr" / "zarr.json").read_bytes() == before
    flags[0] = ~flags[0]
    with pytest.raises(zarrts.ZarrtsError, match="other sources"):
        convert(recordings(x, y, flags), tmp_path / "s.zarr")


def test_splits_sequences_counts_and_pickles_agree(tmp_path):
    x, y, masks = study((90, 60, 80, 70), nan=0.002, masked=0.02)
    with convert(recordings(x, y, masks), tmp_path / "s.zarr") as store:
        windows = store.samples.windows(5, 5, label="majority", nan="drop")
        good = {it[0]: it for it in naive(x, masks, 5, 5) if it[3]}
        assert windows.ids.tolist() == [*good]
        labels = windows.load()[1]
        counts = np.bincount(labels[labels >= 0], minlength=3)
        assert windows.class_counts.tolist() == counts.tolist()
        train, test = windows.split(test=["s2"])
        assert test.ids.tolist() == [number for number, it in good.items() if it[1] == 2]
        assert sorted([*train.ids, *test.ids]) == [*good]
        expected = np.concatenate([x[it[1]][it[2] : it[2] + 5] for it in good.values()])
        np.testing.assert_allclose(
            windows.stats().mean, expected.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6
        )
        joined = windows.sequences(3)
        firsts = {}
        for number, recording, start, _ in naive(x, masks, 5, 5):
            firsts[recording, start] = number
        whole = [
            [x[recording][start + 5 * k : start + 5 * k + 5] for k in range(3)]
            for (recording, start) in firsts
            if start % 15 == 0
            and all(firsts.get((recording, start + 5 * k), -1) in good for k in range(3))
        ]
        assert np.array_equal(joined.load()[0], np.array(whole))
        again = pickle.loads(pickle.dumps(windows))
        assert again.ids.tolist() == windows.ids.tolist()
        again.store.close()
        delivered = [i for batch in windows.batches(8, nan="error") for i in batch.sample_id]
        assert sorted(delivered) == [*good]


def test_targets_that_are_values_have_to_be_good_too(tmp_path):
    x = [np.arange(40, dtype=np.float32).reshape(20, 2)]
    x[0][9, 1] = np.nan
    mask = np.zeros(20, bool)
    mask[15] = True
    with convert([zarrts.Recording("s", x[0], "a", mask=mask)], tmp_path / "s.zarr") as store:
        options = {"length": 2, "label": "next", "target": "x", "nan": "drop"}
        found = store.samples.windows(**options)
        assert found.ids.tolist() == [i for i in range(18) if not {9, 15} & {i, i + 1, i + 2}]
        # Row 9 is NaN in a channel that is no target, which matters for x only.
        some = store.samples.windows(**options, channels=[0])
        assert some.ids.tolist() == [
            i for i in range(18) if not {9, 15} & {i, i + 1} and i + 2 != 15
        ]


def test_recordings_without_a_good_window_are_warned_of_and_none_is_an_error(tmp_path):
    x, y, _ = study((30, 30), nan=0)
    masks = [np.ones(30, bool), np.zeros(30, bool)]
    with convert(recordings(x, y, masks), tmp_path / "s.zarr") as store:
        with pytest.warns(UserWarning, match="have no window without NaN or masked rows"):
            found = store.samples.windows(4, label="last", nan="drop")
        assert found.subjects == ["s1"]
        with pytest.raises(SampleError, match="leaves none of 27 windows"):
            store.samples.select(subjects=["s0"]).windows(4, label="last", nan="drop")
        with pytest.raises(SampleError, match="nan='fill' is unknown; use 'keep' or 'drop'"):
            store.samples.windows(4, label="last", nan="fill")


def test_append_remove_verify_and_repair_treat_it_as_any_array(tmp_path):
    x, y, masks = study((40, 30, 50, 35), nan=0)
    masks[1] = None
    given = recordings(x, y, masks)
    path = tmp_path / "s.zarr"
    convert(given[1:2], path).close()
    assert zarrts.open(path).header.segments[0].needs == ()
    zarrts.append(path, [given[0], given[2]], progress=False).close()
    zarrts.append(path, given[3:], progress=False).close()
    order = [1, 0, 2, 3]

    def check(order):
        some = [x[i] for i in order]
        expected = naive(some, [masks[i] for i in order], 4, 3)
        with zarrts.open(path) as store:
            found = store.samples.windows(4, 3, label="first", nan="drop")
            assert found.ids.tolist() == [it[0] for it in expected if it[3]]

    check(order)
    assert zarrts.verify(path, deep=True).problems == ()
    assert zarrts.verify(path, sources=given).problems == ()
    changed = [*given[:2], zarrts.Recording("s2", x[2], y[2], mask=masks[2] == 0), given[3]]
    assert any("s2" in it.text for it in zarrts.verify(path, sources=changed).problems)
    zarrts.remove(path, subject="s0")
    check([1, 2, 3])
    assert zarrts.verify(path, deep=True).problems == ()
    shard = sorted(path.glob("*/mask/c/*"))[0]
    before = shard.read_bytes()
    shard.write_bytes(before[:5] + bytes([before[5] ^ 1]) + before[6:])
    assert len(zarrts.verify(path, deep=True).problems) > 0
    zarrts.repair(path, given)
    assert shard.read_bytes() == before
    assert zarrts.verify(path, deep=True).problems == ()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(9, bool), r"of shape \(30,\), not bool of shape \(9,\)"),
        (np.zeros(30), "a mask is True .* not float64"),
        (np.full(30, 256), "holds 256, but the numbers of a mask are 0"),
        (np.full(30, -1), "holds -1"),
        (np.zeros((30, 3), bool), r"of shape \(30, 3\)"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, mask, message):
    x, y, _ = study((30,), nan=0)
    with pytest.raises(SourceError, match=message):
        convert([zarrts.Recording("s", x[0], y[0], mask=mask)], tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def test_samples_that_are_rows_have_no_mask(tmp_path):
    given = zarrts.Recording("s", np.zeros((8, 5, 2)), np.arange(8) % 2, mask=np.zeros(8, bool))
    with pytest.raises(SourceError, match="marks time steps, but its rows are samples"):
        convert([given], tmp_path / "s.zarr", kind="auto")


def test_lists_of_series_take_lists_of_masks(tmp_path):
    x, y, masks = study((20, 30, 25), nan=0)
    masks = [np.zeros(20, bool), np.arange(30) == 7, np.arange(25) == 3]
    given = zarrts.Recording("s", x, y, mask=masks, channels=["u", "v", "w"])
    with convert([given], tmp_path / "s.zarr") as store:
        found = store.samples.windows(5, 5, label="first", nan="drop")
        assert found.ids.tolist() == [it[0] for it in naive(x, masks, 5, 5) if it[3]]
        assert store.channels == ["u", "v", "w"]
    with pytest.raises(SourceError, match="3 series in x, but mask= is not a list of as many"):
        convert([zarrts.Recording("s", x, y, mask=masks[:2])], tmp_path / "t.zarr")


@pytest.mark.parametrize("n_axes", [1, 2])
def test_networks_see_new_data_without_what_they_were_trained_without(tmp_path, n_axes):
    pytest.importorskip("keras", exc_type=ImportError)
    x, y, masks = study((90, 60, 80), nan=0.004, masked=0.01)
    with convert(recordings(x, y, masks), tmp_path / "s.zarr") as store:
        windows = store.samples.windows(4, label="majority", min_labelled=0, nan="drop")
        expected = [it for it in naive(x, masks, 4, 4) if it[3]]
        if n_axes == 2:
            windows = store.samples.windows(4, 4, label="majority", min_labelled=0, nan="drop")
            windows = windows.sequences(2)
            expected = [it for it in naive(x, masks, 8, 8) if it[3]]
        seq = zarrts.ZarrSequence(windows, 16, seed=0)
        model = constant_network(seq)
        seq.save_spec(tmp_path / "spec.json")
        seq.close()
        rows = [(it[1], it[2]) for it in expected]
        for given in (recordings(x, y, masks), store.samples):
            found = zarrts.predict(model, given, like=tmp_path / "spec.json")
            places = zip(found.recordings.tolist(), found.places.starts.tolist(), strict=True)
            assert [*places] == rows
            assert found.sample_ids.tolist() == [it[0] for it in expected]
            result = zarrts.evaluate(model, given, like=tmp_path / "spec.json")
            assert result.confusion.sum() == len(expected) * (2 if n_axes == 2 else 1)
        bad = zarrts.Recording("new", np.full((9, 3), np.nan, np.float32), None)
        with pytest.raises(zarrts.ZarrtsError, match="all hold NaN or masked rows"):
            zarrts.predict(model, bad, like=tmp_path / "spec.json")


def constant_network(seq):
    """Return a network that takes batches of a sequence, and says the same of all."""
    import keras

    shape = seq[0][0].shape[1:]
    inputs = keras.Input(shape)
    flat = inputs if len(shape) == 3 else inputs[:, None]
    flat = keras.layers.Reshape((flat.shape[1], -1))(flat)
    out = keras.layers.Dense(3, activation="softmax")(flat)
    return keras.Model(inputs, out if len(shape) == 3 else out[:, 0])


def test_masks_of_other_subjects_are_not_read(tmp_path):
    x, y, masks = study((30, 30), nan=0, masked=0)
    masks = [np.zeros(30, bool), np.arange(30) == 2]
    convert(recordings(x, y, masks), tmp_path / "s.zarr", chunk=30 * 12, shard=30 * 12).close()
    shards = sorted((tmp_path / "s.zarr" / "0" / "mask" / "c").iterdir())
    shards[-1].write_bytes(b"")
    with zarrts.open(tmp_path / "s.zarr") as store, warnings.catch_warnings():
        some = store.samples.select(subjects=["s0"])
        assert len(some.windows(5, 5, label="first", nan="drop")) == 6
        with pytest.raises(zarrts.ZarrtsError):
            store.samples.windows(5, 5, label="first", nan="drop")
