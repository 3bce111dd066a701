"""Several inputs from files, each as its arrays, signals and columns are in memory."""

import dataclasses

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from edf_files import SECONDS, STAGES, write_edf, write_raw_edf

import zarrts
from zarrts.cli import main
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study.inputs import find_inputs
from zarrts.sources.study.standards import Reference
from zarrts.types import Description

SMALL = {"chunk": "2KiB", "shard": "16KiB", "progress": False}
NAMES = ("EEG Fpz-Cz", "EEG Pz-Oz", "EMG", "Temp")
RATES = (50, 50, 10, 1)


def night(folder, subject, seed, **more):
    """Write a recording of three rates, and return its signals by name."""
    folder.mkdir(exist_ok=True)
    written = write_edf(folder / f"{subject}.edf", NAMES, [*RATES], STAGES, seed=seed, **more)
    return dict(zip(NAMES, written, strict=True))


def side_by_side(signals, names):
    return np.stack([signals[name] for name in names], axis=1)


def stages(rate, n_rows):
    """Return the label of each step, by asking each interval."""
    labels = np.full(n_rows, "", "U2")
    for onset, duration, text in STAGES:
        for row in range(n_rows):
            if round(onset * rate) <= row < round((onset + duration) * rate):
                labels[row] = text
    return labels


def check_windows(store, people, of_inputs, rate=50, atol=0.02):
    """Compare windows of 2 s, and the last label in each, with slices of the signals."""
    samples = store.samples.windows("2s", "1s", label="last")
    expected = [(signals, start) for signals in people for start in range(SECONDS - 1)]
    assert len(samples) == len(expected)
    names = store.class_names
    for batch in samples.batches(4, seed=1, label_mode="raw"):
        for row, sample_id in enumerate(batch.sample_id):
            signals, start = expected[sample_id]
            for name, (channels, hz) in of_inputs.items():
                part = side_by_side(signals, channels)[start * hz : (start + 2) * hz]
                np.testing.assert_allclose(batch.x[name][row], part, atol=atol)
            label = stages(rate, rate * SECONDS)[(start + 2) * rate - 1]
            assert (names[batch.y[row]] if batch.y[row] >= 0 else "") == label


@pytest.mark.parametrize("bdf", [False, True])
def test_signals_of_an_edf_file_are_the_inputs_that_name_them(tmp_path, bdf):
    people = [night(tmp_path / "study", f"s{i}", i, bdf=bdf) for i in (1, 2)]
    x = {"emg": "EMG", "eeg": ["EEG Pz-Oz", "EEG Fpz-Cz"]}
    store = zarrts.convert(tmp_path / "study", tmp_path / "a.zarr", x=x, **SMALL)
    assert store.rate_hz == {"eeg": 50, "emg": 10}
    assert store.channels == {"eeg": ["EEG Pz-Oz", "EEG Fpz-Cz"], "emg": ["EMG"]}
    assert store.units == {"eeg": ["uV", "uV"], "emg": ["uV"]}
    check_windows(store, people, {"eeg": (x["eeg"], 50), "emg": (["EMG"], 10)})
    written = "--x", "emg=EMG", "--x", "eeg=EEG Pz-Oz,EEG Fpz-Cz"
    command = ["convert", str(tmp_path / "study"), str(tmp_path / "b.zarr"), *written]
    sizes = "--chunk", "2KiB", "--shard", "16KiB"
    assert CliRunner().invoke(main, [*command, *sizes]).exit_code == 0
    for path in (tmp_path / "a.zarr").rglob("*"):
        if path.is_file():
            again = tmp_path / "b.zarr" / path.relative_to(tmp_path / "a.zarr")
            assert again.read_bytes() == path.read_bytes()


def test_signals_of_each_rate_are_an_input_by_default(tmp_path):
    people = [night(tmp_path / "study", f"s{i}", i) for i in (1, 2)]
    study = zarrts.scan(tmp_path / "study")
    assert (
        "has signals of several rates, those of each an input: 10Hz (EMG); 1Hz (Temp); 50Hz "
        "(EEG Fpz-Cz, EEG Pz-Oz); x= names others" in repr(study)
    )
    assert "  50Hz  time steps x 2 channels, 50 Hz, float32" in repr(study)
    store = zarrts.convert(study, tmp_path / "a.zarr", **SMALL)
    of_inputs = {"10Hz": (["EMG"], 10), "1Hz": (["Temp"], 1), "50Hz": (NAMES[:2], 50)}
    assert store.rate_hz == {name: hz for name, (_, hz) in of_inputs.items()}
    check_windows(store, people, of_inputs)
    more = night(tmp_path / "more", "s3", 3)
    store = zarrts.append(tmp_path / "a.zarr", tmp_path / "more", progress=False)
    check_windows(store, [*people, more], of_inputs)
    assert zarrts.verify(store.path, deep=True, sources=tmp_path).problems == ()
    some = zarrts.convert(tmp_path / "study", tmp_path / "b.zarr", x=["50Hz", "1Hz"], **SMALL)
    check_windows(some, people, {name: of_inputs[name] for name in ("50Hz", "1Hz")})
    # Signals that are chosen are one array, as ever, and so are those that a step picks.
    one = zarrts.convert(tmp_path / "study", tmp_path / "d.zarr", channels=[NAMES[1]], **SMALL)
    assert one.input_names is None and one.channels == [NAMES[1]]
    assert study.pick([NAMES[0]]).recordings[0].channels == (NAMES[0],)


def test_a_hypnogram_labels_the_fastest_input_and_none_are_needed(tmp_path):
    folder = tmp_path / "study"
    signals = night(folder, "anna-PSG", 0)
    write_edf(folder / "anna-Hypnogram.edf", names=(), annotations=STAGES)
    store = zarrts.convert(folder, tmp_path / "a.zarr", **SMALL)
    assert store.subjects == ["anna"]
    check_windows(
        store, [signals], {"50Hz": (NAMES[:2], 50), "1Hz": (["Temp"], 1)} | {"10Hz": (["EMG"], 10)}
    )
    bare = zarrts.convert(folder, tmp_path / "b.zarr", y=False, **SMALL)
    assert bare.samples.n_unlabelled == 1 and bare.rate_hz == store.rate_hz
    x, _ = bare.samples.load()
    np.testing.assert_allclose(x["10Hz"][0], side_by_side(signals, ["EMG"]), atol=0.02)
    (tmp_path / "labels.csv").write_text(
        "subject,start,stop,label\n"
        + "".join(f"anna-PSG,{onset},{onset + lasts},{text}\n" for onset, lasts, text in STAGES)
    )
    given = zarrts.convert(
        folder, tmp_path / "d.zarr", labels=tmp_path / "labels.csv", x={"emg": "EMG"}, **SMALL
    )
    assert given.subjects == bare.subjects == ["anna-PSG"]  # as before there were several inputs
    check_windows(given, [signals], {"emg": (["EMG"], 10)}, rate=10)
    write_edf(folder / "bert-PSG.edf", NAMES[:2])
    with pytest.raises(zarrts.ZarrtsError, match="signals of one rate, but 1 of 2 files"):
        zarrts.convert(folder, tmp_path / "e.zarr", y=False, **SMALL)


def test_files_of_other_rates_and_choices_of_several_are_refused_with_the_remedy(tmp_path):
    folder = tmp_path / "study"
    for i in (1, 2):
        night(folder, f"s{i}", i)
    write_edf(folder / "s3.edf", NAMES[:2], annotations=STAGES)
    with pytest.raises(
        zarrts.ZarrtsError,
        match=r"s3\.edf: has signals of one rate, but 2 of 3 files, such as s1\.edf, have signals "
        r"of 10Hz, 1Hz, 50Hz; say which signals are inputs",
    ):
        zarrts.convert(folder, tmp_path / "a.zarr", **SMALL)
    with pytest.raises(zarrts.ZarrtsError) as error:
        zarrts.convert(folder / "s1.edf", tmp_path / "a.zarr", channels=[*NAMES[1:3]], **SMALL)
    shown = "x={'10Hz': ['EMG'], '50Hz': ['EEG Pz-Oz']} (--x '10Hz=EMG' --x '50Hz=EEG Pz-Oz')"
    assert shown in str(error.value)
    for x, words in [
        (["eeg", "emg"], r"x=\['eeg', 'emg'\] names arrays, but this is a file of signals"),
        ({"eeg": ["Oz"]}, "has not exactly one signal named Oz; .* This is about the input 'eeg'"),
        ({"eeg": []}, "each input has a name, and is the name of an array, or a list"),
        ({"eeg": ["EMG", "EMG"]}, "its input 'eeg' names EMG twice"),
        ({"a/b": ["EMG"]}, "'a/b' cannot be the name of an input in a store"),
        ({"a": "EMG", "A": "Temp"}, "inputs need names that differ"),
    ]:
        with pytest.raises(zarrts.ZarrtsError, match=words):
            zarrts.convert(folder / "s1.edf", tmp_path / "a.zarr", x=x, **SMALL)


def test_gaps_of_an_interrupted_file_are_gaps_of_all_inputs(tmp_path):
    fast, slow = np.arange(60), np.arange(12)
    limits = (-100, 100), (-100, 100)
    path = tmp_path / "a.edf"
    write_raw_edf(path, [("F", fast, 10, *limits), ("S", slow, 2, *limits)], [("+0", "100", "W")])
    content = path.read_bytes().replace(b"EDF+C", b"EDF+D")
    for record in (3, 4, 5):  # three seconds are missing before the fourth
        content = content.replace(f"+{record}\x14\x14".encode(), f"+{record + 3}\x14\x14".encode())
    path.write_bytes(content)
    store = zarrts.convert(path, tmp_path / "a.zarr", **SMALL)
    samples = store.samples.windows("2s", "1s", label="last")
    starts = [0, 1, 3, 4]  # none crosses the gap
    x, _ = samples.load()
    for name, hz, values in (("10Hz", 10, fast), ("2Hz", 2, slow)):
        expected = [values[start * hz : (start + 2) * hz, None] for start in starts]
        np.testing.assert_array_equal(x[name], np.stack(expected))


@pytest.mark.parametrize("way", ["table", "bids", "classes"])
def test_inputs_of_signals_come_in_by_every_way(tmp_path, way):
    folder, options = tmp_path / "files", {}
    signals = night(folder, "one", 0)
    if way == "table":
        (tmp_path / "list.csv").write_text("subject,x,y\nanna,files/one.edf,files/one.edf\n")
        source, options["table"] = None, tmp_path / "list.csv"
    elif way == "bids":
        source = folder
        (folder / "dataset_description.json").write_text('{"Name": "a", "BIDSVersion": "1.9.0"}')
        (folder / "sub-1" / "eeg").mkdir(parents=True)
        (folder / "one.edf").rename(folder / "sub-1" / "eeg" / "sub-1_eeg.edf")
    else:
        source, options["folders"] = tmp_path / "classes", "classes"
        (source / "W").mkdir(parents=True)
        (folder / "one.edf").rename(source / "W" / "one.edf")
    x = {"eeg": NAMES[:2], "emg": "EMG"}
    store = zarrts.convert(source, tmp_path / "a.zarr", x=x, **options, **SMALL)
    found, labels = store.samples.load()
    if way == "classes":
        assert store.class_names == ["W"]
    else:
        named = np.array([*store.class_names, ""])[labels[0]]  # -1: none
        assert named.tolist() == stages(50, 600).tolist()
    np.testing.assert_allclose(found["eeg"][0], side_by_side(signals, NAMES[:2]), atol=0.02)
    np.testing.assert_allclose(found["emg"][0], side_by_side(signals, ["EMG"]), atol=0.02)


# Columns of tables, and arrays by other names -----------------------------------------------------


def walk(seed, n=90):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=n).round(4) for name in ("ax", "ay", "bpm")}


def write_table(path, columns):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_of_tables_are_the_inputs_that_name_them(tmp_path, suffix):
    x = {"hr": "bpm", "acc": ["ay", "ax"]}
    people = {name: walk(seed) for seed, name in enumerate(("anna", "bert"))}
    for name, columns in people.items():
        times = [f"2026-03-01 10:00:{row / 10:07.4f}" for row in range(90)]
        more = {"when": times, "act": ["sit"] * 40 + ["run"] * 50}
        write_table(tmp_path / "study" / f"{name}{suffix}", more | columns)
    store = zarrts.convert(
        tmp_path / "study", tmp_path / "a.zarr", x=x, y="act", time="when", **SMALL
    )
    assert store.rate_hz == {"acc": 10, "hr": 10}
    assert store.channels == {"acc": ["ay", "ax"], "hr": ["bpm"]}
    samples = store.samples.windows("1s", "1s", label="last")
    for batch in samples.batches(4, seed=0):
        for row, sample_id in enumerate(batch.sample_id):
            columns, start = list(people.values())[sample_id // 9], sample_id % 9 * 10
            for name, some in (("acc", ["ay", "ax"]), ("hr", ["bpm"])):
                part = side_by_side(columns, some)[start : start + 10]
                np.testing.assert_array_equal(batch.x[name][row], part.astype("f4"))
            assert store.class_names[batch.y[row]] == ("sit" if start + 9 < 40 else "run")
    again = zarrts.open(store.path).header.segments[0].options
    assert again["x"] == {"acc": ["ay", "ax"], "hr": "bpm"}


def test_runs_of_a_subject_in_a_table_are_recordings_of_all_inputs(tmp_path):
    columns = walk(3)
    who = ["anna"] * 30 + ["bert"] * 40 + ["anna"] * 20
    write_table(tmp_path / "all.csv", {"who": who} | columns)
    x = {"hr": ["bpm"], "acc": ["ax", "ay"]}
    store = zarrts.convert(
        tmp_path / "all.csv", tmp_path / "a.zarr", x=x, y=False, subject="who", **SMALL
    )
    assert store.subjects == ["anna", "bert"]
    found, _ = store.samples.load()
    for number, (start, stop) in enumerate([(0, 30), (30, 70), (70, 90)]):
        for name, some in x.items():
            part = side_by_side(columns, some)[start:stop].astype("f4")
            np.testing.assert_array_equal(found[name][number], part)


@pytest.mark.parametrize("kind", ["npz", "h5", "mat"])
def test_arrays_get_the_names_of_their_inputs(tmp_path, kind):
    rng = np.random.default_rng(0)
    acc, hr, y = rng.normal(size=(6, 20, 3)), rng.normal(size=(6, 5)), np.arange(6) % 2
    path = tmp_path / f"s1.{kind}"
    if kind == "npz":
        np.savez(path, **{"raw.acc": acc, "raw.hr": hr, "y": y})
        x = {"motion": "raw.acc", "heart": ["raw.hr"]}
    elif kind == "h5":
        h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
        with h5py.File(path, "w") as file:
            file["raw/acc"], file["raw/hr"], file["y"] = acc, hr, y
        x = {"motion": "raw/acc", "heart": "raw/hr"}
    else:
        io = pytest.importorskip("scipy.io", reason="SciPy is not installed")
        io.savemat(path, {"raw": {"acc": acc, "hr": hr}, "y": y})
        x = {"motion": "raw.acc", "heart": "raw.hr"}
    store = zarrts.convert(path, tmp_path / "a.zarr", x=x, dtype="keep", kind="dense", **SMALL)
    found, labels = store.samples.load()
    np.testing.assert_array_equal(found["motion"], acc)
    np.testing.assert_array_equal(found["heart"], hr)
    np.testing.assert_array_equal(labels, y)
    words = "'motion' of several arrays, but in a file of arrays an input is one of them"
    with pytest.raises(zarrts.ZarrtsError, match=words):
        zarrts.convert(path, tmp_path / "b.zarr", x={"motion": [*map(str, x)]}, **SMALL)
    with pytest.raises(zarrts.ZarrtsError, match="has no array 'hr2', which x= names; it holds"):
        zarrts.convert(path, tmp_path / "b.zarr", x={"heart": "hr2"}, **SMALL)


def test_groups_of_an_hdf5_file_are_subjects_with_the_inputs_below_them(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(4, 6, 2)) for name in ("anna", "bert")}
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for name, acc in arrays.items():
            file[f"{name}/raw/acc"], file[f"{name}/raw/hr"] = acc, acc[:, 0]
            file[f"{name}/stage"] = np.arange(4)
    x = {"acc": "raw/acc", "hr": "raw/hr"}
    store = zarrts.convert(
        tmp_path / "all.h5", tmp_path / "a.zarr", x=x, y="stage", dtype="keep", **SMALL
    )
    assert store.subjects == ["anna", "bert"]
    found, labels = store.samples.load()
    acc = np.concatenate([*arrays.values()])
    np.testing.assert_array_equal(found["acc"], acc)
    np.testing.assert_array_equal(found["hr"], acc[:, 0])
    np.testing.assert_array_equal(labels, np.tile(np.arange(4), 2))


def test_several_variables_of_a_matlab_file_are_inputs(tmp_path):
    io = pytest.importorskip("scipy.io", reason="SciPy is not installed")
    rng = np.random.default_rng(0)
    acc, hr = rng.normal(size=(120, 2)), rng.normal(size=(12, 1))
    labels = rng.integers(0, 3, 12)
    io.savemat(tmp_path / "s1.mat", {"acc": acc, "hr": hr, "age": 41.0, "y": labels})
    store = zarrts.convert(
        tmp_path / "s1.mat",
        tmp_path / "a.zarr",
        x=["acc", "hr", "age"],
        y="y",
        kind="ragged",
        rate_hz={"acc": 10, "hr": 1},
        dtype="keep",
        **SMALL,
    )
    samples = store.samples.windows("3s", "1s", label="last")
    for i in range(10):
        x, y = samples[i]
        np.testing.assert_array_equal(x["acc"], acc[10 * i : 10 * i + 30])
        np.testing.assert_array_equal(x["hr"], hr[i : i + 3])
        assert (x["age"].tolist(), y) == ([41.0], labels[i + 2])


def test_subjects_of_rows_part_all_inputs(tmp_path):
    rng = np.random.default_rng(0)
    acc, hr = rng.normal(size=(6, 4, 2)), rng.normal(size=(6, 3))
    names = ["a", "a", "b", "b", "b", "a"]
    np.savez(tmp_path / "all.npz", acc=acc, hr=hr, y=np.arange(6), subject=names)
    store = zarrts.convert(
        tmp_path / "all.npz", tmp_path / "a.zarr", x=["acc", "hr"], dtype="keep", **SMALL
    )
    assert list(store.samples.subject) == names
    found, labels = store.samples.load()
    np.testing.assert_array_equal(found["acc"], acc)
    np.testing.assert_array_equal(found["hr"], hr)
    np.testing.assert_array_equal(labels, np.arange(6))


# A file for each input ----------------------------------------------------------------------------


def arrays_of(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 14))
    return {
        "acc": rng.normal(size=(10 * n, 3)),
        "hr": rng.normal(size=(n, 1)),
        "age": np.array(30.0 + seed),
        "y": rng.integers(0, 3, n),
    }


@pytest.mark.parametrize("layout", ["{name}/{what}", "{name}_{what}", "{what}-{name}"])
def test_npy_files_of_one_name_are_the_inputs_of_a_recording(tmp_path, layout):
    people = {name: arrays_of(seed) for seed, name in enumerate(("anna", "bert"))}
    for name, arrays in people.items():
        for what, values in arrays.items():
            path = tmp_path / "study" / (layout.format(name=name, what=what) + ".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values)
    rates = {"acc": 10, "hr": 1, "y": 1}
    options = {"x": ["acc", "hr", "age"], "kind": "ragged", "rate_hz": rates, "dtype": "keep"}
    store = zarrts.convert(tmp_path / "study", tmp_path / "a.zarr", **options, **SMALL)
    assert store.subjects == ["anna", "bert"]
    x, labels = store.samples.load()
    for number, arrays in enumerate(people.values()):
        for name in ("acc", "hr"):
            np.testing.assert_array_equal(x[name][number], arrays[name])
        assert x["age"][number].tolist() == [arrays["age"]]
        np.testing.assert_array_equal(labels[number], arrays["y"])
    assert zarrts.verify(store.path, deep=True, sources=tmp_path / "study").problems == ()
    assert "each is 4 files, one for each input" in repr(zarrts.scan(tmp_path / "study", **options))
    # Files of labels are passed over where there are none.
    bare = options | {"y": False, "rate_hz": {"motion": 10, "hr": 1}}
    bare |= {"x": {"motion": "acc", "hr": "*hr*" if "hr-" in layout else "hr", "age": "age"}}
    store = zarrts.convert(tmp_path / "study", tmp_path / "b.zarr", **bare, **SMALL)
    np.testing.assert_array_equal(store.samples.load()[0]["motion"][1], people["bert"]["acc"])


def test_npy_files_that_are_no_whole_recording_are_named(tmp_path):
    folder = tmp_path / "study"
    for seed, name in enumerate(("anna", "bert")):
        (folder / name).mkdir(parents=True)
        for what, values in arrays_of(seed).items():
            np.save(folder / name / f"{what}.npy", values)
    options = {"x": ["acc", "hr"], "kind": "ragged", "rate_hz": {"acc": 10, "hr": 1, "y": 1}}
    with pytest.raises(zarrts.ZarrtsError, match="hr by its name; give those files that are meant"):
        zarrts.convert(folder, tmp_path / "a.zarr", **options, **SMALL)
    for name in ("anna", "bert"):
        (folder / name / "age.npy").unlink()
    (folder / "bert" / "hr.npy").unlink()
    (folder / "anna" / "acc.npy").write_bytes(b"nothing")
    with pytest.raises(zarrts.ZarrtsError) as error:
        zarrts.convert(folder, tmp_path / "a.zarr", **options, **SMALL)
    assert "anna/acc.npy: is not an .npy array" in str(error.value)
    assert "bert/acc.npy, bert/y.npy: of this recording, by name, there is no file of hr" in str(
        error.value
    )
    np.save(folder / "bert" / "hr.npy", np.zeros((5, 1)))
    (folder / "bert" / "y.npy").unlink()
    with pytest.raises(zarrts.ZarrtsError, match="there is no file of labels; put it beside"):
        zarrts.convert(folder / "bert", tmp_path / "a.zarr", **options, **SMALL)
    with pytest.raises(zarrts.ZarrtsError, match="heart by its name, which x= names; there are"):
        zarrts.convert(folder, tmp_path / "a.zarr", x=["acc", "heart"], **SMALL)
    np.save(folder / "bert" / "y.npy", np.zeros(5))
    np.save(folder / "bert" / "ACC.npy", np.zeros((50, 3)))
    if len(list((folder / "bert").glob("*.npy"))) == 4:  # where names differ in case
        with pytest.raises(zarrts.ZarrtsError, match="but each input of a recording is one file"):
            zarrts.convert(folder / "bert", tmp_path / "a.zarr", **options, **SMALL)


def stamped(rate, start, n, keep=slice(None)):
    """Return times as text, in ms, of the steps that are kept."""
    first = np.datetime64("2026-03-01T10:00:00.000")
    ms = np.round((start + np.arange(n) / rate) * 1000).astype("m8[ms]")[keep]
    return [str(first + it).replace("T", " ") for it in ms]


def write_two_sensors(folder, seed, *, late_s=0.0, pause=False, labels="acc"):
    """Write acc.csv at 10 Hz and hr.csv at 1 Hz, and return their columns."""
    columns = walk(seed, 300)
    keep = np.r_[0:120, 145:300] if pause else np.arange(300)
    acc = {"t": stamped(10, 0, 300, keep)}
    acc |= {name: columns[name][keep] for name in ("ax", "ay")}
    bpm = columns["bpm"][:30]
    hr = {"t": stamped(1, late_s, 30), "bpm": bpm}
    if labels == "acc":
        acc["act"] = np.array(["sit", "run"])[(keep >= 150).astype(int)]
    elif labels == "hr":
        hr["act"] = np.array(["sit", "run"])[(np.arange(30) >= 15).astype(int)]
    elif labels == "file":
        act = np.array(["sit", "run"])[(np.arange(9) >= 5).astype(int)]
        write_table(folder / "act.csv", {"t": stamped(0.2, 0, 9), "act": act})
    write_table(folder / "acc.csv", acc)
    write_table(folder / "hr.csv", hr)
    return side_by_side(columns, ["ax", "ay"]), bpm


TWO = {"x": {"acc": ["ax", "ay"], "hr": "bpm"}, "time": "t"}


@pytest.mark.parametrize("labels", ["acc", "hr", "file"])
@pytest.mark.parametrize("pause", [False, True])
def test_tables_of_one_folder_are_inputs_by_their_times(tmp_path, labels, pause):
    """hr k is at k + late s, beside acc from 10 (k + late) on."""
    people = {}
    for seed, (name, late_s) in enumerate({"anna": 0.0, "bert": 3.0}.items()):
        folder = tmp_path / "study" / name
        found = write_two_sensors(folder, seed, late_s=late_s, pause=pause, labels=labels)
        people[name] = (*found, int(late_s))
    store = zarrts.convert(tmp_path / "study", tmp_path / "a.zarr", y="act", **TWO, **SMALL)
    assert store.subjects == ["anna", "bert"]
    assert store.rate_hz == {"acc": 10, "hr": 1}
    assert store.channels == {"acc": ["ax", "ay"], "hr": ["bpm"]}
    expected = []
    for acc, bpm, late in people.values():
        seconds = [s for s in range(late, 30) if not (pause and 12 <= s < 15)]
        for s in seconds:
            if s + 1 in seconds:
                expected.append((acc[10 * s : 10 * s + 20], bpm[s - late : s - late + 2, None], s))
    samples = store.samples.windows("2s", "1s", label="last")
    assert len(samples) == len(expected)
    # The label of the last step: of acc at s + 1.9 s, of hr at s + 1 s, of a file for 5 s each.
    for i, (acc, bpm, s) in enumerate(expected):
        one, label = samples[i]
        np.testing.assert_array_equal(one["acc"], acc.astype("f4"))
        np.testing.assert_array_equal(one["hr"], bpm.astype("f4"))
        late = people[samples.subject[i]][2]
        is_run = {"acc": s + 1.9 >= 15, "hr": s + 1 - late >= 15, "file": s + 1 >= 25}[labels]
        assert store.class_names[label] == ("run" if is_run else "sit")


def test_tables_of_inputs_have_labels_subjects_and_times_or_say_what_is_missing(tmp_path):
    folder = tmp_path / "study"
    acc, bpm = write_two_sensors(folder / "one", 0, labels="none", late_s=2.0)
    acc, bpm = acc.astype("f4"), bpm.astype("f4")[:, None]
    labels = {
        "file": ["one/acc.csv"] * 2,
        "start": ["2026-03-01 10:00:05", "2026-03-01 10:00:20"],
        "stop": ["2026-03-01 10:00:20", "2026-03-01 10:01:20"],
        "label": ["sit", "run"],
    }
    store = zarrts.convert(folder, tmp_path / "a.zarr", labels=labels, **TWO, **SMALL)
    x, y = store.samples.load()
    np.testing.assert_array_equal(x["acc"][0], acc[20:300])
    np.testing.assert_array_equal(x["hr"][0], bpm[:28])
    named = np.array([*store.class_names, ""])[y[0].reshape(-1)]
    assert named.tolist() == [""] * 30 + ["sit"] * 150 + ["run"] * 100
    bare = zarrts.convert(folder, tmp_path / "b.zarr", y=False, **TWO, **SMALL)
    np.testing.assert_array_equal(bare.samples.load()[0]["hr"][0], bpm[:28])
    # Who it is, and one label for all, may be in a table of one row.
    write_table(folder / "one" / "person.csv", {"who": ["eva"], "age": [41], "group": ["a"]})
    x = TWO["x"] | {"person": "age"}
    store = zarrts.convert(
        folder, tmp_path / "d.zarr", x=x, y="group", time="t", subject="who", **SMALL
    )
    assert store.subjects == ["eva"] and store.class_names == ["a"]
    assert store.samples.load()[0]["person"][0].tolist() == [41]
    (folder / "one" / "person.csv").unlink()

    def refused(words, **more):
        options = {"y": False} | TWO | more
        with pytest.raises(zarrts.ZarrtsError, match=words):
            zarrts.convert(folder, tmp_path / "never.zarr", **options, **SMALL)

    refused("the column of labels, act, is in none; name a column that one of them has", y="act")
    refused("has no column 'when', which time= names", time="when")
    refused("has no column 'az', which x= names", x=TWO["x"] | {"acc": ["ax", "az"]})
    write_table(folder / "one" / "notes.csv", {"note": ["none"]})
    refused("notes.csv: is none of acc, hr by its name; give those files that are meant")
    (folder / "one" / "notes.csv").unlink()
    write_two_sensors(folder / "two", 1)
    (folder / "two" / "hr.csv").unlink()
    refused("two/acc.csv: of this recording, by name, there is no file of hr")
    write_table(folder / "two" / "hr.csv", {"t": stamped(1, 0, 30), "bpm": np.arange(30.0)})
    write_table(folder / "one" / "hr.csv", {"t": stamped(1, 90, 30), "bpm": np.arange(30.0)})
    refused(r"one/acc.csv: its inputs have no time in common .* hr from 90 to 120 s")
    both = {"t": stamped(1, 0, 3), "bpm": [1.5, 2, 3], "act": ["a", "b", "b"], "who": list("aab")}
    write_table(folder / "one" / "hr.csv", both)
    refused("one/hr.csv: name several subjects, a, b, but files that are", subject="who")
    write_table(folder / "two" / "hr.csv", both)
    refused("act, is in 2 of these files; leave it in one of them, or call a file act", y="act")
    act = {"t": stamped(1, 0, 9, [0, 1, 2, 6, 7, 8]), "act": list("aaabbb")}
    write_table(folder / "two" / "act.csv", act)
    refused(r"two/act.csv: something is missing between its labels \(before row 3\)", y="act")


def test_new_tables_of_inputs_are_found_as_in_the_training(tmp_path):
    acc, bpm = write_two_sensors(tmp_path / "new" / "eva", 3, late_s=1.0, labels="hr")
    options = SourceOptions(**TWO, y=False, kind="ragged")
    parts = {
        name: dataclasses.replace(Description.unknown(), channels=channels, rate_hz=rate_hz)
        for name, channels, rate_hz in (("acc", ("ax", "ay"), 10.0), ("hr", ("bpm",), 1.0))
    }
    known = dataclasses.replace(Description.unknown(), parts=parts)
    reference = Reference(description=known, owner="it has", steps={"acc": 10, "hr": 1})
    with pytest.warns(UserWarning, match="inputs are cut to what all have"):
        (found,) = find_inputs(tmp_path / "new", options, reference=reference)
    rows = found.x.read(0, found.x.shape[0])
    np.testing.assert_array_equal(rows["acc"].reshape(-1, 2), acc[10:300])
    np.testing.assert_array_equal(rows["hr"][:, 0], bpm[:29])


@pytest.mark.parametrize("form", ["arrays", "groups"])
def test_zarr_arrays_of_several_inputs_are_found_with_and_without_labels(tmp_path, form):
    people = {name: arrays_of(seed) for seed, name in enumerate(("anna", "bert"))}
    for name, arrays in people.items():
        if form == "groups":
            group = zarr.open_group(tmp_path / "study" / f"{name}.zarr", mode="w")
        for what in ("acc", "hr", "y"):
            values = arrays[what]
            dims = ["time", "channel"][: values.ndim]
            if form == "groups":
                group.create_array(what, data=values, dimension_names=dims)
            else:
                place = str(tmp_path / "study" / f"{name}_{what}.zarr")
                zarr.create_array(place, data=values, dimension_names=dims)
    for y in (None, False):
        rates = {"acc": 10, "hr": 1} | ({} if y is False else {"y": 1})
        more = {"kind": "ragged"} if form == "arrays" else {}  # else dimensions say so
        store = zarrts.convert(
            tmp_path / "study",
            tmp_path / f"{y}.zarr",
            x=["acc", "hr"],
            y=y,
            rate_hz=rates,
            dtype="keep",
            **more,
            **SMALL,
        )
        assert store.subjects == ["anna", "bert"]
        x, labels = store.samples.load()
        for number, arrays in enumerate(people.values()):
            np.testing.assert_array_equal(x["acc"][number], arrays["acc"])
            np.testing.assert_array_equal(x["hr"][number], arrays["hr"])
            if y is None:
                np.testing.assert_array_equal(labels[number], arrays["y"])


@pytest.mark.parametrize("record_s", ["1", "0.1024", "1.000123", "30", "0.7777"])
def test_records_of_any_length_hold_whole_steps_of_each_rate(tmp_path, record_s):
    fast, slow = np.arange(600), np.arange(12)
    limits = (-1000, 1000), (-1000, 1000)
    written = [("F", fast, 50, *limits), ("S", slow, 1, *limits)]
    path = tmp_path / "a.edf"
    write_raw_edf(path, written, [("+0", 6 * float(record_s), "W")], record_s)
    # Of annotations, label_every= says nothing, as with one input.
    store = zarrts.convert(
        path,
        tmp_path / "a.zarr",
        x={"f": "F", "s": "S"},
        label_every="30s",
        unlabelled="-",
        **SMALL,
    )
    x, y = store.samples.load()
    np.testing.assert_array_equal(x["f"][0][:, 0], fast)
    np.testing.assert_array_equal(x["s"][0][:, 0], slow)
    assert np.array(store.class_names)[y[0].reshape(-1)].tolist() == ["W"] * 300 + ["-"] * 300
    np.testing.assert_allclose(store.rate_hz["f"], 50 / float(record_s), rtol=1e-12)
