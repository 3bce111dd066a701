"""WAV and FLAC files, and class folders of any format."""

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from test_sources_zarr import pieces

import zarrts
from zarrts import sources
from zarrts.cli import main
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions
from zarrts.sources.formats import registry

RNG = np.random.default_rng(11)
NEEDS = "pip install 'zarrts[audio]'"


def sound(n_rows, n_channels=2):
    return np.clip(RNG.normal(scale=0.3, size=(n_rows, n_channels)), -1, 0.999)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        *(("wav", it) for it in ("PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE")),
        *(("flac", it) for it in ("PCM_16", "PCM_24", "PCM_S8")),
    ],
)
def test_pieces_are_those_that_soundfile_reads(tmp_path, suffix, subtype):
    soundfile = pytest.importorskip("soundfile", reason=NEEDS)
    path = tmp_path / f"s01.{suffix}"
    soundfile.write(path, sound(20_000), 8000, subtype=subtype)
    found = sources.find(path, SourceOptions(y=False))
    assert found.problems == () and found.description.rate_hz == 8000
    (recording,) = found.recordings
    expected, _ = soundfile.read(path, dtype="float64", always_2d=True)
    wide = subtype in ("PCM_32", "DOUBLE")
    kept = expected if wide else expected.astype("f4")
    np.testing.assert_array_equal(kept, expected)  # float32 holds each value
    pieces(recording.x, kept)


def test_sound_in_class_folders(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason=NEEDS)
    folder = tmp_path / "commands"
    for label, name in (("yes", "s1"), ("yes", "s2"), ("no", "s1"), ("no", "s2")):
        (folder / label / name).mkdir(parents=True)
        soundfile.write(folder / label / name / "a.wav", sound(800, 1)[:, 0], 16000)
    with zarrts.convert(folder, tmp_path / "a.zarr", folders="classes", progress=False) as store:
        assert store.class_names == ["no", "yes"] and store.subjects == ["s1", "s2"]
        assert store.rate_hz == 16000 and store.sample_shape == (800, 1)
        x, _ = store.samples.load()
    expected, _ = soundfile.read(folder / "no" / "s1" / "a.wav", dtype="float32")
    np.testing.assert_array_equal(x[0, :, 0], expected)


def test_sound_that_is_damaged_or_cut_short(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason=NEEDS)
    good = io.BytesIO()
    soundfile.write(good, sound(5000), 8000, format="WAV")
    content = good.getvalue()
    (tmp_path / "good.wav").write_bytes(content)
    (tmp_path / "cut.wav").write_bytes(content[:-1000])
    (tmp_path / "none.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "cut.flac", sound(50_000), 8000)
    flac = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(flac[: len(flac) // 2])
    found = sources.find(tmp_path, SourceOptions(y=False))
    cut, none = found.problems
    assert (
        cut
        == "cut.wav: declares 20,000 bytes of samples, but 19,000 are there; copy or save it again."
    )
    assert none.startswith("none.wav: cannot be read, or is damaged")
    by_name = {it.subject: it.x for it in found.recordings}
    assert by_name.keys() == {"cut", "good"}
    with pytest.raises(SourceError, match=r"cut\.flac: "):
        by_name["cut"].read(0, 50_000)
    (problem, *_) = sources.find(tmp_path / "good.wav").problems
    assert "a sound file holds no labels: put it into a folder" in problem


def write_npy(path, x):
    np.save(path, x)


def write_npz(path, x):
    np.savez(path, eeg=x, fs=100)


def write_h5(path, x):
    import h5py

    with h5py.File(path, "w") as file:
        file["x"] = x


def write_mat(path, x):
    import scipy.io

    scipy.io.savemat(path, {"x": x})


def write_zarr(path, x):
    import zarr

    zarr.save_array(path, x)


@pytest.mark.parametrize(
    ("suffix", "write", "options"),
    [
        (".npy", write_npy, {}),
        (".npz", write_npz, {"x": "eeg"}),
        (".h5", write_h5, {}),
        (".mat", write_mat, {}),
        (".zarr", write_zarr, {}),
    ],
)
def test_class_folders_of_any_format(tmp_path, suffix, write, options):
    folder = tmp_path / "classes"
    values = {}
    for label in ("walk", "run"):
        (folder / label).mkdir(parents=True)
        for i, name in enumerate(("a", "b")):
            values[label, name] = RNG.normal(size=(12, 3 + 0 * i)).astype("f4")
            write(folder / label / f"{name}{suffix}", values[label, name])
    convert = {"folders": "classes", "progress": False, **options}
    with zarrts.convert(folder, tmp_path / "out.zarr", **convert) as store:
        assert store.class_names == ["run", "walk"]
        x, y = store.samples.load()
    assert y.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(x, [values[key] for key in sorted(values)])
    np.savez(folder / "run" / "c.npz", x=values["run", "a"])
    if suffix in (".h5", ".mat"):
        with pytest.raises(SourceError, match="give those of one kind"):
            zarrts.convert(folder, tmp_path / "no.zarr", **convert)


# What can be read here ---------------------------------------------------------------------------


def test_formats_that_can_be_read_are_listed_with_what_is_lacking(monkeypatch):
    monkeypatch.setattr(
        registry, "find_spec", lambda name: None if name in ("soundfile", "h5py") else object()
    )
    shown = CliRunner().invoke(main, ["formats"])
    assert shown.exit_code == 0
    lines = [" ".join(it.split()) for it in shown.output.splitlines()]
    assert lines[0] == "format files read here"
    assert "NumPy archive .npz yes" in lines
    assert "WAV, FLAC .wav .flac python -m pip install 'zarrts[audio]'" in lines
    assert "HDF5 .h5 .hdf5 .hdf python -m pip install 'zarrts[hdf5]'" in lines
    assert any(it.endswith("version 7.3: python -m pip install 'zarrts[mat]'") for it in lines)
    documents = json.loads(CliRunner().invoke(main, ["formats", "--json"]).output)
    assert {it["name"] for it in documents} >= {"EDF, BDF", "Zarr", "MATLAB"}
    assert next(it for it in documents if it["name"] == "Zarr")["suffixes"] == [".zarr"]
