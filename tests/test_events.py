"""Windows at events, against naive slicing: from annotations, tables and functions."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.errors import SampleError

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.filterwarnings("ignore:.* events are too near to the start:UserWarning"),
]
LENGTHS = (60, 5, 90, 41)
RATE = 10


def study(lengths=LENGTHS, seed=0, labels="row", gaps=False):
    """Return recordings of a few runs of labels, and the gaps of each."""
    rng = np.random.default_rng(seed)
    made = []
    for number, n in enumerate(lengths):
        x = rng.standard_normal((n, 2)).astype(np.float32)
        y = np.repeat(np.array(["", "go", "stop"])[rng.integers(0, 3, n // 7 + 1)], 7)[:n]
        some = sorted({*rng.integers(1, n, 2).tolist()}) if gaps and n > 4 else None
        pairs = None if some is None else [(row, 1.5) for row in some]
        own = y if labels == "row" else "go"
        made.append(zarrts.Recording(f"s{number}", x, own, gaps=pairs))
    return made


def convert(made, path, **options):
    options = {"kind": "ragged", "rate_hz": RATE, "chunk": 64, "shard": 256} | options
    return zarrts.convert(made, path, progress=False, **options)


def windows_of(made, events, before, after):
    """Return (recording, first row, label) of each window, by naive rules, in their order."""
    found = []
    for number, it in enumerate(made):
        edges = [0, *(row for row, _ in it.gaps or ()), len(it.x)]
        for row, label in sorted(dict(events[number]).items()):
            low, high = row - before, row + after
            if any(a <= low and high <= b for a, b in itertools.pairwise(edges)):
                found.append((number, low, label))
    return found


def check(made, samples, expected, length):
    x, y = samples.load()
    assert len(x) == len(expected)
    for value, label, (number, low, text) in zip(x, y, expected, strict=True):
        assert np.array_equal(value, made[number].x[low : low + length])
        assert (samples.class_names[label] if label >= 0 else "") == text


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(5, 70), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
    before=st.integers(-3, 6),
    after=st.integers(4, 9),
    gaps=st.booleans(),
    density=st.sampled_from([0.05, 0.5]),
    chunk=st.sampled_from([8, 64, 4096]),
)
def test_windows_at_events_are_those_of_naive_slicing(
    tmp_path_factory, lengths, seed, before, after, gaps, density, chunk
):
    made = study(lengths, seed, gaps=gaps)
    rng = np.random.default_rng(seed)
    events = [
        [(row, ["a", "b", ""][rng.integers(3)]) for row in np.flatnonzero(rng.random(n) < density)]
        for n in lengths
    ]
    pairs = [(f"s{i}", row, text) for i, some in enumerate(events) for row, text in some]
    rng.shuffle(pairs)
    columns = dict(zip(("subject", "row", "label"), zip(*pairs, strict=True), strict=False))
    expected = windows_of(made, events, before, after)
    path = tmp_path_factory.mktemp("events") / "s.zarr"
    with convert(made, path, chunk=chunk, shard=4 * chunk) as store:
        if not any(text for _, _, text in expected):
            return
        found = store.samples.windows(at=columns, before=before, after=after)
        check(made, found, expected, before + after)
        counts = dict.fromkeys(found.class_names, 0)
        for _, _, text in expected:
            counts[text] = counts.get(text, 0) + 1
        assert found.class_counts.tolist() == [counts[name] for name in found.class_names]
        assert found.n_unlabelled == counts.get("", 0)
        n_sharing = [
            sum(number == other and abs(low - at) < before + after for other, at, _ in expected)
            for number, low, _ in expected
        ]
        index, ids = found.selection.view.index, np.arange(len(expected))
        assert (index.last_sharing(ids) - index.first_sharing(ids) + 1).tolist() == n_sharing
        rows = {
            (number, row) for number, low, _ in expected for row in range(low, low + before + after)
        }
        assert index.count_rows(np.array([0]), np.array([len(expected)])) == len(rows)
        some = found.selection.per_recording
        assert some.tolist() == [sum(it[0] == i for it in expected) for i in range(len(lengths))]
        delivered = {}
        with found.batches(3, seed=seed, memory="64KiB") as batches:
            for batch in batches:
                delivered |= {
                    i: (x, y) for i, x, y in zip(batch.sample_id, batch.x, batch.y, strict=True)
                }
        stored = found.load()
        for i in ids:
            assert np.array_equal(delivered[i][0], stored[0][i])
            assert delivered[i][1] == stored[1][i]
        every = np.concatenate([made[n].x[low : low + before + after] for n, low, _ in expected])
        np.testing.assert_allclose(found.stats().mean, every.mean(axis=0), rtol=1e-4, atol=1e-5)


def naive_runs(y):
    return [
        (row, label)
        for row, label in enumerate(y.tolist())
        if label and (row == 0 or y[row - 1] != label)
    ]


def test_annotations_are_where_a_label_begins(tmp_path):
    made = study()
    with convert(made, tmp_path / "s.zarr") as store:
        found = store.samples.windows(at="annotations", before="0.2s", after="0.5s")
        check(made, found, windows_of(made, [naive_runs(it.y) for it in made], 2, 5), 7)
        assert found.class_names == store.class_names == ["go", "stop"]
        again = pickle.loads(pickle.dumps(found))
        assert np.array_equal(again.load()[1], found.load()[1])
        again.store.close()


def test_tables_of_every_form_say_the_same(tmp_path):
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    made = study()
    columns = {"subject": ["s2", "s0", "s2"], "onset": [1.5, 2.0, 4.0], "label": ["b", "a", "a"]}
    text = "subject;onset;label\ns2;1.5;b\ns0; 2.0;a\ns2;4;a\n"
    (tmp_path / "events.csv").write_text(text)
    record = np.array(
        [*zip(*columns.values(), strict=True)],
        [("subject", "U2"), ("onset", "f8"), ("label", "U1")],
    )
    expected = [(0, 15, "a"), (2, 10, "b"), (2, 35, "a")]
    frame = pandas.DataFrame(columns)
    forms = [columns, tmp_path / "events.csv", record, frame, pyarrow.table(columns)]
    with convert(made, tmp_path / "s.zarr") as store:
        for at in forms:
            check(made, store.samples.windows(at=at, before="0.5s", after="0.5s"), expected, 10)
        source = {"file": [it.source for it in store.recordings][:1], "row": [20]}
        found = store.samples.windows(at=source, before=2, after=3, label="first")
        assert found.ids.tolist() == [0]
        assert store.class_names[found.load()[1][0]] == made[0].y[18] or made[0].y[18] == ""


def test_times_count_gaps(tmp_path):
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    made = zarrts.Recording("s", x, ["a"] * 40, gaps=[(20, 3.0)])
    with convert(made, tmp_path / "s.zarr") as store:
        # Row 20 is at 2 s and 3 s of a gap; what happens in the gap belongs to no row before it.
        found = store.samples.windows(at={"onset": [1.0, 6.0]}, after=2, label="first")
        assert found.load()[0][:, 0, 0].tolist() == [20, 60]
        with pytest.warns(UserWarning, match="1 of 2 events are too near .* and give no window"):
            store.samples.windows(at={"onset": [1.9, 6.0]}, after=2, label="first")


def test_functions_see_each_recording_and_give_rows_or_seconds(tmp_path):
    made = study(labels="recording")
    peaks = [np.flatnonzero(it.x[:, 0] > 1.2) for it in made]
    seen = []

    def rows(recording):
        seen.append((recording.subject, recording.n_rows, recording.rate_hz, recording.x.shape))
        found = [
            start + np.flatnonzero(recording.x[start : start + 11][:, 0] > 1.2)
            for start in range(0, recording.n_rows, 11)
        ]
        return np.concatenate(found)

    def seconds(recording):
        return rows(recording) / recording.rate_hz

    def labelled(recording):
        found = rows(recording)
        return found, np.where(found % 2 == 0, "even", "odd")

    with convert(made, tmp_path / "s.zarr") as store:
        expected = windows_of(made, [[(row, "go") for row in some] for some in peaks], 1, 3)
        for function in (rows, seconds):
            check(made, store.samples.windows(at=function, before=1, after=3), expected, 4)
        assert seen[:4] == [(it.subject, len(it.x), RATE, it.x.shape) for it in made]
        events = [[(row, ["even", "odd"][row % 2]) for row in some] for some in peaks]
        found = store.samples.windows(at=labelled, before=1, after=3)
        check(made, found, windows_of(made, events, 1, 3), 4)
        assert found.class_names == ["even", "odd"]


def test_numbers_are_classes_or_targets_as_they_are(tmp_path):
    made = study()
    at = {"subject": ["s0", "s2"], "row": [20, 30]}
    with convert(made, tmp_path / "s.zarr") as store:
        whole = store.samples.windows(at=at | {"label": [7, 3]}, after=4)
        assert whole.class_names == [3, 7]
        assert whole.load()[1].tolist() == [7, 3]
        assert whole.class_counts.tolist() == [1, 1]
        with whole.batches(2, shuffle=False, label_mode="int") as batches:
            assert next(iter(batches)).y.tolist() == [1, 0]
        times = store.samples.windows(at=at | {"label": [0.25, 0.75]}, after=4)
        assert times.class_names is None
        assert times.load()[1].tolist() == [0.25, 0.75]


def test_splits_keep_whoever_shares_rows_apart(tmp_path):
    made = study((90, 90), seed=3)
    at = {"subject": ["s0"] * 8 + ["s1"] * 8, "row": [*range(10, 90, 10)] * 2, "label": ["a"] * 16}
    with convert(made, tmp_path / "s.zarr") as store:
        found = store.samples.windows(at=at, before=5, after=9)
        train, test = found.split(test=["s1"])
        assert (train.ids.tolist(), test.ids.tolist()) == ([*range(8)], [*range(8, 16)])
        parts = found.split(test=0.5, within="subject")
        first = found.selection.view.index.first_rows
        for number in range(2):
            rows = [
                {int(row) + k for row in first(part.ids) for k in range(14) if row // 90 == number}
                for part in parts
            ]
            assert not rows[0] & rows[1]
        folds = [*found.folds()]
        assert sorted(i for fold in folds for i in fold[1].ids) == [*range(16)]
        balanced = found.split(test=["s1"])[0].class_weight()
        assert balanced == {0: 1.0}


def test_bad_rows_are_left_out_here_too(tmp_path):
    x = np.zeros((50, 2), np.float32)
    x[22, 1] = np.nan
    mask = np.arange(50) == 40
    made = zarrts.Recording("s", x, ["a"] * 50, mask=mask)
    at = {"row": [5, 20, 30, 39], "label": ["p", "q", "r", "s"]}
    with convert(made, tmp_path / "s.zarr") as store:
        found = store.samples.windows(at=at, before=2, after=3, nan="drop")
        assert found.ids.tolist() == [0, 2]
        assert [found.class_names[code] for code in found.load()[1]] == ["p", "r"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": "annotations"}, "after= is lacking"),
        ({"at": "annotations", "after": 3, "length": 5}, "leave length= out"),
        ({"at": "annotations", "after": 3, "stride": 5}, "leave stride= out"),
        ({"after": 3}, r"windows\(\) needs a length, such as '30s'; or events"),
        ({}, r"windows\(\) needs a length"),
        ({"at": "annotations", "after": 3, "before": -3}, "leave no row of a window"),
        ({"at": {"row": [5]}, "after": 3}, "needs a column file or subject"),
        ({"at": {"subject": ["x"], "row": [5]}, "after": 3}, "'subject' names x, but the record"),
        (
            {"at": {"subject": ["s0"], "rwo": [5]}, "after": 3},
            r"events need onset \(in seconds\) or",
        ),
        ({"at": {"subject": ["s0"], "row": ["?"]}, "after": 3}, "line 2 has . in column 'row'"),
        ({"at": {"subject": ["s0"], "row": [1, 2]}, "after": 3}, "need names that differ, and one"),
        ({"at": 5, "after": 3}, "has to be a table: the path of a CSV file"),
        ({"at": "never.csv", "after": 3}, "never.csv: cannot be read"),
        ({"at": {"subject": ["s0"], "row": [59]}, "after": 3, "label": "last"}, "gives no window"),
        (
            {"at": {"subject": ["s0"] * 2, "row": [9, 9], "label": ["a", "b"]}, "after": 3},
            "has the events a and b at the same row 9",
        ),
        ({"at": lambda it: np.zeros((2, 2)), "after": 3}, "returned float64 of shape"),
        ({"at": lambda it: ([1, 2], ["a"]), "after": 3}, "each event needs one"),
        ({"at": "annotations", "after": 3, "label": "majority", "purity": 2}, "purity=2 has to be"),
        ({"at": "annotations", "after": 3, "purity": 0.5}, "say label='majority' too"),
    ],
)
def test_what_is_no_event_is_refused(tmp_path, options, message):
    with (
        convert(study(), tmp_path / "s.zarr") as store,
        pytest.raises(SampleError, match=message),
    ):
        store.samples.windows(**options)


def test_sequences_of_events_are_refused_and_labels_of_other_kinds_too(tmp_path):
    with convert(study(labels="recording"), tmp_path / "s.zarr") as store:
        with pytest.raises(SampleError, match="at='annotations' takes the rows at which a label"):
            store.samples.windows(at="annotations", after=3)
        found = store.samples.windows(at={"subject": ["s0"], "row": [5]}, after=3)
        with pytest.raises(SampleError, match="follow each other at a fixed step"):
            found.sequences(2)


def test_purity_is_the_share_of_the_majority(tmp_path):
    labels = np.array(["a"] * 6 + ["b"] * 4 + [""] * 5 + ["a"] * 3 + ["b"] * 2 + ["a"] * 10)
    made = zarrts.Recording("s", np.zeros((30, 1), np.float32), labels)

    def naive(part, purity):
        there = [it for it in part if it]
        counts = {name: there.count(name) for name in ("a", "b")}
        best = max(counts, key=lambda name: (counts[name], name == "a"))
        if len(there) < 0.5 * len(part) or counts[best] < purity * len(there) or not there:
            return ""
        return best

    with convert(made, tmp_path / "s.zarr") as store:
        for purity in (0, 0.5, 0.6, 0.75, 0.8, 1):
            found = store.samples.windows(5, label="majority", purity=purity)
            codes = found.load()[1]
            names = [found.class_names[it] if it >= 0 else "" for it in codes]
            assert names == [naive(labels[i : i + 5].tolist(), purity) for i in range(26)]


@pytest.mark.parametrize("scaled", [None, "subject"])
def test_networks_see_events_of_new_data(tmp_path, scaled):
    keras = pytest.importorskip("keras", exc_type=ImportError)
    made, new = study(), study((70, 40), seed=9)
    with convert(made, tmp_path / "s.zarr") as store:
        windows = store.samples.windows(at="annotations", before=2, after=5, nan="drop")
        with zarrts.ZarrSequence(windows, 8, stats=scaled) as seq:
            seq.save_spec(tmp_path / "spec.json")
            keras.utils.set_random_seed(0)
            inputs = keras.Input((7, 2))
            flat = keras.layers.Flatten()(inputs)
            model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(flat))
            assert zarrts.evaluate(model, windows, like=seq).confusion.sum() == len(windows)
    like = tmp_path / "spec.json"
    events = [naive_runs(it.y) for it in new]
    expected = windows_of(new, events, 2, 5)
    pairs = [(f"s{i}", row, text) for i, some in enumerate(events) for row, text in some]
    columns = dict(zip(("subject", "row", "label"), zip(*pairs, strict=True), strict=True))

    def function(recording):
        numbers = {70: 0, 40: 1}
        rows, labels = zip(*events[numbers[recording.n_rows]], strict=True)
        return np.array(rows), np.array(labels)

    with convert(new, tmp_path / "new.zarr") as store:
        kinds = [store.samples, new]
        found = {}
        for number, given in enumerate(kinds):
            for name, at in (("labels", "annotations"), ("table", columns), ("call", function)):
                predicted = zarrts.predict(model, given, like=like, at=at)
                starts = predicted.places.starts.tolist()
                places = [*zip(predicted.recordings.tolist(), starts, strict=True)]
                assert places == [it[:2] for it in expected], (number, name)
                result = zarrts.evaluate(model, given, like=like, at=at)
                found[number, name] = predicted.values, result.confusion
                codes = [["go", "stop"].index(text) for _, _, text in expected]
                assert result.confusion.sum(axis=(0, 2)).tolist() == [
                    codes.count(0),
                    codes.count(1),
                ]
        for (number, _), (values, confusion) in found.items():
            np.testing.assert_allclose(values, found[number, "table"][0], rtol=1e-6)
            assert np.array_equal(confusion, found[number, "table"][1])
            if scaled is None:
                np.testing.assert_allclose(values, found[0, "table"][0], rtol=1e-5)
        for call in (zarrts.predict, zarrts.evaluate):
            for given in kinds:
                with pytest.raises(SampleError, match="say where these are in the new data"):
                    call(model, given, like=like)
                with pytest.raises(SampleError, match="leave stride= out"):
                    call(model, given, like=like, at=columns, stride=3)
        assert len(zarrts.predict(model, new, like=like, stride=7).values) == 10 + 5
        with pytest.raises(SampleError, match="does not say how labels of rows become"):
            zarrts.evaluate(model, new, like=like, stride=7)
