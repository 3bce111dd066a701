"""The grid of values is found where there is one, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.conversion.grids import MOST_STEPS, grid_of

# As converters, headers and people have them.
GAINS = (0.1, 0.5, 1.0, 1 / 200, 0.0488, 0.195, 0.298, 1e-6, 1 / 3, 1 / 128, 0.001, 2.5 / 24)
RATIOS = (3200 / 65535, 6553.5 / 65535, 187500 / 2**23, 5 / 1024 / 24)


@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize("spread", [20, 300, 5000])
@pytest.mark.parametrize("gain", [*GAINS, *RATIOS])
def test_gains_of_devices_are_found_exactly(gain: float, spread: int, shift: float) -> None:
    rng = np.random.default_rng(0)
    counts = np.rint(rng.normal(size=6000) * spread).clip(-15_000, 15_000)
    grid = grid_of(((counts + shift) * gain).astype(np.float32))
    assert grid is not None
    # Of all that may come: twice as far as what was seen.
    every = np.arange(-2 * counts.max(), 2 * counts.max() + 1)
    coming = (every * gain + shift * gain).astype(np.float32)
    found = np.rint((coming.astype(np.float64) - grid.offset) / grid.gain)
    assert ((found * grid.gain + grid.offset).astype(np.float32) == coming).all()


@settings(max_examples=60, deadline=None)
@given(
    gain=st.floats(1e-3, 10),
    offset=st.floats(-100, 100),
    spread=st.sampled_from([20, 300, 4000]),
    seed=st.integers(0, 10_000),
)
def test_every_value_is_on_the_grid_that_is_found(
    gain: float, offset: float, spread: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    counts = np.rint(rng.normal(size=2000) * spread)
    values = (counts * gain + offset * gain).astype(np.float32)
    grid = grid_of(values)
    if grid is None:  # fine beside the numbers that are far from 0
        return
    found = np.rint((values.astype(np.float64) - grid.offset) / grid.gain)
    assert ((found * grid.gain + grid.offset).astype(np.float32) == values).all()
    assert grid.high - grid.low <= MOST_STEPS
    assert grid.low <= found.min() and found.max() <= grid.high


@pytest.mark.parametrize("seed", range(20))
def test_values_that_nobody_counted_are_on_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.rint(rng.normal(size=1500) * 50) * 0.1
    assert grid_of(rng.normal(size=1500).astype(np.float32)) is None
    assert grid_of(rng.normal(size=7).astype(np.float32)) is None
    assert grid_of(np.cumsum(rng.normal(size=1500)).astype(np.float32)) is None
    filtered = np.convolve(counts, rng.normal(size=7), "same")
    assert grid_of(filtered.astype(np.float32)) is None
    referenced = counts - counts.reshape(-1, 5).mean(axis=1).repeat(5) * np.pi
    assert grid_of(referenced.astype(np.float32)) is None


def test_values_moved_and_scaled_in_float64_are_on_one() -> None:
    rng = np.random.default_rng(0)
    counts = np.rint(rng.normal(size=20_000) * 400) * 0.1
    assert grid_of((counts - counts.mean()).astype(np.float32)) is not None
    assert grid_of(((counts - counts.mean()) / counts.std()).astype(np.float32)) is not None


@pytest.mark.parametrize(
    "values", [[], [np.nan], [3.25], [0.0, -0.0], [np.nan, 7.0], [1e-40, 0.0], [3e38, -3e38]]
)
def test_few_values_are_on_some_grid(values: list[float]) -> None:
    given = np.array(values, np.float32)
    grid = grid_of(given)
    assert grid is not None and grid.gain > 0
    numbers = given[~np.isnan(given)].astype(np.float64)
    found = np.rint((numbers - grid.offset) / grid.gain)
    assert ((found * grid.gain + grid.offset).astype(np.float32) == numbers).all()


def test_what_rounding_left_of_zero_is_no_other_grid() -> None:
    counts = np.arange(-300, 300)
    offset = 0.005 * 7 * 3
    values = (counts * 0.005 + offset).astype(np.float32)
    assert 0 < np.abs(values).min() < 1e-15
    grid = grid_of(values)
    assert grid is not None
    found = np.rint((values.astype(np.float64) - grid.offset) / grid.gain)
    assert ((found * grid.gain + grid.offset).astype(np.float32) == values).all()


def test_infinite_values_and_too_many_steps_are_on_none() -> None:
    assert grid_of(np.array([1, 2, np.inf], np.float32)) is None
    assert grid_of(np.arange(MOST_STEPS + 2, dtype=np.float32)) is None
    assert grid_of(np.arange(MOST_STEPS + 1, dtype=np.float32)) is not None


@pytest.mark.parametrize("seed", range(10))
def test_gains_of_float32_are_found_exactly(seed: int) -> None:
    """Whoever scales counts in float32 has a gain of 24 bits, however it came about."""
    rng = np.random.default_rng(seed)
    gain = np.float32(rng.uniform(0.8, 1.25)) * np.float32(0.0488)
    counts = np.rint(rng.standard_normal(20_000) * rng.uniform(50, 3000)).clip(-30_000, 30_000)
    grid = grid_of(counts[:4000].astype("f4") * gain)
    assert grid is not None
    assert grid.gain == gain
    assert grid.offset == 0
