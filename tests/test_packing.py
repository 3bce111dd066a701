"""A store of 16-bit counts gives what the same store of float32 gives, bit by bit."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packed_studies import recordings_of

import zarrts
from zarrts.errors import SampleError
from zarrts.loops import library

SIZES: dict[str, Any] = {"chunk": 1200, "shard": 4800, "progress": False}
SCALES = ("standard", "minmax", "robust")


@pytest.fixture(params=["compiled", "NumPy"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "NumPy":
        monkeypatch.setattr(library, "choice", lambda: library.Choice(reason="a test"))
    elif library.choice().compiled is None:
        pytest.skip(f"loops: {library.describe()}")
    return str(request.param)


def both(folder: Path, recordings: Any, **options: Any) -> tuple[zarrts.Store, zarrts.Store]:
    """Return a store of counts and one of values, of the same recordings."""
    options = {**SIZES, **options}
    packed = zarrts.convert(recordings, folder / "packed.zarr", **options)
    plain = zarrts.convert(recordings, folder / "plain.zarr", pack=False, **options)
    assert packed.header.segments[0].x.dtype == np.int16
    assert plain.header.segments[0].x.dtype == np.float32
    return packed, plain


def same_bits(one: Any, other: Any) -> None:
    """Compare bits; but -0.0, which no count stands for, is 0.0."""
    assert one.dtype == other.dtype and one.shape == other.shape
    if one.dtype.kind == "f":
        other = other + other.dtype.type(0)
        assert np.array_equal(np.isnan(one), np.isnan(other))
        one, other = (np.nan_to_num(it, nan=0.0) for it in (one, other))
    assert one.tobytes() == other.tobytes()


def same_batches(one: zarrts.Samples, other: zarrts.Samples, **options: Any) -> None:
    # Fewer bytes are open, so that the order is another: both are sorted by their ids.
    def sorted_batches(samples: zarrts.Samples) -> tuple[Any, ...]:
        found = list(samples.batches(13, **options))
        ids = np.concatenate([it.sample_id for it in found])
        order = np.argsort(ids, kind="stable")
        parts = [np.concatenate([it.x for it in found]), np.concatenate([it.y for it in found])]
        return ids[order], *(it[order] for it in parts)

    for left, right in zip(sorted_batches(one), sorted_batches(other), strict=True):
        same_bits(left, right)


# Values --------------------------------------------------------------------------------------


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(["dense", "ragged"]),
    n_channels=st.integers(1, 5),
    has_nan=st.booleans(),
    steps_away=st.sampled_from([0, 7, 1000]),
    chunk=st.sampled_from([100, 1200, 100_000]),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([None, "float16", "float64", "int32"]),
    shuffle=st.sampled_from([True, False, "global"]),
)
def test_counts_read_as_the_values_that_were_converted(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    n_channels: int,
    has_nan: bool,
    steps_away: int,
    chunk: int,
    seed: int,
    dtype: str | None,
    shuffle: Any,
) -> None:
    recordings = recordings_of(
        kind, n_channels=n_channels, seed=seed, has_nan=has_nan, steps_away=steps_away
    )
    folder = tmp_path_factory.mktemp("p")
    sizes = {"chunk": chunk, "shard": 4 * chunk, "progress": False, "kind": kind}
    packed = zarrts.convert(recordings, folder / "packed.zarr", **sizes)
    assert packed.header.segments[0].x.packed is not None
    plain = zarrts.convert(recordings, folder / "plain.zarr", pack=False, **sizes)
    assert packed.dtype == plain.dtype == np.float32
    assert packed.sample_shape == plain.sample_shape
    one, other = packed.samples, plain.samples
    values = np.concatenate([np.asarray(it.x) for it in recordings])
    if kind == "dense":
        same_bits(one.load()[0], values)
        same_bits(one[3][0], values[3])
    else:
        same_bits(np.concatenate(one.load()[0]), values)
        one, other = (it.windows(7, stride=3) for it in (one, other))
        same_bits(one[2][0], values[6:13])
    for samples in (one, other):
        assert len(samples) > 20
    nan = {"nan": "keep"} if has_nan and dtype != "int32" else {"nan": "fill"}
    if has_nan and dtype == "int32":
        return  # there is no NaN among integers
    same_batches(one, other, shuffle=shuffle, dtype=dtype, **nan)


@pytest.mark.parametrize("kind", ["dense", "ragged"])
def test_both_paths_of_the_loops_give_the_same(tmp_path: Path, mode: str, kind: str) -> None:
    packed, plain = both(tmp_path, recordings_of(kind, has_nan=True), kind=kind)
    one, other = packed.samples, plain.samples
    if kind == "ragged":
        one, other = one.windows(9, stride=2), other.windows(9, stride=2)
    same_batches(one, other, nan="fill")
    same_batches(one, other, nan="keep")


def test_unequal_lengths_are_padded_alike(tmp_path: Path) -> None:
    packed, plain = both(tmp_path, recordings_of("ragged", n_recordings=5), kind="ragged")
    for options in ({"pad": "longest"}, {"pad": 40, "pad_value": -7.0, "truncate": "pre"}):
        same_batches(packed.samples, plain.samples, **options)


def test_windows_of_every_second_row_and_targets_that_are_values(tmp_path: Path) -> None:
    packed, plain = both(tmp_path, recordings_of("ragged"), kind="ragged")
    for options in (
        {"sampling_rate": 2},
        {"target": "x", "label": "next", "horizon": 2},
        {"target": "x", "label": "last", "channels": [2, 0]},
    ):
        one, other = (it.samples.windows(6, stride=4, **options) for it in (packed, plain))
        same_batches(one, other)
        same_batches(one, other, dtype="float64")


def test_a_batch_by_itself_is_that_of_the_stream(tmp_path: Path) -> None:
    packed, _ = both(tmp_path, recordings_of("ragged", has_nan=True), kind="ragged")
    samples = packed.samples.windows(6, stride=4, sampling_rate=2)
    for options in (
        {"nan": "fill"},
        {"nan": "fill", "stats": samples.stats()},
        {"nan": "fill", "stats": "subject", "scale": "minmax"},
        {"nan": "fill", "stats": "sample"},
    ):
        with zarrts.ZarrSequence(samples, batch_size=11, shuffle=False, **options) as seq:
            streamed = list(samples.batches(11, shuffle=False, **options))
            for number, batch in enumerate(streamed):
                same_bits(np.asarray(seq[number][0]), batch.x)


def test_a_store_is_pickled_and_reopened(tmp_path: Path) -> None:
    packed, plain = both(tmp_path, recordings_of("dense"))
    with pickle.loads(pickle.dumps(packed)) as again:
        same_bits(again.samples.load()[0], plain.samples.load()[0])


def test_more_chunks_of_counts_are_open_in_the_same_memory(tmp_path: Path) -> None:
    from zarrts.loading.loader import EpochLoader
    from zarrts.loading.options import BatchOptions

    packed, plain = both(tmp_path, recordings_of("dense", n_recordings=6))
    memory = 40_000
    slots = [
        EpochLoader(it.samples.selection, BatchOptions(batch_size=4, memory=memory)).plan.slots
        for it in (packed, plain)
    ]
    assert slots[0] > 1.7 * slots[1]  # labels take as much of both


# Scaled ----------------------------------------------------------------------------------------


def exact(values: Any, shift: Any, spread: Any) -> Any:
    return (values.astype(np.longdouble) - shift) / spread


def assert_within_two_roundings(found: Any, wanted: Any) -> None:
    limit = 2 * np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    assert (np.abs(found - wanted) <= np.maximum(limit, 1e-30)).all()


@pytest.mark.parametrize("steps_away", [0, 20_000])
@pytest.mark.parametrize("scale", SCALES)
def test_scaled_values_are_within_two_roundings(
    tmp_path: Path, mode: str, scale: str, steps_away: int
) -> None:
    recordings = recordings_of("dense", n_channels=2, steps_away=steps_away)
    packed, _ = both(tmp_path, recordings)
    gains = packed.readers.tables.packing("")
    samples, counts = packed.samples, packed.readers.inputs[0].held[0]
    parts = []
    for chunk in range(counts.spec.n_chunks):
        some = np.empty(counts.spec.chunk_shape, np.int16)
        counts.read_into(chunk, some)
        parts.append(some[: counts.spec.rows_of(chunk)])
    raw = np.concatenate(parts)
    owner = np.repeat(np.arange(3), [len(it.x) for it in recordings])
    gain, offset = (
        it[owner][:, None, :].astype(np.longdouble) for it in (gains.gain, gains.offset)
    )
    values = raw * gain + offset
    stats = samples.stats()
    low, middle, high = stats.quantile([0.25, 0.5, 0.75])
    shift, spread = {
        "standard": (stats.mean, stats.std),
        "minmax": (stats.min, stats.max - stats.min),
        "robust": (middle, high - low),
    }[scale]
    [batch] = samples.batches(len(samples), shuffle=False, stats=stats, scale=scale)
    assert_within_two_roundings(batch.x, exact(values, shift, spread))

    [batch] = samples.batches(len(samples), shuffle=False, stats="sample", scale="standard")
    own = values.astype(np.float64)
    wanted = (own - own.mean(axis=1, keepdims=True)) / own.std(axis=1, keepdims=True)
    np.testing.assert_allclose(batch.x, wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_each_subject_is_scaled_by_its_own_statistics(tmp_path: Path, scale: str) -> None:
    packed, plain = both(tmp_path, recordings_of("dense", has_nan=True))
    batches = [
        next(iter(it.samples.batches(500, shuffle=False, stats="subject", scale=scale, nan="fill")))
        for it in (packed, plain)
    ]
    np.testing.assert_allclose(batches[0].x, batches[1].x, rtol=1e-5, atol=1e-5)


def test_statistics_are_those_of_the_values(tmp_path: Path) -> None:
    packed, plain = both(tmp_path, recordings_of("dense", has_nan=True, steps_away=100))
    one, other = packed.samples.stats(), plain.samples.stats()
    for name in ("count", "min", "max", "nan_count"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-7)
    np.testing.assert_allclose(one.std, other.std, rtol=1e-6)
    np.testing.assert_allclose(one.median, other.median, rtol=1e-6)


def test_nan_is_refused_as_ever(tmp_path: Path) -> None:
    packed, _ = both(tmp_path, recordings_of("dense", has_nan=True))
    with pytest.raises(SampleError, match="x is NaN in channel"):
        packed.samples.batches(8)
