"""Statistics of any selection are NumPy's of the same values, in float64."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.stats.sketches import condense, places

FEW = settings(deadline=None, max_examples=25)
CHANNELS = 3
LENGTHS = (40, 7, 1, 90, 23, 64)
OWNERS = ("a", "a", "b", "c", "c", "d")


def values(rng, n, *shape, offset):
    """Channels of unlike sizes, one far away from 0, one with NaN, and subjects that differ."""
    sizes = np.array([1, 1e-3, 500])
    x = (rng.standard_normal((n, *shape, CHANNELS)) + rng.normal()) * sizes
    x += [offset, 0, -offset]
    x[rng.random(x.shape) < 0.02 * (np.arange(CHANNELS) == 1)] = np.nan
    return x


def make(folder, offset, dtype, kind):
    rng = np.random.default_rng(0)
    shape = (5,) if kind == "dense" else ()
    x = [values(rng, n, *shape, offset=offset).astype(dtype) for n in LENGTHS]
    labels = [np.arange(n) % 2 if kind == "dense" else np.int64(n % 2) for n in LENGTHS]
    store = zarrts.convert(
        [zarrts.Recording(*it) for it in zip(OWNERS, x, labels, strict=True)],
        folder / f"{kind}-{dtype}.zarr",
        kind=kind,
        dtype="keep",
        chunk=800,
        shard=3200,
        progress=False,
    )
    return store, x


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    store, x = make(tmp_path_factory.mktemp("dense"), 1e8, "float64", "dense")
    with store:
        yield store, np.concatenate(x)


@pytest.fixture(scope="module", params=["float64", "float32"])
def ragged(tmp_path_factory, request):
    offset = 1e8 if request.param == "float64" else 1e4
    store, x = make(tmp_path_factory.mktemp("ragged"), offset, request.param, "ragged")
    with store:
        yield store, x


def assert_stats_of(stats, x):
    """Compare with NumPy's, in extended precision, to 1e-10."""
    x = x.reshape(-1, CHANNELS)
    assert stats.nan_count.tolist() == np.isnan(x).sum(axis=0).tolist()
    for channel in range(CHANNELS):
        kept = x[:, channel][~np.isnan(x[:, channel])].astype(np.longdouble)
        assert stats.count[channel] == len(kept)
        if len(kept):
            assert abs(stats.mean[channel] / kept.mean() - 1) < 1e-10
            assert abs(stats.std[channel] - kept.std()) <= 1e-10 * kept.std()
            assert stats.min[channel] == kept.min()
            assert stats.max[channel] == kept.max()


@FEW
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.01, 0.3, 0.9]), whole=st.booleans())
def test_statistics_of_any_samples_are_numpys(dense, seed, share, whole):
    store, x = dense
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(len(x)) < share)
    chosen = chosen if len(chosen) else np.array([0])
    if whole:  # some recordings all of them, others in part
        chosen = np.union1d(chosen, np.arange(sum(LENGTHS[:3]), sum(LENGTHS[:5])))
    assert_stats_of(store.samples.select(ids=chosen).stats(), x[chosen])


def test_statistics_of_subjects_are_numpys(dense):
    store, x = dense
    subject = np.repeat(OWNERS, LENGTHS)
    for train, test in store.samples.folds():
        assert_stats_of(train.stats(), x[np.isin(subject, train.subjects)])
        assert_stats_of(test.stats(), x[np.isin(subject, test.subjects)])


@pytest.mark.filterwarnings("ignore:.* too short for a window")
@FEW
@given(
    length=st.integers(1, 60),
    stride=st.integers(1, 70),
    rate=st.integers(1, 7),
    reverse=st.booleans(),
    share=st.sampled_from([0.2, 1.0]),
)
def test_a_row_counts_as_often_as_it_is_in_windows(ragged, length, stride, rate, reverse, share):
    store, x = ragged
    windows = store.samples.windows(length, stride, rate, reverse=reverse)
    expected = np.stack(
        [
            it[start : start + length : rate]
            for it in x
            for start in range(0, len(it) - length + 1, stride)
        ]
    )
    chosen = np.flatnonzero(np.random.default_rng(length).random(len(expected)) < share)
    if len(chosen):
        assert_stats_of(windows.select(ids=chosen).stats(), expected[chosen])


@pytest.mark.filterwarnings("ignore:.* too short for a window")
def test_statistics_are_the_same_in_another_process(ragged):
    store, _ = ragged
    for samples in (store.samples, store.samples.windows(5, 9)):
        stats = samples.stats()
        copy = pickle.loads(pickle.dumps(stats))
        assert np.array_equal(copy.mean, stats.mean)
        assert np.array_equal(copy.quantile([0.1, 0.5]), stats.quantile([0.1, 0.5]))


@pytest.mark.filterwarnings("ignore:.* too short for a window")
def test_rows_that_are_only_targets_are_not_counted(ragged):
    store, x = ragged
    windows = store.samples.windows(4, 9, label="next", horizon=3, target="x")
    expected = [it[at : at + 4] for it in x for at in range(0, len(it) - 6, 9)]
    assert_stats_of(windows.stats(), np.stack(expected))


# Quantiles


def rank_error(x, found, share):
    """Return how far the rank of a value is from the share that it stands for."""
    x = np.sort(x[~np.isnan(x)])
    low, high = (
        np.searchsorted(x, found, "left") / len(x),
        np.searchsorted(x, found, "right") / len(x),
    )
    return max(0, low - share, share - high)


def long_recordings(lengths=(70_000, 300, 20_000), dtype="float32"):
    rng = np.random.default_rng(0)
    x = [rng.gamma(2.0, 1 + i, (n, 2)).cumsum(axis=1) + 3 * i for i, n in enumerate(lengths)]
    x[0][:100, 0] = np.nan
    return [it.astype(dtype) for it in x]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    x = long_recordings()
    made = []
    for shard, workers in ((16_000, 1), (400_000, 2)):  # cut into many parts, and into few
        path = tmp_path_factory.mktemp("long") / "a.zarr"
        recordings = [zarrts.Recording(name, it, 0) for name, it in zip("abc", x, strict=True)]
        options = {"chunk": 8000, "shard": shard, "workers": workers, "progress": False}
        made.append(zarrts.convert(recordings, path, kind="ragged", **options))
    yield made, x
    for store in made:
        store.close()


def test_sketches_do_not_depend_on_how_the_work_was_cut(long):
    (one, other), _ = long
    for a, b in zip(one.catalog._tables, other.catalog._tables, strict=True):
        np.testing.assert_array_equal(a.sketch, b.sketch)


SHARES = (0.01, 0.25, 0.5, 0.75, 0.99)


@pytest.mark.parametrize("names", ["a", "b", "c", "abc"])
def test_quantiles_of_recordings_are_as_exact_as_promised_without_reading(long, names, monkeypatch):
    (store, _), x = long
    monkeypatch.setattr(
        "zarrts.reading.sample_statistics.sketch_samples", lambda *it: pytest.fail("read")
    )
    stats = store.samples.select(subjects=list(names)).stats()
    rows = np.concatenate([x["abc".index(name)] for name in names])
    for share, found in zip(SHARES, stats.quantile(SHARES), strict=True):
        for channel in range(2):
            assert rank_error(rows[:, channel], found[channel], share) <= 0.03 + 1 / 256
    np.testing.assert_array_equal(stats.median, stats.quantile(0.5))
    low, high = stats.quantile([0.25, 0.75])
    np.testing.assert_array_equal(stats.iqr, high - low)


@pytest.mark.parametrize("windowed", [False, True])
def test_quantiles_of_other_samples_and_older_stores_come_from_a_pass(long, windowed, monkeypatch):
    (store, _), x = long
    monkeypatch.setattr("zarrts.storage.catalog.Catalog.sketch", lambda *it: None)
    samples = store.samples.windows(200, 100) if windowed else store.samples
    cut = [it[at : at + 200] for it in x for at in range(0, len(it) - 199, 100)]
    rows = np.concatenate(cut if windowed else x)
    for share, found in zip(SHARES, samples.stats().quantile(SHARES), strict=True):
        for channel in range(2):
            assert rank_error(rows[:, channel], found[channel], share) <= 0.03
    with pytest.raises(zarrts.SampleError, match="between 0 and 1"):
        samples.stats().quantile(2)


@FEW
@given(
    n=st.integers(1, 300),
    points=st.sampled_from([1, 16, 50]),
    nan_share=st.sampled_from([0, 0.5, 1]),
    dtype=st.sampled_from(["float32", "int16", "bool"]),
)
def test_points_are_evenly_spaced_in_rank(n, points, nan_share, dtype):
    rng = np.random.default_rng(n)
    x = (rng.normal(size=(n, 2)) * 50).astype(dtype)
    if dtype == "float32":
        x[rng.random(x.shape) < nan_share] = np.nan
    found = condense(x, points)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(condense(found, points), found)
    for channel in range(2):
        kept = x[:, channel].astype(float)
        if not np.isnan(kept).all():
            for k, value in enumerate(found[:, channel].astype(float)):
                assert rank_error(kept, value, (k + 0.5) / points) <= 1 / points


@FEW
@given(low=st.integers(0, 500), n=st.integers(0, 500), step=st.integers(1, 90))
def test_one_value_of_each_run_is_drawn_wherever_the_work_is_cut(low, n, step):
    every = places(0, 1200, step)
    assert (every // step).tolist() == list(range(len(every)))
    assert places(low, low + n, step).tolist() == [it for it in every if low <= it < low + n]


def test_a_store_without_sketches_is_read_for_quantiles(tmp_path, monkeypatch):
    monkeypatch.setattr("zarrts.stats.sketches._MOST_VALUES", 16)  # too few for one recording
    x = np.random.default_rng(0).normal(size=(50, 20, 2))
    recording = zarrts.Recording("a", x, np.zeros(50))
    with zarrts.convert(recording, tmp_path / "a.zarr", progress=False) as store:
        assert store.catalog.sketch(np.array([0])) is None
        expected = np.quantile(x.reshape(-1, 2), 0.5, axis=0)
        np.testing.assert_allclose(store.samples.stats().median, expected, atol=5e-3)
