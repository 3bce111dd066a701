"""EDF and BDF files, against pyEDFlib."""

import pickle

import numpy as np
import pytest
from edf_files import NO_WHEEL, RATE, SECONDS, STAGES, write_edf

from zarrts import sources
from zarrts.sources import SourceOptions

pyedflib = pytest.importorskip("pyedflib", reason=NO_WHEEL)


def oracle(path):
    with pyedflib.EdfReader(str(path)) as file:
        return np.stack([file.readSignal(i) for i in range(file.signals_in_file)], axis=1)


def stages(n_rows=RATE * SECONDS):
    labels = np.full(n_rows, "", "U2")
    for onset, duration, text in STAGES:
        labels[round(onset * RATE) : round((onset + duration) * RATE)] = text
    return labels


def only(folder, **options):
    found = sources.find(folder, SourceOptions(**options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


def problem(folder, **options):
    found = sources.find(folder, SourceOptions(**options))
    assert not found.recordings
    (sentence,) = found.problems
    return sentence


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_samples_and_annotations_are_those_of_pyedflib(tmp_path, suffix):
    path = tmp_path / f"s01{suffix}"
    write_edf(path, annotations=STAGES, bdf=suffix == ".bdf")
    recording = only(tmp_path)
    assert (recording.subject, recording.labels_per) == ("s01", "row")
    described = recording.description
    assert (described.channels, described.rate_hz) == (("Fpz-Cz", "EOG"), 50.0)
    assert (described.units, described.by_hand) == (("uV", "uV"), frozenset())
    expected = oracle(path)
    rng = np.random.default_rng(0)
    for start, stop in [(0, 600), *np.sort(rng.integers(0, 601, (20, 2))).tolist()]:
        x = recording.x.read(start, stop)
        np.testing.assert_allclose(x, expected[start:stop], rtol=0, atol=1e-4)
        assert recording.y.read(start, stop).tolist() == stages()[start:stop].tolist()
    again = pickle.loads(pickle.dumps(recording.x))
    np.testing.assert_array_equal(again.read(7, 9), recording.x.read(7, 9))


def test_signals_are_chosen_by_name_and_in_order(tmp_path):
    path = tmp_path / "a.edf"
    signals = write_edf(path, ("Fz", "Temp", "Cz"), [50, 1, 50], STAGES)
    text = problem(path, channels=["Fz", "Temp", "Cz"])
    assert "Fz (50 Hz), Temp (1 Hz), Cz (50 Hz); choose signals of one rate" in text
    recording = only(path, channels=["Cz", "Fz"])
    assert recording.description.channels == ("Cz", "Fz")
    assert recording.description.by_hand == {"channels"}
    expected = np.stack([signals[2], signals[0]], axis=1)
    np.testing.assert_allclose(recording.x.read(0, 600), expected, rtol=0, atol=0.02)
    assert "not exactly one signal named Oz; it holds Fz" in problem(path, channels=["Oz"])


@pytest.mark.parametrize(
    ("psg", "hypnogram"),
    [
        ("SC4001E0-PSG", "SC4001EC-Hypnogram"),
        ("n1/anna", "n1/anna_hypnogram"),
        ("anna_PSG", "anna_stages"),
    ],
)
def test_a_hypnogram_beside_a_recording_labels_its_rows(tmp_path, psg, hypnogram):
    (tmp_path / psg).parent.mkdir(exist_ok=True)
    write_edf(tmp_path / f"{psg}.edf")
    write_edf(tmp_path / f"{hypnogram}.edf", names=(), annotations=STAGES)
    write_edf(tmp_path / "other.edf", annotations=STAGES, seed=1)
    found = sources.find(tmp_path)
    assert found.problems == ()
    recording = next(it for it in found.recordings if "other" not in it.origin)
    assert recording.y.read(0, 600).tolist() == stages().tolist()
    assert len(recording.paths) == 2
    assert recording.subject == psg.rpartition("/")[2].removesuffix("_PSG").removesuffix("-PSG")


def test_a_hypnogram_that_starts_later_is_moved(tmp_path):
    write_edf(tmp_path / "a-PSG.edf")
    write_edf(tmp_path / "a-Hypnogram.edf", names=(), annotations=[(0, 3, "W")])
    for name, time in (("PSG", b"23.59.58"), ("Hypnogram", b"00.00.01")):
        content = bytearray((tmp_path / f"a-{name}.edf").read_bytes())
        content[168:184] = (b"31.12.24" if name == "PSG" else b"01.01.25") + time
        (tmp_path / f"a-{name}.edf").write_bytes(content)
    labels = only(tmp_path).y.read(0, 600)
    assert labels.tolist() == [""] * 150 + ["W"] * 150 + [""] * 300


def test_what_cannot_be_used_is_said(tmp_path):
    path = tmp_path / "a.edf"
    write_edf(path)
    assert "no row has a label; put a hypnogram beside it" in problem(path)
    write_edf(path, annotations=[(1, -1, "Lights off")])
    assert "has 1 annotations, and none lasts" in problem(path)
    write_edf(path, annotations=[(1, 3, "W"), (2, 3, "R")])
    assert "overlap" in problem(path)
    write_edf(tmp_path / "b-Hypnogram.edf", names=(), annotations=STAGES)
    assert "not one recording of the same name" in problem(tmp_path / "b-Hypnogram.edf")


def test_a_file_has_exactly_what_its_header_declares(tmp_path):
    path = tmp_path / "a.edf"
    write_edf(path, annotations=STAGES)
    whole = path.read_bytes()
    for content, says in [
        (whole[:-1], "but its header declares"),
        (whole + b"\0", "but its header declares"),
        (whole[:300], "ends inside its header"),
        (whole[:100], "is not an EDF or BDF file"),
        (whole[:236] + b"-1      " + whole[244:], "was not closed"),
        (whole[:236] + b"99999999" + whole[244:], "its header declares"),
        (whole[:252] + b"9999" + whole[256:], "declares 9,999 signals"),
        (whole[:244] + b"nan     " + whole[252:], "is not a number"),
        (whole[:244] + b"0       " + whole[252:], "records last 0 s"),
    ]:
        path.write_bytes(content)
        assert says in problem(path)


def test_records_that_overlap_are_refused(tmp_path):
    path = tmp_path / "a.edf"
    write_edf(path, annotations=STAGES)
    content = path.read_bytes().replace(b"EDF+C", b"EDF+D")
    path.write_bytes(content)
    assert only(path).x.shape == (600, 2)
    path.write_bytes(content.replace(b"+6\x14\x14", b"+9\x14\x14"))
    assert "record 7 starts at 7 s, but the one before ends at 10 s" in problem(path)
