"""MATLAB structs, cells of structs, files of version 4, and the data sets of EEGLAB."""

import h5py
import numpy as np
import pytest
import scipy.io
from test_sources_zarr import pieces

import zarrts
from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions

RNG = np.random.default_rng(2)
X = RNG.normal(size=(30, 8, 3))
Y = np.arange(30.0) % 3


def cell(items):
    out = np.empty((1, len(items)), object)
    out[0, :] = items
    return out


def structs(items):
    """Return an array of structs."""
    out = np.empty((1, len(items)), [(name, object) for name in items[0]])
    for i, it in enumerate(items):
        for name, value in it.items():
            out[0, i][name] = value
    return out


def save73(path, **variables):
    """Write variables as MATLAB 7.3 does: arrays transposed, structs as groups."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            put73(file, file, name, value)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def put73(file, group, name, value):
    if isinstance(value, dict):
        inner = group.create_group(name)
        inner.attrs["MATLAB_class"] = np.bytes_("struct")
        for key, it in value.items():
            put73(file, inner, key, it)
        return
    value = np.asarray(value)
    if value.dtype.names:  # an array of structs has references in each field, and no class there
        inner = group.create_group(name)
        inner.attrs["MATLAB_class"] = np.bytes_("struct")
        for key in value.dtype.names:
            refs = [reference73(file, it) for it in value[key].reshape(-1)]
            data = np.array(refs, h5py.ref_dtype).reshape(value.shape[::-1])
            inner.create_dataset(key, data=data, dtype=h5py.ref_dtype)
        return
    if value.dtype == object:
        refs = [reference73(file, it) for it in value.reshape(-1)]
        data = np.array(refs, h5py.ref_dtype).reshape(value.shape[::-1])
        group.create_dataset(name, data=data, dtype=h5py.ref_dtype)
        kind = "cell"
    elif value.dtype.kind == "U":
        group[name] = np.array([[ord(it) for it in str(value)]], "u2").T
        kind = "char"
    else:
        group[name] = np.atleast_2d(value).T
        kind = {"f8": "double", "f4": "single"}.get(value.dtype.str[1:], value.dtype.name)
    group[name].attrs["MATLAB_class"] = np.bytes_(kind)


def reference73(file, value):
    refs = file.require_group("#refs#")
    name = f"r{len(refs)}"
    put73(file, refs, name, value)
    return refs[name].ref


SAVERS = {
    "5": lambda path, **it: scipy.io.savemat(path, it),
    "7": lambda path, **it: scipy.io.savemat(path, it, do_compression=True),
    "7.3": save73,
}


@pytest.fixture(params=SAVERS)
def save(request):
    return SAVERS[request.param]


def only(path, **options):
    found = sources.find(path, SourceOptions(**options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


def test_fields_of_a_struct_are_named_by_their_paths(tmp_path, save):
    inside = {"deep": X * 2, "deeper": {"most": X * 3}}
    save(tmp_path / "s01.mat", S={"eeg": X, "stage": Y, "raw": inside, "note": "hello"})
    for x, factor in (("S.eeg", 1), ("S.raw.deep", 2), ("S.raw.deeper.most", 3)):
        recording = only(tmp_path, x=x, y="S.stage")
        pieces(recording.x, X * factor)
        assert recording.y.read(0, 30).tolist() == Y.tolist()
    (problem,) = sources.find(tmp_path, SourceOptions(x="S.egg", y="S.stage")).problems
    assert "has no array 'S.egg'" in problem and "S.raw.deeper.most (30, 8, 3)" in problem


def test_fields_with_usual_names_need_no_option(tmp_path, save):
    save(tmp_path / "s01.mat", S={"data": X, "labels": Y, "fs": 100.0})
    found = sources.find(tmp_path)
    (recording,) = found.recordings
    pieces(recording.x, X)
    assert (recording.x_name, recording.y_name) == ("S.data", "S.labels")
    assert found.description.rate_hz == 100


@pytest.mark.parametrize("form", ["cell", "array"])
@pytest.mark.parametrize("lengths", [(9, 9, 9), (9, 14, 11)])
def test_structs_one_for_each_trial_are_a_list_of_series(tmp_path, save, form, lengths):
    trials = [
        {"X": RNG.normal(size=(n, 2)), "y": label, "n": float(i)}
        for i, (n, label) in enumerate(zip(lengths, ("left", "right", "left"), strict=True))
    ]
    runs = cell(trials) if form == "cell" else structs(trials)
    save(tmp_path / "s01.mat", data=runs)
    for options in ({}, {"x": "data.X", "y": "data.y"}, {"x": "data.X", "y": "data.n"}):
        found = sources.find(tmp_path, SourceOptions(**options))
        assert found.problems == ()
        if len({*lengths}) == 1:
            (recording,) = found.recordings
            pieces(recording.x, np.stack([it["X"] for it in trials]))
        else:
            for recording, it in zip(found.recordings, trials, strict=True):
                pieces(recording.x, it["X"])
                assert recording.y.read(0, 1)[0] == it[options.get("y", "data.y")[5:]]
    with zarrts.convert(tmp_path, tmp_path / "a.zarr", progress=False) as store:
        assert store.n_samples == 3 and store.class_names == ["left", "right"]


def test_structs_that_are_damaged_are_one_sentence(tmp_path):
    for packed in (False, True):
        path = tmp_path / "a.mat"
        scipy.io.savemat(path, {"S": {"data": X, "labels": Y}}, do_compression=packed)
        content = path.read_bytes()
        scipy.io.savemat(tmp_path / "b.mat", {"S": {"data": X + 1, "labels": Y}})
        for bad in (content[:-40], content[:180] + bytes(24) + content[204:]):
            path.write_bytes(bad)
            found = sources.find(tmp_path)
            good = [it.origin for it in found.recordings]
            if found.problems:
                assert good == ["b.mat"] and len(found.problems) == 1
                assert found.problems[0].startswith("a.mat: ")
            else:  # what is damaged are values, which are compressed
                with pytest.raises(SourceError, match=r"a\.mat"):
                    found.recordings[0].x.read(0, 30)


def test_files_of_version_4(tmp_path):
    flat = X[:, :, 0]
    for dtype in ("f8", "f4", "i4", "i2", "u1"):
        x = (flat * 9).astype(dtype) if dtype != "u1" else (abs(flat) * 9).astype(dtype)
        values = {"x": x, "y": Y, "labels": np.array(["W", "N1"] * 15)}
        scipy.io.savemat(tmp_path / "s01.mat", values, format="4")
        expected = scipy.io.loadmat(tmp_path / "s01.mat")
        recording = only(tmp_path, x="x", y="y", kind="dense")
        pieces(recording.x, expected["x"])
        assert recording.y.read(0, 30).tolist() == Y.tolist()
        recording = only(tmp_path, x="x", y="labels", kind="dense")
        assert recording.y.read(0, 30).tolist() == ["W", "N1"] * 15
    content = (tmp_path / "s01.mat").read_bytes()
    for bad in (content[:-7], content[:4] + b"\xff" + content[5:], b"", b"what is this file?" * 9):
        (tmp_path / "s01.mat").write_bytes(bad)
        (problem,) = sources.find(tmp_path).problems
        assert problem.startswith("s01.mat: ")


# EEGLAB ------------------------------------------------------------------------------------------


def data_set(path, values, save, *, events=(), fdt=None, flat=False, **more):
    """Write a data set as EEGLAB does, of (channel, time) or (channel, time, epoch)."""
    n_channels, n_times, n_epochs = (*values.shape, 1)[:3]
    names = [{"labels": it, "X": 1.0} for it in ("Fz", "Cz", "Pz")[:n_channels]]
    fields = {
        "nbchan": float(n_channels),
        "pnts": float(n_times),
        "trials": float(n_epochs),
        "srate": 100.0,
        "xmin": -0.2 if n_epochs > 1 else 0.0,
        "data": values if fdt is None else fdt,
        "chanlocs": structs(names),
        **more,
    }
    if events:
        fields["event"] = structs(
            [{"latency": at, "duration": n, "type": text} for at, n, text in events]
        )
    save(path, **(fields if flat else {"EEG": fields}))
    if fdt is not None:
        flat_values = values.reshape(n_channels, -1, order="F").astype("<f4")
        (path.parent / fdt).write_bytes(flat_values.tobytes(order="F"))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("fdt", [None, "s01.fdt"])
def test_continuous_data_of_eeglab(tmp_path, save, fdt, flat):
    values = RNG.normal(size=(3, 400)).astype("f4")
    events = [(1.0, 100.0, "rest"), (101.0, 0.0, "click"), (200.5, 30.0, "boundary")]
    events.append((201.0, 50.0, "move"))
    data_set(tmp_path / "s01.set", values, save, events=events, fdt=fdt, flat=flat)
    found = sources.find(tmp_path / "s01.set")
    assert found.problems == ()
    (recording,) = found.recordings
    pieces(recording.x, values.T)
    assert recording.y.read(0, 400).tolist() == (
        ["rest"] * 100 + [""] * 100 + ["move"] * 50 + [""] * 150
    )
    assert found.description.channels == ("Fz", "Cz", "Pz")
    assert found.description.rate_hz == 100 and found.description.units == ("uV",) * 3
    assert recording.gaps.rows.tolist() == [200] and recording.gaps.seconds.tolist() == [0.3]
    (recording,) = sources.find(tmp_path / "s01.set", SourceOptions(y=False)).recordings
    pieces(recording.x, values.T)


@pytest.mark.parametrize("fdt", [None, "s01.fdt"])
def test_epochs_of_eeglab_are_samples(tmp_path, save, fdt):
    values = RNG.normal(size=(2, 50, 4)).astype("f4")
    types = ["left", "right", "right", "left"]
    events = [(50.0 * i + 21, 0.0, it) for i, it in enumerate(types)] + [(30.0, 0.0, "later")]
    data_set(tmp_path / "s01.set", values, save, events=events, fdt=fdt)
    recording = only(tmp_path / "s01.set")
    pieces(recording.x, values.transpose(2, 1, 0))
    assert recording.y.read(0, 4).tolist() == types
    data_set(tmp_path / "s01.set", values, save, events=events[:2], fdt=fdt)
    (problem,) = sources.find(tmp_path / "s01.set").problems
    assert "2 of 4 epochs, such as 3, have not exactly one event at time 0" in problem


def test_data_sets_of_eeglab_as_mne_reads_them(tmp_path):
    mne = pytest.importorskip("mne", reason="pip install 'zarrts[mne]'")
    values = RNG.normal(size=(3, 400)).astype("f4")
    for fdt in (None, "s01.fdt"):
        data_set(tmp_path / "s01.set", values, SAVERS["5"], fdt=fdt)
        raw = mne.io.read_raw_eeglab(tmp_path / "s01.set", preload=True, verbose="error")
        (recording,) = sources.find(tmp_path / "s01.set", SourceOptions(y=False)).recordings
        np.testing.assert_allclose(recording.x.read(0, 400).T * 1e-6, raw.get_data(), rtol=1e-6)
        assert raw.info["sfreq"] == 100 and raw.ch_names == ["Fz", "Cz", "Pz"]


def test_samples_of_eeglab_that_are_not_all_there(tmp_path):
    values = RNG.normal(size=(3, 400)).astype("f4")
    path = tmp_path / "s01.set"
    options = SourceOptions(y=False)
    data_set(path, values, SAVERS["5"], fdt="s01.fdt")
    content = (tmp_path / "s01.fdt").read_bytes()
    (tmp_path / "s01.fdt").write_bytes(content[:-4])
    assert "has 4,796 bytes" in sources.find(path, options).problems[0]
    (tmp_path / "s01.fdt").unlink()
    assert (
        "its samples are in 's01.fdt', which is not there"
        in (sources.find(path, options).problems[0])
    )
    data_set(path, values, SAVERS["5"], fdt="other.fdt")
    (tmp_path / "other.fdt").rename(tmp_path / "s01.fdt")  # as whoever renames a data set does
    pieces(sources.find(path, options).recordings[0].x, values.T)
    scipy.io.savemat(path, {"x": X}, appendmat=False)
    assert "holds no data set of EEGLAB" in sources.find(path, options).problems[0]
