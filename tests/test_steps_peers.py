"""Filters against MNE's, on whole recordings: run with `tox -e peers`."""

import warnings

import numpy as np
import pytest

import zarrts

mne = pytest.importorskip("mne", reason="MNE is in the environment of tox -e peers")

pytestmark = pytest.mark.slow
BANDS = [(1, 40), (None, 30), (0.3, None), (0.5, 45), (8, 12)]


@pytest.fixture(autouse=True)
def quiet():
    mne.set_log_level("error")


def walk(n_rows, seed=0):
    """Brain waves of 10 Hz on an offset that drifts by far more than they are high."""
    rng = np.random.default_rng(seed)
    waves = 20 * np.sin(np.arange(n_rows) * 10 / 128 * 2 * np.pi)
    return (500 + waves[:, None] + rng.normal(0, 3, (n_rows, 3)).cumsum(axis=0)).astype("f4")


def stored(tmp_path, x, rate, step):
    recording = zarrts.Recording("s01", x, 0, rate_hz=rate)
    options = {"kind": "ragged", "shard": "40KiB", "chunk": "10KiB", "steps": [step]}
    with zarrts.convert([recording], tmp_path / "a.zarr", progress=False, **options) as store:
        return store.samples[0][0]


def of_mne(function, x, *given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of recordings that are shorter than the filter
        return function(x.T.astype(np.float64), *given).T


def assert_close(found, expected, x):
    """Alike but for the rounding to float32, and that of a Fourier transform of large values."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10 * np.abs(x).max())


@pytest.mark.parametrize("n_rows", [300, 2_000, 30_000])
@pytest.mark.parametrize("rate", [100.0, 256.0, 127.3])
@pytest.mark.parametrize("band", BANDS, ids=str)
def test_filter_is_that_of_mne_edges_included(tmp_path, n_rows, rate, band):
    x = walk(n_rows)
    found = stored(tmp_path, x, rate, ("filter", *band))
    assert_close(found, of_mne(mne.filter.filter_data, x, rate, *band), x)


@pytest.mark.parametrize("n_rows", [300, 30_000])
@pytest.mark.parametrize("frequencies", [(50,), (50, 60), (20, 50, 100)], ids=str)
def test_notch_is_that_of_mne(tmp_path, n_rows, frequencies):
    x = walk(n_rows)
    found = stored(tmp_path, x, 256.0, ("notch", *frequencies))
    expected = of_mne(mne.filter.notch_filter, x, 256.0, np.array(frequencies, float))
    assert_close(found, expected, x)
