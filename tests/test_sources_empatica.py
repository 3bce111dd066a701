"""Folders of an Empatica E4: sensors of one rate, times of start, moments that were marked."""

import tracemalloc

import numpy as np
import pytest
from signal_files import assert_pieces, only

import zarrts
from zarrts import sources
from zarrts.sources import SourceOptions

START = 1_544_027_337.0


def write_sensor(folder, name, values, rate, start=START, end="\n"):
    """Write values (row, column) as E4 connect does."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    n = values.shape[1]
    lines = [", ".join([f"{start:.6f}"] * n), ", ".join([f"{rate:.6f}"] * n)]
    form = "{:.0f}" if name == "ACC.csv" else "{:.6f}"
    lines += [",".join(map(form.format, row)) for row in values]
    (folder / name).write_text("\n".join(lines) + end)


def write_session(folder, seed=0, n_s=30):
    rng = np.random.default_rng(seed)
    found = {
        "ACC.csv": (rng.integers(-128, 128, (n_s * 32, 3)), 32),
        "BVP.csv": (rng.normal(size=(n_s * 64, 1)).round(2), 64),
        "EDA.csv": (rng.random((n_s * 4, 1)).round(6), 4),
        "TEMP.csv": (rng.normal(33, 1, (n_s * 4 - 3, 1)).round(2), 4),
    }
    for name, (values, rate) in found.items():
        write_sensor(folder, name, values, rate)
    write_sensor(folder, "HR.csv", rng.normal(70, 9, (n_s - 10, 1)).round(2), 1, START + 10)
    (folder / "IBI.csv").write_text(f"{START:.6f}, IBI\n0.5,0.8\n1.3,0.8\n")
    (folder / "tags.csv").write_text(f"{START + 5.5:.2f}\n{START + 20:.2f}\n")
    (folder / "info.txt").write_text("of E4 connect\n")
    return {name: values for name, (values, _) in found.items()}


def test_sensors_of_one_rate_are_a_recording_and_folders_are_people(tmp_path):
    x = {
        name: write_session(tmp_path / "in" / name, seed)
        for seed, name in enumerate(("p01", "p02"))
    }
    found = sources.find(tmp_path / "in", SourceOptions(unlabelled="rest"))
    assert (
        "several rates: ACC x (32 Hz), ACC y (32 Hz), ACC z (32 Hz), BVP (64 Hz)"
        in found.problems[0]
    )
    options = {"channels": ["EDA", "TEMP"], "unlabelled": "rest", "progress": False}
    with zarrts.convert(tmp_path / "in", tmp_path / "s.zarr", **options) as store:
        assert (store.subjects, store.rate_hz) == (["p01", "p02"], 4)
        assert store.units == ["uS", "degC"]
        for values, name in zip(store.samples.load()[0], ("p01", "p02"), strict=True):
            n_rows = len(x[name]["TEMP.csv"])  # which was read off first
            expected = [x[name][it][:n_rows, 0] for it in ("EDA.csv", "TEMP.csv")]
            np.testing.assert_array_equal(values, np.stack(expected, axis=1).astype("f4"))


def test_pieces_are_those_of_the_whole(tmp_path):
    x = write_session(tmp_path / "p01", n_s=400)["ACC.csv"] / 64
    assert len(x) == 12_800  # more than lie between places that are known
    it = only(tmp_path / "p01", channels=("ACC z", "ACC x"), unlabelled="rest")
    assert_pieces(it.x, x[:, [2, 0]].astype("f4"))
    assert (it.subject, it.description.units) == ("p01", ("g", "g"))
    assert (
        sources.find(tmp_path / "p01", SourceOptions(channels=("BVP",), y=False)).passed_over == ()
    )


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("n_rows", [1, 4095, 4096, 4097, 8192])
def test_any_number_of_rows_is_indexed(tmp_path, n_rows, end):
    values = np.arange(n_rows)[:, None] / 8
    write_sensor(tmp_path / "p01", "EDA.csv", values, 4, end=end)
    assert_pieces(only(tmp_path, y=False).x, values.astype("f4"), n=10)


def test_sensors_that_start_later_are_aligned_in_time(tmp_path):
    a, b = np.arange(100)[:, None] * 1.0, np.arange(100)[:, None] * 0.5
    write_sensor(tmp_path / "p01", "EDA.csv", a, 4)
    write_sensor(tmp_path / "p01", "TEMP.csv", b, 4, START + 2.5)
    it = only(tmp_path, y=False)
    assert_pieces(it.x, np.concatenate([a[10:], b[:90]], axis=1).astype("f4"), n=9)
    write_sensor(tmp_path / "p01", "TEMP.csv", b, 4, START + 500)
    (problem,) = sources.find(tmp_path, SourceOptions(y=False)).problems
    assert "never on at the same time" in problem


def test_other_csv_files_of_these_names_are_none(tmp_path):
    (tmp_path / "EDA.csv").write_text("time,value\n1,2\n")
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3, 1)), y=[0, 1, 0, 1])
    found = sources.find(tmp_path)
    assert (found.problems, found.passed_over) == ((), ("EDA.csv",))


def test_a_damaged_file_is_named(tmp_path):
    write_session(tmp_path / "p01")
    place = tmp_path / "p01" / "TEMP.csv"
    place.write_text(place.read_text().replace("33.", "33;", 1))
    with pytest.raises(zarrts.ZarrtsError, match=r"p01/TEMP\.csv: a line is not of 1 numbers"):
        zarrts.convert(
            tmp_path, tmp_path / "s.zarr", channels=["TEMP"], y=False, kind="ragged", progress=False
        )
    place.write_text("")
    (problem,) = sources.find(tmp_path, SourceOptions(channels=("TEMP",), y=False)).problems
    assert problem.startswith("p01/TEMP.csv: its first lines are not start and rate")


def test_the_index_is_small(tmp_path):
    write_sensor(tmp_path / "p01", "BVP.csv", np.zeros((1, 1)), 64)
    with open(tmp_path / "p01" / "BVP.csv", "a") as file:
        for _ in range(500):
            file.write("-12.250000\n" * 10_000)
    tracemalloc.start()
    it = only(tmp_path, y=False)
    for start in range(0, 5_000_000, 500_000):
        it.x.read(start, start + 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert it.x.shape == (5_000_001, 1)
    assert peak < 24 << 20


@pytest.mark.parametrize("labelled", [False, True])
def test_sensors_of_several_rates_are_inputs_of_the_time_that_all_were_on(tmp_path, labelled):
    people = {
        name: write_session(tmp_path / "in" / name, seed)
        for seed, name in enumerate(("p01", "p02"))
    }
    x = {"acc": ["ACC x", "ACC z"], "eda": "EDA", "temp": ["TEMP"]}
    options = {"x": x, "y": False}
    if labelled:
        options = {"x": x, "labels": tmp_path / "labels.csv"}
        lines = [f"{name},2,12,rest\n{name},12,40,run\n" for name in people]
        options["labels"].write_text("subject,start,stop,label\n" + "".join(lines))
    # TEMP begins 2.5 s later, and so ends later as well.
    for name, values in people.items():
        write_sensor(tmp_path / "in" / name, "TEMP.csv", values["TEMP.csv"], 4, START + 2.5)
    store = zarrts.convert(tmp_path / "in", tmp_path / "s.zarr", progress=False, **options)
    assert store.rate_hz == {"acc": 32, "eda": 4, "temp": 4}
    assert store.units == {"acc": ["g", "g"], "eda": ["uS"], "temp": ["degC"]}
    found, labels = store.samples.load()
    for number, values in enumerate(people.values()):
        n_rows = 110  # of a quarter of a second, from 2.5 to 30 s
        acc = values["ACC.csv"][80:960, [0, 2]] / 64
        np.testing.assert_array_equal(found["acc"][number], acc.astype("f4"))
        np.testing.assert_array_equal(found["eda"][number], values["EDA.csv"][10:120].astype("f4"))
        np.testing.assert_array_equal(
            found["temp"][number], values["TEMP.csv"][:n_rows].astype("f4")
        )
        if labelled:
            named = np.array([*store.class_names, ""])[labels[number].reshape(-1)]
            assert named.tolist() == ["rest"] * 304 + ["run"] * 576
