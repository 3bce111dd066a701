"""Rows that go into a batch in one pass have the bits of rows that are taken and then scaled."""

import numpy as np
import pytest

from zarrts.indexing.cuts import Fit
from zarrts.loading.postprocessing import Treatment
from zarrts.loops import library
from zarrts.stats.scaling import LinearScaler, SampleScaler
from zarrts.stats.statistics import Linear

N_SUBJECTS, N_SAMPLES = 5, 8


@pytest.fixture(params=["compiled", "NumPy"])
def mode(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(library, "choice", lambda: library.Choice(reason="a test"))
    elif library.choice().compiled is None:
        pytest.skip(f"loops: {library.describe()}")
    return request.param


def scaler_of(kind, source, dtype, n_channels, fills):
    rng = np.random.default_rng(1)
    if kind == "none":
        return None
    if kind in ("standard", "minmax", "robust"):
        return SampleScaler(
            scale=kind, n_channels=n_channels, dtype=dtype, has_nan=True, fills=fills
        )
    shape = (n_channels,) if kind == "known" else (N_SUBJECTS, n_channels)
    linear = Linear(
        shift=rng.normal(size=shape), spread=rng.uniform(1, 3, shape), fill=rng.normal(size=shape)
    )
    row_of = None if kind == "known" else lambda ids: ids % N_SUBJECTS
    return LinearScaler(linear=linear, stored=source, dtype=dtype, fills=fills, row_of=row_of)


# Rows as samples, narrow and wide; windows of few values and many; sequences of windows.
CUTS = {
    "rows": ((200, 160, 3), (), 1),
    "short rows": ((200, 3), (), 1),
    "windows": ((200, 6), (), 30),
    "short windows": ((200, 1), (), 4),
    "long windows": ((6000, 1), (), 5000),
    "sequences": ((200, 6), (3,), 20),
    "apart": ((200, 5), (4, 7), 1),
}


@pytest.mark.parametrize("fills", [False, True])
@pytest.mark.parametrize("kind", ["none", "known", "subject", "standard", "minmax", "robust"])
@pytest.mark.parametrize(
    ("source", "dtype"), [("f4", "f4"), ("f8", "f4"), ("i2", "f8"), ("f4", "f2")]
)
@pytest.mark.parametrize("cut", CUTS)
def test_one_pass_gives_the_bits_of_two(cut, source, dtype, kind, fills, mode):
    memory_shape, runs_shape, length = CUTS[cut]
    rng = np.random.default_rng(0)
    memory = (rng.normal(size=memory_shape) * 50).astype(source)
    if source != "i2":
        memory[rng.random(memory_shape) < 0.01] = np.nan
    source, dtype = np.dtype(source), np.dtype(dtype)
    starts = rng.integers(0, len(memory) - length + 1, (N_SAMPLES, *runs_shape))
    finish = Treatment(
        dtype=dtype, scaler=scaler_of(kind, source, dtype, memory_shape[-1], fills), fills=fills
    )
    shape = (*starts.shape, *([length] if length > 1 else []), *memory_shape[1:])
    ids, found = np.arange(N_SAMPLES) * 3, np.full(shape, 77, dtype)
    finish.gather(memory, starts.ravel(), length, found, ids, None)
    rows = memory[starts[..., None] + np.arange(length)].reshape(shape)
    expected = np.full(shape, 55, dtype)
    finish.scale_into(rows.copy(), expected, ids, None)
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found).any() == (np.isnan(rows).any() and not fills)


@pytest.mark.parametrize("kind", ["none", "subject", "standard", "minmax"])
@pytest.mark.parametrize("n_channels", [2, 200])
def test_padded_samples_too(kind, n_channels, mode):
    rng = np.random.default_rng(0)
    memory = rng.normal(size=(300, n_channels)).astype("f4")
    f4 = np.dtype("f4")
    fit = Fit(lengths=rng.integers(1, 30, N_SAMPLES), n_steps=20)
    rows = fit.rows(rng.integers(0, 200, N_SAMPLES))
    finish = Treatment(dtype=f4, scaler=scaler_of(kind, f4, f4, n_channels, False))
    found, expected = (np.empty((N_SAMPLES, 20, n_channels), "f4") for _ in range(2))
    finish.gather(memory, rows.ravel(), 1, found, np.arange(N_SAMPLES), fit)
    finish.scale_into(memory[rows], expected, np.arange(N_SAMPLES), fit)
    np.testing.assert_array_equal(found, expected)
    if kind == "standard":
        for sample, n in zip(found, fit.kept, strict=True):
            np.testing.assert_allclose(sample[:n].mean(axis=0), 0, atol=1e-5)
