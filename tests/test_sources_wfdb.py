"""Records of PhysioNet: rates, segments, gaps and annotation files, against wfdb's own reader."""

import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from signal_files import assert_pieces, counts, only

import zarrts
from zarrts import sources
from zarrts.sources import SourceOptions

wfdb = pytest.importorskip("wfdb", reason="pip install 'zarrts[wfdb]'; tox -e formats does")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write_record(folder, name, values, rate_hz=100, fmt="16", units="mV", gain=200, **more):
    """Write counts (rows, channels) with a gain of so many per unit."""
    n = values.shape[1]
    names = more.pop("names", [f"c{i}" for i in range(n)])
    wfdb.wrsamp(
        name,
        fs=rate_hz,
        units=[units] * n,
        sig_name=names,
        d_signal=values,
        fmt=[fmt] * n,
        adc_gain=[gain] * n,
        baseline=[7] * n,
        write_dir=str(folder),
        **more,
    )


def write_stages(folder, name, marks, suffix="st"):
    """Write (row, text) as notes, as slpdb has its sleep stages."""
    wfdb.wrann(
        name,
        suffix,
        np.array([row for row, _ in marks]),
        symbol=['"'] * len(marks),
        aux_note=[text for _, text in marks],
        write_dir=str(folder),
    )


def physical(folder, name, dtype="f4"):
    return wfdb.rdrecord(str(folder / name)).p_signal.astype(dtype)


LEAST = {"16": -(2**15), "24": -(2**23), "32": -(2**31), "80": -(2**7), "212": -(2**11)}


@pytest.mark.parametrize("fmt", LEAST)
def test_pieces_are_those_of_wfdb_in_each_signal_format(folder, fmt):
    values = counts(1000, 3, top=min(30_000, 1 - LEAST[fmt]) - 10)
    values[10:20, 1] = LEAST[fmt]
    write_record(folder, "a", values, fmt=fmt)
    write_stages(folder, "a", [(0, "W"), (400, "2")])
    it = only(folder)
    expected = physical(folder, "a", "f8" if fmt == "32" else "f4")
    assert np.isnan(expected[10:20, 1]).all()
    assert_pieces(it.x, expected)
    assert_pieces(pickle.loads(pickle.dumps(it.x)), expected, n=3)
    assert it.y.read(0, 1000).tolist() == ["W"] * 400 + ["2"] * 600
    assert it.description.channels == ("c0", "c1", "c2")
    assert (it.description.units, it.description.rate_hz) == (("mV",) * 3, 100)


@pytest.mark.parametrize("fmt", ["61", "160", "310", "311"])
def test_pieces_are_those_of_wfdb_in_formats_that_it_only_reads(folder, fmt):
    write_record(folder, "a", counts(1000, 3))
    header = (folder / "a.hea").read_text()
    (folder / "a.hea").write_text(header.replace("a.dat 16", f"a.dat {fmt}"))
    write_stages(folder, "a", [(0, "W")])
    assert_pieces(only(folder).x, physical(folder, "a"))


def write_two_rates(folder):
    ecg, resp = counts(4000, 1)[:, 0], counts(1000, 2, seed=1)
    wfdb.wrsamp(
        "a",
        fs=100,
        units=["mV", "l", "l"],
        sig_name=["ECG", "Resp", "SpO2"],
        e_d_signal=[ecg, resp[:, 0], resp[:, 1]],
        samps_per_frame=[4, 1, 1],
        fmt=["16"] * 3,
        adc_gain=[200.0, 100.0, 10.0],
        baseline=[0, 0, 0],
        write_dir=str(folder),
    )
    write_stages(folder, "a", [(0, "W"), (500, "2")])
    return (ecg / 200).astype("f4")[:, None], (resp / [100, 10]).astype("f4")


def test_of_several_rates_channels_of_one_are_chosen_with_all_their_samples(folder):
    ecg, resp = write_two_rates(folder)
    (problem,) = sources.find(folder).problems
    assert "its signals have several rates: ECG (400 Hz), Resp (100 Hz), SpO2 (100" in problem
    it = only(folder, channels=("ECG",))
    assert (it.description.rate_hz, it.description.units) == (400, ("mV",))
    assert_pieces(it.x, ecg)
    assert it.y.read(0, 4000).tolist() == ["W"] * 2000 + ["2"] * 2000
    it = only(folder, channels=("SpO2", "Resp"))
    assert_pieces(it.x, resp[:, ::-1])
    assert it.description.rate_hz == 100


def test_signals_of_several_rates_are_the_inputs_that_name_them(folder, tmp_path):
    ecg, resp = write_two_rates(folder)
    x = {"ecg": "ECG", "breath": ["SpO2", "Resp"]}
    with zarrts.convert(folder, tmp_path / "s.zarr", x=x, progress=False) as store:
        assert store.rate_hz == {"breath": 100, "ecg": 400}
        assert store.units == {"breath": ["l", "l"], "ecg": ["mV"]}
        found, labels = store.samples.load()
        np.testing.assert_array_equal(found["ecg"][0], ecg)
        np.testing.assert_array_equal(found["breath"][0], resp[:, ::-1])
        names = np.array(store.class_names)[labels[0].reshape(-1)]
        assert names.tolist() == ["W"] * 2000 + ["2"] * 2000


def write_multi(folder, lines, name="rec"):
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")


def test_segments_are_one_recording_and_gaps_are_nan(folder):
    first, second = counts(300, 2), counts(200, 1, seed=1)
    write_record(folder, "rec_0001", first, names=["II", "V"])
    write_record(folder, "rec_0002", second, names=["V"])
    (folder / "rec_layout.hea").write_text(
        "rec_layout 2 100 0\n~ 0 200(7)/mV 16 0 0 0 0 II\n~ 0 200(7)/mV 16 0 0 0 0 V\n"
    )
    write_multi(
        folder,
        ["rec/4 2 100 600", "rec_layout 0", "rec_0001 300", "~ 100", "rec_0002 200"],
    )
    write_stages(folder, "rec", [(0, "W"), (300, "2")])
    found = sources.find(folder)
    assert (found.problems, found.passed_over) == ((), ())
    (it,) = found.recordings
    expected = np.full((600, 2), np.nan)
    expected[:300] = (first - 7) / 200
    expected[400:, 1] = (second[:, 0] - 7) / 200
    assert_pieces(it.x, expected.astype("f4"))
    own = wfdb.rdrecord(str(folder / "rec")).p_signal
    np.testing.assert_array_equal(it.x.read(0, 600), own.astype("f4"))
    assert "rec.hea: has gaps of 1 s in all, which are NaN" in found.notes
    assert len(it.paths) == 7  # four headers, two files of samples, one of annotations


def test_a_gap_in_a_record_of_a_fixed_layout_is_nan_as_well(folder):
    first, second = counts(300, 2), counts(200, 2, seed=1)
    write_record(folder, "rec_0001", first)
    write_record(folder, "rec_0002", second)
    write_multi(folder, ["rec/3 2 100 600", "rec_0001 300", "~ 100", "rec_0002 200"])
    write_stages(folder, "rec", [(0, "W")])
    it = only(folder)
    gap = np.full((100, 2), np.nan)
    expected = np.concatenate([(first - 7) / 200, gap, (second - 7) / 200])
    assert_pieces(it.x, expected.astype("f4"))


def test_a_unit_that_changes_from_segment_to_segment_is_refused(folder):
    write_record(folder, "rec_0001", counts(300, 1))
    write_record(folder, "rec_0002", counts(300, 1), units="uV")
    write_multi(folder, ["rec/2 1 100 600", "rec_0001 300", "rec_0002 300"])
    (problem,) = sources.find(folder).problems
    assert "c0 is in uV, 1 samples a frame, in one segment, and in mV" in problem


def test_annotation_files_are_chosen_by_their_suffix(folder):
    write_record(folder, "a", counts(1000, 1))
    write_stages(folder, "a", [(0, "W"), (400, "2"), (700, "W")])
    wfdb.wrann("a", "qrs", np.array([5, 90, 400]), symbol=["N", "V", "N"], write_dir=str(folder))
    (problem,) = sources.find(folder).problems
    assert "several annotation files beside it (st, qrs); choose one: annotations='st'" in problem
    stages = ["W"] * 400 + ["2"] * 300 + ["W"] * 300
    for annotations in ("st", ("st",)):
        assert only(folder, annotations=annotations).y.read(0, 1000).tolist() == stages
    (problem,) = sources.find(folder, SourceOptions(annotations="qrs")).problems
    assert "has 3 annotations, and none lasts for a while" in problem
    (folder / "a.qrs").unlink()
    chosen = only(folder, annotations="^W$", unlabelled="sleep")
    assert np.unique(chosen.y.read(0, 1000)).tolist() == ["W", "sleep"]
    store = zarrts.convert(folder, folder.parent / "s.zarr", annotations="st", progress=False)
    assert (store.class_names, store.rate_hz, store.units) == (["2", "W"], 100, ["mV"])
    store.close()


def test_notes_at_the_first_sample_are_kept_and_definitions_are_none(folder):
    write_record(folder, "a", counts(1000, 1))
    wfdb.wrann(
        "a",
        "st",
        np.array([0, 0, 600]),
        symbol=['"', "N", '"'],
        aux_note=["W", "", "R"],
        fs=50,
        write_dir=str(folder),
    )
    # wfdb drops every note at the first sample, not only the rate that it writes there itself.
    assert wfdb.rdann(str(folder / "a"), "st").aux_note == ["", "R"]
    it = only(folder)
    assert it.y.read(0, 1000).tolist() == ["W"] * 1000  # a rate of 50 Hz: R is after the end
    write_stages(folder, "a", [(0, "## by hand"), (5, "W")])
    (problem,) = sources.find(folder).problems
    assert "begins with the note '## by hand', which wfdb cannot read" in problem


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "a.dat").write_bytes(b"12345"), "wfdb cannot read it"),
        (lambda folder: (folder / "a.dat").unlink(), "cannot be read"),
        (lambda folder: (folder / "a.hea").write_bytes(b"\xff\x00 nothing"), "wfdb cannot"),
        (lambda folder: (folder / "a.hea").write_bytes(b""), "wfdb cannot read it"),
        (lambda folder: (folder / "a.hea").write_text("a 1 100\na.dat 16\n"), "how many samples"),
        (lambda folder: (folder / "a.st").write_bytes(b"\xff" * 9), "(st)"),
    ],
)
def test_a_damaged_record_is_named(folder, harm, said):
    write_record(folder, "a", counts(1000, 2))
    write_stages(folder, "a", [(0, "W")])
    harm(folder)
    (problem,) = sources.find(folder).problems
    assert problem.startswith("a.hea") and said in problem


def test_without_wfdb_the_extra_is_named(folder, monkeypatch):
    write_record(folder, "a", counts(100, 2))
    monkeypatch.setitem(sys.modules, "wfdb", None)
    (problem,) = sources.find(folder).problems
    assert problem.endswith("wfdb, which is not installed; pip install 'zarrts[wfdb]'.")


@pytest.mark.slow
def test_pieces_of_300_mb_take_little_memory(folder):
    n_rows = 19_000_000
    write_record(folder, "a", counts(1000, 8))
    with open(folder / "a.dat", "wb") as file:
        for _ in range(n_rows // 1000):
            file.write(counts(1000, 8).astype("<i2").tobytes())
    header = (folder / "a.hea").read_text()
    (folder / "a.hea").write_text(header.replace("a 8 100 1000", f"a 8 100 {n_rows}"))
    write_stages(folder, "a", [(0, "W")])
    assert (folder / "a.dat").stat().st_size > 300e6
    it = only(folder)
    tracemalloc.start()
    for start in range(0, n_rows, 1_000_000):
        it.x.read(start, start + 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (folder / "a.dat").unlink()
    assert peak < 128 << 20


def test_labels_of_a_table_need_no_choice_among_annotation_files(folder):
    write_record(folder, "a", counts(1000, 2))
    write_stages(folder, "a", [(0, "W")])
    write_stages(folder, "a", [(0, "x")], "atr")
    (folder / "l.csv").write_text("onset,duration,label\n0,4,A\n4,6,B\n")
    (folder / "t.csv").write_text("subject,x,y\np,a.hea,l.csv\n")
    (it,) = sources.find(folder / "t.csv").recordings
    assert it.y.read(0, 1000).tolist() == ["A"] * 400 + ["B"] * 600
