"""The compiled loops and NumPy give the same bits, and what they give is right."""

import contextlib
import itertools
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.loops import library, own_scaling
from zarrts.loops.gathering import Affine, Gathering, Shifted, wide_dtype
from zarrts.loops.own_scaling import OwnScaling
from zarrts.loops.packing import MISSING, pack, scaled_unpacking, unpacking
from zarrts.loops.permuting import permute
from zarrts.loops.resampling import weighted_sums
from zarrts.loops.sums import count_sums, deviation_sums, number_sums, plain_sums
from zarrts.loops.votes import majority
from zarrts.stats.moments import STATISTICS, Moments, measure

MANY = settings(deadline=None, max_examples=150)
FEW = settings(deadline=None, max_examples=40)
FLOATS = ("f4", "f8")
NUMBERS = (*FLOATS, "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
OTHERS = ("f2", ">f4", ">i2", "?")
SEEDS = st.integers(0, 10**6)

needs_library = pytest.mark.skipif(
    library.choice().compiled is None, reason=f"loops: {library.describe()}"
)


@contextlib.contextmanager
def in_numpy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "choice", lambda: library.Choice(reason="a test"))
        yield


@contextlib.contextmanager
def in_narrow_loops():
    """Let the library use what every processor has."""
    compiled = library.choice().compiled
    compiled.use_wide(False)
    try:
        yield
    finally:
        compiled.use_wide(True)


def both(function, *args, **options):
    """Return what a function gives with the library, for whatever processor, and in NumPy."""
    found = function(*args, **options)
    if library.choice().compiled is not None:
        with in_narrow_loops():
            narrow = function(*args, **options)
        for one, other in zip(arrays_in(found), arrays_in(narrow), strict=True):
            assert_same_bits(one, other)
    with in_numpy():
        return found, function(*args, **options)


def arrays_in(found):
    """Return the arrays and numbers among what a function gave."""
    parts = found if isinstance(found, tuple) else (found,)
    return [it for it in parts if isinstance(it, np.ndarray | int | float)]


def assert_same_bits(found, expected):
    """NaN may have any sign and payload."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.dtype.kind == "f":
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        found, expected = (
            np.where(np.isnan(it), 0, it).astype(it.dtype) for it in (found, expected)
        )
    np.testing.assert_array_equal(
        np.ascontiguousarray(found).view(np.uint8), np.ascontiguousarray(expected).view(np.uint8)
    )


def values(rng, shape, dtype, kind):
    """Return values of a kind: of any size, close together and far from 0, tiny, or with gaps."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iub":
        ends = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if kind == "any" or dtype.kind == "b":
            return rng.integers(*ends, shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(
                dtype
            )
        return rng.integers(0, 100, shape).astype(dtype)
    found = rng.standard_normal(shape)
    if kind == "any":
        found *= 10.0 ** rng.uniform(-30, 30 if dtype.itemsize > 2 else 3, shape)
    elif kind == "far":
        found += rng.choice([-1, 1]) * 10.0 ** rng.uniform(0, 8 if dtype.itemsize > 2 else 3)
    elif kind == "tiny":
        found *= np.finfo(dtype).smallest_subnormal * 50
    elif kind == "alike":
        found[...] = found.ravel()[0] if found.size else 0
    elif kind in ("nan", "infinite"):
        found[rng.random(shape) < rng.choice([0.01, 0.5, 1])] = np.nan
        if kind == "infinite":
            found[rng.random(shape) < 0.02] = np.inf
            found[rng.random(shape) < 0.02] = -np.inf
    found[rng.random(shape) < 0.02] = -0.0
    with np.errstate(over="ignore"):
        return found.astype(dtype)


KINDS = st.sampled_from(["any", "near", "far", "tiny", "alike", "nan", "infinite"])


def arranged(array, how):
    """Return the same values in memory that the library cannot take as it is, or can."""
    if how == "strided":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if how == "unaligned":
        memory = np.zeros(array.nbytes + 1, np.uint8)
        shifted = memory[1:].view(array.dtype).reshape(array.shape)
        shifted[...] = array
        return shifted
    if how == "foreign":
        return array.astype(array.dtype.newbyteorder(">"))
    found = np.asfortranarray(array) if how == "fortran" else array.copy()
    found.setflags(write=how != "read-only")
    return found


ARRANGED = st.sampled_from(
    ["plain", "plain", "strided", "unaligned", "foreign", "fortran", "read-only"]
)


# Statistics


@needs_library
@MANY
@given(
    seed=SEEDS,
    n=st.integers(1, 300),
    lanes=st.sampled_from([1, 2, 3, 7, 64, 511, 513, 1100]),
    dtype=st.sampled_from(NUMBERS),
    kind=KINDS,
    how=ARRANGED,
)
def test_sums_have_the_same_bits(seed, n, lanes, dtype, kind, how):
    rng = np.random.default_rng(seed)
    rows = arranged(values(rng, (n, lanes), dtype, kind), how)
    found, expected = both(plain_sums, rows)
    if not np.isnan(expected.total).any():
        assert_same_bits(found.low + rows.dtype.type(0), expected.low + rows.dtype.type(0))
        assert_same_bits(found.high + rows.dtype.type(0), expected.high + rows.dtype.type(0))
    assert_same_bits(found.total, expected.total)
    assert_same_bits(found.squares, expected.squares)
    base, shift = rows[0].astype(np.float64), rng.standard_normal(lanes)
    for found, expected in zip(*both(deviation_sums, rows, base, shift), strict=True):
        assert_same_bits(found, expected)
    if rows.dtype.kind == "f":
        found, expected = both(number_sums, rows, np.nan_to_num(base, posinf=1, neginf=1))
        for name in ("total", "squares", "count"):
            assert_same_bits(getattr(found, name), getattr(expected, name))
        for name in ("low", "high"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@needs_library
@MANY
@given(
    seed=SEEDS,
    n=st.integers(1, 3000),
    shape=st.sampled_from([(1,), (2,), (3,), (32,), (5, 6), (2500,)]),
    dtype=st.sampled_from(NUMBERS + OTHERS),
    kind=KINDS,
    how=ARRANGED,
)
def test_statistics_have_the_same_bits(seed, n, shape, dtype, kind, how):
    n = min(n, 20_000 // shape[-1])
    samples = arranged(values(np.random.default_rng(seed), (n, *shape), dtype, kind), how)
    with np.errstate(all="ignore"):
        found, expected = both(measure, samples)
    for name in STATISTICS:
        assert_same_bits(getattr(found, name), getattr(expected, name))


@FEW
@given(seed=SEEDS, n=st.integers(1, 70), lanes=st.integers(2, 5), dtype=st.sampled_from(NUMBERS))
def test_sums_run_down_the_rows(seed, n, lanes, dtype):
    rows = values(np.random.default_rng(seed), (n, lanes), dtype, "near")
    total, squares = [0.0] * lanes, [0.0] * lanes
    for row in rows.tolist():
        total = [a + b for a, b in zip(total, row, strict=True)]
        squares = [a + float(b) * float(b) for a, b in zip(squares, row, strict=True)]
    found = plain_sums(rows)
    assert found.total.tolist() == total
    assert found.squares.tolist() == squares
    assert found.low.tolist() == rows.min(axis=0).tolist()
    assert found.high.tolist() == rows.max(axis=0).tolist()


@FEW
@given(
    seed=SEEDS,
    n=st.integers(1, 400),
    lanes=st.sampled_from([1, 3, 600]),
    missing=st.sampled_from([None, MISSING, 5]),
    how=ARRANGED,
)
def test_sums_of_counts_are_exact(seed, n, lanes, missing, how):
    rng = np.random.default_rng(seed)
    counts = rng.choice([-(1 << 15), (1 << 15) - 1, 5, 0, -7], (n, lanes)).astype(np.int16)
    for found in both(count_sums, arranged(counts, how), missing):
        for lane in range(0, lanes, 97):
            kept = [it for it in counts[:, lane].tolist() if it != missing]
            assert found.total[lane] == sum(kept)
            assert found.squares[lane] == sum(it * it for it in kept)
            assert found.n_missing[lane] == n - len(kept)
            assert found.low[lane] == min(kept, default=(1 << 15) - 1)
            assert found.high[lane] == max(kept, default=-(1 << 15))


# Gather, scale and convert


def tables_of(rng, source, dtype, kind, n_tables, n_channels):
    shape = (n_tables, n_channels)
    if kind == "affine":
        return Affine(
            rng.integers(-9, 9, shape).astype("f8"),
            rng.uniform(0.1, 9, shape),
            rng.normal(size=shape),
        )
    if kind == "linear":
        wide = wide_dtype(source, dtype)
        return Shifted(
            rng.normal(size=shape).astype(wide), rng.uniform(0.1, 9, shape).astype(dtype)
        )
    return None


@needs_library
@MANY
@given(
    seed=SEEDS,
    row_shape=st.sampled_from([(), (1,), (3,), (2, 3), (7, 5), (40, 8), (1, 700)]),
    length=st.sampled_from([1, 1, 2, 5, 33]),
    n_runs=st.integers(0, 9),
    source=st.sampled_from((*NUMBERS, "f2")),
    dtype=st.sampled_from(FLOATS),
    kind=st.sampled_from(["copy", "affine", "linear"]),
    values_are=KINDS,
    fills=st.booleans(),
    n_tables=st.sampled_from([1, 4]),
    how=ARRANGED,
)
def test_gathered_values_have_the_same_bits(
    seed, row_shape, length, n_runs, source, dtype, kind, values_are, fills, n_tables, how
):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    memory = values(rng, (50, *row_shape) if row_shape else (50, 1), source, values_are)
    memory = arranged(memory, how)
    n_channels = memory.shape[-1]
    change = tables_of(rng, memory.dtype, dtype, kind, n_tables, n_channels)
    fill = rng.normal(size=(n_tables if change else 1, n_channels)) if fills else None
    missing = 5 if memory.dtype.newbyteorder("=") == np.int16 and seed % 2 else None
    gathering = Gathering(
        dtype=dtype, n_channels=n_channels, change=change, fill=fill, missing=missing
    )
    starts = rng.integers(0, 51 - length, n_runs)
    tables = rng.integers(0, n_tables, n_runs) if change is not None and n_tables > 1 else None

    def gathered():
        out = np.full((n_runs, length, *memory.shape[1:]), 77, dtype)
        gathering.into(memory, starts, length, out, tables)
        return out

    found, expected = both(gathered)
    assert_same_bits(found, expected)
    # Naively, one run after the other.
    with np.errstate(all="ignore"):
        for run, start in enumerate(starts):
            rows = memory[start : start + length]
            table = 0 if tables is None else tables[run]
            if kind == "affine":
                turned = (rows.astype("f8") - change.origin[table]) * change.gain[table]
                turned = (turned + change.offset[table]).astype(dtype)
            elif kind == "linear":
                turned = (rows - change.shift[table]).astype(dtype) * change.scale[table]
            else:
                turned = rows.astype(dtype)
            if missing is not None:
                turned = np.where(rows == missing, np.nan if fill is None else fill[table], turned)
            elif fills:
                turned = np.where(np.isnan(turned), fill[table], turned)
            assert_same_bits(found[run], turned.astype(dtype))


@FEW
@given(
    seed=SEEDS,
    dtype=st.sampled_from(["f4", "f8"]),
    kind=st.sampled_from(["affine", "linear"]),
    channels=st.sampled_from([1, 3, 900]),
    how=ARRANGED,
)
def test_rows_may_be_scaled_in_place(seed, dtype, kind, channels, how):
    if how == "read-only":
        how = "plain"
    rng = np.random.default_rng(seed)
    rows = values(rng, (6, 5, channels), dtype, "nan")
    change = tables_of(rng, rows.dtype, rows.dtype, kind, 3, channels)
    gathering = Gathering(
        dtype=rows.dtype, n_channels=channels, change=change, fill=np.ones((3, channels))
    )
    tables = rng.integers(0, 3, 6)
    expected = np.empty(rows.shape, dtype)
    gathering.rows_into(rows, expected, tables)

    def in_place():
        own = arranged(rows, how)
        gathering.rows_into(own, own, tables)
        return own.astype(dtype)

    for found in both(in_place):
        assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", ["int16", "bool", "float16", "float64", ">f4"])
def test_rows_are_copied_in_any_dtype(dtype):
    memory = values(np.random.default_rng(0), (9, 4), dtype, "any")
    starts = np.array([7, 0, 3, 3])

    def gathered():
        out = np.empty((4, 2, 4), dtype)
        Gathering(dtype=np.dtype(dtype), n_channels=4).into(memory, starts, 2, out)
        return out

    for found in both(gathered):
        assert_same_bits(found, np.stack([memory[at : at + 2] for at in starts]).astype(dtype))


def test_what_is_not_there_is_refused_and_nothing_is_written():
    memory = np.ones((10, 3), "f4")
    change = Affine(*(np.ones((2, 3)) for _ in range(3)))
    gathering = Gathering(dtype=np.dtype("f4"), n_channels=3, change=change)
    own = OwnScaling(scale="standard", n_channels=3, dtype=np.dtype("f4"))

    def refused(starts, tables, kept):
        out = np.full((2, 4, 3), 7, "f4")
        with pytest.raises(IndexError):
            gathering.into(memory, starts, 4, out, tables)
        if tables.tolist() == [0, 1]:
            with pytest.raises(IndexError):
                own.into(memory, starts, 4, out, kept)
        assert (out == 7).all()

    for starts, tables in itertools.product(
        ([0, 6], [-1, 0], [0, 7], [0, 2**62]), ([0, 1], [0, 2], [-1, 0])
    ):
        if (starts, tables) != ([0, 6], [0, 1]):
            both(refused, np.array(starts), np.array(tables), None)
    both(refused, np.array([0, 6]), np.array([0, 2]), np.array([4, 4]))
    with pytest.raises(ValueError, match="2 x 4 rows of 3 into"):
        gathering.into(memory, np.array([0, 1]), 4, np.empty((2, 3, 3), "f4"))
    with pytest.raises(ValueError, match="parameters of shapes"):
        Gathering(dtype=np.dtype("f4"), n_channels=2, change=change).rows_into(
            np.ones((2, 2), "f4"), np.empty((2, 2), "f4")
        )


# Each run by its own statistics


@needs_library
@MANY
@given(
    seed=SEEDS,
    row_shape=st.sampled_from(
        [(1,), (3,), (90, 1), (128, 32), (7, 5), (300, 3), (2, 70), (1, 600)]
    ),
    length=st.sampled_from([1, 1, 2, 65]),
    source=st.sampled_from((*NUMBERS, "f2")),
    dtype=st.sampled_from(FLOATS),
    scale=st.sampled_from(["standard", "minmax"]),
    kind=KINDS,
    fills=st.booleans(),
    is_padded=st.booleans(),
    how=ARRANGED,
    block=st.sampled_from([1, 1 << 10, 1 << 17]),
)
def test_runs_scaled_by_their_own_have_the_same_bits(
    seed, row_shape, length, source, dtype, scale, kind, fills, is_padded, how, block
):
    rng = np.random.default_rng(seed)
    memory = arranged(values(rng, (70, *row_shape), source, kind), how)
    starts = rng.integers(0, 71 - length, 4)
    n_steps = length * int(np.prod(row_shape[:-1]))
    kept = rng.integers(1, n_steps + 1, 4) if is_padded else None
    scaling = OwnScaling(
        scale=scale, n_channels=row_shape[-1], dtype=np.dtype(dtype), has_nan=True, fills=fills
    )

    def scaled():
        out = np.full((4, length, *row_shape), 77, dtype)
        scaling.into(memory, starts, length, out, kept)
        return out

    with mock.patch.object(own_scaling, "_BLOCK_VALUES", block):  # long runs are many pieces
        found, expected = both(scaled)
    assert_same_bits(found, expected)


@FEW
@given(
    seed=SEEDS,
    channels=st.sampled_from([1, 3, 32]),
    steps=st.sampled_from([1, 2, 50, 300]),
    scale=st.sampled_from(["standard", "minmax"]),
    offset=st.sampled_from([0, 1e3, 1e7]),
    nan_share=st.sampled_from([0, 0.3, 1]),
    dtype=st.sampled_from(["f4", "i2"]),
)
def test_runs_are_scaled_by_their_own_statistics(
    seed, channels, steps, scale, offset, nan_share, dtype
):
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(3, steps, channels)) * 30 + min(offset, 1e4)).astype(dtype)
    if dtype == "f4":
        rows = (rng.normal(size=(3, steps, channels)) * 30 + offset).astype("f4")
        rows[rng.random(rows.shape) < nan_share] = np.nan
    scaling = OwnScaling(
        scale=scale, n_channels=channels, dtype=np.dtype("f4"), has_nan=True, fills=True
    )

    def scaled():
        out = np.empty(rows.shape, "f4")
        scaling.rows_into(rows, out)
        return out

    for found, of in zip(both(scaled), (rows.astype(np.longdouble),) * 2, strict=True):
        for run, channel in itertools.product(range(3), range(channels)):
            numbers = of[run, :, channel]
            kept = numbers[~np.isnan(numbers)]
            if len(kept) == 0:
                assert (found[run, :, channel] == 0).all()
                continue
            shift = kept.mean() if scale == "standard" else kept.min()
            spread = kept.std() if scale == "standard" else np.ptp(kept)
            spread = spread if np.ptp(kept) > 0 else 1
            filled = np.where(np.isnan(numbers), kept.mean(), numbers)
            expected = (filled - shift) / spread
            np.testing.assert_allclose(
                found[run, :, channel], expected.astype("f8"), rtol=2e-7, atol=1e-7
            )


# Pack and unpack


def grids(rng, n_channels):
    gain = rng.choice([0.1, 2**-7, 0.0625, 1 / 3, 0.488281, 1e-6, -0.25, 12.5], n_channels)
    return gain, rng.choice([0, 0, 1, -100.5], n_channels) * np.abs(gain) * 7


@needs_library
@MANY
@given(
    seed=SEEDS,
    n=st.integers(0, 500),
    channels=st.sampled_from([1, 3, 32, 200]),
    n_wrong=st.sampled_from([0, 0, 1, 3]),
    missing=st.sampled_from([None, MISSING]),
    tolerance=st.sampled_from([0.0, 1e-3]),
    how=ARRANGED,
)
def test_packed_values_have_the_same_counts(seed, n, channels, n_wrong, missing, tolerance, how):
    rng = np.random.default_rng(seed)
    gain, offset = grids(rng, channels)
    counts = rng.integers(-(1 << 15) + 1, 1 << 15, (n, channels))
    x = (counts * gain + offset).astype("f4")
    for _ in range(n_wrong if x.size else 0):
        x.ravel()[rng.integers(x.size)] = rng.choice(
            [np.nan, np.inf, -np.inf, 1e30, x.ravel()[0] * 1.01 + 0.003, -0.0, 1e-42]
        )
    if how == "foreign":
        how = "plain"
    x = arranged(x, how)

    def packed():
        counts, unfit = pack(x, gain, offset, tolerance=tolerance, missing=missing)
        return counts.ravel()[:unfit], unfit

    (found, at), (expected, other) = both(packed)
    assert at == other
    np.testing.assert_array_equal(found, expected)
    with np.errstate(invalid="ignore"):
        gains, offsets = (np.resize(it, x.size)[: len(found)] for it in (gain, offset))
        back, given = (found * gains + offsets).astype("f4").astype("f8"), x.ravel()[: len(found)]
        fits = (np.abs(back - given) <= tolerance) | (np.isnan(given) & (missing is not None))
    assert fits.all()
    if n_wrong == 0:
        assert at is None


@pytest.mark.parametrize("missing", [None, MISSING])
def test_the_first_value_off_the_grid_is_named(missing):
    x = (np.arange(3000).reshape(1000, 3) % 200 * 0.5).astype("f4")
    x[801, 2], x[400, 1], x[7, 0] = 0.3, 1e9, np.nan
    for unfit in both(lambda: pack(x, np.full(3, 0.5), np.zeros(3), missing=missing)[1]):
        assert unfit == (7 * 3 if missing is None else 400 * 3 + 1)


def test_the_count_of_nan_is_given_to_no_value():
    x = np.array([[-(1 << 15)], [np.nan]], "f4")
    for options, expected in (({}, 1), ({"missing": MISSING}, 0)):
        for unfit in both(lambda it=options: pack(x, np.ones(1), np.zeros(1), **it)[1]):
            assert unfit == expected


@needs_library
@MANY
@given(
    seed=SEEDS,
    channels=st.sampled_from([1, 3, 19, 32, 130]),
    length=st.integers(1, 40),
    n_runs=st.integers(1, 12),
    missing=st.sampled_from([None, MISSING]),
)
def test_counts_are_unpacked_alike_on_every_processor(seed, channels, length, n_runs, missing):
    rng = np.random.default_rng(seed)
    gain, offset = grids(rng, channels)
    counts = rng.integers(-(1 << 15), 1 << 15, (60, channels)).astype("i2")
    starts = rng.integers(0, 61 - length, n_runs)

    def unpacked():
        out = np.empty((n_runs, length, channels), "f4")
        change = unpacking(gain, offset, dtype=out.dtype, missing=missing)
        change.into(counts, starts, length, out)
        return out

    found, expected = both(unpacked)
    assert_same_bits(found, expected)
    rows = counts[starts[:, None] + np.arange(length)]
    naive = (rows * gain + offset).astype("f4")
    assert_same_bits(found, np.where(rows == missing, np.float32(np.nan), naive))


@FEW
@given(seed=SEEDS, n=st.integers(1, 60), channels=st.sampled_from([1, 3, 40]))
def test_unpacked_values_are_those_that_were_packed(seed, n, channels):
    rng = np.random.default_rng(seed)
    gain, offset = grids(rng, channels)
    x = (rng.integers(-32767, 32768, (n, channels)) * gain + offset).astype("f4")
    x[rng.random(x.shape) < 0.1] = np.nan
    counts, unfit = pack(x, gain, offset, missing=MISSING)
    assert unfit is None

    def unpacked():
        out = np.empty(x.shape, "f4")
        unpacking(gain, offset, dtype=out.dtype, missing=MISSING).rows_into(counts, out)
        return out

    for found in both(unpacked):
        assert_same_bits(found, x)


@FEW
@given(
    seed=SEEDS,
    far=st.sampled_from([0.0, 1e4, 1e9]),
    middle=st.sampled_from([0, 20_000, -32_000]),
)
def test_scaled_counts_are_within_two_roundings_of_the_exact_value(seed, far, middle):
    rng = np.random.default_rng(seed)
    gain, offset = rng.uniform(0.1, 2, 3), rng.uniform(-1, 1, 3) * far
    counts = (middle + rng.integers(-9, 10, (40, 3))).astype(np.int16)
    exact = [
        [
            Fraction(int(k)) * Fraction(g) + Fraction(o)
            for k, g, o in zip(row, gain, offset, strict=True)
        ]
        for row in counts
    ]
    shift = np.array([float(sum(column) / 40) for column in zip(*exact, strict=True)])
    spread = rng.uniform(1, 5, 3)

    def scaled():
        out = np.empty(counts.shape, "f4")
        scaled_unpacking(gain, offset, shift, spread, dtype=out.dtype).rows_into(counts, out)
        return out

    for found in both(scaled):
        for row, wanted in zip(found, exact, strict=True):
            for value, x, s, d in zip(row, wanted, shift, spread, strict=True):
                true = (x - Fraction(s)) / Fraction(d)
                assert abs(Fraction(float(value)) - true) <= 2 * Fraction(
                    float(np.spacing(np.float32(abs(float(true)))))
                )


# Labels


@MANY
@given(
    seed=SEEDS,
    shape=st.sampled_from([(0, 5), (1, 1), (6, 9), (3, 4, 7), (40, 200)]),
    dtype=st.sampled_from(["i1", "u1", "i2", "u2", "i4", "i8", "u8", "?", ">i4"]),
    n_codes=st.sampled_from([1, 2, 5, 100]),
    lowest=st.sampled_from([0, 0, -1, 10**6]),
    missing=st.sampled_from([(), (0,), (2, 0), (1, 3, 4)]),
    min_labelled=st.sampled_from([0, 0.5, 0.9]),
    how=ARRANGED,
)
def test_the_most_frequent_label_wins(
    seed, shape, dtype, n_codes, lowest, missing, min_labelled, how
):
    dtype = np.dtype(dtype)
    if dtype.kind == "u" or dtype.itemsize < 4:
        lowest = 0
    codes = lowest + np.random.default_rng(seed).integers(0, n_codes, shape)
    labels = arranged(codes.astype(dtype), how)
    n_labels = shape[-1]
    for found in both(majority, labels, missing, min_labelled):
        assert (found.dtype, found.shape) == (labels.dtype, shape[:-1])
        for row, winner in zip(labels.reshape(-1, n_labels), found.ravel(), strict=True):
            kept = [it for it in row.tolist() if it not in missing]
            if missing and (not kept or len(kept) < min_labelled * n_labels):
                assert winner == np.array(missing[0]).astype(dtype)
            else:
                assert winner == min(kept, key=lambda it, kept=kept: (-kept.count(it), it))


def test_labels_far_apart_are_counted_too():
    labels = np.array([[5, -(2**62), 2**62, 2**62], [1, 1, 0, 0]])
    for found in both(majority, labels):
        assert found.tolist() == [2**62, 0]


# Permutations


@MANY
@given(
    seed=SEEDS,
    sizes=st.lists(st.sampled_from([1, 2, 3, 64, 65, 10**6, 2**32 + 1, 2**52]), max_size=40),
)
def test_permutations_are_the_same(seed, sizes):
    rng = np.random.default_rng(seed)
    sizes = np.array(sizes, np.int64)
    index = (rng.random(len(sizes)) * sizes).astype(np.int64)
    keys = rng.integers(0, 2**64, len(sizes), np.uint64)
    found, expected = both(permute, index, sizes, keys)
    assert_same_bits(found, expected)
    assert ((found >= 0) & (found < sizes)).all()


# Which of both is used


class Library:
    def __init__(self, abi):
        self.ABI = abi


def absent():
    raise ImportError("no file")


def test_the_library_is_used_where_it_is_there():
    assert library.choose("", lambda: Library(library.ABI)).compiled is not None
    assert library.choose("0", lambda: Library(library.ABI)).compiled is None
    found = library.choose("1", absent)
    assert found.compiled is None
    assert "not there (no file); where a C compiler is, install again: python -m" in found.reason


def test_a_stale_library_is_not_used_and_that_is_said():
    stale = library.ABI - 1
    with pytest.warns(RuntimeWarning, match=rf"runs on NumPy: .* number {stale} and not"):
        found = library.choose("", lambda: Library(stale))
    assert found.compiled is None
    with pytest.raises(library.ZarrtsError, match=f"require: .* number {stale} .*build it again"):
        library.choose("require", lambda: Library(stale))


def test_a_library_that_is_required_has_to_be_there():
    with pytest.raises(library.ZarrtsError, match="require: the compiled library is not there"):
        library.choose("require", absent)
    with pytest.raises(library.ZarrtsError, match="'yes' is unknown; use 0, 1 or require"):
        library.choose("yes", absent)


def test_what_is_used_is_said():
    assert library.describe() == "compiled" or library.describe().startswith("NumPy: ")
    with in_numpy():
        assert library.describe() == "NumPy: a test"
        assert library.compiled_for(np.zeros(3)) is None


@needs_library
@pytest.mark.parametrize(
    ("how", "taken"),
    [("plain", True), ("read-only", True), ("strided", False), ("foreign", False)],
)
def test_the_library_gets_only_memory_that_it_can_read(how, taken):
    array = arranged(np.zeros((4, 6), "i4"), how)
    assert (library.compiled_for(array) is not None) == taken
    assert library.compiled_for(array, np.zeros(2, "c8")) is None


@needs_library
def test_memory_that_is_too_small_is_refused():
    loops = library.choice().compiled
    rows, wide, narrow = np.zeros((4, 6)), np.zeros(6), np.zeros(5)
    good = (1, rows, 4, 6, wide.copy(), wide.copy(), wide.copy(), wide.copy())
    loops.plain_sums(*good)
    for at, wrong in [(0, 10), (0, -1), (2, 5), (2, 1 << 62), (3, 7), (4, narrow), (7, narrow)]:
        changed = list(good)
        changed[at] = wrong
        with pytest.raises(ValueError, match="another size, type or alignment"):
            loops.plain_sums(*changed)
    with pytest.raises(ValueError, match="another size, type or alignment"):
        loops.pack(np.zeros(3, "f4"), np.zeros(2, "i2"), 3, 1, wide, wide, wide, 0.0, 1 << 15)
    weights, firsts = np.zeros((2, 3)), np.array([0, 3])
    with pytest.raises(IndexError):  # rows 3 to 5 of 4
        loops.weighted_sums(rows, 4, 6, weights, 2, 3, firsts * 0, firsts, 2, np.zeros((2, 6)))
    with pytest.raises(IndexError):
        loops.weighted_sums(rows, 4, 6, weights, 2, 3, firsts, firsts * 0, 2, np.zeros((2, 6)))
    with pytest.raises(ValueError, match="another size, type or alignment"):
        loops.weighted_sums(rows, 4, 6, weights, 2, 3, firsts * 0, firsts * 0, 2, np.zeros(6))
    numbers, sizes = np.array([2, 5], "u8"), np.array([3, 5], "u8")
    with pytest.raises(IndexError):  # 5 is not below 5
        loops.permute(numbers, sizes, sizes, 2)
    assert numbers.tolist() == [2, 5]
    with pytest.raises(ValueError, match="another size, type or alignment"):
        loops.permute(numbers, sizes, sizes, 3)
    with pytest.raises(IndexError):
        few, one = np.zeros(5, "i4"), np.zeros(1, "i4")
        loops.vote(4, np.array([0, 9], "i2"), 1, 2, 0, 5, few, few, np.zeros(1, "i2"), one)


@MANY
@given(
    seed=SEEDS,
    n=st.integers(0, 60),
    lanes=st.integers(1, 35),
    n_weights=st.integers(1, 40),
    n_branches=st.integers(1, 5),
)
@needs_library
def test_weighted_sums_have_the_same_bits(seed, n, lanes, n_weights, n_branches):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1e3, (n_weights + 50, lanes))
    weights = rng.normal(size=(n_branches, n_weights))
    branches, firsts = rng.integers(0, n_branches, n), rng.integers(0, 51, n)
    found, expected = both(weighted_sums, rows, weights, branches, firsts)
    assert_same_bits(found, expected)
    for i in range(min(n, 5)):
        one_by_one = np.zeros(lanes)
        for k in range(n_weights):
            one_by_one += weights[branches[i], k] * rows[firsts[i] + k]
        assert_same_bits(found[i], one_by_one)


# What stores keep


SUMMED_BEFORE = [
    (500, 3, "f4", 0, "0x1.2b4dc628b2b02p+4", "0x1.c7ae2e684d01dp+15"),
    (500, 3, "f4", 50000.0, "0x1.86c569b53f7cfp+15", "0x1.c7afc43caf1a9p+15"),
    (40, 1, "f8", 0, "0x1.27587e7c06e1ap+4", "0x1.2ac757ffbb482p+12"),
    (40, 1, "f8", 10000000.0, "0x1.312d24eb0fcf8p+23", "0x1.2ac757ffc10b4p+12"),
    (3001, 1, "f4", 0, "0x1.2b208b4f2c877p+4", "0x1.5651128407264p+18"),
    (3001, 32, "f4", 3, "0x1.5b2e921198194p+4", "0x1.5628703b5fe89p+18"),
    (3001, 32, "i2", 3, "0x1.d4190eeda8d18p+10", "0x1.a1ac4a51e3d98p+31"),
    (900, 2, "i4", 70000, "0x1.18bccb17e4b18p+16", "0x1.f4d9217c7b2a7p+29"),
    (700, 3, "f4", np.nan, "0x1.2a487360006d4p+4", "0x1.122c5234410e9p+16"),
]


@pytest.mark.parametrize(("n", "channels", "dtype", "far", "mean", "m2"), SUMMED_BEFORE)
def test_statistics_have_the_bits_that_stores_have_had(n, channels, dtype, far, mean, m2):
    x = (np.arange(n * channels) * 7919 % 1009 * 0.0371).reshape(n, channels)
    x *= 1 if dtype[0] == "f" else 100
    if np.isnan(far):
        x[::7, -1] = np.nan
    else:
        x += far
    for found in both(Moments.of, x.astype(dtype)):
        assert (found.mean[-1].hex(), found.m2[-1].hex()) == (mean, m2)
