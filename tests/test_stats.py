"""Statistics of any selection are NumPy's of the same values, in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts

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
def test_rows_that_are_only_targets_are_not_counted(ragged):
    store, x = ragged
    windows = store.samples.windows(4, 9, label="next", horizon=3, target="x")
    expected = [it[at : at + 4] for it in x for at in range(0, len(it) - 6, 9)]
    assert_stats_of(windows.stats(), np.stack(expected))
