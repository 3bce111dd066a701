"""Each example runs, one after the other with the defaults that they share."""

import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import zarrts
from zarrts import demo

EXAMPLES = Path(__file__).parents[1] / "examples"
needs_keras = pytest.mark.skipif(find_spec("keras") is None, reason="needs Keras")


def run(name: str, folder: Path, *options: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / name), *options],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Run an example in this process, which spares it the start of Keras."""

    def run_here(name: str, folder: Path, *options: str) -> str:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [name, *options])
        runpy.run_path(str(EXAMPLES / name))
        return capsys.readouterr().out

    return run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with subjects/ and study.zarr, as the first two examples make them."""
    path = tmp_path_factory.mktemp("examples")
    size = ["--subjects", "4", "--samples", "1600", "--time", "64", "--channels", "4"]
    assert "4 files" in run("make_subjects.py", path, *size)
    said = run("convert_study.py", path, "--memory", "256MiB")
    assert said.splitlines() == [
        "1,600 samples of (64, 4) from 4 subjects",
        "classes: N1 N2 N3 R W",
    ]
    return path


def test_every_example_is_run_here_or_in_several_processes():
    files = Path(__file__).parent.glob("test_examples*.py")
    source = "".join(it.read_text(encoding="utf-8") for it in files)
    assert [it.name for it in EXAMPLES.glob("*.py") if f'"{it.name}"' not in source] == []


@needs_keras
def test_train_learns_what_holds_for_other_subjects(folder):
    said = run("train.py", folder, "--val", "1", "--epochs", "12")
    found = re.search(r"^s03: (\d\.\d\d) correct$", said, re.MULTILINE)
    assert found, said
    assert float(found[1]) > 0.5  # five classes, so that guessing gives 0.2
    assert (folder / "model.keras").is_file()


@needs_keras
def test_leave_one_subject_out_prints_a_table(folder, run_here):
    said = run_here("leave_one_subject_out.py", folder, "--epochs", "1").splitlines()
    rows = [line.split() for line in said[1:-1]]
    assert [row[0] for row in rows] == ["s01", "s02", "s03", "s04"]
    assert sum(int(row[1].replace(",", "")) for row in rows) == 1600
    mean = re.fullmatch(r"mean (\d\.\d{3}), from (\d\.\d\d) to (\d\.\d\d)", said[-1])
    assert mean, said
    assert float(mean[1]) == pytest.approx(np.mean([float(row[2]) for row in rows]), abs=0.006)


@needs_keras
@pytest.mark.skipif(find_spec("seglearn") is None, reason="the data, seglearn, are missing")
def test_unseen_people_shows_what_a_leaky_split_fakes(tmp_path, run_here):
    said = run_here("unseen_people.py", tmp_path, "watch", "--epochs", "1", "--folds", "1")
    line = re.compile(r"s01 +(\d+) +(\d\.\d{3})( +\d\.\d{3}){7}")
    (found,) = (it for it in map(line.fullmatch, said.splitlines()) if it)
    assert re.search(rf"unseen people   mean {found[2]}, .* published 0\.873\n", said)
    assert re.search(r"random samples  \d\.\d{3}, which is no test; published 0\.996\n", said)
    assert (tmp_path / "watch" / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_recording_objects_reads_csv(folder):
    (folder / "csv").mkdir()
    rng = np.random.default_rng(0)
    for name in ("p1", "p2"):
        label = np.repeat([0, 1], [200, 175])
        table = np.column_stack([rng.normal(size=(375, 3)), label])
        np.savetxt(folder / "csv" / f"{name}.csv", table, delimiter=",", header="a,b,c,label")
    said = run("recording_objects.py", folder, "--length", "50")
    # 375 time steps are 7 whole samples each.
    assert "14 samples of (50, 3)" in said
    assert "2 subjects" in said


def test_recording_tables_reads_pandas_and_parquet(tmp_path):
    import pandas as pd
    import pyarrow.parquet as pq

    (tmp_path / "tables").mkdir()
    rng = np.random.default_rng(0)
    tables = []
    for length in (375, 250):
        table = pd.DataFrame(rng.normal(size=(length, 3)).astype("f4"), columns=list("abc"))
        table["label"] = np.repeat(["rest", "walk"], [200, length - 200])
        tables.append(table)
    tables[0].to_csv(tmp_path / "tables" / "p1.csv", index=False)
    tables[1].to_parquet(tmp_path / "tables" / "p2.parquet", row_group_size=60)
    assert pq.ParquetFile(tmp_path / "tables" / "p2.parquet").num_row_groups == 5
    said = run("recording_tables.py", tmp_path, "tables", "tables.zarr")
    assert said == "2 recordings of p1, p2: ['rest', 'walk']\n"
    with zarrts.open(tmp_path / "tables.zarr") as store:
        for table, (x, y) in zip(tables, store.samples, strict=True):
            np.testing.assert_allclose(x, table[list("abc")].to_numpy(), rtol=1e-5)
            names = np.array(store.class_names)
            assert names[y].tolist() == table["label"].tolist()


def test_numpy_loop_learns_what_holds_for_other_subjects(folder):
    said = run("numpy_loop.py", folder, "--epochs", "3")
    found = re.fullmatch(r"s03: (\d\.\d\d) correct\n", said)
    assert found, said
    assert float(found[1]) > 0.8


@needs_keras
@pytest.mark.skipif(find_spec("seglearn") is None, reason="needs the recordings of seglearn")
def test_windows_of_recordings_are_those_that_the_demo_saves(tmp_path, run_here):
    said = run_here("windows_of_recordings.py", tmp_path, "--epochs", "0")
    assert "140 recordings of 10 people, 2,229 windows\n" in said
    saved = [np.load(it) for it in demo.write_people(demo.read_watch(), tmp_path / "people")]
    with zarrts.open(tmp_path / "watch.zarr") as store:
        x, y = store.samples.windows(200, 100).load()
        np.testing.assert_array_equal(x, np.concatenate([it["data"] for it in saved]))
        names = np.array(store.class_names)[y]
    assert names.tolist() == np.concatenate([it["labels"] for it in saved]).tolist()


@pytest.mark.skipif(find_spec("jax") is None, reason="needs JAX")
def test_jax_loop_learns_what_holds_for_other_subjects(folder):
    said = run("jax_loop.py", folder, "--epochs", "3")
    found = re.fullmatch(r"s03: (\d\.\d\d) correct\n", said)
    assert found, said
    assert float(found[1]) > 0.8


@needs_keras
def test_two_sensors_are_told_apart_in_other_people(folder, tmp_path):
    said = run("two_sensors.py", tmp_path, "two.zarr", "--epochs", "12").splitlines()
    found = [re.fullmatch(r"(s\d): (\d\.\d\d) correct; a new walk: (\d\.\d\d)", it) for it in said]
    assert [it and it[1] for it in found] == ["s0", "s1", "s2", "s3"]
    assert np.mean([float(it[2]) for it in found]) > 0.8
    assert np.mean([float(it[3]) for it in found]) > 0.8


def write_edf(path, rate, seconds, channels, annotations=()):
    """Write noise whose height and rhythm follow the annotations (onset, duration, text)."""
    pyedflib = pytest.importorskip("pyedflib", reason="pyEDFlib has no wheel for every Python")
    rng = np.random.default_rng(sum(path.name.encode()))
    time = np.arange(rate * seconds) / rate
    wave = rng.normal(0, 5, len(time))
    for onset, duration, text in annotations:
        inside = (time >= onset) & (time < onset + duration)
        wave[inside] += 40 * np.sin(2 * np.pi * (3 + 3 * (ord(text[-1]) % 5)) * time[inside])
    limits = {
        "physical_min": -500,
        "physical_max": 500,
        "digital_min": -32768,
        "digital_max": 32767,
    }
    with pyedflib.EdfWriter(str(path), len(channels), pyedflib.FILETYPE_EDFPLUS) as file:
        common = {"dimension": "uV", "sample_frequency": rate, "transducer": "", "prefilter": ""}
        file.setSignalHeaders([{"label": it, **common, **limits} for it in channels])
        file.writeSamples([wave + rng.normal(0, 2, len(wave)) for _ in channels])
        for onset, duration, text in annotations:
            file.writeAnnotation(onset, duration, text)


def lines_of(name):
    """Return the lines of an example but for its first one, blank ones and imports."""
    lines = (EXAMPLES / name).read_text("utf-8").splitlines()[1:]
    return [line for line in lines if line.strip() and not line.startswith(("import", "from"))]


@needs_keras
def test_sleep_is_scored_from_files_as_they_come(tmp_path, run_here):
    stages, n = ["W", "N1", "N2", "N3", "R"], 40
    scored = [(30 * i, 30, stages[i // 4 % 5]) for i in range(n)]
    people = {
        "anna": (64, ["EOG horizontal", "EEG Fpz-Cz"]),
        "bert": (50, ["Fpz-Cz", "EOG horizontal", "EMG"]),
        "cora": (100, ["EEG Fpz-Cz"]),
    }
    for name, (rate, channels) in people.items():
        write_edf(tmp_path / f"{name}.edf", rate, 30 * n, channels, scored)
    rows = [f"{onset},{duration},{stage}" for onset, duration, stage in scored]
    (tmp_path / "bert.csv").write_text("\n".join(["onset,duration,label", *rows]))
    np.save(tmp_path / "cora.npy", np.array([stage for _, _, stage in scored]))
    lines = ["anna,anna.edf,anna.edf", "bert,bert.edf,bert.csv", "cora,cora.edf,cora.npy"]
    (tmp_path / "nights.csv").write_text("\n".join(["subject,x,y", *lines]))
    said = run_here("sleep.py", tmp_path)
    assert len(lines_of("sleep.py")) <= 15
    assert re.search(r"kappa -?\d\.\d+", said) and "macro F1" in said, said
    with zarrts.open(tmp_path / "sleep.zarr") as store:
        assert (store.rate_hz, store.channels) == (50, ["EEG", "EOG"])
        assert store.subjects == ["anna", "bert", "cora"]
        assert np.isnan(store.samples[2][0]).mean(axis=0).tolist() == [0, 1]
        names = store.class_names
        for _, codes in (store.samples[i] for i in range(3)):
            assert [names[code] for code in codes[750::1500]] == [stage for *_, stage in scored]


@needs_keras
def test_eeg_is_classified_at_events(tmp_path, run_here):
    (tmp_path / "eeg").mkdir()
    events = [(4 + 5 * i, 2, "left" if i % 2 else "right") for i in range(16)]
    for name, rate in (("s01", 128), ("s02", 200), ("s03", 128)):
        channels = ["C4", "C3", "Cz"] if name == "s02" else ["C3", "C4"]
        write_edf(tmp_path / "eeg" / f"{name}.edf", rate, 90, channels, events)
    said = run_here("eeg_at_events.py", tmp_path)
    assert len(lines_of("eeg_at_events.py")) <= 15
    assert re.search(r"^s02 +16 ", said, re.MULTILINE), said
    with zarrts.open(tmp_path / "eeg.zarr") as store:
        trials = store.samples.windows(at="annotations", before="0.5s", after="2s")
        x, y = trials.load()
        assert x.shape == (48, 250, 2)
        assert [store.class_names[code] for code in y[:4]] == ["right", "left", "right", "left"]


@needs_keras
def test_watches_with_gaps_are_classified_by_labels_of_another_table(run_here, tmp_path):
    pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    rng = np.random.default_rng(0)
    start = np.datetime64("2026-03-01T10:00:00", "ms")
    (tmp_path / "watches").mkdir()
    lines = ["subject,start,stop,label"]
    for name in ("ann", "bob", "eve"):
        seconds = np.arange(6000) / 25
        moves = (seconds // 20).astype(int) % 2 == 1
        x = rng.normal(0, 0.1, (6000, 3)) + np.where(moves, np.sin(9 * seconds), 0)[:, None]
        x[700:710, 1] = np.nan
        seconds[3000:] += 60.25  # the watch was taken off
        when = start + (seconds * 1000).round().astype("timedelta64[ms]")
        rows = [
            ",".join([str(it), *("" if np.isnan(v) else f"{v:.4f}" for v in some)])
            for it, some in zip(when, x, strict=True)
        ]
        text = "\n".join(["when,ax,ay,az", *rows])
        (tmp_path / "watches" / f"{name}.csv").write_text(text)
        for first in range(0, 6000, 500):
            last = min(first + 499, 5999)
            label = "walk" if moves[first] else "sit"
            lines.append(f"{name},{when[first]},{when[last]},{label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    said = run_here("wearables.py", tmp_path)
    assert float(re.search(r"accuracy (\d\.\d+)", said)[1]) > 0.9
    with zarrts.open(tmp_path / "watches.zarr") as store:
        assert (store.rate_hz, store.class_names) == (25, ["sit", "walk"])
        assert store.catalog.gaps.rows.tolist() == [3000, 9000, 15000]
        plain = store.samples.windows("4s", "2s", label="majority")
        dropped = store.samples.windows("4s", "2s", label="majority", nan="drop")
        x = plain.load()[0]
        assert len(plain) - len(dropped) == np.isnan(x).any(axis=(1, 2)).sum() > 0
