"""Steps on one of several inputs do what they do on that input alone, and change no other."""

import json
import shutil
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import zarrts
from zarrts.cli import main
from zarrts.errors import SourceError, ZarrtsError
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.location import locate
from zarrts.storage.store import read_header

SIZES = {"chunk": "4KiB", "shard": "16KiB", "progress": False}
RATES = {"acc": 40, "hr": 4}
STEPS = {
    "acc": [("filter", 1, 8), ("resample", "20Hz")],
    "hr": [("pick", ["hr"]), ("map", "numpy:sqrt")],
}
CHANNELS = {"acc": ["x", "y", "z"], "hr": ["hr", "quality"]}


def recording(seed, seconds=30, labels="recording", **more):
    rng = np.random.default_rng(seed)
    x = {
        "acc": np.cumsum(rng.normal(size=(40 * seconds, 3)), axis=0).astype("f4"),
        "hr": (60 + rng.normal(size=(4 * seconds, 2))).astype("f4"),
        "age": np.array([30.0 + seed], "f4"),
    }
    rate = {"recording": None, "acc": 40, "hr": 4}[labels]
    y = seed % 2 if rate is None else rng.integers(0, 3, rate * seconds)
    given = {"rate_hz": RATES, "channels": CHANNELS, **more}
    return zarrts.Recording(f"s{seed}", x, y, **given)


def alone(it, name, steps, folder):
    """Return one input after its steps, as a store of that input alone has it."""
    one = zarrts.Recording(it.subject, it.x[name], 0, rate_hz=RATES[name], channels=CHANNELS[name])
    path = folder / f"{it.subject} {name}.zarr"
    store = zarrts.convert(one, path, kind="ragged", steps=steps, progress=False)
    return store.samples.load()[0][0]


def loaded(store):
    """Return x of each recording by input, and labels."""
    x, y = store.samples.load()
    return {name: [np.asarray(one) for one in it] for name, it in x.items()}, y


@pytest.fixture
def recordings():
    return [recording(1), recording(2, 45)]


def test_each_input_is_what_it_is_after_its_steps_alone(recordings, tmp_path):
    store = zarrts.convert(recordings, tmp_path / "a.zarr", kind="ragged", steps=STEPS, **SIZES)
    assert store.rate_hz == {"acc": 20.0, "age": None, "hr": 4.0}
    assert store.channels == {"acc": ["x", "y", "z"], "age": None, "hr": ["hr"]}
    assert store.header.segments[0].needs == ("inputs", "steps")
    x, _ = loaded(store)
    for number, it in enumerate(recordings):
        for name in ("acc", "hr"):
            np.testing.assert_array_equal(x[name][number], alone(it, name, STEPS[name], tmp_path))
        assert x["age"][number].tolist() == it.x["age"].tolist()
    windows = store.samples.windows("2s", "1s")
    one, _ = windows[3]
    np.testing.assert_array_equal(one["acc"], x["acc"][0][60:100])
    np.testing.assert_array_equal(one["hr"], x["hr"][0][12:20])


def test_neither_chunks_nor_the_way_they_are_said_change_a_byte(recordings, tmp_path):
    study = zarrts.scan(recordings, kind="ragged")
    study = study.on("hr").pick(["hr"]).on("acc").filter(1, 8)
    study = study.on("hr").map("numpy:sqrt").on("acc").resample("20Hz")
    assert "acc: filter 1 to 8 Hz" in repr(study)
    assert "hr: map numpy.sqrt" in repr(study)
    texts = ["hr: pick hr", "acc: filter 1 8", "acc: resample 20Hz", "hr: map numpy:sqrt"]
    stores = [
        zarrts.convert(study, tmp_path / "a.zarr", **SIZES),
        zarrts.convert(recordings, tmp_path / "b.zarr", kind="ragged", steps=texts, **SIZES),
        zarrts.convert(recordings, tmp_path / "c.zarr", kind="ragged", steps=STEPS, **SIZES),
    ]
    assert len({it.header.write_id for it in stores}) == 1
    other = zarrts.convert(
        recordings, tmp_path / "d.zarr", kind="ragged", steps=STEPS, progress=False, chunk="1KiB"
    )
    for name, values in loaded(other)[0].items():
        for one, wanted in zip(values, loaded(stores[0])[0][name], strict=True):
            np.testing.assert_array_equal(one, wanted)


@pytest.mark.parametrize("labels", ["acc", "hr"])
def test_labels_of_time_steps_stay_at_their_times(tmp_path, labels):
    recordings = [recording(1, labels=labels), recording(2, 45, labels=labels)]
    for steps, every in (
        ({"acc": [("resample", "20Hz")]}, {"acc": 2, "hr": 1}[labels]),
        ({"acc": [("filter", 1, 8)]}, 1),
        ({"acc": [("resample", "20Hz")], "hr": [("resample", "2Hz")]}, 2),
    ):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
        store = zarrts.convert(recordings, folder, kind="ragged", steps=steps, **SIZES)
        _, y = loaded(store)
        for it, found in zip(recordings, y, strict=True):
            rows = {"acc": 40, "hr": 4}[labels] * (len(it.y) // (40 if labels == "acc" else 4))
            assert rows == len(it.y)
            wanted = it.y[::every]
            if labels == "hr":  # of a row of both, a quarter of a second, or half of one
                wanted = it.y if every == 1 else it.y[::2]
            np.testing.assert_array_equal(found, wanted)


def test_a_rate_of_labels_that_is_said_is_that_of_time_and_not_of_rows(tmp_path):
    it = recording(1)
    y = np.arange(30) % 3  # one a second
    given = zarrts.Recording("s1", it.x, y, rate_hz={**RATES, "y": 1}, channels=CHANNELS)
    steps = {"acc": [("resample", "20Hz")], "hr": [("resample", "20Hz")]}
    store = zarrts.convert(given, tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)
    _, (found,) = loaded(store)
    np.testing.assert_array_equal(found, np.repeat(y, 20))


def test_samples_of_dense_studies_take_steps_by_input(tmp_path):
    rng = np.random.default_rng(0)
    x = {
        "eeg": rng.normal(size=(20, 200, 2)).astype("f4"),
        "emg": rng.normal(size=(20, 100, 1)).astype("f4"),
    }
    given = {"kind": "dense", "progress": False}
    rates = {"eeg": 100, "emg": 50}
    both = zarrts.Recording("s", x, np.arange(20) % 2, rate_hz=rates)
    steps = {"eeg": [("resample", "50Hz")], "emg": [("filter", None, 20)]}
    store = zarrts.convert(both, tmp_path / "a.zarr", steps=steps, **given)
    assert store.sample_shape == {"eeg": (100, 2), "emg": (100, 1)}
    found, _ = store.samples.load()
    for name, some in steps.items():
        one = zarrts.Recording("s", x[name], np.arange(20) % 2, rate_hz=rates[name])
        wanted = zarrts.convert(one, tmp_path / f"{name}.zarr", steps=some, **given)
        np.testing.assert_array_equal(found[name], wanted.samples.load()[0])


def test_rows_that_any_input_masks_are_left_out(tmp_path):
    it = recording(1)
    it.x["acc"][400:480, 1] = 1.5  # flat from second 10 to 12
    it.x["hr"][100:104, 0] = 1000  # in second 25
    steps = {
        "acc": [("clean", {"flat": "1s"}), ("resample", "20Hz")],
        "hr": [("clean", {"amplitude": 500})],
    }
    store = zarrts.convert(it, tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)
    kept = store.samples.windows("1s", nan="drop")
    plain = store.samples.windows("1s")
    assert len(plain) == 30
    assert {*range(30)} - {*kept.ids.tolist()} == {10, 11, 25}
    masked = np.zeros(1200, np.uint8)
    masked[200:240] = 1
    given = recording(1, mask=masked)
    store = zarrts.convert(
        given, tmp_path / "b.zarr", kind="ragged", steps={"acc": [("resample", "20Hz")]}, **SIZES
    )
    kept = store.samples.windows("1s", nan="drop")
    assert {*range(30)} - {*kept.ids.tolist()} == {5}


def test_no_filter_of_any_input_runs_over_a_gap(tmp_path):
    it = recording(1, gaps=[(480, 7.0)])  # after 12 s
    steps = {"acc": [("filter", 1, 8), ("resample", "20Hz")], "hr": [("filter", None, 1)]}
    store = zarrts.convert(it, tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)
    x, _ = loaded(store)
    for name, edge in (("acc", 480), ("hr", 48)):
        for part, rows in ((slice(None, edge), 0), (slice(edge, None), 1)):
            own = zarrts.Recording("p", {**it.x, name: it.x[name][part]}, 0)
            wanted = alone(own, name, steps[name], tmp_path / str(rows))
            after = edge // 2 if name == "acc" else edge
            found = x[name][0][:after] if rows == 0 else x[name][0][after:]
            np.testing.assert_array_equal(found, wanted)
    assert len(store.samples.windows("4s")) == 3 + 4  # none crosses it
    with pytest.raises(SourceError, match="is missing within a row of hr, before step 482"):
        zarrts.convert(
            recording(1, gaps=[482]), tmp_path / "b.zarr", kind="ragged", steps=steps, **SIZES
        )


def test_a_recording_that_a_step_leaves_out_is_left_out_with_all_inputs(tmp_path):
    first, second = recording(1), recording(2)
    second = zarrts.Recording(
        "s2", second.x, 0, rate_hz=RATES, channels={**CHANNELS, "hr": ["pulse", "quality"]}
    )
    steps = {"hr": [("pick", ["hr"], {"absent": "drop-recording"})]}
    store = zarrts.convert(
        [first, second], tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES
    )
    assert store.subjects == ["s1"]
    np.testing.assert_array_equal(loaded(store)[0]["acc"][0], first.x["acc"])
    renamed = {"hr": [("pick", {"hr": ["pulse"]})]}
    store = zarrts.convert(
        [first, second], tmp_path / "b.zarr", kind="ragged", steps=renamed, **SIZES
    )
    np.testing.assert_array_equal(loaded(store)[0]["hr"][1], second.x["hr"][:, :1])


def test_recordings_of_other_rates_are_brought_to_one(tmp_path):
    fast, slow = recording(1), recording(2)
    slow = zarrts.Recording(
        "s2",
        {**slow.x, "acc": slow.x["acc"][::2]},
        0,
        rate_hz={"acc": 20, "hr": 4},
        channels=CHANNELS,
    )
    with pytest.raises(SourceError, match="Hz, but"):
        zarrts.convert([fast, slow], tmp_path / "a.zarr", kind="ragged", **SIZES)
    steps = {"acc": [("resample", "10Hz")]}
    store = zarrts.convert([fast, slow], tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)
    assert store.rate_hz["acc"] == 10
    assert [len(it) for it in loaded(store)[0]["acc"]] == [300, 300]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([("filter", 1, 8)], "steps= is one list, but there are several inputs: acc, age, hr"),
        ({"ecg": [("filter", 1, 8)]}, "steps= names ecg, but the inputs are: acc, age, hr"),
        ({"age": [("filter", 1, 8)]}, "takes filter on age, which does not change in time"),
        (
            {"acc": [("filter", 1, 80)]},
            r"\(s1\), .*: acc: filter: 80 Hz has to be below half",
        ),
        ({"acc": [("fliter", 1, 8)]}, r"'fliter' is not a step; .*Did you mean 'filter'"),
        ({"acc": "filter 1 8"}, "has to be a list"),
    ],
)
def test_steps_that_cannot_be_meant_so_are_refused(recordings, tmp_path, steps, words):
    with pytest.raises(ZarrtsError, match=words):
        zarrts.convert(recordings, tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)
    assert not (tmp_path / "a.zarr").exists()


def test_a_step_of_an_input_where_there_is_one_is_refused(tmp_path):
    one = zarrts.Recording("s", np.zeros((40, 2), "f4"), 0, rate_hz=10)
    with pytest.raises(SourceError, match="steps= names acc, but the inputs are: one without"):
        zarrts.convert(
            one, tmp_path / "a.zarr", kind="ragged", steps={"acc": [("filter", None, 2)]}, **SIZES
        )


def stamps(n, rate, start, pause=0.0):
    """Return times of steps, with a pause after a third of them."""
    return start + np.arange(n) / rate + (np.arange(n) >= n // 3) * pause


def resampled_stamps(n, rate, start, pause, to):
    """Return the times of such steps at another rate, stretch by stretch."""
    cut = n // 3
    counts = (-(-cut * to // rate), -(-(n - cut) * to // rate))
    begins = (start, start + cut / rate + pause)
    return np.concatenate([s + np.arange(k) / to for k, s in zip(counts, begins, strict=True)])


@pytest.mark.parametrize("labels", ["recording", "acc", "hr"])
@pytest.mark.parametrize("pauses", [(0.0, 0.0), (2.0, 0.0), (1.5, 3.0)])
def test_steps_on_inputs_with_times_are_taken_on_all_of_each_before_it_is_cut(
    tmp_path, labels, pauses
):
    it, start = recording(1, 40, labels), {"acc": 3.0, "hr": 0.6}
    counts = {name: len(it.x[name]) for name in RATES}
    pause = dict(zip(RATES, pauses, strict=True))
    times = {name: stamps(n, RATES[name], start[name], pause[name]) for name, n in counts.items()}
    # Labels that go with an input are at its rate; those of acc would be resampled with it.
    steps = STEPS if labels != "acc" else {**STEPS, "acc": [("filter", 1, 8)]}
    given = zarrts.Recording("s", it.x, it.y, rate_hz=RATES, channels=CHANNELS, times=times)
    store = zarrts.convert(given, tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)
    # The same by hand: each input after its steps alone, at its times, and then cut.
    x, to = {"age": it.x["age"]}, {**RATES, "acc": 20 if steps is STEPS else 40}
    for name, n in counts.items():
        gap = [(n // 3, pause[name])] if pause[name] else None
        one = zarrts.Recording(
            "s", it.x[name], 0, rate_hz=RATES[name], channels=CHANNELS[name], gaps=gap
        )
        path = tmp_path / f"{name}.zarr"
        alone_ = zarrts.convert(one, path, kind="ragged", steps=steps[name], progress=False)
        x[name] = alone_.samples.load()[0][0]
        if to[name] != RATES[name]:
            where = (n, RATES[name], start[name], pause[name], to[name])
            if pause[name]:
                times[name] = resampled_stamps(*where)
            else:
                times[name] = stamps(len(x[name]), to[name], start[name])
    by_hand = zarrts.Recording("s", x, it.y, rate_hz=to, times=times)
    wanted = zarrts.convert(by_hand, tmp_path / "b.zarr", kind="ragged", **SIZES)
    (found, y), (expected, wanted_y) = loaded(store), loaded(wanted)
    for name, values in expected.items():
        for one, other in zip(found[name], values, strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(y, wanted_y, strict=True):
        np.testing.assert_array_equal(one, other)
    gaps = [read_gaps(tmp_path / path) for path in ("a.zarr", "b.zarr")]
    assert gaps[0] == gaps[1] and bool(gaps[0]) == any(pauses)


def read_gaps(path):
    root = locate(path)
    gaps = read_tables(root, read_header(root))["0"].gaps
    return gaps and (gaps.rows.tolist(), gaps.seconds.tolist())


def test_what_a_step_masks_in_any_input_with_times_is_masked(tmp_path):
    it = recording(1)
    it.x["acc"][200] = 1000  # at 5 s, of rows from 2 s on
    it.x["hr"][40, 1] = np.nan  # at 12 s
    it = zarrts.Recording("s", it.x, 0, rate_hz=RATES, start_s={"hr": 2.0})
    steps = {"acc": [("clean", {"amplitude": 500})], "hr": [("clean", {"nan": True})]}
    store = zarrts.convert(it, tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)
    n_rows = 28 * 4  # the seconds that both have
    mask = store.samples.selection.store.readers.mask[0]
    rows = np.zeros((mask.spec.n_chunks * mask.spec.chunk_rows,), np.uint8)
    for chunk in range(mask.spec.n_chunks):
        start = chunk * mask.spec.chunk_rows
        mask.read_into(chunk, rows[start : start + mask.spec.chunk_rows])
    assert mask.spec.shape == (n_rows,)
    assert np.flatnonzero(rows[:n_rows]).tolist() == [(5 - 2) * 4, 40]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"start_s": {"b": 1.0}, "y": np.arange(80)}, "could be those of the steps of a or of b"),
        (
            {"start_s": {"b": 1.0}, "mask": np.arange(80) == 7},
            "its mask could be that of the steps of a or of b, which start at other times",
        ),
    ],
)
def test_labels_and_masks_that_could_be_of_inputs_that_start_apart_are_refused(
    tmp_path, more, words
):
    x = {"a": np.zeros((80, 2), "f4"), "b": np.ones((80, 1), "f4")}
    given = {"y": 0, "rate_hz": {"a": 4, "b": 4}, **more}
    it = zarrts.Recording("s", x, **given)
    steps = {"a": [("resample", "2Hz")]}
    with pytest.raises(SourceError, match=words):
        zarrts.convert(it, tmp_path / "a.zarr", kind="ragged", steps=steps, **SIZES)


# Files, and what a store keeps -------------------------------------------------------------------


def save(folder, recordings, *, compressed=False):
    folder.mkdir(exist_ok=True)
    write = np.savez_compressed if compressed else np.savez
    for it in recordings:
        write(folder / f"{it.subject}.npz", **it.x, y=it.y)
    return folder


OPTIONS = {"x": ["acc", "hr", "age"], "y": "y", "kind": "ragged", "rate_hz": RATES}
COMMAND = ["--x", "acc,hr,age", "--y", "y", "--kind", "ragged", "--rate-hz", "acc=40,hr=4"]
OF_FILES = {"acc": STEPS["acc"], "hr": [("filter", None, 1)]}
TEXTS = ["acc: filter 1 8", "acc: resample 20Hz", "hr: filter none 1"]


def test_compressed_files_are_read_forward_and_give_the_same(recordings, tmp_path):
    save(tmp_path / "plain", recordings)
    save(tmp_path / "packed", recordings, compressed=True)
    found = [
        loaded(
            zarrts.convert(
                tmp_path / name, tmp_path / f"{name}.zarr", steps=OF_FILES, **OPTIONS, **SIZES
            )
        )[0]
        for name in ("plain", "packed")
    ]
    for name, values in found[0].items():
        for one, other in zip(values, found[1][name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_append_verify_repair_and_remove_take_the_steps_again(recordings, tmp_path):
    first, second = save(tmp_path / "1", recordings), save(tmp_path / "2", [recording(3)])
    path = tmp_path / "a.zarr"
    zarrts.convert(first, path, steps=OF_FILES, **OPTIONS, **SIZES).close()
    store = zarrts.append(path, second, progress=False)
    for it in second.iterdir():
        shutil.copy(it, first)
    whole = zarrts.convert(first, tmp_path / "b.zarr", steps=OF_FILES, **OPTIONS, **SIZES)
    for name, values in loaded(store)[0].items():
        for one, wanted in zip(values, loaded(whole)[0][name], strict=True):
            np.testing.assert_array_equal(one, wanted)
    assert zarrts.verify(path, sources=first, deep=True).problems == ()
    shard = path / "0/x/acc/c/0/0/0"
    content = shard.read_bytes()
    shard.write_bytes(content[:-20])
    zarrts.repair(path, sources=first)
    assert shard.read_bytes() == content
    zarrts.remove(path, subject="s1")
    assert zarrts.verify(path, sources=first, deep=True).problems == ()
    assert [it["input"] for it in zarrts.open(path).header.steps] == ["acc", "acc", "hr"]


def test_the_command_names_the_input_of_a_step(recordings, tmp_path):
    save(tmp_path / "1", recordings)
    given = ["convert", str(tmp_path / "1"), str(tmp_path / "a.zarr"), *COMMAND, "--no-progress"]
    given += [word for text in TEXTS for word in ("--step", text)]
    done = CliRunner().invoke(main, [*given, "--dry-run"])
    assert done.exit_code == 0, done.output
    for line in (
        "acc: resample 40 Hz -> 20 Hz; 2 of 2 subjects",
        "acc: filter 1 to 8 Hz (FIR of zero phase, ",
        "hr: filter below 1 Hz",
    ):
        assert line in done.output
    assert "20 Hz" in next(it for it in done.output.splitlines() if it.startswith("  acc "))
    assert CliRunner().invoke(main, given).exit_code == 0
    same = zarrts.convert(
        tmp_path / "1", tmp_path / "b.zarr", steps=OF_FILES, **OPTIONS, progress=False
    )
    assert zarrts.open(tmp_path / "a.zarr").header.write_id == same.header.write_id
    said = CliRunner().invoke(main, ["info", str(tmp_path / "a.zarr")]).output
    assert "acc: filter 1 to 8 Hz; acc: resample 20 Hz; hr: filter below 1 Hz" in said
    facts = json.loads(
        CliRunner().invoke(main, ["info", str(tmp_path / "a.zarr"), "--json"]).output
    )
    assert [it["input"] for it in facts["steps"]] == ["acc", "acc", "hr"]
    wrong = CliRunner().invoke(main, [*given[:3], *COMMAND, "--step", "filter 1 8"])
    assert wrong.exit_code == 1
    assert "--step 'acc: ...'" in wrong.output


# Networks ----------------------------------------------------------------------------------------


def network(names):
    keras = pytest.importorskip("keras")
    shapes = {"acc": (40, 3), "hr": (8, 2), "age": (1,)}
    inputs = {name: keras.Input(shapes[name], name=name) for name in names}
    hidden = [keras.layers.Flatten()(it) for it in inputs.values()]
    joined = hidden[0] if len(hidden) == 1 else keras.layers.Concatenate()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(joined))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("names", [("acc", "age", "hr"), ("hr",)])
def test_new_files_take_the_steps_of_the_training(recordings, tmp_path, names):
    first = save(tmp_path / "1", recordings)
    store = zarrts.convert(first, tmp_path / "a.zarr", steps=OF_FILES, **OPTIONS, **SIZES)
    windows = store.samples.windows("2s")
    model = network(names)
    stats = windows.stats()
    given = {name: stats[name] for name in names if name != "age"}
    with zarrts.ZarrSequence(windows, 8, stats=given, inputs=[*names], shuffle=False) as seq:
        seq.save_spec(tmp_path / "spec.json")
        assert [it["input"] for it in seq.spec.steps] == [
            it for it in ("acc", "acc", "hr") if it in names
        ]
    new = save(tmp_path / "2", [recording(3)])
    like = tmp_path / "spec.json"
    as_store = zarrts.convert(new, tmp_path / "b.zarr", steps=OF_FILES, **OPTIONS, **SIZES)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*says nothing of a rate")
        of_files = zarrts.predict(model, new / "s3.npz", like=like, progress=False)
        of_memory = zarrts.predict(model, recording(3), like=like, progress=False)
        of_store = zarrts.predict(model, as_store, like=like, progress=False)
        for found in (of_files, of_memory):
            np.testing.assert_allclose(found.values, of_store.values, rtol=1e-5, atol=1e-6)
        scores = [
            zarrts.evaluate(model, it, like=like, progress=False)
            for it in (recording(3), as_store.samples.windows("2s"))
        ]
        assert scores[0].accuracy == scores[1].accuracy
        slow = {**recording(3).x, "acc": recording(3).x["acc"][::2]}
        plain = zarrts.Recording("s3", slow, 1, rate_hz={"acc": 20, "hr": 4})
        plain = zarrts.convert(plain, tmp_path / "c.zarr", kind="ragged", **SIZES)
        with pytest.warns(UserWarning, match="its steps are none, but the network was trained"):
            zarrts.predict(model, plain, like=like, progress=False)
