"""Stores and specs of version 53f5c52, before there were packed samples, as it wrote them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrts

WRITTEN = Path(__file__).with_name("stores_of_53f5c52.zip")
SIZES: dict[str, Any] = {"chunk": 600, "shard": 2400, "progress": False}
CHANNELS = {"dense": ["x", "y", "z"], "ragged": None}


def x_of(seed: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return (np.rint(rng.normal(size=shape) * 300) * 0.1).astype(np.float32)


def recordings(kind: str, more: int = 0) -> list[zarrts.Recording]:
    """Return what was converted then; with `more`, others of the same kind."""
    if kind == "dense":
        texts = np.array(["rest", "walk"])
        return [
            zarrts.Recording(
                f"{'t' if more else 's'}{i}",
                x_of(i + more, (20 + i, 6, 3)),
                texts[np.arange(20 + i) % 2],
            )
            for i in range(2)
        ]
    return [
        zarrts.Recording(f"{'t' if more else 's'}{i}", x_of(10 + i + more, (60 + 7 * i, 3)), i % 2)
        for i in range(3)
    ]


@pytest.fixture(params=["dense", "ragged"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Path:
    with zipfile.ZipFile(WRITTEN) as file:
        file.extractall(tmp_path)
    return tmp_path / f"{kind}.zarr"


def joined(samples: zarrts.Samples) -> np.ndarray[Any, Any]:
    return np.concatenate(list(samples.load()[0]))


def values_of(made: list[zarrts.Recording], kind: str) -> np.ndarray[Any, Any]:
    values = np.concatenate([np.asarray(it.x) for it in made])
    return np.concatenate(list(values)) if kind == "dense" else values


def schema_of(path: Path) -> int:
    return int(json.loads((path / "zarr.json").read_bytes())["attributes"]["zarrts"]["schema"])


def test_it_opens_and_is_whole(store: Path, kind: str) -> None:
    made = recordings(kind)
    with zarrts.open(store) as opened:
        assert opened.subjects == [it.subject for it in made]
        assert np.array_equal(joined(opened.samples), values_of(made, kind))
        assert opened.header.segments[0].x.packed is None
    assert not zarrts.verify(store, deep=True).problems


def test_the_same_conversion_finds_it_complete(store: Path, kind: str) -> None:
    before = (store / "zarr.json").read_bytes()
    options = {**SIZES, "channels": CHANNELS[kind]}
    assert zarrts.convert(recordings(kind), store, **options).version == 1
    assert (store / "zarr.json").read_bytes() == before


def test_arrays_and_tables_of_values_are_written_to_the_byte_as_then(
    store: Path, kind: str, tmp_path: Path
) -> None:
    options = {**SIZES, "channels": CHANNELS[kind], "pack": False}
    zarrts.convert(recordings(kind), tmp_path / "now.zarr", **options).close()
    written = [it for name in ("x", "y", "table") for it in (store / "0" / name).rglob("*")]
    assert len(written) > 50
    for path in (it for it in written if it.is_file()):
        now = tmp_path / "now.zarr" / path.relative_to(store)
        assert now.read_bytes() == path.read_bytes(), path


def test_it_is_added_to_and_stays_what_that_version_reads(store: Path, kind: str) -> None:
    more = recordings(kind, more=100)
    zarrts.append(store, more, progress=False).close()
    assert schema_of(store) == 1
    with zarrts.open(store) as opened:
        wanted = values_of([*recordings(kind), *more], kind)
        assert np.array_equal(joined(opened.samples), wanted)
    zarrts.remove(store, subject="t1")
    assert schema_of(store) == 1
    assert not zarrts.verify(store, deep=True).problems


@pytest.mark.filterwarnings("ignore:.*say nothing of channels")
def test_its_spec_predicts(store: Path, kind: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    n_steps = 6 if kind == "dense" else 10
    model = keras.Sequential([keras.Input((n_steps, 3)), keras.layers.GlobalAveragePooling1D()])
    spec = tmp_path / f"{kind}.json"
    with zarrts.open(store) as opened:
        samples = opened.samples
        if kind == "ragged":
            samples = samples.windows(10, stride=5)
        stats = samples.stats() if kind == "dense" else "subject"
        [batch] = samples.batches(500, shuffle=False, stats=stats)
        found = zarrts.predict(model, samples, like=spec)
        np.testing.assert_allclose(found.values, batch.x.mean(axis=1), rtol=1e-4, atol=1e-5)
        from_arrays = zarrts.predict(
            model, recordings(kind), like=spec, **({} if kind == "dense" else {"stride": 5})
        )
        np.testing.assert_allclose(from_arrays.values, found.values, rtol=1e-4, atol=1e-5)
        # A store that is packed now is another way to keep the same values.
        packed = zarrts.convert(
            recordings(kind), tmp_path / "now.zarr", channels=CHANNELS[kind], **SIZES
        )
        assert packed.header.segments[0].x.packed is not None
        again = packed.samples if kind == "dense" else packed.samples.windows(10, stride=5)
        now = zarrts.predict(model, again, like=spec)
        np.testing.assert_allclose(now.values, found.values, rtol=1e-4, atol=1e-5)
