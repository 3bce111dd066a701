"""Several inputs of which some are stored as 16-bit counts give what a store of values gives."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packed_studies import GAINS, counted

import zarrts
from zarrts.cli import main
from zarrts.errors import PlanError, SampleError

SIZES = {"chunk": 1200, "shard": 4800, "progress": False}
RATES = {"acc": 4, "eda": 2, "hr": 1}


def study_of(kind, *, seed=0, n=4, has_nan=False, one_gain=False, names="s"):
    """Return recordings: acc and eda as converters count them, hr of any values, and an age."""
    rng = np.random.default_rng([seed, len(kind)])
    made = []
    for number in range(n):
        n_rows = 24 + 8 * number
        gain = np.array([GAINS[(c + number * (not one_gain)) % len(GAINS)] for c in range(3)])
        shapes = {"acc": (n_rows, 6, 3), "eda": (n_rows, 4, 2), "hr": (n_rows, 4, 1)}
        if kind == "ragged":
            shapes = {"acc": (4 * n_rows, 3), "eda": (2 * n_rows, 2), "hr": (n_rows, 1)}
        x = {
            "acc": counted(rng, shapes["acc"], gain, 100 * gain),
            "eda": counted(rng, shapes["eda"], 0.5, 3.0),
            "hr": rng.normal(size=shapes["hr"]).astype("f4"),
            "age": np.array([20.25 + number], "f4"),
        }
        if has_nan and number != 1:
            x["acc"][rng.random(shapes["acc"]) < 0.03] = np.nan
        y = rng.integers(0, 3, n_rows) if kind == "dense" else number % 2
        rates = RATES if kind == "ragged" else None
        made.append(zarrts.Recording(f"{names}{number}", x, y, rate_hz=rates))
    return made


def both(folder, recordings, kind, **options):
    given = {**SIZES, "kind": kind, **options}
    packed = zarrts.convert(recordings, folder / "packed.zarr", **given)
    plain = zarrts.convert(recordings, folder / "plain.zarr", **{**given, "pack": False})
    assert {*plain.header.segments[0].packed} == set()
    return packed, plain


def cut(store):
    return store.samples.windows("4s", "2s") if store.is_ragged else store.samples


def by_id(samples, **options):
    """Return x and y of batches, by the ids of their samples."""
    found = list(samples.batches(7, **options))
    order = np.argsort(np.concatenate([it.sample_id for it in found]))
    x = {name: np.concatenate([it.x[name] for it in found])[order] for name in found[0].x}
    return x, np.concatenate([it.y for it in found])[order]


def same_bits(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.dtype == other[name].dtype
        # -0.0, which no count stands for, is 0.0.
        assert values.tobytes() == (other[name] + other[name].dtype.type(0)).tobytes()


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(["dense", "ragged"]),
    seed=st.integers(0, 1000),
    has_nan=st.booleans(),
    one_gain=st.booleans(),
    chunk=st.sampled_from([300, 1200, 100_000]),
    dtype=st.sampled_from([None, "float16", "float64"]),
)
def test_batches_are_those_of_values(tmp_path_factory, kind, seed, has_nan, one_gain, chunk, dtype):
    folder = tmp_path_factory.mktemp("p")
    recordings = study_of(kind, seed=seed, has_nan=has_nan, one_gain=one_gain)
    packed, plain = both(folder, recordings, kind, chunk=chunk, shard=4 * chunk)
    assert {*packed.header.segments[0].packed} == {"acc", "eda"}
    assert packed.dtype == plain.dtype
    one, other = cut(packed), cut(plain)
    for options in ({"nan": "keep"}, {"nan": "fill"}, {"nan": "fill", "inputs": ["acc", "age"]}):
        x, y = by_id(one, dtype=dtype, seed=seed, **options)
        plain_x, plain_y = by_id(other, dtype=dtype, seed=seed, **options)
        same_bits(x, plain_x)
        np.testing.assert_array_equal(y, plain_y)
    x, _ = packed.samples.load()
    for name, values in x.items():
        parts = [np.asarray(it.x[name]) for it in recordings]
        if kind == "ragged" and name != "age":
            for own, wanted in zip(values, parts, strict=True):
                np.testing.assert_array_equal(own, wanted)
        elif name != "age":
            np.testing.assert_array_equal(values, np.concatenate(parts))
    first, _ = one[1]
    same_bits(first, other[1][0])


@pytest.fixture(scope="module", params=["dense", "ragged"])
def stores(request, tmp_path_factory):
    recordings = study_of(request.param, has_nan=True)
    return both(tmp_path_factory.mktemp("stores"), recordings, request.param)


@pytest.mark.parametrize("stats", ["own", "subject", "sample"])
@pytest.mark.parametrize("scale", ["standard", "minmax", "robust"])
def test_scaled_batches_are_those_of_values_but_for_rounding(stores, stats, scale):
    found = []
    for store in stores:
        samples = cut(store)
        given = samples.stats() if stats == "own" else stats
        if stats == "sample":  # of which an age has one value
            given = {"acc": "sample", "eda": "sample", "hr": "sample"}
        found.append(by_id(samples, stats=given, scale=scale, nan="fill")[0])
    for name, values in found[0].items():
        np.testing.assert_allclose(values, found[1][name], rtol=1e-5, atol=1e-5)


def test_statistics_are_those_of_the_values(stores):
    one, other = (it.samples.stats() for it in stores)
    for name in ("acc", "eda", "hr", "age"):
        for key in ("count", "min", "max", "nan_count"):
            np.testing.assert_array_equal(getattr(one[name], key), getattr(other[name], key))
        np.testing.assert_allclose(one[name].mean, other[name].mean, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(one[name].std, other[name].std, rtol=1e-6)
        np.testing.assert_array_equal(one[name].median, other[name].median)


def test_only_counts_are_in_the_files_and_in_memory(stores):
    import zarr

    packed, plain = stores
    for name, dtype in (("acc", "i2"), ("eda", "i2"), ("hr", "f4"), ("age", "f4")):
        array = zarr.open_array(f"{packed.path}/0/x/{name}", mode="r")
        assert array.dtype == np.dtype(dtype)
        assert ("zarrts_packed" in array.attrs) == (dtype == "i2")
        reader = next(it for it in packed.readers.inputs if it.name == name)
        assert reader.held[0].spec.dtype == np.dtype(dtype)
        assert reader.spec.dtype == np.float32
    # Of eda, recordings agree on gain and offset: any reader finds them by usual names.
    attributes = zarr.open_array(f"{packed.path}/0/x/eda", mode="r").attrs
    counts = zarr.open_array(f"{packed.path}/0/x/eda", mode="r")[:]
    values = zarr.open_array(f"{plain.path}/0/x/eda", mode="r")[:]
    found = counts * attributes["scale_factor"] + attributes["add_offset"]
    np.testing.assert_array_equal(found.astype("f4"), values)
    root = json.loads((Path(packed.path) / "zarr.json").read_text())["attributes"]["zarrts"]
    assert root["needs"] == ["inputs", "packed"]


# Kept --------------------------------------------------------------------------------------------


def folder_of(folder, recordings):
    folder.mkdir()
    for it in recordings:
        np.savez(folder / f"{it.subject}.npz", **it.x, y=it.y)
    return folder


@pytest.fixture(params=["dense", "ragged"])
def kept(request, tmp_path):
    """A store of files, those that are added to it, and what is in all of them."""
    first, more = study_of(request.param), study_of(request.param, seed=5, n=2, names="t")
    options = {"x": [*RATES, "age"], "y": "y", "kind": request.param, **SIZES}
    if request.param == "ragged":
        options["rate_hz"] = RATES
    store = zarrts.convert(folder_of(tmp_path / "first", first), tmp_path / "a.zarr", **options)
    assert {*store.header.segments[0].packed} == {"acc", "eda"}
    folder_of(tmp_path / "more", more)
    return store.path, first, more, options


def assert_holds(path, recordings):
    with zarrts.open(path) as store:
        assert store.subjects == [it.subject for it in recordings]
        for it in recordings:
            x, _ = store.samples.select(subjects=[it.subject]).load()
            for name in RATES:
                values = x[name][0] if store.is_ragged else x[name]
                np.testing.assert_array_equal(values, it.x[name])
    assert zarrts.verify(path, deep=True).problems == ()


def test_append_compact_remove_and_repair_keep_counts_and_values(kept, tmp_path):
    path, first, more, _ = kept
    assert_holds(path, first)
    store = zarrts.append(path, tmp_path / "more", progress=False)
    assert [{*it.packed} for it in store.header.segments] == [{"acc", "eda"}] * 2
    assert_holds(path, [*first, *more])
    zarrts.compact(path, drop_versions=True, progress=False)
    assert_holds(path, [*first, *more])
    zarrts.remove(path, subject="s1")
    left = [it for it in [*first, *more] if it.subject != "s1"]
    assert_holds(path, left)
    assert {*zarrts.open(path).header.segments[0].packed} == {"acc", "eda"}
    shutil.copytree(tmp_path / "more", tmp_path / "all")
    for it in (tmp_path / "first").iterdir():
        shutil.copy(it, tmp_path / "all")
    for name in ("acc", "hr"):
        for shard in Path(path).glob(f"*/x/{name}/c/**/0"):
            if shard.is_file():
                shard.write_bytes(shard.read_bytes()[:-9])
        assert zarrts.verify(path).problems
        zarrts.repair(path, sources=tmp_path / "all")
        assert_holds(path, left)
    assert zarrts.verify(path, sources=tmp_path / "all", deep=True).problems == ()


def test_the_same_study_gives_the_same_bytes_and_is_complete(kept, tmp_path):
    path, _, _, options = kept
    again = zarrts.convert(tmp_path / "first", tmp_path / "b.zarr", **options)
    assert again.header.write_id == zarrts.open(path).header.write_id
    before = (Path(path) / "zarr.json").stat().st_mtime_ns
    zarrts.convert(tmp_path / "first", path, **options)
    assert (Path(path) / "zarr.json").stat().st_mtime_ns == before
    with pytest.raises(PlanError, match="other sources or options"):
        zarrts.convert(tmp_path / "first", path, **options, pack={"acc": 0.1})


def test_a_store_of_values_stays_one_when_more_is_added(kept, tmp_path):
    _, first, more, options = kept
    path = tmp_path / "plain.zarr"
    zarrts.convert(tmp_path / "first", path, **options, pack={"eda": False, "acc": False})
    zarrts.convert(tmp_path / "first", path, **options)  # which is complete, as values
    store = zarrts.append(path, tmp_path / "more", progress=False)
    assert [{*it.packed} for it in store.header.segments] == [set(), set()]
    assert_holds(path, [*first, *more])


def test_what_is_appended_off_the_grid_is_stored_as_values(kept, tmp_path):
    path, first, more, _ = kept
    more[1].x["acc"][:] = np.random.default_rng(1).normal(size=more[1].x["acc"].shape)
    folder_of(tmp_path / "off", more)
    store = zarrts.append(path, tmp_path / "off", progress=False)
    assert [{*it.packed} for it in store.header.segments] == [{"acc", "eda"}, {"eda"}]
    assert_holds(path, [*first, *more])
    with zarrts.open(path) as store:
        samples = cut(store)
        x, _ = by_id(samples, stats=samples.stats())
        loaded, _ = samples.load()
        for name, values in x.items():
            numbers = loaded[name].reshape(-1, loaded[name].shape[-1]).astype("f8")
            wanted = (loaded[name] - numbers.mean(axis=0)) / numbers.std(axis=0)
            np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=1e-4)


def off_the_grid(rng, where):
    """Return inputs with a value that no count stands for where the trial does not look."""
    x = {"acc": counted(rng, (200_000, 3), 0.25, 0), "hr": counted(rng, (50_000, 8), 0.5, 0)}
    rows = {"acc": 40_001, "hr": 12_003}
    for name in where:
        x[name][rows[name], -1] += 0.1
    return zarrts.Recording("s", x, 1, rate_hz={"acc": 4, "hr": 1})


@pytest.mark.parametrize("where", [("acc",), ("hr",), ("acc", "hr")])
def test_a_value_that_no_count_stands_for_leaves_its_input_as_values(tmp_path, where):
    given = off_the_grid(np.random.default_rng(0), where)
    path = tmp_path / "a.zarr"
    with pytest.warns(UserWarning, match="is none of those") as told:
        store = zarrts.convert(given, path, kind="ragged", progress=False)
    texts = [str(it.message) for it in told if "none of those" in str(it.message)]
    assert len(texts) == len(where)
    for name, text in zip(where, sorted(texts), strict=True):
        assert f"{name}: the value " in text
    if len(where) == 1:
        assert texts[0].endswith(f"stand for here: {where[0]} is stored as values instead.")
    assert {*store.header.segments[0].packed} == {"acc", "hr"} - {*where}
    x, _ = store.samples.load()
    for name, values in given.x.items():
        np.testing.assert_array_equal(x[name][0], values)
    # And again: it is there, and nothing is written, or tried.
    content = (path / "zarr.json").read_bytes()
    zarrts.convert(given, path, kind="ragged", progress=False)
    assert (path / "zarr.json").read_bytes() == content
    assert zarrts.verify(path, deep=True).problems == ()


def test_a_conversion_that_is_stopped_goes_on_with_the_inputs_that_fit(tmp_path, monkeypatch):
    from zarrts.conversion import run, tasks

    given = off_the_grid(np.random.default_rng(0), ["acc"])
    small = {"kind": "ragged", "progress": False, "shard": "256KiB", "chunk": "64KiB", "workers": 1}
    with pytest.warns(UserWarning, match="acc is stored as values instead"):
        zarrts.convert(given, tmp_path / "whole.zarr", **small)
    written = []

    def stopped(job, task):
        if {*job.encoding.countings} == {"hr"}:  # after acc was found not to fit
            written.append(task.shard)
            if len(written) == 4:
                raise OSError(28, "No space left on device")
        return whole(job, task)

    whole = tasks._write
    monkeypatch.setattr(tasks, "_write", stopped)
    with (
        pytest.warns(UserWarning, match="acc is stored as values instead"),
        pytest.raises(zarrts.ZarrtsError, match="parts are finished"),
    ):
        zarrts.convert(given, tmp_path / "a.zarr", **small)
    monkeypatch.undo()
    begun = []
    monkeypatch.setattr(run, "_start", lambda *_: begun.append("again"))
    zarrts.convert(given, tmp_path / "a.zarr", **small)  # and says nothing
    assert begun == []
    contents = [(tmp_path / name / "zarr.json").read_bytes() for name in ("a.zarr", "whole.zarr")]
    assert contents[0] == contents[1]


# What is said of each input ----------------------------------------------------------------------


def test_a_largest_error_is_that_of_each_input(tmp_path):
    recordings = study_of("ragged")
    store = zarrts.convert(
        recordings, tmp_path / "a.zarr", kind="ragged", pack={"hr": 0.01, "eda": False}, **SIZES
    )
    packed = store.header.segments[0].packed
    assert {name: it.error for name, it in packed.items()} == {"acc": 0.0, "hr": 0.01}
    x, _ = store.samples.load()
    for number, it in enumerate(recordings):
        np.testing.assert_array_equal(x["acc"][number], it.x["acc"])
        np.testing.assert_array_equal(x["eda"][number], it.x["eda"])
        errors = np.abs(x["hr"][number] - it.x["hr"])
        assert 0 < errors.max() <= 0.01
    more = study_of("ragged", seed=4, n=2, names="t")
    store = zarrts.append(store.path, more, progress=False)
    assert {name: it.error for name, it in store.header.segments[1].packed.items()} == {
        "acc": 0.0,
        "hr": 0.01,
    }


def test_an_error_in_a_unit_is_for_the_inputs_that_have_it(tmp_path):
    x = {"emg": np.random.default_rng(0).normal(size=(80, 2)), "hr": np.ones((20, 1), "f4")}
    units = {"emg": ["uV", "uV"], "hr": ["bpm"]}
    given = zarrts.Recording("s", x, 1, rate_hz={"emg": 4, "hr": 1}, units=units)
    options = {"kind": "ragged", "progress": False}
    with pytest.raises(
        PlanError, match="error in nV, but hr has channels in 'bpm'; name the inputs that it is for"
    ):
        zarrts.convert(given, tmp_path / "a.zarr", pack="10nV", **options)
    store = zarrts.convert(given, tmp_path / "a.zarr", pack={"emg": "10nV"}, **options)
    assert store.header.segments[0].packed["emg"].error == pytest.approx(0.01)
    with pytest.raises(PlanError, match=r"pack= names ecg, but the inputs are emg, hr"):
        zarrts.convert(given, tmp_path / "b.zarr", pack={"ecg": "10nV"}, **options)
    with pytest.raises(PlanError, match=r"pack= names the inputs a, but there is one input"):
        one = zarrts.Recording("s", x["emg"], 1)
        zarrts.convert(one, tmp_path / "c.zarr", pack={"a": 0.1}, **options)
    with pytest.raises(PlanError, match="pack='yes' is unknown"):
        zarrts.convert(given, tmp_path / "b.zarr", pack={"emg": "yes"}, **options)


def test_the_command_says_which_inputs_are_packed(tmp_path):
    folder_of(tmp_path / "people", study_of("ragged"))
    given = [str(tmp_path / "people"), str(tmp_path / "a.zarr"), "--x", "acc,eda,hr,age"]
    given += ["--y", "y", "--kind", "ragged", "--rate-hz", "acc=4,eda=2,hr=1", "--no-progress"]

    def lines(*more):
        done = CliRunner().invoke(main, ["convert", *given, *more])
        assert done.exit_code == 0, done.output
        return {it.split()[0]: it for it in done.output.splitlines() if it.startswith("  ")}

    shown = lines("--dry-run")
    assert shown["acc"].endswith("4 Hz, float32, in 16 bits without loss")
    assert shown["hr"].endswith("1 Hz, float32")
    shown = lines("--dry-run", "--pack", "hr=0.01,acc=no,eda=1e-9")
    assert shown["hr"].endswith("float32, in 16 bits with errors up to 0.01")
    assert shown["acc"].endswith("float32")
    lines("--pack", "hr=0.01,acc=auto")
    said = CliRunner().invoke(main, ["info", str(tmp_path / "a.zarr")]).output
    of = {name: it for it in said.splitlines() for name in RATES if f" {name} " in it}
    assert "float32, in 16 bits without loss" in of["acc"]
    assert "float32, in 16 bits with errors up to 0.01" in of["hr"]
    facts = json.loads(
        CliRunner().invoke(main, ["info", str(tmp_path / "a.zarr"), "--json"]).output
    )
    assert facts["packed"]["hr"]["largest_error"] == 0.01
    assert facts["packed"].keys() == {"acc", "eda", "hr"}
    wrong = CliRunner().invoke(main, ["convert", *given, "--pack", "hr=0.01,no"])
    assert wrong.exit_code == 2
    assert "write a value, or NAME=VALUE,NAME=VALUE" in wrong.output


# Counts that are handed out ----------------------------------------------------------------------


def test_counts_are_handed_out_by_input(tmp_path):
    packed, _ = both(tmp_path, study_of("ragged", one_gain=True), "ragged")
    samples = cut(packed)
    values, _ = by_id(samples)
    counts, _ = by_id(samples, dtype="stored")
    assert {name: it.dtype.name for name, it in counts.items()} == {
        "acc": "int16",
        "age": "float32",
        "eda": "int16",
        "hr": "float32",
    }
    for name in ("acc", "eda"):
        gain, offset = packed.readers.tables.packing(name).of_all
        found = (counts[name] * gain + offset).astype("f4")
        np.testing.assert_array_equal(found, values[name])
    np.testing.assert_array_equal(counts["hr"], values["hr"])


def test_an_input_of_several_gains_is_named(stores):
    samples = cut(stores[0])
    words = "recordings of acc of this store have several gains or offsets for one channel"
    with pytest.raises(SampleError, match=words):
        samples.batches(4, dtype="stored", nan="keep")
    batch = next(iter(samples.batches(4, dtype="stored", nan="keep", inputs=["eda", "hr"])))
    assert batch.x["eda"].dtype == np.int16
    with pytest.raises(SampleError, match="which stats= is not for"):
        samples.batches(4, dtype="stored", nan="keep", inputs=["eda"], stats="subject")


def test_a_network_of_counts_predicts_new_recordings(tmp_path):
    keras = pytest.importorskip("keras")
    recordings = study_of("ragged", one_gain=True)
    packed, _ = both(tmp_path, recordings, "ragged")
    samples = packed.samples.windows("4s")
    stats = samples.stats()
    acc = keras.Input((16, 3), name="acc", dtype="int16")
    hr = keras.Input((4, 1), name="hr")
    hidden = [
        keras.layers.GlobalAveragePooling1D()(stats["acc"].as_layer(stored=True)(acc)),
        keras.layers.GlobalAveragePooling1D()(stats["hr"].as_layer(stored=True)(hr)),
    ]
    output = keras.layers.Dense(2, "softmax")(keras.layers.Concatenate()(hidden))
    model = keras.Model({"acc": acc, "hr": hr}, output)
    with zarrts.ZarrSequence(
        samples, 8, inputs=["acc", "hr"], dtype="stored", shuffle=False
    ) as seq:
        assert seq[0][0]["acc"].dtype == np.int16
        wanted = model.predict(seq, verbose=0)
        seq.save_spec(tmp_path / "spec.json")
        found = zarrts.predict(model, packed, like=tmp_path / "spec.json", progress=False)
        np.testing.assert_allclose(found.values, wanted, rtol=1e-5, atol=1e-6)
        new = study_of("ragged", one_gain=True, seed=3, n=2, names="n")
        from_memory = zarrts.predict(model, new, like=tmp_path / "spec.json", progress=False)
        other = zarrts.convert(new, tmp_path / "new.zarr", kind="ragged", **SIZES)
        from_store = zarrts.predict(model, other, like=seq, progress=False)
        np.testing.assert_allclose(from_memory.values, from_store.values, rtol=1e-5, atol=1e-6)
        far = study_of("ragged", seed=3, n=2, names="n")[1:]
        far = zarrts.convert(far, tmp_path / "far.zarr", kind="ragged", **SIZES)
        with pytest.raises(SampleError, match="stores other counts than the network was trained"):
            zarrts.predict(model, far, like=seq, progress=False)


def test_values_that_are_as_stored_are_scaled(stores):
    for store in stores:
        samples = cut(store)
        given = {"inputs": ["hr"], "stats": samples.stats()}
        scaled, _ = by_id(samples, dtype="stored", **given)
        wanted, _ = by_id(samples, **given)
        same_bits(scaled, wanted)
        assert abs(scaled["hr"].mean()) < 0.1
