"""Channels, units and rate: from the files into the store and to the network."""

import json
import warnings

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from edf_files import write_raw_edf
from ways_in import convert, in_memory, piece, rows_of, tabled, write

import zarrts
from zarrts.cli import main
from zarrts.errors import PlanError, SourceError
from zarrts.sources.study.units import factor


def said(*arguments, status=0):
    result = CliRunner().invoke(main, [str(it) for it in arguments])
    assert result.exit_code == status, result.output
    return result.output


def refused(act):
    with pytest.raises(SourceError) as error:
        act()
    return str(error.value)


@pytest.mark.parametrize(
    ("unit", "to", "times"),
    [
        ("mV", "uV", 1000.0),
        ("V", "uV", 1e6),
        ("uV", "mV", 1e-3),
        ("\u00b5V", "uV", 1.0),
        ("\u03bcV", "uV", 1.0),
        ("\u00c2\u00b5V", "\u03bcV", 1.0),  # UTF-8 in a header that is read as Latin-1
        ("\u03bcV", "nV", 1000.0),
        ("AuV", "uV", 1.0),  # as pyEDFlib writes it
        ("microvolts", "V", 1e-6),
        ("uv", "uV", 1.0),
        ("T", "fT", 1e15),
        ("mT", "nT", 1e6),
        ("g", "mg", 1000.0),
        ("k\u03a9", "Ohm", 1000.0),
        ("S", "s", None),
        ("mV", "mT", None),
        ("m/s2", "mm/s2", None),
        ("m", "mm", 1000.0),
        ("min", "m", None),
        ("%", "%", 1.0),
        ("degC", "K", None),
    ],
)
def test_units_of_one_quantity_differ_by_a_power_of_ten(unit, to, times):
    assert factor(unit, to) == times
    assert factor(to, unit) == (None if times is None else pytest.approx(1 / times, rel=1e-15))


def test_a_store_keeps_units_and_one_without_has_no_word_of_them(tmp_path):
    with_units = convert(in_memory(piece()), tmp_path / "a.zarr")
    assert with_units.units == ["uV"] * 10
    assert zarrts.open(tmp_path / "a.zarr").units == ["uV"] * 10
    assert "units     uV" in said("info", tmp_path / "a.zarr")
    without = convert(in_memory(piece().but(units=None)), tmp_path / "b.zarr", pack=False)
    assert without.units is None
    root = json.loads((tmp_path / "b.zarr" / "zarr.json").read_text())
    attributes = root["attributes"]["zarrts"]
    assert "units" not in attributes and attributes["schema"] == 1
    options = attributes["segments"][0]["options"]
    assert not {"units", "override"} & options.keys()


def test_what_is_unknown_is_taken_to_be_alike_and_counted(tmp_path):
    silent = piece("c").but(channels=None, units=None, rate_hz=None)
    write(tmp_path / "in", "hdf5", [piece("a"), piece("b", seed=1), silent.but(x=silent.x + 1)])
    plan = said("convert", "--dry-run", "--kind", "ragged", tmp_path / "in", tmp_path / "s.zarr")
    assert "rate: 2 files say 10 Hz, 1 says nothing, and is taken to be alike: c.h5" in plan
    assert "units: 2 files say uV, 1 says nothing" in plan
    assert "channels: 2 files name their channels, 1 says nothing" in plan
    store = convert(tmp_path / "in", tmp_path / "s.zarr")
    assert (store.channels[9], store.units[9], store.rate_hz) == ("c9", "uV", 10.0)
    np.testing.assert_array_equal(rows_of(store, "c"), silent.x + 1)


def test_a_rate_by_hand_that_contradicts_a_file_needs_override(tmp_path):
    write(tmp_path / "in", "edf", [piece()])
    text = refused(lambda: convert(tmp_path / "in", tmp_path / "s.zarr", rate_hz=50))
    assert "a.edf: a rate of 10 Hz, but rate_hz= says 50 Hz" in text
    assert "override=['rate_hz'] (--override rate_hz)" in text
    plan = said(
        *("convert", "--dry-run", "--rate-hz", 50, "--override", "rate_hz"),
        *(tmp_path / "in", tmp_path / "s.zarr"),
    )
    assert "a.edf: its rate of 10 Hz is taken as 50 Hz" in plan
    store = convert(tmp_path / "in", tmp_path / "s.zarr", rate_hz=50, override=["rate_hz"])
    assert store.rate_hz == 50
    assert convert(tmp_path / "in", tmp_path / "t.zarr", rate_hz=10).rate_hz == 10
    write(tmp_path / "more", "edf", [piece("b", seed=1)])
    text = refused(lambda: zarrts.append(tmp_path / "s.zarr", tmp_path / "more", progress=False))
    assert "b.edf: a rate of 10 Hz, but the store has 50 Hz" in text
    assert "override=['rate_hz'] (--override rate_hz) where the store is right" in text
    more = zarrts.append(
        tmp_path / "s.zarr", tmp_path / "more", override=["rate_hz"], progress=False
    )
    assert (more.rate_hz, more.units) == (50, ["uV"] * 10)
    assert zarrts.open(tmp_path / "s.zarr").units == ["uV"] * 10
    assert zarrts.verify(tmp_path / "s.zarr", sources=tmp_path).problems == ()


def test_override_is_of_options_that_are_given(tmp_path):
    write(tmp_path / "in", "edf", [piece()])
    for override, match in [
        (["rate_hz"], "override= names rate_hz, but rate_hz= is not given"),
        (["rate"], "has to be a list of channels, units, rate_hz"),
        ("rate_hz", "is one text; give a list of names"),
    ]:
        with pytest.raises(PlanError, match=match):
            convert(tmp_path / "in", tmp_path / "s.zarr", override=override)


def test_channels_pick_by_name_where_files_name_them_and_name_them_elsewhere(tmp_path):
    it = piece()
    for kind in ("hdf5", "npz", "edf"):
        write(tmp_path / kind, kind, [it])
        store = convert(tmp_path / kind, tmp_path / f"{kind}.zarr", channels=["c7", "c2"])
        assert (store.channels, store.units) == (["c7", "c2"], ["uV", "uV"])
        np.testing.assert_array_equal(rows_of(store, "a"), it.x[:, [7, 2]])
        assert zarrts.verify(store.path, sources=tmp_path / kind).problems == ()
    names = [f"n{i}" for i in range(10)]
    write(tmp_path / "in", "npz", [it.but(channels=None)])
    assert convert(tmp_path / "in", tmp_path / "n.zarr", channels=names).channels == names
    text = refused(lambda: convert(tmp_path / "hdf5", tmp_path / "o.zarr", channels=names))
    assert "but channels= names n0, n1" in text
    assert "a.h5: channels 1, 2, 3, 4, 5, 6, 7, 8 and 2 more (of 10) are c0, c1" in text
    for kind in ("hdf5", "edf"):
        renamed = convert(
            tmp_path / kind, tmp_path / f"o{kind}.zarr", channels=names, override=["channels"]
        )
        assert renamed.channels == names
        np.testing.assert_array_equal(rows_of(renamed, "a"), it.x)


def test_names_beyond_the_eighth_are_compared_and_shown(tmp_path):
    first, second = piece(), piece("b", seed=1)
    write(tmp_path / "in", "edf", [first, second.but(channels=(*first.channels[:9], "EOG"))])
    text = refused(lambda: convert(tmp_path / "in", tmp_path / "s.zarr"))
    assert "b.edf: channels 10 (of 10) are EOG, but 1 of 2 files, such as a.edf, have c9" in text


def test_units_by_hand(tmp_path):
    it = piece()
    write(tmp_path / "none", "npz", [it.but(units=None)])
    assert convert(tmp_path / "none", tmp_path / "a.zarr", units="mV").units == ["mV"] * 10
    each = [*["uV"] * 9, "degC"]
    assert convert(tmp_path / "none", tmp_path / "b.zarr", units=each).units == each
    text = refused(lambda: convert(tmp_path / "none", tmp_path / "c.zarr", units=["uV", "mV"]))
    assert "units= names 2, but there are 10 channels" in text
    write(tmp_path / "some", "npz", [it])
    store = convert(tmp_path / "some", tmp_path / "d.zarr", units="mV")
    np.testing.assert_allclose(rows_of(store, "a"), it.x / 1000, rtol=1e-6)
    text = refused(lambda: convert(tmp_path / "some", tmp_path / "e.zarr", units="degC"))
    assert "c7 and 2 more in uV, but units= says degC" in text
    store = convert(tmp_path / "some", tmp_path / "f.zarr", units="mV", override=["units"])
    assert store.units == ["mV"] * 10
    np.testing.assert_array_equal(rows_of(store, "a"), it.x)
    plan = said("convert", "--dry-run", "--kind", "ragged", "--units", "mV", tmp_path / "some", "x")
    assert "a.npz: converted from uV to mV (times 0.001)" in plan


def test_a_count_of_names_that_is_not_that_of_columns_is_refused(tmp_path):
    it = piece(n_channels=3)
    write(tmp_path / "in", "hdf5", [it.but(channels=("A", "B"))])
    text = refused(lambda: convert(tmp_path / "in", tmp_path / "s.zarr"))
    assert "a.h5: names 2 channels (A, B), but its rows have 3 (the last axis)" in text
    write(tmp_path / "in", "hdf5", [it.but(units=("uV", "mV"))])
    assert "names 2 units (uV, mV), but its rows have 3" in refused(
        lambda: convert(tmp_path / "in", tmp_path / "s.zarr")
    )
    with h5py.File(tmp_path / "in" / "a.h5", "a") as file:
        file["x"].attrs["units"] = "mV"  # one for all
        file.attrs["units"] = "seconds"
    assert convert(tmp_path / "in", tmp_path / "s.zarr").units == ["mV"] * 3


def test_rates_that_differ_by_rounding_are_alike_everywhere(tmp_path):
    for name, record_s in [("a", "0.999936"), ("b", "0.999937"), ("c", "0.99995")]:
        it = piece(name, seed=ord(name)).but(rate_hz=10.0, extra={"record_s": record_s})
        write(tmp_path / name, "edf", [it])
    both = [tmp_path / "a", tmp_path / "b"]
    assert convert(both, tmp_path / "ab.zarr").rate_hz == 10 / 0.999936
    convert(tmp_path / "a", tmp_path / "a.zarr")
    grown = zarrts.append(tmp_path / "a.zarr", tmp_path / "b", progress=False)
    assert grown.rate_hz == 10 / 0.999936
    for act in (
        lambda: convert([*both, tmp_path / "c"], tmp_path / "abc.zarr"),
        lambda: zarrts.append(tmp_path / "a.zarr", tmp_path / "c", progress=False),
    ):
        assert "a rate of 10.0005 Hz" in refused(act) and "10.0006 Hz" in refused(act)
    write(tmp_path / "d", "npz", [piece("d").but(rate_hz=10.0)])
    write(tmp_path / "e", "npz", [piece("e", seed=5).but(rate_hz=10.00003)])
    text = refused(lambda: convert([tmp_path / "d", tmp_path / "e"], tmp_path / "de.zarr"))
    assert "a rate of 10.00003 Hz, but 1 of 2 files, such as d/d.npz, have 10 Hz" in text


def test_a_table_knows_the_rate_of_its_files_for_label_every(tmp_path):
    it = piece(n_rows=80)
    write(tmp_path, "edf", [it])
    np.save(tmp_path / "stages.npy", np.array(["W", "N1", "W", "N2"]))
    (tmp_path / "t.csv").write_text("subject,x,y\na,a.edf,stages.npy\n")
    store = convert(None, tmp_path / "s.zarr", table=tmp_path / "t.csv", label_every="2s")
    _, y = store.samples.load()
    names = np.array(store.class_names)
    assert names[y[0]].tolist() == np.repeat(["W", "N1", "W", "N2"], 20).tolist()
    (tmp_path / "t.csv").write_text("subject,x,y,start,stop\na,a.edf,stages.npy,30,60\n")
    store = convert(None, tmp_path / "p.zarr", table=tmp_path / "t.csv", label_every="2s")
    _, y = store.samples.load()
    names = np.array(store.class_names)
    assert names[y[0]].tolist() == ["N1"] * 10 + ["W"] * 20


@pytest.mark.parametrize("kind", ["edf", "hdf5"])
@pytest.mark.parametrize("has_table", [False, True])
def test_verify_and_repair_bring_sources_into_the_form_of_the_store(tmp_path, kind, has_table):
    first, other = piece(), piece("b", seed=1)
    order = np.random.default_rng(0).permutation(10)
    moved = other.but(
        x=other.x[:, order] / 1000,
        channels=tuple(other.channels[i] for i in order),
        units=("mV",) * 10,
        extra={"scale": 0.001},
    )
    table = tabled(tmp_path / "in", kind, [first, moved, piece("c", seed=2)])
    source = table if has_table else tmp_path / "in"
    with convert(source, tmp_path / "s.zarr") as store:
        np.testing.assert_allclose(rows_of(store, "b"), other.x, rtol=1e-6)
    assert zarrts.verify(tmp_path / "s.zarr", sources=source).problems == ()
    shard = tmp_path / "s.zarr" / "0" / "x" / "c" / "0" / "0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert zarrts.repair(tmp_path / "s.zarr", source).problems
    assert shard.read_bytes() == whole


def test_verify_names_a_file_that_does_not_mean_what_the_store_does(tmp_path):
    write(tmp_path / "in", "edf", [piece()])
    store = convert(tmp_path / "in", tmp_path / "s.zarr", rate_hz=50, override=["rate_hz"])
    root = tmp_path / "s.zarr" / "zarr.json"
    from zarrts.storage.metadata import root_bytes

    document = json.loads(root.read_text())
    ours = document["attributes"]["zarrts"]
    ours.pop("crc32c")
    ours["segments"][0]["options"].pop("override")  # as before rates were compared
    root.write_bytes(root_bytes(document))
    (problem,) = zarrts.verify(store.path, sources=tmp_path / "in").problems
    assert "a.edf: a rate of 10 Hz, but the store has 50 Hz" in str(problem)


def test_predict_warns_once_of_what_files_do_not_say(tmp_path):
    pytest.importorskip("keras", exc_type=ImportError)
    from test_ways_in import Probe

    store = convert(in_memory(piece()), tmp_path / "s.zarr")
    windows = store.samples.windows(20, stride=20, label="last")
    bare = [piece(name, seed=3).but(channels=None, units=None, rate_hz=None) for name in "pq"]
    write(tmp_path / "new", "npz", bare)
    other = convert(in_memory(bare[0]), tmp_path / "o.zarr")
    with zarrts.ZarrSequence(windows, batch_size=2, stats=None, shuffle=False) as seq:
        for given in (tmp_path / "new", other.samples.windows(20, stride=20, label="last")):
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                zarrts.predict(Probe(), given, like=seq, progress=False)
            (text,) = [str(it.message) for it in seen]
            assert "nothing of channels (c0, c1" in text
            assert "units (uV) and a rate (10 Hz)" in text
            assert "taken to be as the network was trained with" in text


def test_predict_does_not_warn_of_what_was_given_by_hand(tmp_path):
    pytest.importorskip("keras", exc_type=ImportError)
    from test_ways_in import Probe

    bare = piece().but(channels=None, units=None, rate_hz=None)
    write(tmp_path / "in", "npz", [bare])
    names = [f"c{i}" for i in range(10)]
    store = convert(tmp_path / "in", tmp_path / "s.zarr", rate_hz=10, channels=names, units="uV")
    windows = store.samples.windows(20, stride=20, label="last")
    with zarrts.ZarrSequence(windows, batch_size=2, stats=None, shuffle=False) as seq:
        seq.save_spec(tmp_path / "spec.json")
        for like in (seq, tmp_path / "spec.json"):  # a warning would be an error here
            zarrts.predict(Probe(), tmp_path / "in", like=like, progress=False)
        write(tmp_path / "fast", "npz", [bare.but(rate_hz=20.0)])
        with pytest.raises(SourceError, match="a rate of 20 Hz, but the network was trained"):
            zarrts.predict(Probe(), tmp_path / "fast", like=seq, progress=False)


def test_a_spec_carries_what_columns_and_rows_mean_and_old_ones_load(tmp_path):
    pytest.importorskip("keras", exc_type=ImportError)
    from test_ways_in import Probe

    store = convert(in_memory(piece()), tmp_path / "s.zarr")
    windows = store.samples.windows(20, stride=20, label="last")
    with zarrts.ZarrSequence(windows, batch_size=2, stats=None, shuffle=False) as seq:
        seq.save_spec(tmp_path / "spec.json")
    write(tmp_path / "fast", "npz", [piece("p").but(rate_hz=20.0)])

    def predict():
        return zarrts.predict(
            Probe(), tmp_path / "fast", like=tmp_path / "spec.json", progress=False
        )

    assert "a rate of 20 Hz, but the network was trained with 10 Hz" in refused(predict)
    old = json.loads((tmp_path / "spec.json").read_text())
    assert old["format"] == "zarrts spec 2"
    assert (old["rate_hz"], old["units"]) == (10.0, ["uV"] * 10)
    for name in ("rate_hz", "units"):
        old.pop(name)
    (tmp_path / "spec.json").write_text(json.dumps(old))
    assert len(predict().values) == 4


def test_spellings_of_edf_units_are_alike_and_a_blank_one_says_nothing(tmp_path):
    for seed, (name, unit) in enumerate([("a", "uV"), ("b", "\u00b5V"), ("c", "")]):
        signals = [("C3", np.arange(40) + seed, 10, (-32768, 32767), (-32768, 32767))]
        write_raw_edf(tmp_path / "in" / f"{name}.edf", signals, [("+0", "4", "W")], units=[unit])
    plan = said("convert", "--dry-run", tmp_path / "in", tmp_path / "s.zarr")
    assert "units: 2 files say uV, 1 says nothing, and is taken to be alike: c.edf" in plan
    assert "converted" not in plan


def test_class_folders_are_told_by_hand_and_what_is_added_is_put_right(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("run", "walk"):
        (tmp_path / "in" / name).mkdir(parents=True)
        np.save(tmp_path / "in" / name / f"{name}1.npy", rng.random((20, 2)).astype("f4"))
    store = zarrts.convert(
        *(tmp_path / "in", tmp_path / "s.zarr"),
        folders="classes",
        channels=["x", "y"],
        units="g",
        rate_hz=50,
        progress=False,
    )
    assert (store.channels, store.units, store.rate_hz) == (["x", "y"], ["g", "g"], 50)
    x = rng.random((3, 20, 2)).astype("f4")
    more = {"channels": ["y", "x"], "units": "mg", "rate_hz": 50.00001}
    new = zarrts.Recording("n", x * 1000, np.array(["run", "walk", "run"]), **more)
    grown = zarrts.append(tmp_path / "s.zarr", new, progress=False)
    found, _ = grown.samples.select(subjects=["n"]).load()
    np.testing.assert_allclose(found, x[..., ::-1], rtol=1e-6)


def test_all_that_differs_is_said_at_once(tmp_path):
    first = piece()
    write(
        tmp_path / "in",
        "npz",
        [
            first,
            piece("b", seed=1).but(rate_hz=20.0, units=("mV",) * 10),
            piece("c", seed=2).but(units=("uV", *("degC",) * 8, "K")),
            piece("d", seed=3),
            piece("e", seed=4, n_channels=9),
        ],
    )
    text = refused(lambda: convert(tmp_path / "in", tmp_path / "s.zarr"))
    assert "b.npz: a rate of 20 Hz, but 4 of 5 files, such as a.npz, have 10 Hz" in text
    assert "e.npz: channels (9), but 4 of 5 files, such as a.npz, have 10, with c9" in text
    (tmp_path / "in" / "e.npz").unlink()
    text = refused(lambda: convert(tmp_path / "in", tmp_path / "s.zarr"))
    assert "c.npz: c1, c2, c3, c4, c5, c6, c7, c8 in degC; c9 in K, but most files" in text
