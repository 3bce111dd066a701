"""Statistics in one pass and in parts, against NumPy's over everything at once."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.stats.count_moments import CountMoments, of_values
from zarrts.stats.moments import STATISTICS, Moments, MomentsList, merge_all, pool, pool_by
from zarrts.storage.journal import WrittenTask, merged_moments

QUICK = settings(deadline=None, max_examples=60)


def expect(moments, values, rtol):
    """Compare with NumPy's of the same values, in extended precision where there is any."""
    rows = np.asarray(values).reshape(-1, values.shape[-1])
    numbers = rows.astype(np.longdouble)
    is_nan = np.isnan(numbers)
    assert moments.count.tolist() == (~is_nan).sum(axis=0).tolist()
    assert moments.nan_count.tolist() == is_nan.sum(axis=0).tolist()
    for channel in range(0, rows.shape[1], max(1, rows.shape[1] // 50)):
        kept = numbers[~is_nan[:, channel], channel]
        got = {name: getattr(moments, name)[channel] for name in ("mean", "std", "min", "max")}
        if len(kept) == 0:
            assert got == {"mean": 0, "std": 0, "min": np.inf, "max": -np.inf}
            continue
        assert got["min"] == kept.min()
        assert got["max"] == kept.max()
        scale = max(abs(kept).max(), 1e-300)
        assert abs(got["mean"] - kept.mean()) <= rtol * scale * 1e-3
        assert got["std"] == pytest.approx(float(kept.std()), rel=rtol, abs=1e-300)


@pytest.mark.parametrize("offset", [0, 1e8, -1e8])
@pytest.mark.parametrize("shape", [(7, 1), (5000, 6, 3), (300_000, 2), (40, 5000), (33, 100, 6)])
def test_large_offsets_cost_no_digits(offset, shape):
    values = np.random.default_rng(0).standard_normal(shape) + offset
    expect(Moments.of(values), values, rtol=1e-12)


@pytest.mark.parametrize("offset", [30, 250, 350, 5000])  # in deviations
@pytest.mark.parametrize("shape", [(300_000, 2), (65, 1000), (64, 128, 32)])
def test_means_some_deviations_from_0_cost_hardly_a_digit(offset, shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    values[..., -1] += offset
    expect(Moments.of(values), values, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16", "int64"])
def test_every_dtype_is_summed_in_float64(dtype):
    values = np.random.default_rng(0).integers(0, 120, (30_000, 4)).astype(dtype)
    expect(Moments.of(values), values, rtol=1e-12)


def test_booleans_are_zeros_and_ones():
    values = np.random.default_rng(0).random((1000, 2)) < 0.3
    expect(Moments.of(values), values.astype(int), rtol=1e-12)


@QUICK
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    offset=st.sampled_from([0.0, 1e8]),
    nan_share=st.sampled_from([0, 0, 0.3]),
    channels=st.integers(1, 4),
)
def test_any_partition_merges_to_the_whole(seed, n, cuts, offset, nan_share, channels):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, 2, channels)) * rng.uniform(0.5, 100) + offset
    values[rng.random(values.shape) < nan_share] = np.nan
    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [Moments.of(values[a:b]) for a, b in pairwise(edges)]
    expect(merge_all(parts), values, rtol=1e-11)
    expect(merge_all(parts[::-1]), values, rtol=1e-11)
    expect(pool(Moments.stack([Moments.empty(channels), *parts])), values, rtol=1e-11)


def test_entries_of_a_group_are_pooled_as_they_would_be_alone():
    rng = np.random.default_rng(0)
    groups = np.array([2, 0, 2, 1, 0, 2, 3])
    values = [rng.standard_normal((n, 3)) + 1e6 for n in (5, 1, 8, 3, 2, 9, 4)]
    found = pool_by(Moments.stack([Moments.of(it) for it in values]), groups)
    for group in range(4):
        own = np.concatenate([it for it, of in zip(values, groups, strict=True) if of == group])
        expect(found.row(group), own, rtol=1e-10)
    assert all(getattr(found, name).shape == (4, 3) for name in STATISTICS)


def test_nan_are_counted_and_left_out():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200_000, 3)) + 1e6
    values[::7, 0] = np.nan
    values[:, 1] = np.nan
    expect(Moments.of(values), values, rtol=1e-10)


def test_a_channel_with_infinities_has_no_mean_and_spoils_no_other():
    values = np.random.default_rng(0).standard_normal((300_000, 3))
    values[[5, 200_000], 0] = np.inf, -np.inf
    values[9, 1] = np.inf
    found = Moments.of(values).merge(Moments.of(values[:10]))
    assert not np.isfinite(found.mean[:2]).any()
    assert np.isnan(found.std[:2]).all()
    assert found.max[:2].tolist() == [np.inf, np.inf]
    both = np.concatenate([values[:, 2], values[:10, 2]])
    assert found.std[2] == pytest.approx(both.std(), rel=1e-12)


@pytest.mark.parametrize("value", [0.1, 1e-20, 1e8 + 1 / 3, 12345.678, 0, -7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_numbers_deviate_by_exactly_nothing(value, dtype):
    values = np.full((100_000, 2), value, dtype)
    merged = merge_all([Moments.of(values[:17]), Moments.of(values[17:])])
    for found in (Moments.of(values), merged):
        assert found.std.tolist() == [0, 0]
        assert found.mean == pytest.approx(float(values[0, 0]), rel=1e-15)


def test_the_statistics_of_nothing_change_nothing():
    values = np.random.default_rng(0).standard_normal((50, 3))
    found = Moments.empty(3).merge(Moments.of(values)).merge(Moments.of(values[:0]))
    expect(found, values, rtol=1e-12)
    assert Moments.empty(2).std.tolist() == [0, 0]


def test_stack_and_row_are_inverse():
    values = np.random.default_rng(0).standard_normal((3, 20, 2))
    stacked = Moments.stack([Moments.of(it) for it in values])
    assert stacked.mean.shape == (3, 2)
    for i, it in enumerate(values):
        expect(stacked.row(i), it, rtol=1e-12)


def test_the_values_are_not_changed():
    values = np.random.default_rng(0).standard_normal((500, 3))
    before = values.copy()
    Moments.of(values)
    assert np.array_equal(values, before)


def test_parts_of_recordings_are_merged_whoever_wrote_them():
    rng = np.random.default_rng(3)
    rows = rng.normal(3, 2, (40, 3))
    rows[7, 1] = np.nan
    spans = [[(0, 0, 5)], [(0, 5, 12), (1, 12, 13), (3, 13, 20)], [(3, 20, 33), (4, 33, 40)]]
    tasks = []
    for shard, some in enumerate(spans):
        collected = MomentsList()
        for _, start, stop in some:
            collected.append(Moments.of(rows[start:stop]))
        numbers = np.array([number for number, _, _ in some], np.int64)
        tasks.append(
            WrittenTask(shard=shard, files=(), recordings=numbers, moments=collected.stacked())
        )
    found = merged_moments(tasks, 6, 3)
    for number, (start, stop) in enumerate([(0, 12), (12, 13), (0, 0), (13, 33), (33, 40), (0, 0)]):
        own = rows[start:stop]
        np.testing.assert_array_equal(found.count[number], (~np.isnan(own)).sum(axis=0))
        if stop > start:
            np.testing.assert_allclose(found.mean[number], np.nanmean(own, axis=0))
            np.testing.assert_allclose(found.std[number], np.nanstd(own, axis=0))
            np.testing.assert_array_equal(found.max[number], np.nanmax(own, axis=0))
    assert merged_moments([], 2, 3).count.tolist() == [[0] * 3] * 2


def test_many_entries_are_collected_in_their_order():
    collected = MomentsList()
    for number in range(2500):
        collected.append(Moments.of(np.full((2, 1), float(number))))
    assert collected.stacked().mean[:, 0].tolist() == list(range(2500))


def measure_counts(counts, missing=None):
    measured = CountMoments(counts.shape[-1], missing)
    measured.add(counts)
    return measured.moments()


@QUICK
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 700),
    channels=st.sampled_from([1, 2, 32, 2500]),
    middle=st.sampled_from([0, 32_700, -32_000]),
    missing=st.sampled_from([None, -(1 << 15), 32_701]),
)
def test_statistics_of_counts_are_exact(seed, n, channels, middle, missing):
    rng = np.random.default_rng(seed)
    n = min(n, 20_000 // channels)
    counts = (middle + rng.integers(-60, 61, (n, channels))).astype(np.int16)
    found = measure_counts(counts, missing)
    for channel in range(0, channels, 97):
        kept = [it for it in counts[:, channel].tolist() if it != missing]
        assert (found.count[channel], found.nan_count[channel]) == (len(kept), n - len(kept))
        if kept:
            mean = Fraction(sum(kept), len(kept))
            m2 = sum((it - mean) ** 2 for it in kept)
            assert (found.min[channel], found.max[channel]) == (min(kept), max(kept))
            got = Fraction(found.mean[channel]) + Fraction(found.mean_rest[channel])
            assert abs(got - mean) <= Fraction(1, 10**16)
            assert abs(Fraction(found.m2[channel]) - m2) <= m2 * Fraction(2, 10**16)
        else:
            assert (found.min[channel], found.max[channel]) == (np.inf, -np.inf)
            assert found.mean[channel] == found.m2[channel] == 0


@pytest.mark.parametrize("most_rows", [50, 333, 1 << 22])
def test_counts_that_come_in_parts_are_measured_as_one(monkeypatch, most_rows):
    """Also where there are more than are added before sums are rounded."""
    monkeypatch.setattr("zarrts.stats.count_moments._MOST_ROWS", most_rows)
    counts = np.random.default_rng(1).integers(31_000, 32_000, (999, 3)).astype(np.int16)
    counts[::7, 1] = -(1 << 15)
    measured = CountMoments(3, -(1 << 15))
    for start in range(0, 999, 37):
        measured.add(counts[start : start + 37])
    found = measured.moments()
    expected = Moments.of(np.where(counts == -(1 << 15), np.nan, counts))
    for name in ("count", "nan_count", "min", "max"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-14)
    np.testing.assert_allclose(found.m2, expected.m2, rtol=1e-10)


def test_statistics_of_counts_become_those_of_values():
    rng = np.random.default_rng(0)
    gain, offset = np.array([0.1, -0.25, 3e-7]), np.array([0.0, 1e4, -7.0])
    counts = rng.integers(-3000, 3000, (50_000, 3)).astype(np.int16)
    counts[rng.random(counts.shape) < 0.01] = -(1 << 15)
    x = (counts * gain + offset).astype(np.float32)
    x[counts == -(1 << 15)] = np.nan
    parts = [measure_counts(it, -(1 << 15)) for it in (counts[:777], counts[777:])]
    found = of_values(merge_all(parts), gain, offset)
    expected = Moments.of(x)
    for name in ("count", "nan_count", "min", "max"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-7)
    np.testing.assert_allclose(found.std, expected.std, rtol=1e-6)
    nothing = of_values(measure_counts(counts[:0]), gain, offset)
    np.testing.assert_array_equal(nothing.min, np.inf)
    assert not nothing.std.any()
