"""Samples that were copied, or crossed the border of a process, behave as the original."""

import copy
import pickle

import numpy as np
import pytest

import zarrts

COPIES = {
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory, no_waiting_for_the_disk):
    rng = np.random.default_rng(0)
    people = [
        zarrts.Recording(f"p{i}", rng.gamma(1, 1, (400, 3)).astype("f4"), np.arange(400) % 3)
        for i in range(5)
    ]
    path = tmp_path_factory.mktemp("copies") / "a.zarr"
    with zarrts.convert(people, path, progress=False, kind="ragged") as store:
        yield store.samples


@pytest.mark.filterwarnings("ignore:.*overlap by more than half:UserWarning")
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_split_cut_measured_and_saved_as_the_original(samples, tmp_path, way):
    made = COPIES[way]
    there = made(samples)
    for here, other in (
        (samples, there),
        (samples.split(test=1)[0], made(samples.split(test=1)[0])),
        (samples.windows(10, label="last"), there.windows(10, label="last")),
        (
            samples.windows(10, 10, label="majority"),
            made(samples.windows(10, 10, label="majority")),
        ),
        (
            samples.windows(10, 10, label="majority").select(classes={"a": [0, 1]}),
            made(samples.windows(10, 10, label="majority").select(classes={"a": [0, 1]})),
        ),
        (
            samples.windows(10, label="all").sequences(3),
            made(samples.windows(10, label="all")).sequences(3),
        ),
    ):
        assert other.ids.tolist() == here.ids.tolist()
        assert other.class_names == here.class_names
        assert other.class_counts.tolist() == here.class_counts.tolist()
        for name in ("mean", "std", "iqr", "median"):
            assert getattr(other.stats(), name).tolist() == getattr(here.stats(), name).tolist()
        first, second = (
            it.batches(
                7,
                pad=None if it.selection.view.cut.is_of_equal_lengths else "batch",
                stats="subject",
                scale="robust",
                seed=3,
            )
            for it in (here, other)
        )
        for one, two in zip(first, second, strict=True):
            np.testing.assert_array_equal(one.x, two.x)
            np.testing.assert_array_equal(one.y, two.y)
    train, test = samples.split(test=1)
    zarrts.assert_disjoint(made(train), test)
    with pytest.raises(zarrts.SampleError):
        zarrts.assert_disjoint(train, made(train))
    made(samples.split(test=1)).save(tmp_path / "split.json")
    assert samples.store.load_split(tmp_path / "split.json")[1].ids.tolist() == test.ids.tolist()


@pytest.mark.parametrize("way", COPIES)
def test_statistics_of_a_copy_are_merged_without_reading(samples, way, monkeypatch):
    there = COPIES[way](samples.split(test=2)[0])
    monkeypatch.setattr(
        "zarrts.reading.sample_statistics.measure_samples", lambda *it: pytest.fail("read")
    )
    assert there.stats().count.tolist() == samples.split(test=2)[0].stats().count.tolist()
