"""Scaling by statistics of all, of each subject and of each sample, and what becomes of NaN."""

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts import SampleError
from zarrts.indexing.cuts import Fit
from zarrts.keras.sequence import ZarrSequence
from zarrts.reading.sample_statistics import scaling_of
from zarrts.stats.scaling import LinearScaler, SampleScaler, Scaling
from zarrts.stats.statistics import Linear

FEW = settings(deadline=None, max_examples=25)
SIZES = (23, 9, 1, 17)
OWNERS = ("ann", "ben", "ben", "cy")
SUBJECT = np.repeat(OWNERS, SIZES)
SHAPE = (12, 3)
SCALES = ("standard", "minmax", "robust")
ROUNDING = {"rtol": 1e-4, "atol": 2e-5}


def numbers(rng, n, *shape):
    """Subjects that differ, one channel constant."""
    x = rng.standard_normal((n, *shape)) * rng.uniform(1, 9, 3) + rng.normal(size=3) * 20
    x[..., 2] = 7.25
    return x.astype(np.float32)


def naive(x, scale, of, axes):
    """Scale as a user with everything in memory would, NaN left out; `of` gives the statistics."""
    of = of.astype(np.float64)
    if scale == "standard":
        shift, spread = np.nanmean(of, axes, keepdims=True), np.nanstd(of, axes, keepdims=True)
    elif scale == "minmax":
        shift = np.nanmin(of, axes, keepdims=True)
        spread = np.nanmax(of, axes, keepdims=True) - shift
    else:
        low, shift, high = np.nanquantile(of, [0.25, 0.5, 0.75], axes, keepdims=True)
        spread = high - low
    return (x - shift) / np.where(spread > 1e-6, spread, 1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = [numbers(rng, n, *SHAPE) for n in SIZES]
    recordings = [
        zarrts.Recording(name, it, np.arange(len(it)) % 2)
        for name, it in zip(OWNERS, x, strict=True)
    ]
    path = tmp_path_factory.mktemp("scaling") / "a.zarr"
    with zarrts.convert(recordings, path, chunk=2000, shard=8000, progress=False) as store:
        yield store, np.concatenate(x)


def assert_scaled(samples, expected, **options):
    """Compare every batch, in the stream and alone, shuffled and in order."""
    for shuffle in (False, True):
        with samples.batches(7, shuffle=shuffle, memory="1MiB", **options) as batches:
            seen = []
            for batch in batches:
                np.testing.assert_allclose(batch.x, expected[batch.sample_id], **ROUNDING)
                seen += batch.sample_id.tolist()
            assert sorted(seen) == samples.ids.tolist()


# Of all, of subjects, of samples


@pytest.mark.parametrize("scale", SCALES[:2])
def test_all_samples_are_scaled_by_the_statistics_given(study, scale):
    store, x = study
    train, test = store.samples.split(test=["ben"])
    expected = naive(x, scale, x[SUBJECT != "ben"], (0, 1))
    for part in (train, test):
        assert_scaled(part, expected, stats=train.stats(), scale=scale)


@FEW
@given(seed=st.integers(0, 1000), scale=st.sampled_from(SCALES[:2]))
def test_each_subject_is_scaled_by_its_own_samples(study, seed, scale):
    store, x = study
    chosen = np.flatnonzero(np.random.default_rng(seed).random(len(x)) < 0.7)
    expected = np.full(x.shape, np.nan)
    for name in set(SUBJECT[chosen]):
        own = chosen[SUBJECT[chosen] == name]
        expected[own] = naive(x[own], scale, x[own], (0, 1))
    assert_scaled(store.samples.select(ids=chosen), expected, stats="subject", scale=scale)


@pytest.mark.parametrize("scale", SCALES)
def test_each_sample_is_scaled_by_its_own_values(study, scale):
    store, x = study
    expected = np.stack([naive(it, scale, it, 0) for it in x])
    assert_scaled(store.samples, expected, stats="sample", scale=scale)


def test_a_subject_that_is_known_stays_as_it_was_trained(study):
    store, x = study
    train = store.samples.select(ids=np.flatnonzero(SUBJECT == "ann")[:10])
    rest = store.samples.select(ids=np.flatnonzero(SUBJECT != "ben")[10:])
    with ZarrSequence(train, 4, stats="subject") as seq, seq.like(rest) as other:
        found = np.concatenate([other[i][0] for i in range(len(other))])
    new = x[SUBJECT == "cy"]
    expected = [naive(x[10:23], "standard", x[:10], (0, 1)), naive(new, "standard", new, (0, 1))]
    np.testing.assert_allclose(found, np.concatenate(expected), **ROUNDING)


def test_a_name_in_another_store_is_somebody_else(study, tmp_path):
    store, _ = study
    other = numbers(np.random.default_rng(5), 8, *SHAPE)
    recording = zarrts.Recording("ann", other, np.arange(8) % 2)
    with (
        zarrts.convert(recording, tmp_path / "b.zarr", progress=False) as new,
        ZarrSequence(store, 4, stats="subject") as seq,
        seq.like(new) as treated,
    ):
        found = np.concatenate([treated[i][0] for i in range(len(treated))])
    np.testing.assert_allclose(found, naive(other, "standard", other, (0, 1)), **ROUNDING)


def test_what_cannot_be_scaled_is_refused(study):
    store, _ = study
    for options, message in (
        ({"stats": "subjects"}, "stats='subjects' is unknown"),
        ({"scale": "minmax"}, "scale='minmax' needs numbers: give stats="),
        ({"stats": "subject", "scale": "max"}, "scale='max' is unknown"),
        ({"stats": "sample", "dtype": "int16"}, "needs a float dtype, not int16"),
        ({"nan": "drop"}, "nan='drop' is unknown; use 'error', 'keep' or 'fill'"),
    ):
        with pytest.raises(SampleError, match=message):
            store.samples.batches(4, **options)


# Series of unequal lengths, and windows


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    rng = np.random.default_rng(1)
    x = [numbers(rng, n, 3) for n in (30, 12, 9, 40, 21)]
    x = [(it + rng.normal(size=3)).astype(np.float32) for it in x]
    names = ("ann", "ann", "ben", "cy", "cy")
    recordings = [zarrts.Recording(*it, 0) for it in zip(names, x, strict=True)]
    path = tmp_path_factory.mktemp("series") / "a.zarr"
    with zarrts.convert(
        recordings, path, kind="ragged", chunk=200, shard=800, progress=False
    ) as store:
        yield store, x, names


@pytest.mark.parametrize("stats", ["subject", "sample"])
@pytest.mark.parametrize("pad", ["batch", 15])
def test_padding_is_no_part_of_the_statistics_and_comes_after_scaling(series, stats, pad):
    store, x, names = series
    if stats == "sample":  # of what is kept of them
        kept = x if pad == "batch" else [it[:pad] for it in x]
        expected = [naive(it, "standard", it, 0) for it in kept]
    else:
        own = {
            name: np.concatenate([it for it, who in zip(x, names, strict=True) if who == name])
            for name in names
        }
        expected = [naive(it, "standard", own[name], 0) for it, name in zip(x, names, strict=True)]
    options = {"stats": stats, "pad": pad, "pad_value": -9.0, "memory": "1MiB"}
    with store.samples.batches(2, **options) as batches:
        for batch in batches:
            for row, length, i in zip(batch.x, batch.length, batch.sample_id, strict=True):
                np.testing.assert_allclose(row[:length], expected[i][:length], **ROUNDING)
                assert (row[length:] == -9).all()


@pytest.mark.parametrize("stats", ["subject", "sample"])
def test_windows_are_scaled_alike(series, stats):
    store, x, names = series
    pairs = [
        (it[at : at + 8], name)
        for it, name in zip(x, names, strict=True)
        for at in range(0, len(it) - 7, 5)
    ]
    cut = np.stack([it for it, _ in pairs])
    owner = np.array([name for _, name in pairs])
    if stats == "sample":
        expected = np.stack([naive(it, "minmax", it, 0) for it in cut])
    else:
        expected = np.empty(cut.shape)
        for name in set(names):
            own = owner == name
            expected[own] = naive(cut[own], "minmax", cut[own], (0, 1)) if own.any() else 0
    assert_scaled(store.samples.windows(8, 5), expected, stats=stats, scale="minmax")


def test_targets_that_are_values_are_scaled_by_their_subject(series):
    samples = series[0].samples.windows(4, 6, label="next", target="x", channels=[1])
    options = {"shuffle": False, "label_mode": "auto"}
    with samples.batches(50, **options) as batches:
        raw, wanted = (
            np.concatenate(it) for it in zip(*((b.x, b.y) for b in batches), strict=True)
        )
    owner = samples.subject
    with samples.batches(50, stats="subject", **options) as batches:
        found = np.concatenate([batch.y for batch in batches])
    for name in set(owner.tolist()):
        own = owner == name
        rows = raw[own].reshape(-1, 3).astype(np.float64)
        expected = (wanted[own] - rows[:, 1].mean()) / rows[:, 1].std()
        np.testing.assert_allclose(found[own], expected, **ROUNDING)
    with pytest.raises(SampleError, match="cannot scale targets that are values of x"):
        samples.batches(4, stats="sample", label_mode="auto")


# The arithmetic


@FEW
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 9),
    steps=st.sampled_from([1, 2, 7, 90, 128, 300]),
    channels=st.integers(1, 5),
    stored=st.sampled_from(["float32", "float64", "int16"]),
    is_same=st.booleans(),
)
def test_rows_laid_side_by_side_are_scaled_as_one_by_one(seed, n, steps, channels, stored, is_same):
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(n, steps, channels)) * 100).astype(stored)
    linear = Linear(
        *[None] * 0, **{k: rng.uniform(1, 5, (4, channels)) for k in ("shift", "spread", "fill")}
    )
    which = rng.integers(0, 4, n)
    scaler = LinearScaler(
        linear=linear, stored=rows.dtype, dtype=np.dtype("f4"), row_of=lambda ids: which[ids]
    )
    out = rows if is_same and stored == "float32" else np.empty(rows.shape, "f4")
    expected = (rows - linear.shift[which][:, None]) / linear.spread[which][:, None]
    scaler.into(rows, out, np.arange(n), None)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-4)


@FEW
@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from(SCALES),
    nan_share=st.sampled_from([0, 0.2, 1]),
    offset=st.sampled_from([0, 1e6]),
    is_padded=st.booleans(),
)
def test_samples_with_gaps_are_scaled_by_what_there_is(seed, scale, nan_share, offset, is_padded):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(5, 9, 2)) * 3 + offset
    rows[rng.random(rows.shape) < nan_share] = np.nan
    lengths = rng.integers(1, 10, 5) if is_padded else np.full(5, 9)
    scaler = SampleScaler(scale=scale, n_channels=2, dtype=np.dtype("f8"), has_nan=True)
    out = np.empty(rows.shape)
    scaler.into(rows, out, np.arange(5), Fit(lengths=lengths, n_steps=9))
    for row, found, length in zip(rows, out, lengths, strict=True):
        for channel in range(2):
            kept = row[:length, channel]
            if not np.isnan(kept).all():
                np.testing.assert_allclose(
                    found[:length, channel], naive(kept, scale, kept, 0), rtol=1e-6, atol=1e-8
                )


@FEW
@given(
    seed=st.integers(0, 1000),
    what=st.sampled_from(["all", "subject", *SCALES]),
    stored=st.sampled_from(["float32", "int16", "float64"]),
    cut=st.sampled_from([(1, 1), (1, 7), (3, 4)]),
    is_padded=st.booleans(),
)
def test_runs_are_scaled_on_their_way_as_rows_are(seed, what, stored, cut, is_padded):
    rng = np.random.default_rng(seed)
    n_runs, length = cut
    memory = (rng.normal(size=(40, 5, 3)) * 100).astype(stored)
    linear = Linear(**{k: rng.uniform(1, 5, (4, 3)) for k in ("shift", "spread", "fill")})
    which = rng.integers(0, 4, 6)
    scaler = SampleScaler(scale=what, n_channels=3, dtype=np.dtype("f4"), has_nan=True)
    if what in ("all", "subject"):
        scaler = LinearScaler(
            linear=linear if what == "subject" else linear.row(0),
            stored=memory.dtype,
            dtype=np.dtype("f4"),
            row_of=(lambda ids: which[ids]) if what == "subject" else None,
        )
    n_steps = n_runs * length * 5
    fit = Fit(lengths=rng.integers(1, n_steps + 1, 6), n_steps=n_steps) if is_padded else None
    starts = rng.integers(0, 41 - length, 6 * n_runs)
    found, expected = np.empty((2, 6, n_steps, 3), "f4")
    scaler.gather(memory, starts, length, found, np.arange(6), fit)
    rows = np.concatenate([memory[at : at + length] for at in starts]).reshape(6, n_steps, 3)
    scaler.into(rows, expected, np.arange(6), fit)
    np.testing.assert_array_equal(found, expected)


def test_a_scaling_is_kept_as_json(study):
    store, _ = study
    for stats in ("subject", "sample", store.samples.stats()):
        scaling = scaling_of(store.samples.selection, stats, "minmax")
        found = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
        assert (found.scale, found.per, found.subjects) == ("minmax", scaling.per, scaling.subjects)
        if scaling.linear is not None:
            np.testing.assert_array_equal(found.linear.shift, scaling.linear.shift)


# NaN


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    """Two subjects; sample 13, of the second, has a NaN in channel 1."""
    x = [numbers(np.random.default_rng(i), 10, *SHAPE) for i in range(2)]
    x[1][3, 5, 1] = np.nan
    recordings = [zarrts.Recording(n, it, np.zeros(10)) for n, it in zip("ab", x, strict=True)]
    path = tmp_path_factory.mktemp("gappy") / "a.zarr"
    with zarrts.convert(
        recordings, path, channels=["u", "v", "w"], chunk=500, shard=1000, progress=False
    ) as store:
        yield store, np.concatenate(x)


def test_the_first_nan_is_named_with_a_remedy(gappy):
    store, _ = gappy
    message = (
        r"Sample 13 of subject b \(.*, row 3\): x is NaN in channel 1 \(v\), as are 1 values of "
        r"that recording; nan='fill' puts .*, nan='keep' hands .*select\(ids=...\) leaves"
    )
    with pytest.raises(SampleError, match=message):
        store.samples.batches(4)
    with pytest.raises(SampleError, match=message):
        ZarrSequence(store, 4, stats=store.samples.stats())


def test_samples_without_nan_pass_whatever_their_recording_holds(gappy):
    store, x = gappy
    others = np.delete(np.arange(20), 13)
    with store.samples.select(ids=others).batches(4) as batches:
        for batch in batches:
            np.testing.assert_array_equal(batch.x, x[batch.sample_id])


def test_nothing_is_read_where_no_recording_holds_nan(study, monkeypatch):
    store, _ = study
    monkeypatch.setattr(
        "zarrts.reading.sample_statistics.refuse_nan", lambda *args, **more: pytest.fail("read")
    )
    store.samples.batches(4).close()


def test_nan_are_kept_or_become_the_mean(gappy):
    store, x = gappy
    assert_scaled(store.samples, x, nan="keep")
    assert_scaled(store.samples, np.nan_to_num(x), nan="fill")
    for scale in SCALES[:2]:
        expected = naive(x, scale, x, (0, 1))
        mean = naive(np.nanmean(x, axis=(0, 1), keepdims=True, dtype="f8"), scale, x, (0, 1))
        filled = np.where(np.isnan(expected), mean, expected)
        assert_scaled(store.samples, filled, nan="fill", stats=store.samples.stats(), scale=scale)
    own = np.concatenate([naive(it, "standard", it, (0, 1)) for it in (x[:10], x[10:])])
    assert_scaled(store.samples, np.nan_to_num(own), nan="fill", stats="subject")
    own = np.stack([naive(it, "standard", it, 0) for it in x])
    assert_scaled(store.samples, np.nan_to_num(own), nan="fill", stats="sample")
    assert_scaled(store.samples, own, nan="keep", stats="sample")


def test_targets_are_never_made_up(tmp_path):
    x = numbers(np.random.default_rng(0), 40, 3)
    x[30, 0] = np.nan
    with zarrts.convert(
        zarrts.Recording("a", x, 0), tmp_path / "a.zarr", kind="ragged", progress=False
    ) as store:
        options = {"label": "next", "target": "x"}
        samples = store.samples.windows(4, 1, channels=[0], **options)
        with pytest.raises(SampleError, match=r"Sample 26 .* row 30\): its target is NaN"):
            samples.batches(4, nan="fill", label_mode="auto")
        samples = store.samples.windows(4, 1, channels=[1], **options)
        samples.batches(4, nan="fill", label_mode="auto").close()


# In Keras


@pytest.mark.parametrize("scale", SCALES)
def test_a_layer_scales_as_the_loader_does(study, tmp_path, scale):
    import keras

    store, x = study
    stats = store.samples.stats()
    model = keras.Sequential([keras.layers.Input(SHAPE), stats.as_layer(scale, name="scaler")])
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    with store.samples.batches(50, shuffle=False, stats=stats, scale=scale) as batches:
        batch = next(batches)
    np.testing.assert_allclose(model(batch.x * 0 + x), batch.x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", ["standard", "robust"])
def test_new_files_are_scaled_by_their_own_statistics(study, tmp_path, scale):
    import keras

    store, _ = study
    with ZarrSequence(store, 8, stats="subject", scale=scale) as seq:
        seq.save_spec(tmp_path / "spec.json")
    model = keras.Sequential([keras.layers.Input(SHAPE), keras.layers.Flatten()])
    files = [numbers(np.random.default_rng(i), 5 + i, *SHAPE) for i in range(2)]
    for i, it in enumerate(files):
        np.save(tmp_path / f"new{i}.npy", it)
    found = zarrts.predict(model, str(tmp_path / "new*.npy"), like=tmp_path / "spec.json")
    expected = np.concatenate([naive(it, scale, it, (0, 1)).reshape(len(it), -1) for it in files])
    # The quartiles of 60 values lie between two of them.
    tolerance = ROUNDING if scale == "standard" else {"rtol": 0.1, "atol": 0.1}
    np.testing.assert_allclose(found.values, expected, **tolerance)
    files[1][3, 0, 1] = np.nan
    np.save(tmp_path / "new1.npy", files[1])
    with pytest.raises(zarrts.SourceError, match=r"new1.npy: channel 1 holds NaN"):
        zarrts.predict(model, str(tmp_path / "new*.npy"), like=tmp_path / "spec.json")


def test_windows_of_new_files_are_scaled_as_those_of_a_store(series, tmp_path):
    import keras

    store, x, _ = series
    samples = store.samples.windows(8, 5)
    with ZarrSequence(samples, 8, label_mode=None, stats="subject") as seq:
        spec = seq.spec
    model = keras.Sequential([keras.layers.Input((8, 3)), keras.layers.Flatten()])
    np.save(tmp_path / "new.npy", x[0])
    found = zarrts.predict(model, str(tmp_path / "new.npy"), like=spec, stride=5)
    cut = np.stack([x[0][at : at + 8] for at in range(0, 23, 5)])
    expected = naive(cut, "standard", cut, (0, 1)).reshape(5, -1)
    np.testing.assert_allclose(found.values, expected, **ROUNDING)


# Small, large and infinite values ---------------------------------------------------------


def one_subject(path, x):
    return zarrts.convert([zarrts.Recording("p", x, np.arange(len(x)) % 2)], path, progress=False)


SIGNALS = {
    "EEG in volts": lambda rng: rng.normal(0, 1e-5, (60, 32, 3)).astype("f4"),
    "MEG in tesla": lambda rng: rng.normal(0, 1e-12, (60, 32, 3)).astype("f4"),
    "1e-18": lambda rng: rng.normal(0, 1e-18, (60, 32, 3)).astype("f4"),
    "1e18": lambda rng: rng.normal(0, 1e18, (60, 32, 3)).astype("f4"),
    "counts of 24 bits": lambda rng: rng.normal(3e6, 2e5, (60, 32, 3)).astype("i4"),
    "float16": lambda rng: rng.normal(1000, 100, (60, 32, 3)).astype("f2"),
}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_scaling_is_exact_in_the_dtype_that_is_handed_out(tmp_path, signal):
    x = SIGNALS[signal](np.random.default_rng(0))
    wide = x.astype(np.float64)
    with one_subject(tmp_path / "a.zarr", x) as store:
        samples = store.samples
        for per, scale, dtype in product(["all", "sample"], SCALES, ["float16", "float32"]):
            stats = samples.stats() if per == "all" else per
            options = {"shuffle": False, "stats": stats, "scale": scale, "dtype": dtype}
            found = np.concatenate([b.x for b in samples.batches(16, **options)])
            axes = 1 if per == "sample" else (0, 1)
            low, middle, high = np.quantile(wide, [0.25, 0.5, 0.75], axis=axes, keepdims=True)
            shift, spread = {
                "standard": (wide.mean(axes, keepdims=True), wide.std(axes, keepdims=True)),
                "minmax": (wide.min(axes, keepdims=True), np.ptp(wide, axis=axes, keepdims=True)),
                "robust": (middle, high - low),
            }[scale]
            # Quantiles of more than one sample are estimated.
            is_estimated = scale == "robust" and per == "all"
            rest = 0.1 if is_estimated else 2e-3 if dtype == "float16" else 2e-5
            assert found.dtype == dtype
            np.testing.assert_allclose(
                found.astype(np.float64), (wide - shift) / spread, rtol=rest, atol=rest
            )


@pytest.mark.parametrize("size", [1e-18, 1e-12, 2e-5, 1, 1e6, 1e18])
@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_a_layer_gives_what_the_loader_gives_for_values_of_any_size(tmp_path, size):
    import keras

    x = np.random.default_rng(0).normal(size=(40, 16, 3))
    x = ((x + 3) * size * np.array([1, 1e-3, 30])).astype("f4")
    for n_channels in (1, 3):
        some = x[..., :n_channels]
        with one_subject(tmp_path / f"{n_channels}.zarr", some) as store:
            samples, stats = store.samples, store.samples.stats()
            for scale in SCALES:
                options = {"shuffle": False, "stats": stats, "scale": scale}
                expected = np.concatenate([b.x for b in samples.batches(16, **options)])
                layer = stats.as_layer(scale, name="scaler")
                model = keras.Sequential([keras.layers.Input(some.shape[1:]), layer])
                model.save(tmp_path / "m.keras")
                again = keras.models.load_model(tmp_path / "m.keras")
                assert again.layers[0].name == "scaler"
                for it in (model, again):
                    found = keras.ops.convert_to_numpy(it(some))
                    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_layer_computes_in_float32_whatever_the_policy(tmp_path):
    import keras

    x = np.random.default_rng(0).normal(0, 1e-5, (40, 16, 3)).astype("f4")
    with one_subject(tmp_path / "a.zarr", x) as store:
        stats = store.samples.stats()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = keras.ops.convert_to_numpy(stats.as_layer()(x))
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_allclose(found.std(axis=(0, 1)), 1, rtol=1e-3)


@pytest.mark.parametrize("scale", ["min-max", "MinMax", "zscore", "std", None])
def test_a_layer_of_an_unknown_scale_is_refused(study, scale):
    store, _ = study
    with pytest.raises(SampleError, match=r"use 'standard', 'minmax', 'robust'"):
        store.samples.stats().as_layer(scale)


@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_an_infinite_value_of_a_sample_that_is_scaled_by_its_own_is_refused(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 16, 3)).astype("f4")
    x[7, 5, 1] = np.inf
    with one_subject(tmp_path / "a.zarr", x) as store:
        for nan, scale in product(["error", "keep", "fill"], SCALES):
            options = {"stats": "sample", "scale": scale, "nan": nan, "shuffle": False}
            with pytest.raises(SampleError, match=r"Sample 7 of subject p .*infinite in channel 1"):
                next(iter(store.samples.batches(8, **options)))
            rest = store.samples.select(ids=[*range(7), *range(8, 20)])
            for batch in rest.batches(8, **options):
                assert np.isfinite(batch.x).all()
