"""Windows and whole recordings of a ragged store, against NumPy on the recordings themselves."""

import itertools
import warnings

import numpy as np
import pytest
from chunk_reads import note_reads
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.commands.summary import describe_windows, summarize
from zarrts.errors import SampleError
from zarrts.loading import postprocessing
from zarrts.loops import gathering
from zarrts.reading.memory_plan import window_amplification
from zarrts.sizes import parse_size

pytestmark = pytest.mark.filterwarnings("ignore:.* recordings are too short for a:UserWarning")
QUICK = settings(deadline=None, max_examples=25)
LENGTHS = (37, 5, 90, 1, 64, 23)
N_CHANNELS = 3


class Ragged:
    """A store of recordings of unequal lengths, and what is in it."""

    def __init__(self, folder, labels_per, lengths=LENGTHS, chunk=120, labels="text"):
        rng = np.random.default_rng(5)
        self.x = [rng.standard_normal((n, N_CHANNELS)).astype(np.float32) for n in lengths]
        names = np.array(["a", "b", "c"])
        count = (lambda n: n) if labels_per == "row" else (lambda n: 1)
        self.y = [
            names[rng.integers(0, 3, count(n))]
            if labels == "text"
            else rng.standard_normal(count(n)).astype(np.float32)
            for n in lengths
        ]
        self.subjects = [f"s{i // 2}" for i in range(len(lengths))]
        given = self.y if labels_per == "row" else [y[0] for y in self.y]
        recordings = [
            zarrts.Recording(*it) for it in zip(self.subjects, self.x, given, strict=True)
        ]
        self.store = zarrts.convert(
            recordings,
            folder / f"{labels_per}-{labels}-{chunk}.zarr",
            kind="ragged",
            chunk=chunk,
            shard=4 * chunk,
            channels=["u", "v", "w"],
            rate_hz=50,
            progress=False,
        )

    def codes(self, labels):
        return np.searchsorted(["a", "b", "c"], labels)


@pytest.fixture(scope="module")
def by_row(tmp_path_factory):
    return Ragged(tmp_path_factory.mktemp("row"), "row")


@pytest.fixture(scope="module")
def by_recording(tmp_path_factory):
    return Ragged(tmp_path_factory.mktemp("recording"), "recording")


def naive(ragged, length, stride, rate, label, reverse=False, horizon=1):
    """Return (x, y as codes, recording) of every window, by slicing each recording."""
    found = []
    for number, (x, y) in enumerate(zip(ragged.x, ragged.y, strict=True)):
        codes = ragged.codes(y)
        for at in range(0, len(x), stride):
            last = at + length - 1
            if last + (horizon if label == "next" else 0) >= len(x):
                continue
            steps = slice(at, at + length, rate)
            step = -1 if reverse else 1
            target = {
                "recording": lambda codes=codes: codes[0],
                "first": lambda codes=codes, at=at: codes[at],
                "last": lambda codes=codes, last=last: codes[last],
                "next": lambda codes=codes, last=last: codes[last + horizon],
                "all": lambda codes=codes, steps=steps, step=step: codes[steps][::step],
                "majority": lambda codes=codes, at=at: np.bincount(
                    codes[at : at + length], minlength=3
                ).argmax(),
            }[label]()
            found.append((x[steps][::step], target, number))
    return found


ROW_LABELS = ["first", "last", "next", "all", "majority"]


@QUICK
@given(
    length=st.integers(1, 40),
    stride=st.integers(1, 30),
    rate=st.integers(1, 3),
    label=st.sampled_from([*ROW_LABELS, "recording"]),
    reverse=st.booleans(),
    horizon=st.integers(1, 3),
    memory=st.sampled_from(["40KiB", "1MiB"]),
    shuffle=st.sampled_from([True, False, "global"]),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 2),
)
def test_batches_of_windows_are_slices_of_the_recordings(
    by_row,
    by_recording,
    length,
    stride,
    rate,
    label,
    reverse,
    horizon,
    memory,
    shuffle,
    batch_size,
    world_size,
):
    ragged = by_recording if label == "recording" else by_row
    expected = naive(ragged, length, stride, rate, label, reverse, horizon)
    samples = ragged.store.samples.windows(
        length, stride, rate, label=label, reverse=reverse, horizon=horizon
    )
    assert len(samples) == len(expected)
    if len(expected) < world_size:
        return
    seen = []
    for rank in range(world_size):
        batches = samples.batches(
            batch_size,
            shuffle=shuffle,
            memory=memory,
            label_mode="int",
            rank=rank,
            world_size=world_size,
        )
        with batches:
            for batch in batches:
                for x, y, i in zip(batch.x, batch.y, batch.sample_id.tolist(), strict=True):
                    np.testing.assert_array_equal(x, expected[i][0])
                    np.testing.assert_array_equal(y, expected[i][1])
                    seen.append(i)
    assert sorted(seen) == list(range(len(expected)))


@pytest.mark.parametrize("label", ROW_LABELS)
def test_all_ways_to_read_windows_agree(by_row, label):
    expected = naive(by_row, 10, 4, 2, label)
    samples = by_row.store.samples.windows(10, 4, 2, label=label)
    x, y = samples.load()
    np.testing.assert_array_equal(x, [it[0] for it in expected])
    np.testing.assert_array_equal(y, [it[1] for it in expected])
    np.testing.assert_array_equal(samples.load_labels(), y)
    for i in (0, 7, -1):
        one_x, one_y = samples[i]
        np.testing.assert_array_equal(one_x, x[i])
        np.testing.assert_array_equal(one_y, y[i])
    owners = [by_row.subjects[it[2]] for it in expected]
    assert samples.subject.tolist() == owners
    assert len(samples.filenames) == len(samples)
    assert samples.class_counts.tolist() == np.bincount(y.ravel(), minlength=3).tolist()
    stats = samples.stats()
    flat = x.reshape(-1, N_CHANNELS).astype(np.float64)
    np.testing.assert_allclose(stats.mean, flat.mean(axis=0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(stats.std, flat.std(axis=0), rtol=1e-10)
    assert stats.count.tolist() == [len(flat)] * N_CHANNELS
    assert stats.min.tolist() == flat.min(axis=0).tolist()


@pytest.mark.parametrize("long_bytes", [1, 10 * 12 + 1])
@pytest.mark.parametrize("long_run_bytes", [1, 10 * 12 + 1])
def test_windows_are_alike_however_they_are_copied(by_row, monkeypatch, long_bytes, long_run_bytes):
    monkeypatch.setattr(gathering, "_LONG_BYTES", long_bytes)
    monkeypatch.setattr(postprocessing, "_LONG_RUN_BYTES", long_run_bytes)
    samples = by_row.store.samples.windows(10, 5, label="last")
    for one in (samples, samples.sequences(2)):
        x, _ = one.load()
        with one.batches(5, stats=samples.stats(), memory="1MiB") as batches:
            found = {i: it for b in batches for i, it in zip(b.sample_id, b.x, strict=True)}
        scaled = (x - samples.stats().mean) / samples.stats().std
        for i, expected in enumerate(scaled):
            np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-6)


def test_ids_of_windows_are_those_of_the_whole_store(by_row):
    every = by_row.store.samples.windows(10, 4, label="last")
    train, test = by_row.store.samples.split(test=["s1"])
    cut = [part.windows(10, 4, label="last") for part in (train, test)]
    later = every.split(test=["s1"])
    for before, after in zip(cut, later, strict=True):
        assert before.ids.tolist() == after.ids.tolist()
        np.testing.assert_array_equal(before.load()[0], after.load()[0])
    assert sorted([*cut[0].ids, *cut[1].ids]) == every.ids.tolist()
    assert set(cut[1].subject) == {"s1"}


def test_start_and_stop_are_rows_or_times(by_row):
    samples = by_row.store.samples
    by_time = samples.windows(10, 4, start="200ms", stop="1s", label="last")
    by_rows = samples.windows(10, 4, start=10, stop=50, label="last")
    expected = [x[at : at + 10] for x in by_row.x for at in range(10, min(len(x), 50) - 9, 4)]
    np.testing.assert_array_equal(by_time.load()[0], expected)
    assert by_rows.ids.tolist() == by_time.ids.tolist()
    last = samples.select(subjects=["s2"]).windows(10, 10, start=-10, label="last")
    np.testing.assert_array_equal(last.load()[0], [x[-10:] for x in by_row.x[4:]])


def test_windows_are_selected_by_class(by_row):
    samples = by_row.store.samples.windows(10, 4, label="last")
    y = samples.load_labels()
    assert samples.select(classes=["b"]).ids.tolist() == np.flatnonzero(y == 1).tolist()
    labelled = by_row.store.samples.windows(10, 4, label="all")
    with pytest.raises(SampleError, match="several labels each"):
        labelled.select(classes=["b"])


def test_a_function_makes_labels_of_the_rows(by_row):
    samples = by_row.store.samples.windows(10, 4, label=lambda rows: rows.max(axis=1))
    expected = [
        by_row.codes(y)[at : at + 10].max() for y in by_row.y for at in range(0, len(y) - 9, 4)
    ]
    assert samples.load_labels().tolist() == expected
    with samples.batches(5, shuffle=False, memory="1MiB") as batches:
        assert np.concatenate([batch.y for batch in batches]).tolist() == expected


@pytest.mark.parametrize("label_mode", ["raw", "int", "categorical", "auto"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rows: np.full(len(rows), 3), r"returned 3, .* 0 \(a\), 1 \(b\), 2 \(c\), and -1"),
        (lambda rows: np.full(len(rows), -2), "returned -2, which is not a label here"),
        (lambda rows: rows.mean(axis=1) + 0.5, "which is not a label here"),
        (lambda rows: np.array(["a"] * len(rows)), "returned dtype <U1, but labels are numbers"),
        (lambda rows: np.zeros(len(rows) + 1, int), r"shape \(\d+,\) for \d+ windows"),
        (lambda rows: 1, r"returned shape \(\) for \d+ windows"),
    ],
)
def test_labels_of_a_function_have_to_be_those_of_the_store(by_row, function, message, label_mode):
    samples = by_row.store.samples.windows(10, 4, label=function)
    with pytest.raises(SampleError, match=rf"^label=<lambda> .*{message}"):
        next(samples.batches(5, label_mode=label_mode))
    with pytest.raises(SampleError, match=message):
        samples.load_labels()


def test_a_function_may_leave_windows_without_a_label(by_row):
    samples = by_row.store.samples.windows(
        10, 10, label=lambda rows: np.where(rows[:, 0] == 1, -1, rows[:, 0])
    )
    firsts = np.concatenate([by_row.codes(y)[: len(y) // 10 * 10 : 10] for y in by_row.y])
    assert 0 < samples.n_unlabelled == (firsts == 1).sum()


def test_samples_know_the_shape_of_one(by_row):
    samples = by_row.store.samples
    windows = samples.windows(10, 10, 3, label="last")
    assert samples.sample_shape == (None, N_CHANNELS)
    assert windows.sample_shape == windows[0][0].shape == (4, N_CHANNELS)
    sequences = samples.windows(10, 10, label="last").sequences(2)
    assert sequences.sample_shape == sequences[0][0].shape == (2, 10, N_CHANNELS)


def test_a_time_is_the_stride_of_windows_of_a_time(by_row):
    samples = by_row.store.samples
    found = samples.windows("200ms", label="last")
    assert found.ids.tolist() == samples.windows(10, 10, label="last").ids.tolist()
    every = samples.windows(10, label="last")
    assert len(every) == sum(max(0, len(x) - 9) for x in by_row.x)


def test_forecasts_are_scaled_values_of_x(by_recording):
    samples = by_recording.store.samples.windows(
        8, 3, label="next", horizon=[1, 3], target="x", channels=["w", 0]
    )
    stats = samples.stats()
    expected = [
        x[[at + 8, at + 10]][:, [2, 0]] for x in by_recording.x for at in range(0, len(x) - 10, 3)
    ]
    raw = np.stack([samples[i][1] for i in range(len(samples))])
    np.testing.assert_array_equal(raw, expected)
    with samples.batches(7, shuffle=False, label_mode="auto", stats=stats) as batches:
        found = np.concatenate([batch.y for batch in batches])
    scaled = (np.stack(expected) - stats.mean[[2, 0]]) / stats.std[[2, 0]]
    np.testing.assert_allclose(found, scaled, rtol=1e-4, atol=1e-6)
    with pytest.raises(SampleError, match="label_mode='int' is for labels"):
        samples.batches(7, label_mode="int")
    with pytest.raises(SampleError, match="values of x, not classes"):
        _ = samples.class_counts


def test_sequences_are_windows_with_a_label_each(by_row):
    windows = by_row.store.samples.windows("200ms", "100ms", label="last")
    samples = windows.sequences(3)
    expected = []
    for x, y in zip(by_row.x, by_row.y, strict=True):
        starts = list(range(0, len(x) - 9, 5))
        for run in (
            itertools.batched(starts, 3)
            if hasattr(itertools, "batched")
            else (starts[i : i + 3] for i in range(0, len(starts), 3))
        ):
            if len(run) == 3:
                expected.append(
                    ([x[at : at + 10] for at in run], [by_row.codes(y)[at + 9] for at in run])
                )
    x, y = samples.load()
    assert x.shape == (len(expected), 3, 10, N_CHANNELS)
    np.testing.assert_array_equal(x, [it[0] for it in expected])
    np.testing.assert_array_equal(y, [it[1] for it in expected])
    with samples.batches(4, label_mode="int", memory="1MiB") as batches:
        for batch in batches:
            np.testing.assert_array_equal(batch.x, x[batch.sample_id])
            np.testing.assert_array_equal(batch.y, y[batch.sample_id])


@pytest.mark.parametrize("label", ["majority", lambda rows: rows[:, rows.shape[1] // 2]])
def test_sequences_of_windows_whose_labels_are_made_of_their_rows(by_row, label):
    windows = by_row.store.samples.windows(7, 4, label=label)
    samples = windows.sequences(3, stride=2)
    of_window = windows.load_labels()
    starts = np.cumsum([0, *(max(0, (len(x) - 7) // 4 + 1) for x in by_row.x)])
    expected = [
        of_window[at : at + 3]
        for first, stop in itertools.pairwise(starts)
        for at in range(first, stop - 2, 2)
    ]
    np.testing.assert_array_equal(samples.load_labels(), expected)
    np.testing.assert_array_equal([samples[i][1] for i in range(len(samples))], expected)
    with samples.batches(4, label_mode="int", shuffle=False) as batches:
        np.testing.assert_array_equal(np.concatenate([it.y for it in batches]), expected)
    for refused in (samples.class_weight, lambda: samples.select(classes=["a"])):
        with pytest.raises(SampleError, match="several"):
            refused()
    for n in (2.0, "10min", 0):
        with pytest.raises(SampleError, match="both count windows"):
            windows.sequences(n)


def test_sequences_stay_if_any_of_their_windows_has_a_label(by_row):
    windows = by_row.store.samples.windows(6, 6, label="majority")
    samples = windows.sequences(2).select(classes={"A": ["a"], "C": ["c"]})
    codes = windows.load_labels()
    counts = [len(x) // 6 for x in by_row.x]
    firsts = [
        start + at
        for start, n in zip(np.cumsum([0, *counts[:-1]]), counts, strict=True)
        for at in range(0, n - 1, 2)
    ]
    merged = np.array([0, -1, 1])[codes]
    expected = np.stack([merged[at : at + 2] for at in firsts])
    kept = (expected >= 0).any(axis=1)
    assert 0 < kept.sum() < len(kept)
    assert ((expected < 0).any(axis=1) & kept).any()
    assert len(samples) == kept.sum()
    assert samples.n_unlabelled == 0
    with zarrts.ZarrSequence(samples, batch_size=100, shuffle=False) as seq:
        _, y, weight = seq[0]
    np.testing.assert_array_equal(y, np.maximum(expected[kept], 0))
    np.testing.assert_array_equal(weight, expected[kept] >= 0)


@QUICK
@given(
    length=st.integers(1, 9),
    stride=st.integers(1, 9),
    n=st.integers(1, 4),
    step=st.integers(1, 4),
    share=st.floats(0.3, 1),
    seed=st.integers(0, 2**20),
)
def test_sequences_of_some_windows_are_those_of_all_whose_windows_are_among_them(
    by_row, length, stride, n, step, share, seed
):
    windows = by_row.store.samples.windows(length, stride, label="last")
    chosen = windows.ids[np.random.default_rng(seed).random(len(windows)) < share]
    starts = np.cumsum([0, *(max(0, (len(x) - length) // stride + 1) for x in by_row.x)])
    runs = [
        list(range(at, at + n))
        for first, stop in itertools.pairwise(starts.tolist())
        for at in range(first, stop - n + 1, step)
    ]
    expected = [i for i, run in enumerate(runs) if set(run) <= set(chosen.tolist())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of recordings without any, and of overlap
        if not expected:
            with pytest.raises(SampleError, match="No "):
                windows.select(ids=chosen).sequences(n, step)
            return
        found = windows.select(ids=chosen).sequences(n, step)
    assert found.ids.tolist() == expected
    labels = dict(zip(windows.ids.tolist(), windows.load_labels().tolist(), strict=True))
    assert found.load_labels().tolist() == [[labels[it] for it in runs[i]] for i in expected]


def test_majority_needs_labels_of_half_of_the_rows(tmp_path):
    """One row of 200 that is walked, and 100 of 200: of two recordings, one is walking."""
    labels = np.full((2, 200), "", "U4")
    labels[0, 199], labels[1, 100:] = "walk", "walk"
    recordings = [
        zarrts.Recording(n, np.zeros((200, 1)), y) for n, y in zip("ab", labels, strict=True)
    ]
    with zarrts.convert(recordings, tmp_path / "a.zarr", kind="ragged", progress=False) as store:
        counted = {
            share: store.samples.windows(200, label="majority", min_labelled=share).n_unlabelled
            for share in (0, 0.005, 0.5, 0.6)
        }
        assert counted == {0: 0, 0.005: 0, 0.5: 1, 0.6: 2}
        assert store.samples.windows(200, label="majority").n_unlabelled == 1
        with pytest.raises(SampleError, match="min_labelled=50 has to be a share"):
            store.samples.windows(200, label="majority", min_labelled=50)


def test_sequences_of_windows_that_overlap_much_warn(by_row):
    windows = by_row.store.samples.windows(10, 4, label="last")
    with pytest.warns(UserWarning, match=r"each has 10 rows, and the next begins 4 later"):
        windows.sequences(2)


# Whole recordings ----------------------------------------------------------------------------


@QUICK
@given(
    pad=st.sampled_from(["batch", "longest", 20, 100]),
    truncate=st.sampled_from(["pre", "post"]),
    labels_per=st.sampled_from(["row", "recording"]),
    pad_value=st.sampled_from([0.0, -9.0]),
    shuffle=st.sampled_from([True, False]),
    batch_size=st.integers(1, 7),
)
def test_padded_recordings_keep_their_rows(
    by_row, by_recording, pad, truncate, labels_per, pad_value, shuffle, batch_size
):
    ragged = by_row if labels_per == "row" else by_recording
    seen = []
    batches = ragged.store.samples.batches(
        batch_size,
        shuffle=shuffle,
        pad=pad,
        truncate=truncate,
        pad_value=pad_value,
        label_mode="int",
        memory="1MiB",
    )
    with batches:
        for batch in batches:
            lengths = [len(ragged.x[i]) for i in batch.sample_id]
            n_steps = {"batch": max(lengths), "longest": max(LENGTHS)}.get(pad, pad)
            assert batch.x.shape == (len(lengths), n_steps, N_CHANNELS)
            kept = np.minimum(lengths, n_steps)
            assert batch.length.tolist() == kept.tolist()
            assert batch.mask.sum(axis=1).tolist() == kept.tolist()
            for i, x, y, n in zip(batch.sample_id, batch.x, batch.y, kept, strict=True):
                rows = slice(-n, None) if truncate == "pre" else slice(0, n)
                np.testing.assert_array_equal(x[:n], ragged.x[i][rows])
                assert (x[n:] == pad_value).all()
                if labels_per == "row":
                    np.testing.assert_array_equal(y[:n], ragged.codes(ragged.y[i])[rows])
                    assert (y[n:] == 0).all()
                else:
                    assert y == ragged.codes(ragged.y[i][0])
                seen.append(i)
    assert sorted(seen) == list(range(len(LENGTHS)))


def test_buckets_give_batches_few_lengths(by_recording):
    samples = by_recording.store.samples
    for buckets, allowed in ((2, {30, 90}), ([25, 64, 90], {25, 64, 90})):
        lengths = set()
        for epoch in range(6):
            with samples.batches(1, epoch=epoch, pad="batch", buckets=buckets) as batches:
                lengths |= {batch.x.shape[1] for batch in batches}
        if isinstance(buckets, int):
            assert len(lengths) == 2
            assert max(lengths) == 90
        else:
            assert lengths == allowed
    with pytest.raises(SampleError, match="buckets= end at 64 rows, but the longest sample has 90"):
        samples.batches(1, pad="batch", buckets=[25, 64])
    with pytest.raises(SampleError, match="say pad='batch', not 'longest'"):
        samples.batches(1, pad="longest", buckets=3)


def test_recordings_load_as_lists(by_row, by_recording):
    x, y = by_row.store.samples.load()
    for found, expected in zip(x, by_row.x, strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(y, by_row.y, strict=True):
        np.testing.assert_array_equal(found, by_row.codes(expected))
    x, y = by_recording.store.samples.select(subjects=["s1"]).load()
    assert [len(it) for it in x] == [90, 1]
    assert y.tolist() == [by_recording.codes(by_recording.y[i][0]) for i in (2, 3)]
    one_x, one_y = by_recording.store.samples[-1]
    np.testing.assert_array_equal(one_x, by_recording.x[-1])
    assert one_y == by_recording.codes(by_recording.y[-1][0])


def test_statistics_of_recordings_are_those_of_their_rows(by_row):
    some = by_row.store.samples.select(subjects=["s0", "s2"])
    rows = np.concatenate([by_row.x[i] for i in (0, 1, 4, 5)]).astype(np.float64)
    stats = some.stats()
    np.testing.assert_allclose(stats.mean, rows.mean(axis=0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(stats.std, rows.std(axis=0), rtol=1e-10)
    labels = np.concatenate([by_row.codes(by_row.y[i]) for i in (0, 1, 4, 5)])
    assert some.class_counts.tolist() == np.bincount(labels, minlength=3).tolist()


def test_a_recording_without_rows_is_no_sample(tmp_path):
    lengths = (0, 12, 0, 0, 5, 30, 0)
    ragged = Ragged(tmp_path, "row", lengths=lengths)
    samples = ragged.store.samples
    filled = [i for i, n in enumerate(lengths) if n]
    assert samples.ids.tolist() == filled
    assert samples.subject.tolist() == [ragged.subjects[i] for i in filled]
    x, _ = samples.load()
    for found, i in zip(x, filled, strict=True):
        np.testing.assert_array_equal(found, ragged.x[i])
    rows = np.concatenate(ragged.x).astype(np.float64)
    np.testing.assert_allclose(samples.stats().mean, rows.mean(axis=0), rtol=1e-10, atol=1e-12)
    labels = np.concatenate([ragged.codes(y) for y in ragged.y])
    assert samples.class_counts.tolist() == np.bincount(labels, minlength=3).tolist()
    with samples.batches(2, pad="batch", memory="1MiB") as batches:
        assert sorted(i for batch in batches for i in batch.sample_id) == filled
    train, test = samples.split(test=["s2"])
    assert (train.ids.tolist(), test.ids.tolist()) == ([1], [4, 5])
    windows = test.windows(4, 2, label="last")
    assert len(windows) == 1 + 14


def test_recordings_without_a_window_are_counted(by_row):
    samples = by_row.store.samples
    with pytest.warns(UserWarning, match="2 of 6 recordings are too short for a window and give"):
        windows = samples.windows(10, 5, label="last")
    with pytest.warns(UserWarning, match="1 of 4 recordings are too short for a sequence"):
        windows.sequences(4)
    with pytest.warns(UserWarning, match="1 of 2 .* none: "):
        samples.select(subjects=["s1"]).windows(10, label="last")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples.select(subjects=["s2"]).windows(10, label="last")
        samples.windows(1, label="last")


# What cannot be meant ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels_per", "options", "message"),
    [
        ("row", {"length": 10}, "needs one label for each recording"),
        ("recording", {"length": 10, "label": "last"}, "needs a label for each row"),
        ("recording", {"length": 91}, "one takes 91 rows .* the longest stretch has 90"),
        ("recording", {"length": "1 fortnight"}, "a number of rows, or a time"),
        ("recording", {"length": "15ms"}, "is 0.75 rows at 50 Hz"),
        (
            "recording",
            {"length": 5, "label": "next", "target": "x", "channels": ["z"]},
            "no channel 'z'; there are u, v, w",
        ),
        ("recording", {"length": 5, "lenght": 5}, "lenght"),
        ("recording", {"sequence_length": 5, "length": 5}, r"use length=.*\* sampling_rate \+ 1"),
        ("recording", {"length": 5, "sampling_rate": 2.0}, "sampling_rate=2.0 has to be a whole"),
        ("recording", {"length": 0}, "length=0 has to be a whole number, at least 1"),
        ("recording", {"length": 5, "gaps": {99: [3]}}, "99 names no recording .there is none"),
    ],
)
def test_windows_that_cannot_be_are_refused(by_row, by_recording, labels_per, options, message):
    samples = (by_row if labels_per == "row" else by_recording).store.samples
    with pytest.raises((SampleError, TypeError), match=message):
        samples.windows(**options)


def test_unequal_lengths_need_padding_or_windows(by_recording):
    samples = by_recording.store.samples
    message = r"1 to 90 rows.*pad='batch'.*windows\(LENGTH\)"
    with pytest.raises(SampleError, match=message):
        samples.batches(4)
    with pytest.raises(SampleError, match="these all have one"):
        samples.windows(5).batches(4, pad="batch")
    with pytest.raises(SampleError, match="give pad= too"):
        samples.batches(4, buckets=3)
    with pytest.raises(SampleError, match="pad='all' is unknown"):
        samples.batches(4, pad="all")


def test_a_sample_larger_than_the_budget_is_refused(by_recording):
    with pytest.raises(SampleError, match="raise memory to at least"):
        by_recording.store.samples.batches(1, pad="longest", memory="4KiB")


def test_windows_of_windows_are_refused(by_recording, make_study, tmp_path):
    windows = by_recording.store.samples.windows(5)
    with pytest.raises(SampleError, match="These samples are windows"):
        windows.windows(3)
    with pytest.raises(SampleError, match="joins windows"):
        by_recording.store.samples.sequences(3)
    make_study(tmp_path / "study", sizes=[5, 5])
    dense = zarrts.convert(tmp_path / "study", tmp_path / "dense.zarr", progress=False)
    with pytest.raises(SampleError, match="convert with kind='ragged'"):
        dense.samples.windows(3)


# Splits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "stride", "gap"), [(10, 2, 0), (10, 12, 0), (6, 3, 4)])
def test_parts_in_time_share_no_row(by_row, length, stride, gap):
    windows = by_row.store.samples.windows(length, stride, label="last")
    index = windows.selection.view.index
    divided = [windows.split(val=1, test=1, within="subject", gap=gap)]
    divided += windows.select(subjects=["s2"]).folds(3, within="subject", gap=gap)
    for parts in divided:
        rows = [
            {row for first in index.first_rows(part.ids) for row in range(first, first + length)}
            for part in parts
        ]
        assert all(not one & other for one, other in itertools.combinations(rows, 2))


def test_parts_that_are_not_cut_alike_are_no_split(by_row, tmp_path):
    train, test = by_row.store.samples.split(test=["s1"])
    cut = train.windows(5, label="last")
    with pytest.raises(SampleError, match="train and test are not cut alike"):
        zarrts.Split(train=cut, test=test)
    with pytest.raises(SampleError, match="not cut alike"):
        zarrts.Split(train=cut, test=test.windows(6, label="last"))
    split = zarrts.Split(train=cut, test=test.windows(5, label="last"))
    with pytest.raises(SampleError, match="save it before windows are cut"):
        split.save(tmp_path / "split.json")
    with pytest.raises(SampleError, match="share 86 samples"):
        zarrts.Split(train=split.test.select(), test=split.test)


@pytest.mark.parametrize(("memory", "run"), [("600KiB", 4), ("300KiB", 1), ("2MiB", 10)])
def test_windows_decode_what_info_says(tmp_path, monkeypatch, memory, run):
    n_rows = 128 * 700 if run == 10 else 128 * 160
    x = np.zeros((n_rows, 8), "f4")  # 32 bytes a row, so that 128 of them are a chunk
    store = zarrts.convert(
        [zarrts.Recording("s", x, 1.0)], tmp_path / "a.zarr", chunk="4KiB", progress=False
    )
    read = note_reads(monkeypatch)
    windows = store.samples.windows(100, stride=25)
    n_windows = sum(len(it.sample_id) for it in windows.batches(8, memory=memory, label_mode=None))
    assert n_windows == (n_rows - 100) // 25 + 1
    said = window_amplification(parse_size(memory, "memory"), 4096)
    assert said == 1 + 1 / run
    assert len(read) / (n_rows // 128) == pytest.approx(said, rel=0.02)
    summary = summarize(store)
    assert summary["window_amplification"] == {"128MiB": 1.1, "512MiB": 1.1}
    store.close()


def test_info_names_the_remedy_where_windows_cost_much():
    text = describe_windows({"128MiB": window_amplification(128 << 20, 1 << 20), "512MiB": 1.1})
    assert text.startswith(
        "in random order, bytes decoded for each byte of theirs: 1.33 times with"
    )
    assert text.endswith("1.1 times with memory 512MiB; a smaller --chunk lowers that")
    assert "--chunk" not in describe_windows({"128MiB": 1.1})
