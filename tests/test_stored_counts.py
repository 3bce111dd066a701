"""Networks that are fed the 16-bit counts of a store, and scale them themselves."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed_studies import counted

import zarrts
from zarrts.errors import SampleError

keras = pytest.importorskip("keras")

OTHER = "stores other counts than the network was trained on"
SEVERAL = "recordings of this store have several gains or offsets for one channel"
SIZES: dict[str, Any] = {"chunk": 1200, "shard": 4800, "progress": False}


def recordings(
    gain: Any = (0.1, -0.2, 0.5), n: int = 3, seed: int = 0, names: str = "s"
) -> list[zarrts.Recording]:
    rng = np.random.default_rng(seed)
    return [
        zarrts.Recording(
            f"{names}{number}",
            counted(rng, (40, 6, 3), np.abs(gain), [0, 40, -1000]),
            rng.integers(0, 2, 40),
        )
        for number in range(n)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> zarrts.Store:
    made = zarrts.convert(recordings(), tmp_path_factory.mktemp("c") / "study.zarr", **SIZES)
    assert made.header.segments[0].x.packed is not None
    assert made.readers.tables.packing("").of_all is not None
    return made


def test_batches_are_the_counts_themselves(store: zarrts.Store) -> None:
    gain, offset = store.readers.tables.packing("").of_all  # type: ignore[misc]
    values, _ = store.samples.load()
    for shuffle in (False, True):
        for batch in store.samples.batches(32, shuffle=shuffle, dtype="stored"):
            assert batch.x.dtype == np.int16
            found = (batch.x * gain + offset).astype(np.float32)
            assert np.array_equal(found, values[batch.sample_id])
    with zarrts.ZarrSequence(store.samples, 16, dtype="stored", shuffle=False) as seq:
        assert np.asarray(seq[1][0]).dtype == np.int16
        assert np.array_equal((np.asarray(seq[1][0]) * gain + offset).astype("f4"), values[16:32])


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust"])
def test_the_layer_scales_counts_as_the_loader_scales_values(
    store: zarrts.Store, scale: Any
) -> None:
    samples = store.samples
    layer = samples.stats().as_layer(scale, stored=True)
    [counts] = samples.batches(500, shuffle=False, dtype="stored")
    [scaled] = samples.batches(500, shuffle=False, stats=samples.stats(), scale=scale)
    np.testing.assert_allclose(np.asarray(layer(counts.x)), scaled.x, rtol=1e-4, atol=1e-4)
    again = pickle.loads(pickle.dumps(samples.stats())).as_layer(scale, stored=True)
    assert np.array_equal(again(counts.x), layer(counts.x))


def test_a_gain_below_zero_is_scaled_too() -> None:
    from zarrts.stats.moments import measure
    from zarrts.stats.sketches import Sketch
    from zarrts.stats.statistics import Statistics

    counts = np.rint(np.random.default_rng(0).normal(size=(50, 4, 2)) * 90).astype(np.int16)
    gain, offset = np.array([-0.5, 2.0]), np.array([3.0, 0.0])
    values = counts * gain + offset
    stats = Statistics.with_sketch(
        measure(values), lambda: Sketch(np.zeros((0, 2)), np.zeros((0, 2))), lambda: (gain, offset)
    )
    wanted = (values - values.mean(axis=(0, 1))) / values.std(axis=(0, 1))
    found = np.asarray(stats.as_layer(stored=True)(counts))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_store_of_values_hands_out_values(tmp_path: Path) -> None:
    made = zarrts.convert(recordings(), tmp_path / "a.zarr", pack=False, **SIZES)
    batch = next(iter(made.samples.batches(8, dtype="stored")))
    assert batch.x.dtype == np.float32
    layer = made.samples.stats().as_layer(stored=True)
    np.testing.assert_allclose(
        np.asarray(layer(batch.x)), np.asarray(made.samples.stats().as_layer()(batch.x))
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stats": "subject"}, "hands out 16-bit counts, which stats= is not for"),
        ({"stats": "sample"}, "which stats= is not for"),
    ],
)
def test_what_counts_are_not_for_is_refused(
    store: zarrts.Store, options: Any, message: str
) -> None:
    with pytest.raises(SampleError, match=message):
        store.samples.batches(8, dtype="stored", **options)


def test_several_gains_are_refused(tmp_path: Path) -> None:
    study = [*recordings(), *recordings((0.37, 0.2, 0.5), n=1, names="t")]
    made = zarrts.convert(study, tmp_path / "a.zarr", **SIZES)
    assert made.header.segments[0].x.packed is not None
    with pytest.raises(SampleError, match=SEVERAL):
        made.samples.batches(8, dtype="stored")
    with pytest.raises(SampleError, match=SEVERAL):
        made.samples.stats().as_layer(stored=True)


def test_new_files_come_to_the_same_counts_or_are_refused(
    store: zarrts.Store, tmp_path: Path
) -> None:
    samples = store.samples
    model = keras.Sequential(
        [
            keras.Input((6, 3), dtype="int16"),
            samples.stats().as_layer(stored=True),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    new = recordings(n=2, seed=5, names="n")
    with zarrts.ZarrSequence(samples, 16, dtype="stored", shuffle=False) as seq:
        assert seq.spec.dtype == "<i2" and seq.spec.stored_dtype == "<f4"
        seq.save_spec(tmp_path / "spec.json")
        wanted = model.predict(seq, verbose=0)
        found = zarrts.predict(model, store, like=tmp_path / "spec.json")
        np.testing.assert_allclose(found.values, wanted, rtol=1e-5, atol=1e-6)

        other = zarrts.convert(new, tmp_path / "new.zarr", **SIZES)
        from_files = zarrts.predict(model, new, like=tmp_path / "spec.json")
        from_store = zarrts.predict(model, other, like=seq)
        np.testing.assert_allclose(from_files.values, from_store.values, rtol=1e-5, atol=1e-6)

        far = recordings((0.37, 0.2, 0.5), n=1, names="t")
        with pytest.raises(
            SampleError,
            match=r"The network was trained on 16-bit counts.* 0\.1 in channel 0.* is none of them",
        ):
            zarrts.predict(model, far, like=seq)
        another = zarrts.convert(far, tmp_path / "far.zarr", **SIZES)
        with pytest.raises(SampleError, match=OTHER):
            zarrts.predict(model, another, like=seq)
        with pytest.raises(SampleError, match=OTHER):
            seq.like(another)
