"""Files that MNE reads: pieces as the whole, and each of its surprises mended, refused or told."""

import pickle
import shutil
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from signal_files import (
    assert_pieces,
    counts,
    only,
    write_brainvision,
    write_gdf,
    write_persyst,
)

import zarrts
from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources import SourceFile, SourceOptions
from zarrts.sources.formats import mne_files

mne = pytest.importorskip("mne", reason="pip install 'zarrts[mne]'; tox -e formats does")
pytest.importorskip("pybv", reason="tox -e formats installs it")

CHANNELS = ("C3", "C4", "EOG")
MARKS = ((0, 500, "W"), (500, 700, "N1"))


def problems_of(place, **options):
    return sources.find(place, SourceOptions(**options)).problems


def test_brainvision_is_microvolts_to_the_count(tmp_path):
    x = counts(1200, 3) * 0.5
    write_brainvision(tmp_path, "s01", x, 256, CHANNELS, MARKS)
    found = sources.find(tmp_path)
    assert (found.problems, found.passed_over) == ((), ())
    (it,) = found.recordings
    assert it.description.channels == CHANNELS
    assert (it.description.units, it.description.rate_hz) == (("uV",) * 3, 256)
    assert {path.rpartition(".")[2] for path in it.paths} == {"vhdr", "eeg", "vmrk"}
    assert_pieces(it.x, x.astype("f4"))
    y = it.y.read(0, 1200)
    assert y.tolist() == ["Comment/W"] * 500 + ["Comment/N1"] * 700
    some = only(tmp_path, channels=("EOG", "C3"))
    assert_pieces(some.x, x[:, [2, 0]].astype("f4"))
    assert_pieces(pickle.loads(pickle.dumps(it.x)), x.astype("f4"), n=3)


def test_channels_are_the_inputs_that_name_them(tmp_path):
    x = counts(1200, 3) * 0.5
    write_brainvision(tmp_path, "s01", x, 256, CHANNELS, MARKS)
    by_name = {"eog": "EOG", "eeg": ["C4", "C3"]}
    with zarrts.convert(tmp_path, tmp_path / "s.zarr", x=by_name, progress=False) as store:
        assert store.rate_hz == {"eeg": 256, "eog": 256}
        found, labels = store.samples.load()
        np.testing.assert_array_equal(found["eeg"][0], x[:, [1, 0]].astype("f4"))
        np.testing.assert_array_equal(found["eog"][0], x[:, 2:].astype("f4"))
        named = np.array(store.class_names)[labels[0]]
        assert named.tolist() == ["Comment/W"] * 500 + ["Comment/N1"] * 700


def test_fif_counts_onsets_from_its_first_row_and_names_bad_channels(tmp_path):
    x = counts(3000, 3) * 1e-6
    info = mne.create_info(list(CHANNELS), 250.0, ["eeg", "eeg", "eog"])
    for dated in (False, True):
        raw = mne.io.RawArray(x.T, info.copy(), first_samp=5000, verbose="error")
        if dated:
            raw.set_meas_date(0)
        raw.set_annotations(mne.Annotations([0, 4], [4, 8], ["W", "N1"]))
        raw.info["bads"] = ["C4"]
        raw.save(tmp_path / "s01_raw.fif", fmt="double", overwrite=True, verbose="error")
        it = only(tmp_path)
        assert_pieces(it.x, x)
        assert it.y.read(0, 3000).tolist() == ["W"] * 1000 + ["N1"] * 2000
        notes = sources.find(tmp_path).notes
        assert "s01_raw.fif: says that C4 is bad" in notes
        assert any("(2 eeg, 1 eog)" in note for note in notes)
        assert it.description.units == ("V", "V", "V")


def test_fif_that_is_split_is_one_recording(tmp_path):
    x = counts(200_000, 4).astype("f8")
    raw = mne.io.RawArray(x.T, mne.create_info(4, 250.0, "misc"), verbose="error")
    raw.set_annotations(mne.Annotations([0], [800], ["W"]))
    raw.save(tmp_path / "a_raw.fif", split_size="2MB", buffer_size_sec=1, verbose="error")
    raw.save(
        tmp_path / "sub-01_meg.fif",
        split_size="2MB",
        buffer_size_sec=1,
        split_naming="bids",
        verbose="error",
    )
    assert len(list(tmp_path.glob("*.fif"))) >= 4
    found = sources.find(tmp_path)
    assert found.problems == ()
    assert [it.x.shape for it in found.recordings] == [(200_000, 4)] * 2
    for it in found.recordings:
        assert_pieces(it.x, x.astype("f4").astype("f8"), n=20)


def test_fif_files_of_a_series_of_names_are_recordings_of_their_own(tmp_path):
    info = mne.create_info(2, 100.0, "misc")
    for name in ("a_raw.fif", "a_raw-1.fif"):
        raw = mne.io.RawArray(np.zeros((2, 500)), info, verbose="error")
        raw.set_annotations(mne.Annotations([0], [5], ["W"]))
        raw.save(tmp_path / name, verbose="error")
    assert len(sources.find(tmp_path).recordings) == 2


def test_stretches_that_fif_skips_are_nan(tmp_path):
    x = counts(2000, 2).astype("f8") + 10_000
    raw = mne.io.RawArray(x.T, mne.create_info(2, 100.0, "misc"), verbose="error")
    # MNE itself writes such a stretch as FIFF_DATA_SKIP, as acquisition systems do.
    raw.set_annotations(mne.Annotations([0, 5], [20, 3], ["W", "BAD_ACQ_SKIP"]))
    raw.save(tmp_path / "a_raw.fif", buffer_size_sec=1, fmt="double", verbose="error")
    it = only(tmp_path)
    expected = x.copy()
    expected[500:800] = np.nan
    assert_pieces(it.x, expected)
    assert any("skips 300 time steps" in note for note in sources.find(tmp_path).notes)


@pytest.mark.parametrize(
    ("version", "units", "said"),
    [
        (1, ("uV", "mV", "V"), ("uV", "mV", "V")),
        (2, (4275, 4274, 4256), ("uV", "mV", "V")),
        (2, (4276, 512, 0), ("nV", "", "")),
    ],
)
def test_gdf_is_in_the_units_that_the_file_says(tmp_path, version, units, said):
    values = counts(1000, 3)
    write_gdf(tmp_path / "s01.gdf", values, units, version=version, events=[(10, 769)])
    it = only(tmp_path, unlabelled="rest")
    assert it.description.units == said
    assert it.description.rate_hz == 100
    own = mne.io.read_raw_gdf(tmp_path / "s01.gdf", verbose="error").get_data().T
    for column, unit in enumerate(said):
        factor = {"uV": 1e6, "mV": 1e3 if version == 2 else 1.0}.get(unit, 1.0)
        np.testing.assert_array_equal(it.x.read(0, 1000)[:, column], own[:, column] * factor)
    np.testing.assert_allclose(it.x.read(0, 1000), values * 0.5, rtol=1e-12)
    assert_pieces(it.x, it.x.read(0, 1000))


def test_gdf_of_several_rates_is_refused(tmp_path):
    write_gdf(tmp_path / "s01.gdf", counts(1000, 2), ("uV", "uV"), version=1, per_record=(100, 10))
    (problem,) = problems_of(tmp_path, unlabelled="rest")
    assert "several rates (10 and 100 samples in a record)" in problem


def test_persyst_is_read_and_its_pauses_are_refused(tmp_path):
    values = counts(2000, 2)
    write_persyst(tmp_path, "a", values, 100, [(0, 36000.0), (1000, 36010.0)])
    it = only(tmp_path)
    own = mne.io.read_raw_persyst(tmp_path / "a.lay", verbose="error").get_data().T
    assert_pieces(it.x, own.astype("f4"))
    assert it.y.read(0, 2000).tolist() == [""] * 100 + ["seizure"] * 200 + [""] * 1700
    assert it.description.units == ("V", "V")
    write_persyst(tmp_path, "a", values, 100, [(0, 36000.0), (1000, 36060.0)])
    (problem,) = problems_of(tmp_path)
    assert "has a gap before row 1,000 (it was recorded at 36060 s of the day, not 36010" in problem


def test_segments_of_brainvision_that_were_joined_have_a_gap_between_them(tmp_path):
    write_brainvision(tmp_path, "s01", counts(1200, 3), 100, CHANNELS, MARKS)
    place = tmp_path / "s01.vmrk"
    place.write_text(place.read_text() + "Mk4=New Segment,,601,1,0,20200101120000000000\n")
    found = sources.find(tmp_path, SourceOptions(annotations="^Comment"))
    (it,) = found.recordings
    assert it.gaps.rows.tolist() == [600]
    assert "s01.vhdr: has 1 joins of segments, which no window crosses" in found.notes
    # Markers are counted in samples, and so lie where they did.
    assert it.y.read(0, 1200).tolist() == ["Comment/W"] * 500 + ["Comment/N1"] * 700


def test_what_a_reader_gives_otherwise_by_pieces_is_refused(tmp_path, monkeypatch):
    write_persyst(tmp_path, "a", counts(9000, 2), 100)
    kind = mne.io.read_raw_persyst(tmp_path / "a.lay", verbose="error").__class__
    whole = kind.get_data

    def zeros_unaligned(self, picks=None, start=0, stop=None):
        values = whole(self, picks, start, stop)
        return values if start % 4096 == 0 or stop - start > 4000 else values * 0

    monkeypatch.setattr(kind, "get_data", zeros_unaligned)
    (problem,) = problems_of(tmp_path)
    assert "MNE reads rows 1 to 8 otherwise by themselves than within rows 0 to 4,096" in problem


@pytest.mark.parametrize("kind", ["vhdr", "fif", "gdf", "lay"])
@pytest.mark.parametrize("harm", ["cut", "empty", "noise"])
def test_a_damaged_file_is_named(tmp_path, kind, harm):
    x = counts(1000, 2)
    if kind == "vhdr":
        write_brainvision(tmp_path, "s01", x, 100, CHANNELS[:2], [(0, 1000, "W")])
        damaged = tmp_path / ("s01.eeg" if harm == "cut" else "s01.vhdr")
    elif kind == "gdf":
        damaged = tmp_path / "s01.gdf"
        write_gdf(damaged, x, (4275, 4275))
    elif kind == "lay":
        write_persyst(tmp_path, "s01", x, 100)
        damaged = tmp_path / ("s01.dat" if harm == "cut" else "s01.lay")
    else:
        damaged = tmp_path / "s01_raw.fif"
        raw = mne.io.RawArray(x.T, mne.create_info(2, 100.0, "misc"), verbose="error")
        raw.save(damaged, verbose="error")
    content = damaged.read_bytes()
    if harm == "cut":
        damaged.write_bytes(content[: len(content) // 2 + 1])
    elif harm == "empty":
        damaged.write_bytes(b"")
    else:
        damaged.write_bytes(np.random.default_rng(0).bytes(len(content)))
    (problem,) = problems_of(tmp_path, unlabelled="rest")
    assert problem.startswith("s01")
    if harm == "noise" and kind != "gdf":
        assert "MNE cannot read it" in problem


def test_a_file_that_changes_after_it_was_found_is_refused(tmp_path):
    place = write_brainvision(tmp_path, "s01", counts(1200, 3), 100, CHANNELS, MARKS)
    it = only(tmp_path)
    data = place.with_suffix(".eeg")
    data.write_bytes(bytes(data.stat().st_size))
    with pytest.raises(SourceError, match=r"changed while it was in use|s01\.eeg"):
        it.x.read(0, 10)


def test_without_mne_the_extra_is_named(tmp_path, monkeypatch):
    write_brainvision(tmp_path, "s01", counts(1200, 3), 100, CHANNELS, MARKS)
    monkeypatch.setitem(sys.modules, "mne", None)
    (problem,) = problems_of(tmp_path)
    assert problem.endswith("mne, which is not installed; pip install 'zarrts[mne]'.")


def test_a_file_at_an_address_is_refused(tmp_path):
    remote = SimpleNamespace(path="s3://lab/s01.vhdr")
    with pytest.raises(SourceError, match="MNE reads files of this machine only; copy"):
        mne_files.FORMATS[0].open(SourceFile(remote, "s01.vhdr", "s01.vhdr")).__enter__()


def test_a_study_is_converted_appended_to_and_predicted_on(tmp_path):
    for name, seed in (("a/s01", 1), ("a/s02", 2), ("b/s03", 3), ("c/s04", 4)):
        folder, _, stem = name.partition("/")
        (tmp_path / folder).mkdir(exist_ok=True)
        write_brainvision(
            tmp_path / folder, stem, counts(1200, 3, seed) * 0.5, 256, CHANNELS, MARKS
        )
    store = zarrts.convert(tmp_path / "a", tmp_path / "s.zarr", progress=False)
    store.close()
    store = zarrts.append(tmp_path / "s.zarr", tmp_path / "b", progress=False)
    assert store.subjects == ["s01", "s02", "s03"]
    assert (store.rate_hz, store.channels, store.units) == (256, list(CHANNELS), ["uV"] * 3)
    x, _ = store.samples.load()
    for values, seed in zip(x, (1, 2, 3), strict=True):
        np.testing.assert_array_equal(values, (counts(1200, 3, seed) * 0.5).astype("f4"))
    store.close()
    (it,) = sources.find_inputs([str(tmp_path / "c")], SourceOptions(y=False))
    assert_pieces(it.x, (counts(1200, 3, 4) * 0.5).astype("f4"), n=5)


@pytest.mark.slow
def test_pieces_of_300_mb_take_little_memory(tmp_path):
    n_rows, n_channels = 2_350_000, 64
    write_brainvision(tmp_path, "s01", counts(100, n_channels), 500, map(str, range(n_channels)))
    with open(tmp_path / "s01.eeg", "wb") as file:
        for _ in range(n_rows // 1000):
            file.write(counts(1000, n_channels).astype("<i2").tobytes())
    it = only(tmp_path, unlabelled="rest")
    assert (tmp_path / "s01.eeg").stat().st_size > 300e6
    tracemalloc.start()
    for start in range(0, n_rows, 100_000):
        it.x.read(start, min(n_rows, start + 100_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shutil.rmtree(tmp_path)
    assert peak < 128 << 20
