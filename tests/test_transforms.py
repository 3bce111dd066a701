"""Ready-made transforms do what they say, sample by sample, with the randomness they are given."""

import numpy as np
import pytest
from conftest import make_study
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts import Batch, transforms
from zarrts.errors import SampleError

QUICK = settings(deadline=None, max_examples=25)
ALL = {
    "jitter": transforms.jitter(0.5),
    "scaling": transforms.scaling(0.5),
    "time_mask": transforms.time_mask(0.9),
    "channel_drop": transforms.channel_drop(0.5),
    "crop": transforms.crop(0.5),
    "shift": transforms.shift(0.5),
    "mixup": transforms.mixup(0.5),
}
shapes = st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 4))


def batch_of(shape, dtype="float32", y=None, length=None):
    x = np.random.default_rng(1).normal(size=shape).astype(dtype) * 3
    return Batch(x, y, np.arange(shape[0]) * 2, length)


def run(transform, batch, seed=0):
    """Return the batch as it was, and what became of it."""
    before = batch.x.copy()
    return before, transform(batch, np.random.default_rng(seed))


@QUICK
@given(shape=shapes, dtype=st.sampled_from(["float32", "float64"]), name=st.sampled_from([*ALL]))
def test_shape_dtype_ids_and_memory_stay(shape, dtype, name):
    batch = batch_of(shape, dtype, y=np.zeros((shape[0], 2), np.float32))
    before, found = run(ALL[name], batch)
    assert found.x.shape == shape
    assert found.x.dtype == dtype
    assert found.x is batch.x  # the memory that the loader uses again, aligned
    assert np.array_equal(found.sample_id, np.arange(shape[0]) * 2)
    again = run(ALL[name], batch_of(shape, dtype, y=np.zeros((shape[0], 2), np.float32)))[1]
    assert np.array_equal(again.x, found.x)
    if before.size > 200 and name != "mixup":
        assert not np.array_equal(before, found.x)


@pytest.mark.parametrize("name", ["jitter", "scaling", "time_mask", "channel_drop"])
def test_padding_stays_as_it_is(name):
    length = np.array([0, 3, 8, 10])
    batch = batch_of((4, 8, 2), length=length)
    is_behind = np.arange(8) >= length[:, None]
    before, found = run(ALL[name], batch)
    assert np.array_equal(found.x[is_behind], before[is_behind])
    assert not np.array_equal(found.x, before)


@pytest.mark.parametrize("name", ["crop", "shift", "mixup"])
def test_what_moves_time_refuses_padding(name):
    batch = batch_of((2, 8, 2), y=np.zeros((2, 1), np.float32), length=np.array([3, 8]))
    with pytest.raises(SampleError, match=f"{name}: samples of unequal lengths .* windows"):
        run(ALL[name], batch)


@pytest.mark.parametrize("name", [*ALL])
def test_integers_are_refused(name):
    batch = batch_of((2, 8, 2), "int16", y=np.zeros((2, 1), np.float32))
    with pytest.raises(SampleError, match=f"{name}: x is int16, .* dtype='float32'"):
        run(ALL[name], batch)


def test_jitter_adds_noise_of_a_deviation():
    before, found = run(transforms.jitter(0.2), batch_of((50, 40, 5)))
    noise = found.x - before
    assert noise.std() == pytest.approx(0.2, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.05


def test_scaling_has_one_factor_for_each_channel_of_each_sample():
    before, found = run(transforms.scaling(0.3), batch_of((400, 6, 5)))
    factors = found.x / before
    assert np.ptp(factors, axis=1).max() < 1e-4
    assert factors[:, 0].mean() == pytest.approx(1, abs=0.03)
    assert factors[:, 0].std() == pytest.approx(0.3, rel=0.1)


@QUICK
@given(shape=shapes, length=st.floats(0.1, 1), n=st.integers(1, 3), seed=st.integers(0, 99))
def test_time_mask_overwrites_stretches_of_all_channels(shape, length, n, seed):
    batch = batch_of(shape)
    before, found = run(transforms.time_mask(length, n, value=9.5), batch, seed)
    is_masked = (found.x == 9.5).all(axis=2)
    assert np.array_equal(found.x[~is_masked], before[~is_masked])
    longest = max(1, round(length * shape[1]))
    for row in is_masked:
        starts = np.flatnonzero(np.diff([0, *row.astype(int)]) == 1)
        assert len(starts) <= n
        assert row.sum() <= n * longest


def test_a_time_mask_is_anywhere_and_of_any_length():
    found = run(transforms.time_mask(3), batch_of((3000, 6, 1)))[1]
    is_masked = found.x[:, :, 0] == 0
    assert set(is_masked.sum(axis=1)) == {0, 1, 2, 3}
    assert is_masked.any(axis=0).all()


def test_channel_drop_keeps_a_channel_and_drops_the_share_that_was_asked_for():
    before, found = run(transforms.channel_drop(0.25, value=7), batch_of((4000, 3, 4)))
    is_dropped = (found.x == 7).all(axis=1)
    assert is_dropped.mean() == pytest.approx(0.25, abs=0.02)
    assert np.array_equal(
        np.moveaxis(found.x, 1, 2)[~is_dropped], np.moveaxis(before, 1, 2)[~is_dropped]
    )
    all_gone = run(transforms.channel_drop(1.0, value=7), batch_of((100, 3, 4)))[1]
    assert ((all_gone.x == 7).all(axis=1).sum(axis=1) == 3).all()


@QUICK
@given(shape=shapes, length=st.floats(0.1, 1), seed=st.integers(0, 99))
def test_crop_without_resizing_is_a_slice_of_each_sample(shape, length, seed):
    y = np.arange(shape[0] * shape[1]).reshape(shape[:2])
    crop = transforms.crop(length, resize=False, with_labels=True)
    before, found = run(crop, batch_of(shape, y=y), seed)
    n_kept = max(1, round(length * shape[1]))
    assert found.x.shape == (shape[0], n_kept, shape[2])
    for i in range(shape[0]):
        start = int(found.y[i, 0]) - i * shape[1]
        assert np.array_equal(found.x[i], before[i, start : start + n_kept])
        assert np.array_equal(found.y[i], y[i, start : start + n_kept])


@QUICK
@given(shape=shapes, length=st.integers(1, 12), seed=st.integers(0, 99))
def test_crop_stretches_a_slice_to_the_whole_length(shape, length, seed):
    length = min(length, shape[1])
    before, found = run(transforms.crop(length), batch_of(shape, "float64"), seed)
    at = np.linspace(0, length - 1, shape[1])
    for i in range(shape[0]):
        candidates = [
            [
                np.interp(at, np.arange(length), before[i, s : s + length, c])
                for c in range(shape[2])
            ]
            for s in range(shape[1] - length + 1)
        ]
        assert any(np.allclose(found.x[i].T, it) for it in candidates)


@QUICK
@given(
    shape=shapes,
    fill=st.sampled_from(["edge", "wrap", 4.5]),
    most=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_shift_moves_each_sample_by_at_most_so_many_steps(shape, fill, most, seed):
    most = min(most, shape[1])
    y = np.arange(shape[0] * shape[1]).reshape(shape[:2])
    is_constant = not isinstance(fill, str)
    move = transforms.shift(most, fill=fill, with_labels=not is_constant)
    before, found = run(move, batch_of(shape, y=y), seed)

    def moved(row, by):
        if fill == "wrap":
            return np.roll(row, by, axis=0)
        padded = np.pad(row, [(most, most)] + [(0, 0)] * (row.ndim - 1), mode="edge")
        out = padded[most - by : most - by + len(row)].copy()
        if is_constant and by > 0:
            out[:by] = fill
        elif is_constant and by < 0:
            out[by:] = fill
        return out

    for i in range(shape[0]):
        fitting = [
            k for k in range(-most, most + 1) if np.array_equal(moved(before[i], k), found.x[i])
        ]
        assert fitting
        if not is_constant:
            assert any(np.array_equal(moved(y[i], k), found.y[i]) for k in fitting)


@QUICK
@given(shape=shapes, seed=st.integers(0, 99))
def test_mixup_mixes_inputs_and_labels_by_one_share(shape, seed):
    y = np.eye(shape[0], dtype=np.float32)
    batch = batch_of(shape, "float64", y={"who": y, "size": y @ np.arange(shape[0], dtype="f4")})
    before, found = run(transforms.mixup(0.7), batch, seed)
    # Each row of the mixed identity says who is in the sample, and with which share.
    assert np.allclose(found.y["who"].sum(axis=1), 1)
    assert np.allclose(found.x, np.tensordot(found.y["who"], before, 1), atol=1e-5)
    assert np.allclose(found.y["size"], found.y["who"] @ np.arange(shape[0]), atol=1e-4)
    assert (np.count_nonzero(found.y["who"], axis=1) <= 2).all()
    assert np.array_equal(y, np.eye(shape[0])), "the labels of the batch are not touched"


def test_mixup_refuses_integer_labels_and_says_what_to_use():
    with pytest.raises(SampleError, match=r"labels are int32.* label_mode='categorical'"):
        run(transforms.mixup(), batch_of((2, 3, 1), y=np.array([0, 1], np.int32)))


def test_sometimes_changes_a_share_of_the_samples_and_their_labels():
    y = np.zeros((4000, 6), np.int64) + np.arange(6)
    move = transforms.sometimes(
        transforms.compose(transforms.shift(3, fill="wrap", with_labels=True)), p=0.3
    )
    before, found = run(move, batch_of((4000, 6, 1), y=y))
    is_changed = (found.x != before).any(axis=(1, 2))
    assert is_changed.mean() == pytest.approx(0.3 * 6 / 7, abs=0.03)
    assert np.array_equal((found.y != y).any(axis=1), is_changed)
    with pytest.raises(SampleError, match=r"shape \(2, 1\) back for samples of shape \(6, 1\)"):
        run(transforms.sometimes(transforms.crop(2, resize=False), 1.0), batch_of((4, 6, 1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transforms.jitter(-1), "sigma=-1 has to be at least 0"),
        (lambda: transforms.channel_drop(2), "p=2 has to be between 0 and 1"),
        (lambda: transforms.time_mask(1.5), "1.5 is not a length"),
        (lambda: transforms.time_mask(3, n=0), "n=0 has to be at least 1"),
        (lambda: transforms.crop(0), "0 is not a length"),
        (lambda: transforms.crop(0.5, with_labels=True), "give resize=False"),
        (lambda: transforms.shift(2, fill="zeros"), "fill='zeros' is unknown"),
        (lambda: transforms.shift(2, fill=0.0, with_labels=True), "no label fits a constant"),
        (lambda: transforms.mixup(0), "alpha=0 has to be above 0"),
        (lambda: run(transforms.crop(9), batch_of((2, 8, 1))), "9 steps are more than the 8"),
        (lambda: run(transforms.time_mask(), batch_of((2, 8))), r"shape \(8,\) is no \(time"),
        (
            lambda: run(
                transforms.crop(2, resize=False, with_labels=True),
                batch_of((2, 8, 1), y=np.zeros(2)),
            ),
            r"a label for each of the 8 steps, but y has shape \(2,\)",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(SampleError, match=message):
        make()


def test_a_pipeline_gives_the_same_batches_whatever_the_threads(tmp_path):
    study = make_study(tmp_path / "sources", sizes=(30, 20))
    change = transforms.compose(
        transforms.crop(0.7),
        transforms.shift(2),
        transforms.sometimes(transforms.time_mask(0.3)),
        transforms.channel_drop(0.3),
        transforms.scaling(),
        transforms.jitter(),
        transforms.mixup(),
    )
    with zarrts.convert(study.folder, tmp_path / "s.zarr", progress=False) as store:
        passes = []
        for workers, epoch in ((1, 0), (3, 0), (3, 1)):
            options = {"epoch": epoch, "workers": workers, "label_mode": "categorical"}
            with store.samples.batches(8, transform=change, **options) as batches:
                passes.append([(it.x.copy(), it.y.copy()) for it in batches])
    for (x, y), (again, y_again), (other, _) in zip(*passes, strict=True):
        assert np.array_equal(x, again)
        assert np.array_equal(y, y_again)
        assert not np.array_equal(x, other)
        assert np.allclose(y.sum(axis=1), 1)
