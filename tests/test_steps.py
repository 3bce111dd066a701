"""Steps on rows: the same bits for any cut, and what SciPy makes of whole recordings."""

import itertools
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from zarrts.errors import PlanError, SourceError
from zarrts.loops.resampling import weighted_sums
from zarrts.sources.rows.views import DerivedRows, ValueRows
from zarrts.sources.step_lists import step_given
from zarrts.sources.steps.chains import finished, whole_bytes, working_bytes
from zarrts.sources.steps.filters import branches_of, ratio_of, response_of, taps_of
from zarrts.sources.steps.frames import FrameCache, Tails
from zarrts.sources.steps.taking import take
from zarrts.timeline import Gaps
from zarrts.types import Description, SourceRecording

CHAINS = [
    ["filter 1 20"],
    ["filter none 20"],
    ["filter 5 none"],
    ["notch 30"],
    ["resample 100Hz"],
    ["resample 300Hz"],
    ["filter 1 20 method=iir"],
    ["filter 1 20", "resample 50Hz"],
    ["resample 96Hz", "notch 20", "filter 2 none"],
]
RATE = 128.0


def twice_smooth(rows):
    """A function that sees 40 rows to each side: the mean of 81."""
    padded = np.pad(rows, ((40, 40), (0, 0)), mode="edge")
    return np.stack([np.convolve(it, np.ones(81) / 81, "valid") for it in padded.T], axis=1)


class OnlyForward(DerivedRows):
    """Rows that are counted, and refused where reading goes back."""

    def __init__(self, values):
        super().__init__(ValueRows(values))
        object.__setattr__(self, "place", 0)
        object.__setattr__(self, "n_read", 0)

    @property
    def is_sequential(self):
        return True

    def _read(self, start, stop):
        assert start >= self.place, f"reading went back from {self.place} to {start}"
        object.__setattr__(self, "place", stop)
        object.__setattr__(self, "n_read", self.n_read + stop - start)
        return self.rows.read(start, stop)


def recording(x, rate=RATE, rows=None):
    return SourceRecording(
        subject="s01",
        origin="s01.npz",
        x=rows or ValueRows(x),
        y=ValueRows(np.arange(len(x))),
        x_name="x",
        y_name="y",
        size_bytes=0,
        fingerprint="",
        labels_per="row",
        description=Description(
            channels=tuple("ABCDEFGH"[: x.shape[-1]]), units=None, rate_hz=rate
        ),
    )


def after(it, steps):
    """Return a recording after steps."""
    cache, found = FrameCache(), it
    for number, step in enumerate(steps):
        taken = take(step_given(step), number, [found], cache)
        assert not taken.problems, taken.problems
        (found,) = taken.recordings
    return finished(it, found, Tails())


def walk(n_rows, n_channels=3, seed=0):
    """Noise with an offset and a drift: what electrodes give."""
    rng = np.random.default_rng(seed)
    return (300 + rng.normal(0, 5, (n_rows, n_channels)).cumsum(axis=0)).astype(np.float32)


def read_cut(rows, cuts):
    edges = [0, *sorted({it % (rows.shape[0] + 1) for it in cuts}), rows.shape[0]]
    return np.concatenate([rows.read(a, b) for a, b in itertools.pairwise(edges)])


def extension(x, n):
    """Return x with its odd reflections, as far as it is long, then zeros; one by one."""

    def value(i):
        if 0 <= i < len(x):
            return x[i]
        if i < 0:
            return 2 * x[0] - x[-i] if -i < len(x) else 0 * x[0]
        back = 2 * (len(x) - 1) - i
        return 2 * x[-1] - x[back] if back >= 0 else 0 * x[0]

    return np.array([value(i) for i in range(-n, len(x) + n)])


def filtered_naively(x, step, rate=RATE):
    taps = taps_of(response_of(step_given(step), rate))
    source = extension(x.astype(np.float64), len(taps) // 2)
    return np.stack([np.convolve(it, taps, "valid") for it in source.T], axis=1)


def resampled_naively(x, ratio):
    """Return every row as a sum of its own, from the impulse response in steps of 1/up."""
    up, down = ratio.numerator, ratio.denominator
    branches = branches_of(up, down)
    reach = branches.shape[1] // 2
    source = extension(x.astype(np.float64), reach + 1)
    n_out = -(-len(x) * up // down)
    rows = []
    for j in range(n_out):
        base, phase = divmod(j * down, up)
        rows.append(branches[phase] @ source[base + 1 : base + 2 + 2 * reach])
    return np.array(rows)


# The same bits ---


@pytest.mark.parametrize("steps", CHAINS, ids=" then ".join)
@settings(max_examples=12, deadline=None)
@given(
    n_rows=st.integers(1, 9_000),
    cuts=st.lists(st.integers(0, 10**6), max_size=8),
    missing=st.lists(st.tuples(st.integers(0, 8_999), st.integers(1, 300)), max_size=3),
    channel=st.integers(0, 3),
)
def test_any_cut_gives_the_same_bits(steps, n_rows, cuts, missing, channel):
    x = walk(n_rows)
    for start, length in missing:
        x[start : start + length, slice(None) if channel == 3 else channel] = np.nan
    rows = after(recording(x), steps).x
    assert rows.dtype == np.float32
    whole = after(recording(x), steps).x.read(0, rows.shape[0])
    assert whole.shape == rows.shape
    assert read_cut(rows, cuts).tobytes() == whole.tobytes()
    copied = pickle.loads(pickle.dumps(rows))
    assert read_cut(copied, cuts[:3]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("block", [1_000, 4_096, 13_337])
def test_long_recordings_have_the_same_bits_in_blocks(block):
    x = walk(60_000, 4)
    steps = ["filter 0.5 40", "resample 100Hz", "notch 30"]
    rows = after(recording(x, 256.0), steps).x
    whole = rows.read(0, rows.shape[0])
    found = read_cut(rows, range(0, rows.shape[0], block))
    assert found.tobytes() == whole.tobytes()


def test_a_function_has_the_same_bits_whatever_the_cut():
    x = walk(200_000, 5)
    step = ("map", twice_smooth, {"halo": 40})
    rows = after(recording(x), [step]).x
    expected = twice_smooth(x.astype(np.float64))
    np.testing.assert_allclose(rows.read(0, len(x)), expected, rtol=1e-6)
    found = read_cut(rows, [3, 50_000, 104_857, 104_858, 199_999])
    assert found.tobytes() == rows.read(0, len(x)).tobytes()


def test_an_own_number_of_threads_gives_the_same_bits():
    from concurrent.futures import ThreadPoolExecutor

    x = walk(50_000)
    rows = after(recording(x), ["filter 1 20", "resample 100Hz"]).x
    whole = rows.read(0, rows.shape[0])
    edges = range(0, rows.shape[0], 1_717)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda a: rows.read(a, min(a + 1_717, rows.shape[0])), edges))
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_source_that_only_goes_forward_is_read_once():
    x = walk(80_000)
    source = OnlyForward(x)
    steps = ["filter 0.5 40", "resample 100Hz", "notch 30"]
    rows = after(recording(x, rows=source), steps).x
    found = read_cut(rows, range(0, rows.shape[0], 1_500))
    assert source.n_read == len(x)
    expected = after(recording(x), steps).x
    assert found.tobytes() == expected.read(0, expected.shape[0]).tobytes()


# What SciPy and arithmetic by hand make of whole recordings ---


@pytest.mark.parametrize("n_rows", [1, 2, 17, 400, 5_000])
@pytest.mark.parametrize("step", ["filter 1 20", "filter none 30", "filter 3 none", "notch 30"])
def test_filters_are_the_convolution_of_the_whole_recording(n_rows, step):
    x = walk(n_rows)
    found = after(recording(x), [step]).x.read(0, n_rows)
    expected = filtered_naively(x, step)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(x).max())


@pytest.mark.parametrize("to", [100, 50, 64, 300, 128.5, 127])
@pytest.mark.parametrize("n_rows", [1, 3, 500, 3_000])
def test_another_rate_is_the_sum_over_the_whole_recording(to, n_rows):
    x = walk(n_rows)
    rows = after(recording(x), [("resample", to)]).x
    expected = resampled_naively(x, ratio_of(RATE, to))
    assert rows.shape == expected.shape
    np.testing.assert_allclose(
        rows.read(0, len(expected)), expected, rtol=1e-6, atol=1e-6 * np.abs(x).max()
    )


@pytest.mark.parametrize(("rate", "to"), [(128, 100), (256, 100), (100, 256), (1000, 64)])
def test_another_rate_is_that_of_scipy_with_the_same_filter(rate, to):
    x = walk(6_000, 2)
    ratio = Fraction(to, rate)
    up, down = ratio.numerator, ratio.denominator
    branches = branches_of(up, down)
    reach = branches.shape[1] // 2
    taps = np.zeros((2 * reach + 1) * up)
    for phase, k in np.ndindex(*branches.shape):
        taps[phase + (2 * reach - k) * up] = branches[phase, k]
    middle = reach * up
    taps = taps[: 2 * middle + up]
    padded = np.concatenate([np.zeros(up - 1), taps])  # odd in length around `middle`
    expected = signal.resample_poly(x.astype(np.float64), up, down, window=padded / up)
    found = after(recording(x, float(rate)), [("resample", to)]).x
    edge = int(2 * reach * ratio) + 2
    inner = slice(edge, found.shape[0] - edge)
    np.testing.assert_allclose(
        found.read(0, found.shape[0])[inner], expected[: found.shape[0]][inner], rtol=1e-6
    )


@pytest.mark.parametrize(("rate", "to"), [(256, 100), (128, 100), (100, 256), (250, 100)])
def test_what_would_alias_is_80_db_down_and_what_stays_stays(rate, to):
    n = 40 * rate
    lower = min(rate, to) / 2
    t, t_new = np.arange(n) / rate, np.arange(40 * to) / to
    inner = slice(10 * to, 30 * to)

    def of_sine(hertz):
        x = np.cos(2 * np.pi * hertz * t)[:, None]
        return after(recording(x, float(rate)), [("resample", to)]).x.read(0, 40 * to)[inner, 0]

    for share in (0.02, 0.3, 0.79):
        # Linear in phase, and sample 0 in its place: the very values of the same cosine.
        expected = np.cos(2 * np.pi * share * lower * t_new)[inner]
        assert np.abs(of_sine(share * lower) - expected).max() < 5e-4
    if to < rate:
        for share in (1.01, 1.1, 1.2):
            assert np.abs(of_sine(share * lower)).max() < 1.3e-4  # 78 dB


def test_an_offset_stays_what_it_is():
    x = np.full((4_000, 1), 12_345.678)
    for to in (100, 300, 127):
        found = after(recording(x), [("resample", to)]).x
        assert np.abs(found.read(0, found.shape[0]) / 12_345.678 - 1).max() < 1e-12


@pytest.mark.parametrize("band", [(1, 20), (None, 30), (2, None)])
def test_iir_is_that_of_scipy(band):
    low, high = band
    x = walk(5_000)
    kind = "bandpass" if low and high else "highpass" if low else "lowpass"
    edges = [low, high] if low and high else low or high
    sections = signal.butter(4, edges, kind, fs=RATE, output="sos")
    expected = signal.sosfiltfilt(sections, x.astype(np.float64), axis=0)
    found = after(recording(x), [("filter", low, high, {"method": "iir"})]).x.read(0, 5_000)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_missing_values_part_a_recording():
    """The rows between two of them are filtered as a recording of its own."""
    x = walk(6_000)
    x[1_000:1_010] = np.nan
    x[4_000, 1] = np.nan
    for steps in (["filter 1 20"], ["filter 1 20 method=iir"]):
        found = after(recording(x), steps).x.read(0, 6_000)
        for column, runs in ((0, [(0, 1_000), (1_010, 6_000)]), (1, [(1_010, 4_000)])):
            for start, stop in runs:
                alone = x[start:stop, column : column + 1]
                expected = after(recording(alone), steps).x.read(0, stop - start)
                np.testing.assert_allclose(
                    found[start:stop, column], expected[:, 0], rtol=1e-5, atol=1e-3
                )
        assert np.isnan(found[1_000:1_010]).all() and np.isnan(found[4_000, 1])
        assert np.isnan(found).sum() == 31


def test_missing_values_stay_where_they_were_at_another_rate():
    x = walk(6_000)
    x[1_000:1_010, 0] = np.nan
    found = after(recording(x), ["resample 100Hz"]).x
    values = found.read(0, found.shape[0])
    rows = np.arange(found.shape[0]) * 128 // 100
    np.testing.assert_array_equal(np.isnan(values[:, 0]), (rows >= 1_000) & (rows < 1_010))
    assert not np.isnan(values[:, 1:]).any()


# Masks ---

FAULTS = st.sampled_from(["flat", "nan", "large"])


def masked_naively(x, flat, amplitude, around):
    """Return the mask row by row: 1 for NaN, 2 for amplitude, 4 for flat, also close by."""
    found = np.zeros(len(x), np.uint8)
    for row in range(len(x)):
        what = int(np.isnan(x[row]).any()) + 2 * int((np.abs(x[row]) > amplitude).any())
        for column in x.T:
            first, last = row, row
            while first > 0 and column[first - 1] == column[row]:
                first -= 1
            while last < len(x) - 1 and column[last + 1] == column[row]:
                last += 1
            what |= 4 * (last - first + 1 >= flat and column[row] == column[row])
        for bit in (1, 2, 4):
            if what & bit:
                found[max(0, row - around) : row + around + 1] |= bit
    return found


@settings(max_examples=25, deadline=None)
@given(
    n_rows=st.integers(1, 400),
    bad=st.lists(
        st.tuples(
            st.integers(0, 399), st.integers(1, 40), st.sampled_from(["flat", "nan", "large"])
        ),
        max_size=5,
    ),
    flat=st.integers(2, 12),
    around=st.integers(0, 9),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_a_mask_says_what_is_wrong_whatever_the_cut(n_rows, bad, flat, around, cuts):
    x = walk(n_rows, 2)
    for start, length, what in bad:
        part = x[start : start + length, start % 2]
        part[:] = {"nan": np.nan, "large": 5_000, "flat": part[0] if len(part) else 0}[what]
    step = ("clean", {"flat": flat, "amplitude": 4_000, "around": around})
    found = after(recording(x), [step])
    assert found.x.read(0, n_rows).tobytes() == x.tobytes()
    assert found.mask.dtype == np.uint8
    expected = masked_naively(x, flat, 4_000, around)
    assert found.mask.read(0, n_rows).tolist() == expected.tolist()
    assert read_cut(found.mask, cuts).tolist() == expected.tolist()


@pytest.mark.parametrize("to", [50, 300])
def test_a_row_at_another_rate_is_masked_if_any_in_its_time_is(to):
    x = walk(1_000)
    for row in (3, 500, 501, 999):
        x[row] = 9_000
    found = after(recording(x), [("clean", {"amplitude": 5_000}), ("resample", to)])
    bad = np.abs(x).max(axis=1) > 5_000
    expected = []
    for j in range(found.x.shape[0]):
        first, last = j * 128 // to, max(j * 128 // to + 1, (j + 1) * 128 // to)
        expected.append(2 * int(bad[first:last].any()))
    assert found.mask.read(0, len(expected)).tolist() == expected
    assert read_cut(found.mask, [7, 100, 333]).tolist() == expected


def test_masks_join_and_go_forward_too():
    x = walk(30_000)
    x[7_000] = np.nan
    x[20_000, 1] = 9_000
    steps = [("clean", {"amplitude": 5_000, "nan": False}), "clean", "resample 100Hz"]
    plain = after(recording(x), steps)
    whole = plain.mask.read(0, plain.mask.shape[0])
    assert sorted({*whole.tolist()}) == [0, 1, 2]
    forward = after(recording(x, rows=OnlyForward(x)), steps)
    n_rows = forward.x.shape[0]
    for start in range(0, n_rows, 1_000):
        stop = min(n_rows, start + 1_000)
        assert forward.x.read(start, stop).tobytes() == plain.x.read(start, stop).tobytes()
        assert forward.mask.read(start, stop).tolist() == whole[start:stop].tolist()


def test_what_lies_between_gaps_is_a_recording_of_its_own():
    x = walk(6_000)
    it = replace(recording(x), gaps=Gaps.of([1_001, 4_000], [2.5, 0.0]))
    parts = [(0, 1_001), (1_001, 4_000), (4_000, 6_000)]
    steps = ["filter 1 20", ("map", twice_smooth, {"halo": 40}), "resample 100Hz"]
    found = after(it, steps)
    alone = [after(recording(x[start:stop]), steps).x for start, stop in parts]
    values = np.concatenate([rows.read(0, rows.shape[0]) for rows in alone])
    np.testing.assert_allclose(found.x.read(0, found.x.shape[0]), values, rtol=1e-5, atol=1e-4)
    lengths = [rows.shape[0] for rows in alone]
    assert lengths == [783, 2_343, 1_563]
    assert found.gaps.rows.tolist() == [783, 783 + 2_343]
    # Row 1,001 was 2.5 s later than it would have been without the gap, and so it is still.
    later = 1_001 / 128 + 2.5
    assert found.gaps.seconds[0] == pytest.approx(later - 783 / 100)
    assert found.gaps.seconds[1] == 0
    cut = read_cut(found.x, [500, 784, 790, 3_126, 4_000])
    assert cut.tobytes() == found.x.read(0, found.x.shape[0]).tobytes()
    rows = [a + j * 128 // 100 for (a, _), n in zip(parts, lengths, strict=True) for j in range(n)]
    assert found.y.read(0, len(rows)).tolist() == rows
    iir = after(it, ["filter 1 20 method=iir"]).x.read(0, 6_000)
    for start, stop in parts:
        expected = after(recording(x[start:stop]), ["filter 1 20 method=iir"]).x
        np.testing.assert_allclose(
            iir[start:stop], expected.read(0, stop - start), rtol=1e-5, atol=1e-3
        )


# Labels ---


@pytest.mark.parametrize("to", [100, 64, 300, 127])
def test_a_row_has_the_label_of_the_row_that_covers_its_time(to):
    x = walk(2_000)
    found = after(recording(x), [("resample", to)])
    expected = [j * 128 // to for j in range(found.x.shape[0])]
    assert found.y.read(0, found.y.shape[0]).tolist() == expected
    assert found.y.read(17, 40).tolist() == expected[17:40]
    assert found.y.read(5, 5).tolist() == []


# Samples ---


def test_samples_are_series_of_their_own():
    x = walk(3 * 700).reshape(3, 700, 3)
    it = replace(recording(x), labels_per="sample")
    steps = ["filter 2 20", "resample 100Hz"]
    found = after(it, steps).x
    assert found.shape == (3, 547, 3)
    for number, sample in enumerate(found.read(0, 3)):
        alone = after(recording(x[number]), steps).x
        np.testing.assert_array_equal(sample, alone.read(0, 547))
    assert found.read(1, 2).tobytes() == found.read(0, 3)[1].tobytes()


# Memory ---


def test_what_steps_take_is_known():
    x = walk(50_000)
    fir = after(recording(x), ["filter 1 20"]).x
    iir = after(recording(x), ["filter 1 20 method=iir"]).x
    assert 0 < working_bytes(fir) < 40e6
    assert whole_bytes(fir) == 0
    assert whole_bytes(iir) == 4 * x.size * 8


# What is refused ---


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("filter 1 64", "64 Hz has to be below half of the rate of 128 Hz, which is 64 Hz"),
        ("notch 64", "64.66 Hz has to be below half of the rate"),
        ("notch 0.3", "notch at 0.3 Hz needs"),
        ("notch 30 30.2", "notch at 30.2 Hz needs"),
        ("resample 12799.9876", "is a ratio of"),
        ("resample 0.00001", "128 Hz is too far from 1e-05 Hz"),
    ],
)
def test_what_a_rate_does_not_allow_is_refused(step, message):
    taken = take(step_given(step), 0, [recording(walk(100))], FrameCache())
    assert not taken.recordings
    assert len(taken.problems) == 1 and message in taken.problems[0]
    assert taken.problems[0].startswith("s01.npz: ")


def test_a_step_without_a_rate_names_the_option():
    taken = take(step_given("filter 1 20"), 0, [recording(walk(9), rate=None)], FrameCache())
    assert taken.problems == (
        "s01.npz: filter: its rate is not known; say it with rate_hz= (--rate-hz).",
    )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("filtre 1 40", r"'filtre' is not a step; there are pick, .* Did you mean 'filter'\?"),
        ("filter", "filter: give low, high or both|missing"),
        ("filter 40 1", "low=40 has to be below high=1"),
        ("filter a b", "low='a' has to be a frequency"),
        ("filter 1 40 method=fft", "method='fft' is unknown; use 'fir', 'iir'"),
        ("filter 1 40 order=3", "unexpected keyword argument 'order'"),
        ("resample 0", "rate=0 Hz has to be above 0"),
        ("notch", "give a frequency"),
        ("pick", "at least one"),
        (("pick", "C3"), r"is one text; give a list of names: \['C3'\]"),
        (("pick", ["C3", "C3"]), "pick names C3 more than once"),
        (("pick", ["C3"], {"absent": "zero"}), "absent='zero' is unknown"),
        (("map", 3), "has to be a function"),
        (("map", np.abs, {"halo": "2 parsecs"}), "halo='2 parsecs' has to be"),
        (("map", np.abs, {"halo": 2, "whole": True}), "a whole recording has no halo"),
        (("map", np.abs, {"with_": [1]}), "has to be text, a number"),
        ("clean nan=no", "say what is no good"),
        ("clean amplitude=large", "amplitude='large' has to be a number"),
        ("clean flat=0", "flat=0 is no time"),
        ("map no.such:module", "cannot be imported"),
        ("stored text", "stored: 'text' is not the dtype of numbers, as 'float32' is"),
        ("stored S4", "stored: 'S4' is not the dtype of numbers"),
        (3, "3 is not a step"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(step, message):
    with pytest.raises(PlanError, match=message):
        step_given(step)


def test_a_function_that_returns_another_shape_names_itself():
    rows = after(recording(walk(100)), [("map", lambda rows: rows[:-1])]).x
    with pytest.raises(SourceError, match=r"<lambda> returned float64 of shape \(99, 3\) for rows"):
        rows.read(0, 10)
    rows = after(recording(walk(100)), [("map", lambda rows: rows + 1j)]).x
    with pytest.raises(SourceError, match="returned complex128"):
        rows.read(0, 10)
    rows = after(recording(walk(100)), [("map", lambda rows: 1 / 0)]).x
    with pytest.raises(SourceError, match=r"failed on rows of shape \(100, 3\) \(ZeroDivision"):
        rows.read(0, 10)


def test_sums_do_not_depend_on_what_is_asked_for_with_them():
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(3_000, 2)), rng.normal(size=(5, 30))
    branches, firsts = rng.integers(0, 5, 20_000), np.sort(rng.integers(0, 2_970, 20_000))
    found = weighted_sums(rows, weights, branches, firsts)
    expected = np.stack(
        [weights[b] @ rows[f : f + 30] for b, f in zip(branches, firsts, strict=True)]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    part = weighted_sums(rows, weights, branches[7_000:7_003], firsts[7_000:7_003])
    assert part.tobytes() == found[7_000:7_003].tobytes()
