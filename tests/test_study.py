"""zarrts.scan: a study before it is stored, steps on it, and the store that it becomes."""

import inspect
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import zarrts
from zarrts.cli import main
from zarrts.conversion.options import ConvertOptions

RATES = {"s01": 128, "s02": 160, "s03": 100}
CHANNELS = {"s01": ["C3", "C4", "A1"], "s02": ["A1", "C3", "EOG", "C4"], "s03": ["c3", "C4", "A1"]}
NAMES = [{"C3": ["c3"]}, "C4"]
STEPS = [("pick", NAMES), ("filter", 1, 40), ("resample", "100Hz")]
SMALL = {"shard": "32KiB", "chunk": "8KiB"}


def write_study(folder, seconds=40, seed=0, names=tuple(RATES)):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        rng = np.random.default_rng([seed, number])
        n = RATES[name] * seconds
        x = rng.normal(100, 20, (n, len(CHANNELS[name]))).astype(np.float32)
        y = np.array(["rest", "move"])[np.arange(n) // (5 * RATES[name]) % 2]
        np.savez(
            folder / f"{name}.npz", x=x, y=y, ch_names=CHANNELS[name], units="uV", fs=RATES[name]
        )
    return folder


def content(store):
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in Path(store).rglob("*")
        if path.is_file()
    }


@pytest.fixture(name="folder")
def study_folder(tmp_path):
    return write_study(tmp_path / "subjects")


def test_a_study_prints_what_the_dry_run_prints(folder, tmp_path):
    study = zarrts.scan(folder, kind="ragged", steps=STEPS)
    words = ["convert", str(folder), str(tmp_path / "a.zarr"), "--kind", "ragged", "--dry-run"]
    words += ["--step", "pick C3=c3,C4", "--step", "filter 1 40", "--step", "resample 100Hz"]
    run = CliRunner().invoke(main, words, catch_exceptions=False)
    said, lines = repr(study).splitlines(), run.output.splitlines()
    assert said[:-1] == lines[: len(said) - 1]
    assert "pick 2 of 3, 4 channels: C3, C4" in said
    assert "filter 1 to 40 Hz (FIR of zero phase, 1.65, 1.66 s to each side)" in said
    assert "resample 100, 128, 160 Hz -> 100 Hz; 2 of 3 subjects" in said
    assert said[-1].endswith("nothing is read or written yet")


def test_a_store_of_a_study_is_that_of_its_sources_to_the_byte(folder, tmp_path):
    study = zarrts.scan(folder, kind="ragged").pick(NAMES).filter(1, 40).resample(100)
    zarrts.convert(study, tmp_path / "a.zarr", **SMALL).close()
    zarrts.convert(folder, tmp_path / "b.zarr", kind="ragged", steps=STEPS, **SMALL).close()
    assert content(tmp_path / "a.zarr") == content(tmp_path / "b.zarr")
    words = ["convert", str(folder), str(tmp_path / "c.zarr"), "--kind", "ragged"]
    words += ["--step", "pick C3=c3,C4", "--step", "filter 1 40", "--step", "resample 100Hz"]
    words += ["--shard", "32KiB", "--chunk", "8KiB"]
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    assert content(tmp_path / "a.zarr") == content(tmp_path / "c.zarr")


def test_a_study_without_steps_is_stored_as_before(folder, tmp_path):
    study = zarrts.scan(folder / "s01.npz", kind="ragged")
    zarrts.convert(study, tmp_path / "a.zarr").close()
    store = zarrts.convert(folder / "s01.npz", tmp_path / "b.zarr", kind="ragged")
    assert store.header.segments[0].needs == ()
    store.close()
    assert content(tmp_path / "a.zarr") == content(tmp_path / "b.zarr")


def test_dask_arrays_are_what_is_stored(folder, tmp_path):
    study = zarrts.scan(folder, kind="ragged", steps=STEPS, **SMALL)
    with zarrts.convert(study, tmp_path / "a.zarr") as store:
        samples = store.samples
        stored = [samples[i] for i in range(3)]
        names = store.class_names
    assert study.x.compute(scheduler="sync").tobytes() == b"".join(x.tobytes() for x, _ in stored)
    assert study.x.chunks[0][0] == 4096  # a shard
    y = study.y.compute(scheduler="sync")
    for number, it in enumerate(study):
        x, codes = stored[number]
        assert it.x.compute(scheduler="sync").tobytes() == x.tobytes()
        assert it.y.compute(scheduler="sync").tolist() == [names[code] for code in codes]
        assert (it.shape, it.rate_hz, it.channels) == (x.shape, 100, ("C3", "C4"))
    assert y.tolist() == [names[code] for _, codes in stored for code in codes]
    assert study.x.sum().compute() == pytest.approx(sum(x.sum() for x, _ in stored), rel=1e-3)


def test_dense_studies_are_arrays_along_samples(tmp_path):
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(n, 200, 2)) for n in (5, 7)]
    for number, x in enumerate(xs):
        np.savez(tmp_path / f"s{number}.npz", x=x, y=np.arange(len(x)), fs=100)
    study = zarrts.scan(tmp_path, shard="8KiB", chunk="4KiB")
    np.testing.assert_array_equal(study.x.compute(), np.concatenate(xs).astype(np.float32))
    np.testing.assert_array_equal(study.y.compute(), [*range(5), *range(7)])
    halved = study.resample(50)
    assert halved.x.shape == (12, 100, 2)
    with zarrts.convert(halved, tmp_path / "a.zarr") as store:
        assert store.sample_shape == (100, 2)
        assert store.rate_hz == 50
        np.testing.assert_array_equal(store.samples.load()[0], halved.x.compute())


def test_several_labels_are_a_dictionary(tmp_path):
    x = np.random.default_rng(0).normal(size=(400, 2))
    y = {"stage": np.arange(400) // 100, "age": np.full(400, 33.0)}
    study = zarrts.scan([zarrts.Recording("s01", x, y, rate_hz=100)], kind="ragged").resample(50)
    assert study.y["stage"].compute().tolist() == (np.arange(200) // 50).tolist()
    assert study.y["age"].compute().tolist() == [33.0] * 200


def test_keys_follow_from_content_and_options(folder):
    def keys(**options):
        study = zarrts.scan(folder, kind="ragged", **options)
        return study.x.name, study.y.name, study[0].x.name

    first = keys(steps=STEPS)
    assert first == keys(steps=STEPS)
    assert len({*first}) == 3
    assert not {*first} & {*keys(steps=[*STEPS[:2], ("resample", 50)])}
    write_study(folder, seed=1, names=["s02"])
    assert first[:2] != keys(steps=STEPS)[:2]


def test_nothing_large_is_in_the_graph(tmp_path):
    x = np.random.default_rng(0).normal(size=(200_000, 8))
    np.savez(tmp_path / "s01.npz", x=x, y=np.zeros(200_000, int), fs=100)
    study = zarrts.scan(tmp_path, kind="ragged", shard="1MiB").filter(1, 20)
    graph = study.x.__dask_graph__()
    assert len(pickle.dumps(dict(graph))) < 20_000 * study.x.npartitions
    assert len(graph) < 4 * study.x.npartitions


def test_steps_are_recorded_shown_and_repeated(folder, tmp_path):
    store = tmp_path / "a.zarr"
    zarrts.convert(folder, store, kind="ragged", steps=STEPS).close()
    with zarrts.open(store) as opened:
        assert opened.header.segments[0].needs == ("steps",)
        assert [it["step"] for it in opened.header.segments[0].options["steps"]] == [
            "pick", "filter", "resample"
        ]  # fmt: skip
    run = CliRunner().invoke(main, ["info", str(store)], catch_exceptions=False)
    assert "steps     pick C3, C4; filter 1 to 40 Hz; resample 100 Hz" in run.output
    RATES["s04"], CHANNELS["s04"] = 200, ["A1", "C4", "C3"]
    more = write_study(tmp_path / "more", names=["s04"])
    with zarrts.append(store, more) as grown:
        found, alone = grown.samples[3][0], zarrts.scan(more, kind="ragged", steps=STEPS)[0]
        assert found.tobytes() == alone.x.compute().tobytes()
    everything = tmp_path / "everything"
    write_study(everything), write_study(everything, names=["s04"])
    assert zarrts.verify(store, sources=everything).problems == ()


def test_sources_repair_what_steps_made_of_them(folder, tmp_path):
    store = tmp_path / "a.zarr"
    zarrts.convert(folder, store, kind="ragged", steps=STEPS, **SMALL).close()
    before = content(store)
    for key in ("0/x/c/1/0", "0/y/c/2"):
        (store / key).write_bytes(b"damaged")
    assert zarrts.verify(store).problems
    zarrts.repair(store, folder)
    assert content(store) == before
    assert zarrts.verify(store, deep=True, sources=folder).problems == ()


def test_removing_a_subject_keeps_what_a_store_needs(folder, tmp_path):
    store = tmp_path / "a.zarr"
    zarrts.convert(folder, store, kind="ragged", steps=STEPS).close()
    zarrts.remove(store, subject="s02")
    with zarrts.open(store) as opened:
        assert opened.header.segments[0].needs == ("steps",)
        assert "steps" in opened.header.segments[0].options
    assert zarrts.verify(store, deep=True, sources=folder).problems == ()


def test_options_of_sources_are_refused_beside_a_study(folder, tmp_path):
    study = zarrts.scan(folder, kind="ragged", steps=STEPS)
    with pytest.raises(zarrts.PlanError, match=r"channels=, kind= are about sources.*zarrts\.scan"):
        zarrts.convert(study, tmp_path / "a.zarr", kind="ragged", channels=["C3"])
    with pytest.raises(zarrts.PlanError, match="steps= is about sources"):
        zarrts.convert(study, tmp_path / "a.zarr", steps=["filter 1 2"])
    with pytest.raises(zarrts.PlanError, match="this is a study already"):
        zarrts.scan(study)
    assert not (tmp_path / "a.zarr").exists()


def test_files_that_changed_since_are_refused(folder, tmp_path):
    study = zarrts.scan(folder, kind="ragged", steps=STEPS)
    assert len(study) == 3
    write_study(folder, seed=1, names=["s02"])
    with pytest.raises(zarrts.SourceError, match=r"s02\.npz: changed since it was scanned"):
        zarrts.convert(study, tmp_path / "a.zarr")
    with pytest.raises(zarrts.SourceError, match="changed"):
        study.x.compute()


def test_a_study_that_cannot_be_stored_says_why(folder):
    study = zarrts.scan(folder, kind="ragged")
    assert "3 recordings, which cannot be stored as they are" in repr(study)
    assert "a rate of 160 Hz" in repr(study)
    with pytest.raises(zarrts.SourceError, match="a rate of 160 Hz"):
        _ = study.x


# Channels ----------------------------------------------------------------------------------------


def picked(folder, channels, **options):
    return zarrts.scan(folder, kind="ragged").pick(channels, **options).resample(100)


def source(folder, name):
    with np.load(folder / f"{name}.npz") as file:
        return dict(zip(file["ch_names"].tolist(), file["x"].T, strict=True))


def test_differences_and_averages_are_those_of_the_columns(folder):
    folder = folder / "s01.npz"
    study = zarrts.scan(folder, kind="ragged")
    x = source(folder.parent, "s01")
    found = study.pick([{"C3-A1": ("C3", ["A2", "A1"])}, "C4"])
    np.testing.assert_array_equal(found.x.compute()[:, 0], x["C3"] - x["A1"])
    assert found[0].channels == ("C3-A1", "C4")
    assert found[0].units == ("uV", "uV")
    average = study.pick(["C4", "C3"], reference="average").x.compute()
    mean = (x["C3"].astype(float) + x["C4"]) / 2
    np.testing.assert_allclose(average.T, [x["C4"] - mean, x["C3"] - mean], rtol=1e-4, atol=1e-5)


def test_integers_stay_integers_where_columns_are_only_chosen(tmp_path):
    x = np.arange(300, dtype=np.int16).reshape(100, 3)
    it = zarrts.Recording("s01", x, 1, channels=["a", "b", "c"])
    assert zarrts.scan([it]).pick(["c", "a"]).x.compute().tolist() == x[:, [2, 0]].tolist()
    assert zarrts.scan([it]).pick(["c", "a"]).x.dtype == np.int16
    assert zarrts.scan([it]).pick([{"c-a": ("c", "a")}]).x.dtype == np.float32


def test_absent_channels_are_refused_missing_or_leave_the_recording_out(folder):
    channels = [{"C3": ["c3"]}, "EOG"]
    with pytest.raises(
        zarrts.SourceError, match=r"s01\.npz, s03\.npz: has no channel EOG, but|s01\.npz: has no"
    ):
        _ = picked(folder, channels).x
    study = picked(folder, channels, absent="nan")
    assert "no EOG in s01.npz, s03.npz: is NaN there" in repr(study)
    assert [np.isnan(it.x.compute()).mean(axis=0).tolist() for it in study] == [
        [0, 1], [0, 0], [0, 1]
    ]  # fmt: skip
    study = picked(folder, channels, absent="drop-recording")
    assert "no EOG in s01.npz, s03.npz: these are left out" in repr(study)
    assert study.subjects == ["s02"]
    with pytest.raises(zarrts.SourceError, match="no recording is left"):
        _ = picked(folder, ["T3"], absent="drop-recording").x


def test_channels_without_names_say_how_to_name_them(tmp_path):
    it = zarrts.Recording("s01", np.ones((50, 2)), 1)
    with pytest.raises(zarrts.SourceError, match="does not name its channels"):
        _ = zarrts.scan([it]).pick(["a"]).x
    named = zarrts.scan([it], channels=["a", "b"]).pick(["b"])
    assert named[0].channels == ("b",)


def test_units_are_one_before_a_step_computes(folder, tmp_path):
    with np.load(folder / "s02.npz") as file:
        arrays = {**file, "units": "mV", "x": file["x"] / 1000}
    reference = zarrts.scan(folder, kind="ragged", steps=STEPS)[1].x.compute()
    np.savez(folder / "s02.npz", **arrays)
    study = zarrts.scan(folder, kind="ragged", steps=STEPS)
    assert study[1].units == ("uV", "uV")
    np.testing.assert_allclose(study[1].x.compute(), reference, rtol=1e-3, atol=1e-3)


# Functions ---------------------------------------------------------------------------------------


def scaled(rows, by=1.0):
    return rows * by


def test_functions_are_named_in_the_store(folder, tmp_path):
    steps = [("pick", NAMES), ("map", scaled, {"by": 2}), ("resample", 100)]
    study = zarrts.scan(folder, kind="ragged", steps=steps)
    plain = zarrts.scan(folder, kind="ragged", steps=[steps[0], steps[2]])
    np.testing.assert_allclose(study.x.compute(), 2 * plain.x.compute(), rtol=1e-5)
    store = tmp_path / "a.zarr"
    zarrts.convert(study, store).close()
    with zarrts.open(store) as opened:
        named = opened.header.segments[0].options["steps"][1]
    assert named["function"]["path"] == f"{__name__}.scaled"
    assert len(named["function"]["sha256"]) == 64
    assert named["keywords"] == {"by": 2}
    assert zarrts.verify(store, sources=folder).problems == ()


def test_a_whole_recording_that_does_not_fit_is_refused_with_the_number(folder, tmp_path):
    with pytest.raises(zarrts.SourceError, match=r"s02\.npz: .*takes it whole, which needs 400KiB"):
        zarrts.convert(
            folder, tmp_path / "a.zarr", kind="ragged", memory="300KiB",
            steps=[("pick", NAMES), ("map", scaled, {"whole": True}), ("resample", 100)],
        )  # fmt: skip
    study = zarrts.scan(folder, kind="ragged").pick(NAMES)
    np.testing.assert_allclose(
        study.map(scaled, whole=True).resample(100).x.compute(),
        study.resample(100).x.compute(),
        rtol=1e-6,
    )


def test_iir_filters_name_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    study = zarrts.scan(folder / "s01.npz", kind="ragged").filter(1, 40, method="iir")
    with pytest.raises(zarrts.SourceError, match=r"needs SciPy; install it: .* 'zarrts\[filter\]'"):
        study[0].x.compute()
    assert study.filter(1, 40).steps[-1].method == "fir"


# Rows that are no good ---------------------------------------------------------------------------


def test_masked_rows_are_counted_and_left_out(tmp_path):
    folder = write_study(tmp_path / "subjects", names=["s01", "s03"])
    with np.load(folder / "s01.npz") as file:
        arrays = dict(file)
    arrays["x"][1_280:1_536, 0] = 5_000  # two of forty seconds
    np.savez(folder / "s01.npz", **arrays)
    words = ["convert", str(folder), str(tmp_path / "a.zarr"), "--kind", "ragged", "--dry-run"]
    words += ["--step", "pick C3=c3,C4", "--step", "clean amplitude=500", "--step", "resample 100"]
    run = CliRunner().invoke(main, words, catch_exceptions=False)
    assert "clean beyond 500, NaN: masked, and x stays as it is" in run.output
    assert "masked: 2.5 % of all time steps: s01 5.0 %; none of 1 subject" in run.output
    study = zarrts.scan(folder, kind="ragged").pick(NAMES).clean(amplitude=500).resample(100)
    with zarrts.convert(study, tmp_path / "a.zarr", **SMALL) as store:
        assert store.header.segments[0].needs == ("mask", "steps")
        every, good = (
            store.samples.windows(100, stride=100, label="majority", nan=nan)
            for nan in ("keep", "drop")
        )
        assert (len(every), len(good)) == (80, 78)
    assert zarrts.verify(tmp_path / "a.zarr", deep=True, sources=folder).problems == ()
    (tmp_path / "a.zarr" / "0" / "mask" / "c" / "0").write_bytes(b"damaged")
    zarrts.repair(tmp_path / "a.zarr", folder)
    assert zarrts.verify(tmp_path / "a.zarr", deep=True, sources=folder).problems == ()


def test_samples_have_no_time_steps_to_mask(tmp_path):
    np.savez(tmp_path / "s01.npz", x=np.zeros((5, 100, 2)), y=np.arange(5), fs=100)
    with pytest.raises(zarrts.SourceError, match="clean: masks time steps of series, but its rows"):
        _ = zarrts.scan(tmp_path).clean().x


# A store as Dask arrays ------------------------------------------------------------------------


def test_samples_are_dask_arrays(folder, tmp_path):
    with zarrts.convert(folder, tmp_path / "a.zarr", kind="ragged", steps=STEPS, **SMALL) as store:
        samples = store.samples
        xs, ys = samples.to_dask()
        for number, (x, y) in enumerate(zip(xs, ys, strict=True)):
            assert x.compute().tobytes() == samples[number][0].tobytes()
            assert y.compute().tolist() == samples[number][1].tolist()
        assert xs[0].name != xs[1].name
        windows = samples.windows(200, stride=100, label="majority")
        expected = windows.load()
        x, y = windows.to_dask()
        np.testing.assert_array_equal(x.compute(), expected[0])
        np.testing.assert_array_equal(y.compute(), expected[1])
        chosen = windows.select(subjects=["s02"])
        assert chosen.to_dask()[0].name != x.name
        np.testing.assert_array_equal(chosen.to_dask()[0].compute(), chosen.load()[0])
        assert pickle.loads(pickle.dumps(x)).sum().compute() == x.sum().compute()


def test_dense_samples_are_dask_arrays_of_whole_files(tmp_path):
    x = np.random.default_rng(0).normal(size=(500, 20, 2)).astype(np.float32)
    y = {"stage": np.arange(500) % 3, "age": np.arange(500.0)}
    with zarrts.convert([zarrts.Recording("s01", x, y)], tmp_path / "a.zarr", **SMALL) as store:
        found, labels = store.samples.to_dask()
        np.testing.assert_array_equal(found.compute(), x)
        assert labels["stage"].compute().tolist() == y["stage"].tolist()
        assert labels["age"].compute().tolist() == y["age"].tolist()
        assert found.mean().compute() == pytest.approx(x.mean(), abs=1e-6)


def test_parts_of_a_store_with_steps_are_joined(folder, tmp_path):
    store, more = tmp_path / "a.zarr", tmp_path / "more"
    zarrts.convert(folder, store, kind="ragged", steps=STEPS).close()
    RATES["s05"], CHANNELS["s05"] = 200, ["C4", "C3"]
    zarrts.append(store, write_study(more, names=["s05"])).close()
    zarrts.compact(store, drop_versions=True)
    with zarrts.open(store) as opened:
        assert [it.needs for it in opened.header.segments] == [("steps",)]
    assert zarrts.verify(store, deep=True, sources=[folder, more]).problems == ()


# Options -----------------------------------------------------------------------------------------

GIVEN = {
    "folders": "subjects", "subject": "s", "x": "a", "y": "b", "class_names": ["p"],
    "follow_links": True, "kind": "ragged", "axes": ["channel", "time"], "channels": ["c"],
    "rate_hz": 7, "units": "mV", "override": ["units"], "label_every": 3, "annotations": ["t"],
    "unlabelled": "none", "missing": -1,
    "missing_chunks": "fill", "steps": ["notch 2"],
    "dtype": "float64", "memory": "3MiB", "chunk": "3KiB", "shard": "6MiB", "codec": "zstd",
    "labels": "labels.csv", "time": "t", "pack": False, "workers": 3,
    "scheduler": "processes", "overwrite": True, "restart": True,
}  # fmt: skip
NO_OPTIONS = {"source", "target", "table", "progress", "storage_options", "unknown"}


@pytest.mark.parametrize("function", ["convert", "scan"])
def test_each_keyword_reaches_the_options(monkeypatch, function):
    """A keyword that is taken and goes nowhere is the worst of all."""
    seen = []

    def catch(source, *rest, **more):
        seen.append(next(it for it in rest if isinstance(it, ConvertOptions)))
        raise RuntimeError("seen")

    monkeypatch.setattr("zarrts.api.prepare", catch)
    monkeypatch.setattr(
        "zarrts.scanning.Study", type("Caught", (), {"__init__": lambda _, *a: catch(*a)})
    )
    keywords = set(inspect.signature(getattr(zarrts, function)).parameters) - NO_OPTIONS
    assert keywords <= GIVEN.keys()
    for name in sorted(keywords):
        with pytest.raises(RuntimeError, match="seen"):
            getattr(zarrts, function)(
                "in/", *["a.zarr"] * (function == "convert"), **{name: GIVEN[name]}
            )
        field = f"{name}_bytes" if name in ("memory", "chunk", "shard") else name
        assert getattr(seen[-1], field) != getattr(ConvertOptions(), field), name
