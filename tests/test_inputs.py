"""Several inputs in one sample, each of its own shape and rate: as slices of arrays in memory."""

import itertools
import pickle

import numpy as np
import pytest
from chunk_reads import note_reads

import zarrts

RATES = [(50, 1), (64, 4, 32), (100, 25, 50, 2), (8, 6), (1, 3, 2), (1 / 3, 1)]
SMALL = {"chunk": "2KiB", "shard": "16KiB", "progress": False}


def dense_study(rng, n_subjects=4, n_inputs=3, low=1, high=60):
    shapes = {"acc": (20, 3), "hr": (5,), "pic": (4, 4, 2), "one": ()}
    names = list(shapes)[:n_inputs]
    study = {}
    for number in range(n_subjects):
        n = int(rng.integers(low, high))
        x = {
            name: rng.normal(size=(n, *shapes[name])).astype("f4" if name != "hr" else "f8")
            for name in names
        }
        study[f"s{number}"] = x, rng.integers(0, 3, n)
    return study


def recordings_of(study, **more):
    return [zarrts.Recording(name, x, y, **more) for name, (x, y) in study.items()]


def joined(study, name):
    return np.concatenate([x[name] for x, _ in study.values()])


def series_study(rng, rates, n_subjects=4, rows=(5, 40), label_rate=None, ends=True):
    """Return series of some rates; rows are the common seconds, or parts of them."""
    row_s = common_s(rates)
    study = {}
    for number in range(n_subjects):
        n_rows = int(rng.integers(*rows))
        x = {}
        for i, rate in enumerate(rates):
            more = int(rng.integers(0, max(1, round(rate * row_s)))) * ends  # that others lack
            n = round(n_rows * row_s * rate) + more
            x[f"in{i}"] = rng.normal(size=(n, i + 1)).astype("f4")
        n_labels = 1 if label_rate is None else round(n_rows * row_s * label_rate)
        y = rng.integers(0, 4, n_labels)
        study[f"s{number}"] = x, y if label_rate else int(y[0]), n_rows
    return study


def common_s(rates):
    """Return the shortest time that is a whole number of steps of each, by trying."""
    times = (count / max(rates) for count in itertools.count(1))
    return next(it for it in times if all(abs(it * r - round(it * r)) < 1e-9 for r in rates))


def naive_windows(study, rates, length, stride, row_s):
    """Return what each input of each window is, and where it is from."""
    found = []
    for subject, (x, y, n_rows) in study.items():
        start = 0
        while start + length <= n_rows:
            low, high = start * row_s, (start + length) * row_s
            parts = {
                f"in{i}": x[f"in{i}"][round(low * rate) : round(high * rate)]
                for i, rate in enumerate(rates)
            }
            found.append((subject, parts, y, low, high))
            start += stride
    return found


def check_batches(samples, expected, labels, **options):
    seen = []
    for batch in samples.batches(7, memory="1MiB", **options):
        for name, values in batch.x.items():
            for row, sample_id in zip(values, batch.sample_id, strict=True):
                np.testing.assert_array_equal(row, expected[sample_id][name])
        if labels is not None:
            np.testing.assert_array_equal(batch.y, labels[batch.sample_id])
        seen += batch.sample_id.tolist()
    assert sorted(seen) == samples.ids.tolist()


@pytest.mark.parametrize("seed", range(6))
def test_dense_batches_are_slices_of_the_arrays(tmp_path, seed):
    rng = np.random.default_rng(seed)
    study = dense_study(rng, n_inputs=1 + seed % 4, low=1 if seed else 40)
    store = zarrts.convert(recordings_of(study), tmp_path / "a.zarr", kind="dense", **SMALL)
    names = sorted(next(iter(study.values()))[0])
    assert store.input_names == names
    assert store.dtype == {name: np.dtype("f4") for name in names}
    arrays = {name: joined(study, name).astype("f4") for name in names}
    y = np.concatenate([y for _, y in study.values()])
    x, labels = store.samples.load()
    for name in names:
        np.testing.assert_array_equal(x[name], arrays[name])
    np.testing.assert_array_equal(labels, y)
    expected = [{name: arrays[name][i] for name in names} for i in range(len(y))]
    chosen = store.samples.select(ids=np.flatnonzero(rng.random(len(y)) < 0.6))
    for samples in (store.samples, chosen, store.samples.split(test=1)[0]):
        for shuffle in (True, False, "global"):
            check_batches(samples, expected, y, shuffle=shuffle, seed=seed)
    position = len(chosen) // 2
    one, label = chosen[position]
    assert one.keys() == expected[0].keys()
    for name in names:
        np.testing.assert_array_equal(one[name], expected[chosen.ids[position]][name])
    assert label == y[chosen.ids[position]]


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("labels", ["recording", "slowest", "fastest"])
def test_windows_in_time_are_slices_at_each_rate(tmp_path, rates, labels):
    rng = np.random.default_rng(len(rates))
    label_rate = {"recording": None, "slowest": min(rates), "fastest": max(rates)}[labels]
    study = series_study(rng, rates, label_rate=label_rate)
    row_s = common_s(rates)
    given = {f"in{i}": rate for i, rate in enumerate(rates)} | {"y": label_rate or 1}
    store = zarrts.convert(
        [zarrts.Recording(name, x, y, rate_hz=given) for name, (x, y, _) in study.items()],
        tmp_path / "a.zarr",
        kind="ragged",
        **SMALL,
    )
    for length, stride in ((1, 1), (4, 2), (3, 5)):
        found = naive_windows(study, rates, length, stride, row_s)
        samples = store.samples.windows(
            f"{length * row_s}s",
            f"{stride * row_s}s",
            label="recording" if label_rate is None else "last",
        )
        assert len(samples) == len(found)
        expected = [parts for _, parts, *_ in found]
        y = np.array(
            [
                y if label_rate is None else y[round(high * label_rate) - 1]
                for _, _, y, _, high in found
            ]
        )
        check_batches(samples, expected, y, seed=3)
        some = samples.select(ids=np.flatnonzero(rng.random(len(found)) < 0.5))
        check_batches(some, expected, y, shuffle=False)
        x, loaded = samples.load()
        for name in expected[0]:
            np.testing.assert_array_equal(x[name], np.stack([it[name] for it in expected]))
        np.testing.assert_array_equal(loaded, y)


@pytest.mark.parametrize("label", ["first", "last", "majority", "all", "next", "function"])
def test_labels_at_the_rate_of_the_faster_input(tmp_path, label):
    rng = np.random.default_rng(1)
    study = series_study(rng, (8, 2), label_rate=8, ends=False)
    store = zarrts.convert(
        [
            zarrts.Recording(name, x, y, rate_hz={"in0": 8, "in1": 2})
            for name, (x, y, _) in study.items()
        ],
        tmp_path / "a.zarr",
        kind="ragged",
        **SMALL,
    )
    # Without "y" in rate_hz, labels go with the only input that has as many rows.
    of = {
        "first": lambda y, low, high: y[low],
        "last": lambda y, low, high: y[high - 1],
        "majority": lambda y, low, high: np.bincount(y[low:high]).argmax(),
        "all": lambda y, low, high: y[low:high],
        "next": lambda y, low, high: y[high + 2],
        "function": lambda y, low, high: y[low:high].max(),
    }[label]
    more = {"horizon": 3} if label == "next" else {}
    given = (lambda rows: rows.max(axis=1)) if label == "function" else label
    samples = store.samples.windows("2s", "1s", label=given, **more)
    expected = []
    for _, y, n_rows in study.values():
        n_seconds = n_rows // 2  # a row is half a second
        starts = range(0, n_rows - 4 - (label == "next") + 1, 2)
        expected += [of(y, 4 * start, 4 * start + 16) for start in starts]
        assert n_seconds
    np.testing.assert_array_equal(samples.load()[1], np.array(expected))
    for batch in samples.batches(5, seed=2):
        np.testing.assert_array_equal(batch.y, np.array(expected)[batch.sample_id])


def test_whole_recordings_are_padded_at_each_rate(tmp_path):
    rng = np.random.default_rng(0)
    study = series_study(rng, (8, 2), label_rate=8, ends=False)
    store = zarrts.convert(
        [
            zarrts.Recording(name, x | {"age": 30 + i}, y, rate_hz={"in0": 8, "in1": 2})
            for i, (name, (x, y, _)) in enumerate(study.items())
        ],
        tmp_path / "a.zarr",
        kind="ragged",
        **SMALL,
    )
    assert store.samples.sample_shape == {"age": (1,), "in0": (None, 1), "in1": (None, 2)}
    every = list(study.values())
    series, labels = store.samples.load()
    for number, (x, y, n_rows) in enumerate(every):
        np.testing.assert_array_equal(series["in0"][number], x["in0"][: 4 * n_rows])
        np.testing.assert_array_equal(series["in1"][number], x["in1"][:n_rows])
        np.testing.assert_array_equal(labels[number], y)
        assert series["age"][number].tolist() == [30 + number]
    for batch in store.samples.batches(3, pad="batch", pad_value=-7):
        longest = max(every[i][2] for i in batch.sample_id)
        for row, i in enumerate(batch.sample_id):
            x, y, n_rows = every[i]
            for name, rate in (("in0", 4), ("in1", 1)):
                own = n_rows * rate
                np.testing.assert_array_equal(batch.x[name][row, :own], x[name][:own])
                assert (batch.x[name][row, own:] == -7).all()
                assert batch.x[name].shape[1] == longest * rate
                assert batch.mask[name][row].tolist() == [True] * own + [False] * (
                    longest * rate - own
                )
            np.testing.assert_array_equal(batch.y[row, : 4 * n_rows], y)
            assert not batch.y[row, 4 * n_rows :].any()


def test_sequences_and_targets_that_are_values_of_one_input(tmp_path):
    rng = np.random.default_rng(0)
    study = series_study(rng, (8, 2), rows=(20, 40))
    store = zarrts.convert(
        [
            zarrts.Recording(name, x, y, rate_hz={"in0": 8, "in1": 2})
            for name, (x, y, _) in study.items()
        ],
        tmp_path / "a.zarr",
        kind="ragged",
        **SMALL,
    )
    joined_windows = store.samples.windows("1s").sequences(3)
    assert joined_windows.sample_shape == {"in0": (3, 8, 1), "in1": (3, 2, 2)}
    first = next(iter(study.values()))[0]
    np.testing.assert_array_equal(joined_windows[0][0]["in0"], first["in0"][:24].reshape(3, 8, 1))
    ahead = store.samples.windows("2s", "1s", target="x/in1", label="next")
    np.testing.assert_array_equal(ahead[0][1], first["in1"][4])
    chosen = list(ahead.batches(4, inputs=["in0"], shuffle=False))
    np.testing.assert_array_equal(chosen[0].y[0], first["in1"][4])
    assert chosen[0].x.keys() == {"in0"}
    with pytest.raises(
        zarrts.ZarrtsError, match=r"values of one input are the target, .* use 'x/in0', 'x/in1'"
    ):
        store.samples.windows("2s", target="x", label="next")


@pytest.fixture
def two_rates(tmp_path):
    rng = np.random.default_rng(5)
    study = series_study(rng, (8, 2), rows=(20, 40))
    store = zarrts.convert(
        [
            zarrts.Recording(name, x, y, rate_hz={"in0": 8, "in1": 2})
            for name, (x, y, _) in study.items()
        ],
        tmp_path / "a.zarr",
        kind="ragged",
        **SMALL,
    )
    return store, study


def test_a_time_that_is_no_whole_number_of_steps_names_the_nearest(two_rates):
    store, _ = two_rates
    shown = r"is not a whole number of steps of each input \(in0 at 8 Hz, in1 at 2 Hz.*'1\.5s'"
    with pytest.raises(zarrts.ZarrtsError, match=shown):
        store.samples.windows("1.4s")
    with pytest.raises(
        zarrts.ZarrtsError, match=r"counts rows, but each input has rows of its own .*give a time"
    ):
        store.samples.windows(16)
    with pytest.raises(zarrts.ZarrtsError, match="sampling_rate=2 is about the rows of one input"):
        store.samples.windows("2s", sampling_rate=2)


@pytest.mark.parametrize("stats", ["own", "subject", "sample", "some"])
@pytest.mark.parametrize("scale", ["standard", "minmax", "robust"])
def test_each_input_is_scaled_by_its_own_statistics(two_rates, stats, scale):
    store, _ = two_rates
    samples = store.samples.windows("2s", "2s")
    found = samples.stats()
    x, _ = samples.load()
    for name, values in x.items():
        flat = values.reshape(-1, values.shape[-1])
        np.testing.assert_allclose(found.mean[name], flat.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[name].std, flat.std(axis=0), rtol=1e-4)
        np.testing.assert_array_equal(found.min[name], flat.min(axis=0))
    given = {"own": found, "some": {"in1": found["in1"]}}.get(stats, stats)
    codes = np.array(samples.subject)
    for batch in samples.batches(5, stats=given, scale=scale):
        for name, values in batch.x.items():
            for row, i in zip(values, batch.sample_id, strict=True):
                part = x[name]
                if stats == "some" and name == "in0":
                    np.testing.assert_array_equal(row, x[name][i])
                    continue
                if stats == "subject":
                    part = part[codes == codes[i]]
                elif stats == "sample":
                    part = part[i : i + 1]
                flat = part.reshape(-1, part.shape[-1]).astype("f8")
                if scale == "standard":
                    wanted = (x[name][i] - flat.mean(axis=0)) / flat.std(axis=0)
                elif scale == "minmax":
                    wanted = (x[name][i] - flat.min(axis=0)) / np.ptp(flat, axis=0)
                else:
                    low, middle, high = np.quantile(flat, (0.25, 0.5, 0.75), axis=0)
                    wanted = (x[name][i] - middle) / (high - low)
                # Quantiles of many values are estimated.
                loose = 0.2 if scale == "robust" and stats != "sample" else 1e-4
                np.testing.assert_allclose(row, wanted, rtol=loose, atol=loose)


def test_names_of_both_sides_are_in_errors(two_rates):
    store, _ = two_rates
    samples = store.samples.windows("2s")
    for options in ({"stats": {"hr": "subject"}}, {"stats": "subject", "scale": {"hr": "minmax"}}):
        with pytest.raises(zarrts.ZarrtsError, match="names hr, but the inputs are in0, in1"):
            next(iter(samples.batches(4, **options)))
    with pytest.raises(zarrts.ZarrtsError, match=r"names hr, but the inputs of .* are: in0, in1"):
        next(iter(samples.batches(4, inputs=["hr"])))


def test_one_input_reads_nothing_of_the_others(two_rates, monkeypatch):
    store, _ = two_rates
    read = note_reads(monkeypatch)
    for batch in store.samples.windows("2s").batches(4, inputs=["in1"], label_mode=None):
        assert batch.x.keys() == {"in1"}
    assert {path for path, _ in read} == {"0/x/in1"}


def test_a_store_of_several_inputs_pickles_and_is_schema_2(two_rates):
    store, study = two_rates
    again = pickle.loads(pickle.dumps(store.samples.windows("2s")))
    one, _ = again[0]
    np.testing.assert_array_equal(one["in0"], next(iter(study.values()))[0]["in0"][:16])
    import json
    from pathlib import Path

    attributes = json.loads((Path(store.path) / "zarr.json").read_text())["attributes"]["zarrts"]
    assert (attributes["schema"], attributes["needs"]) == (2, ["inputs"])


def test_xarray_and_zarr_open_every_array(two_rates):
    import zarr

    store, study = two_rates
    group = zarr.open_group(store.path, mode="r")
    n_rows = sum(n for _, _, n in study.values())
    assert group["0/x/in0"].shape == (n_rows, 4, 1)
    assert group["0/x/in1"].shape == (n_rows, 2)
    first = next(iter(study.values()))
    np.testing.assert_array_equal(
        group["0/x/in0"][: first[2]].reshape(-1, 1), first[0]["in0"][: 4 * first[2]]
    )
    xarray = pytest.importorskip("xarray")
    with xarray.open_zarr(store.path, group="0/x") as opened:
        assert opened["in0"].dims == ("row", "time_of_in0", "channel_of_in0")
        assert opened["in1"].dims == ("row", "channel_of_in1")


@pytest.mark.parametrize(
    ("x", "rates", "words"),
    [
        ({"a": (80, 2), "b": (20, 1)}, None, "80 in a, 20 in b; say how many of each are a second"),
        (
            {"a": (80, 2), "b": (20, 1)},
            {"a": 8, "b": 1},
            "its inputs are not equally long: a 10 s, b 20 s",
        ),
        ({"a": (80,), "b": (20, 1), "d": (80, 1)}, {"b": 2, "d": 8, "a": 8}, None),
        (
            {"a": (3, 2), "b": (2, 1)},
            {"a": 100, "b": 63},
            "less than 1 s, the shortest time that is a whole number of steps of each input",
        ),
    ],
)
def test_inputs_that_are_not_of_one_timeline_are_refused(tmp_path, x, rates, words):
    arrays = {name: np.zeros(shape, "f4") for name, shape in x.items()}
    given = [zarrts.Recording("s1", arrays, 1, rate_hz=rates)]
    if words is None:
        store = zarrts.convert(given, tmp_path / "a.zarr", kind="ragged", **SMALL)
        assert store.sample_shape["a"] == (80,)  # a vector that does not change in time
        return
    with pytest.raises(zarrts.ZarrtsError, match=words):
        zarrts.convert(given, tmp_path / "a.zarr", kind="ragged", **SMALL)


def test_recordings_with_other_inputs_are_refused_by_name(tmp_path):
    given = [
        zarrts.Recording("s1", {"a": np.zeros((4, 3, 2)), "b": np.zeros((4, 2))}, np.arange(4)),
        zarrts.Recording("s2", {"a": np.zeros((4, 3, 2)), "d": np.zeros((4, 2))}, np.arange(4)),
    ]
    with pytest.raises(
        zarrts.ZarrtsError, match=r"a, d, but .* a, b; all recordings need the same inputs"
    ):
        zarrts.convert(given, tmp_path / "a.zarr", **SMALL)
    with pytest.raises(
        zarrts.ZarrtsError,
        match="4 in a, 3 in b, and 4 labels: its inputs have not as many samples each",
    ):
        x = {"a": np.zeros((4, 3, 2)), "b": np.zeros((3, 2))}
        zarrts.convert([zarrts.Recording("s1", x, np.arange(4))], tmp_path / "a.zarr", **SMALL)


def test_what_is_said_of_one_of_several_inputs_says_which(tmp_path):
    arrays = {"a": np.zeros((80, 2), "f4"), "b": np.zeros((20, 1), "f4")}
    rates = {"a": 8, "b": 2}
    labels = zarrts.Recording("s", arrays, np.arange(30) % 3, rate_hz=rates)
    with pytest.raises(zarrts.ZarrtsError, match="say how many labels are for a second"):
        zarrts.convert(labels, tmp_path / "a.zarr", kind="ragged", **SMALL)
    one = zarrts.Recording("s", arrays, 1, rate_hz=rates)
    with pytest.raises(zarrts.ZarrtsError, match="is one list, but there are several inputs: a, b"):
        zarrts.convert(one, tmp_path / "a.zarr", kind="ragged", channels=["p", "q"], **SMALL)


def test_a_scan_takes_what_is_said_of_each_input(tmp_path):
    arrays = {"a": np.zeros((8, 2), "f4"), "b": np.zeros((2, 1), "f4")}
    given = zarrts.Recording("s", arrays, 1, rate_hz={"a": 8, "b": 2})
    said = {"channels": {"a": ["p", "q"]}, "units": {"a": "uV", "b": "mV"}, "kind": "ragged"}
    of_scan = zarrts.convert(zarrts.scan(given, **said), tmp_path / "a.zarr", progress=False)
    at_once = zarrts.convert(given, tmp_path / "b.zarr", progress=False, **said)
    assert of_scan.channels == at_once.channels == {"a": ["p", "q"], "b": None}
    assert of_scan.units == at_once.units == {"a": ["uV", "uV"], "b": ["mV"]}


@pytest.mark.parametrize("label", ["first", "last", "all", "next", "function", "whole"])
def test_several_arrays_of_labels_that_are_faster_than_a_row(tmp_path, label):
    rng = np.random.default_rng(2)
    study = series_study(rng, (8, 2), label_rate=8, ends=False)
    texts = np.array(["down", "up"])
    of = {
        name: {"stage": y, "side": texts[y % 2], "pos": rng.normal(size=(len(y), 2)).astype("f4")}
        for name, (_, y, _) in study.items()
    }
    store = zarrts.convert(
        [
            zarrts.Recording(name, x, of[name], rate_hz={"in0": 8, "in1": 2, "y": 8})
            for name, (x, _, _) in study.items()
        ],
        tmp_path / "a.zarr",
        kind="ragged",
        **SMALL,
    )
    assert store.header.labels.parts["side"].class_names == ("down", "up")
    codes = {
        name: {it: np.searchsorted(texts, y) if it == "side" else y for it, y in one.items()}
        for name, one in of.items()
    }
    if label == "whole":
        _, found = store.samples.load()
        for one, wanted in zip(found, codes.values(), strict=True):
            for it, values in wanted.items():
                np.testing.assert_array_equal(one[it], values)
        assert zarrts.verify(store.path, deep=True).problems == ()
        zarrts.remove(store.path, subject="s1")
        _, found = zarrts.open(store.path).samples.load()
        np.testing.assert_array_equal(found[1]["pos"], of["s2"]["pos"])
        return
    pick = {
        "first": lambda y, low, high: y[low],
        "last": lambda y, low, high: y[high - 1],
        "all": lambda y, low, high: y[low:high],
        "next": lambda y, low, high: y[high + 2],
        "function": lambda y, low, high: y[low + 1],
    }[label]
    more = {"horizon": 3} if label == "next" else {}
    given = (lambda rows: rows[:, 1]) if label == "function" else label
    samples = store.samples.windows("2s", "1s", label=given, **more)
    wanted = {}
    for it in next(iter(codes.values())):
        wanted[it] = np.array(
            [
                pick(codes[name][it], 4 * start, 4 * start + 16)
                for name, (_, _, n_rows) in study.items()
                for start in range(0, n_rows - 4 - (label == "next") + 1, 2)
            ]
        )
    _, found = samples.load()
    assert found.keys() == wanted.keys()
    for it, values in wanted.items():
        np.testing.assert_array_equal(found[it], values)
    for batch in samples.batches(5, seed=2, label_mode="raw"):
        for it, values in wanted.items():
            np.testing.assert_array_equal(batch.y[it], values[batch.sample_id])
    label_of_one = samples[3][1]
    for it, values in wanted.items():
        np.testing.assert_array_equal(label_of_one[it], values[3])


def test_samples_of_several_inputs_are_dask_arrays_by_name(two_rates):
    store, study = two_rates
    xs = store.samples.to_dask()[0]
    for number, (x, _, n_rows) in enumerate(study.values()):
        for name, rate in (("in0", 4), ("in1", 1)):
            found = xs[number][name].compute(scheduler="sync")
            wanted = x[name][: rate * n_rows]
            np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
    windows = store.samples.windows("2s", "1s")
    expected, labels = windows.load()
    x, y = windows.to_dask()
    assert x.keys() == {"in0", "in1"}
    for name, values in x.items():
        np.testing.assert_array_equal(values.compute(scheduler="sync"), expected[name])
        assert values.mean().compute() == pytest.approx(expected[name].mean(), abs=1e-5)
    np.testing.assert_array_equal(y.compute(scheduler="sync"), labels)
    assert pickle.loads(pickle.dumps(x["in0"])).name == x["in0"].name != x["in1"].name


def test_quantiles_of_each_input_are_kept_and_read_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = {
        "acc": rng.normal(size=(40_000, 2)).astype("f4"),
        "steps": rng.integers(0, 1000, (5_000, 1)).astype("i4"),
        "age": np.array([30.0, 1.0]),
    }
    x["acc"][::7, 1] = np.nan
    rates = {"acc": 8, "steps": 1}
    store = zarrts.convert(
        [
            zarrts.Recording("a", x, 1, rate_hz=rates),
            zarrts.Recording("b", {**x, "acc": x["acc"][::-1]}, 1, rate_hz=rates),
        ],
        tmp_path / "a.zarr",
        kind="ragged",
        progress=False,
        workers=3,
        chunk="4KiB",
        shard="64KiB",
    )
    with zarrts.open(store.path) as again, monkeypatch.context() as patched:
        read = note_reads(patched)
        stats = again.samples.stats()
        found = {name: stats[name].quantile([0.1, 0.5, 0.9]) for name in x}
        assert read == []
    for name in ("acc", "steps"):
        for channel in range(x[name].shape[1]):
            values = np.sort(x[name][:, channel][~np.isnan(x[name][:, channel])])
            ranks = np.searchsorted(values, found[name][:, channel]) / len(values)
            # Of 512 values that were drawn: one in a thousand is wrong by more than 0.09.
            np.testing.assert_allclose(ranks, [0.1, 0.5, 0.9], atol=0.09)
    np.testing.assert_array_equal(found["age"], np.tile([30.0, 1.0], (3, 1)))
