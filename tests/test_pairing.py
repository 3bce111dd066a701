"""A file gets the labels that belong to it: hypnograms beside EDF files, and tables of pairs."""

import numpy as np
import pytest
from click.testing import CliRunner
from edf_files import write_raw_edf
from ways_in import convert

import zarrts
from zarrts import sources
from zarrts.cli import main
from zarrts.errors import SourceError

RATE, SECONDS = 10, 40
ALL = ((-32768, 32767), (-32768, 32767))


def recording(path, value, marks=(), **more):
    """Write signals that hold one value, with annotations (onset, duration, text)."""
    write_raw_edf(path, [("C3", np.full(RATE * SECONDS, value), RATE, *ALL)], marks, **more)


def hypnogram(path, text, **more):
    write_raw_edf(path, [], [("+0", str(SECONDS), text)], **more)


def labels_of(folder, **options):
    """Return the texts of each file's rows, as (text, number of rows) where it changes."""
    found = sources.find(folder, sources.SourceOptions(**options))
    assert found.problems == ()
    return {it.origin: set(it.y.read(0, it.y.shape[0]).tolist()) for it in found.recordings}


def rows_of_time(store):
    """Return the name of the label of each row of the first recording; "" where it has none."""
    _, (codes, *_) = store.samples.load()
    names = np.array([*store.class_names, ""])
    return names[codes].tolist()


def said(*arguments, status=0):
    result = CliRunner().invoke(main, [str(it) for it in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_a_hypnogram_labels_the_recording_of_its_whole_name(tmp_path):
    recording(tmp_path / "s01.edf", 1, [("+0", "20", "W"), ("+20", "20", "N1")])
    recording(tmp_path / "s02.edf", 2, [("+0", "", "Lights off")])
    hypnogram(tmp_path / "s02_hypnogram.edf", "R")
    assert labels_of(tmp_path) == {"s01.edf": {"W", "N1"}, "s02.edf": {"R"}}
    plan = said("convert", "--dry-run", tmp_path, tmp_path / "x.zarr")
    assert "labels of s02.edf are in s02_hypnogram.edf" in plan
    assert "labels of s01.edf" not in plan


@pytest.mark.parametrize("order", [("s1", "s2", "s3"), ("s3", "s2", "s1")])
def test_whole_names_come_first_over_all_files(tmp_path, order):
    for value, name in enumerate(order):
        recording(tmp_path / f"{name}-PSG.edf", value)
        hypnogram(tmp_path / f"{name}-Hypnogram.edf", f"stage of {name}")
    assert labels_of(tmp_path) == {f"{it}-PSG.edf": {f"stage of {it}"} for it in sorted(order)}


def test_names_of_sleep_edf_differ_in_their_last_letter(tmp_path):
    for value, (psg, scored) in enumerate(
        [("SC4001E0", "SC4001EC"), ("SC4002E0", "SC4002EC"), ("ST7011J0", "ST7011JP")]
    ):
        recording(tmp_path / f"{psg}-PSG.edf", value)
        hypnogram(tmp_path / f"{scored}-Hypnogram.edf", scored)
    assert labels_of(tmp_path) == {
        "SC4001E0-PSG.edf": {"SC4001EC"},
        "SC4002E0-PSG.edf": {"SC4002EC"},
        "ST7011J0-PSG.edf": {"ST7011JP"},
    }
    with pytest.raises(SourceError) as error:
        convert(tmp_path, tmp_path / "s.zarr")
    text = str(error.value)
    assert "SC4001E0, SC4002E0: these names look like several sessions" in text
    assert "ST7011J0" not in text and r"r'S[CT]\d{3}'" in text
    store = convert(tmp_path, tmp_path / "s.zarr", subject=r"S[CT]\d{3}")
    assert store.subjects == ["SC400", "ST701"]


def test_an_orphan_hypnogram_is_named(tmp_path):
    for value, name in enumerate(("anna", "bert")):
        recording(tmp_path / f"{name}-PSG.edf", value, [("+0", "40", "W")])
    hypnogram(tmp_path / "annb-Hypnogram.edf", "R")  # a letter alone makes no pair
    (problem,) = sources.find(tmp_path).problems
    assert problem.startswith("annb-Hypnogram.edf: holds no signals")
    assert "anna-PSG.edf, bert-PSG.edf" in problem


def test_two_hypnograms_of_one_name_are_refused(tmp_path):
    recording(tmp_path / "a-PSG.edf", 1)
    hypnogram(tmp_path / "a-Hypnogram.edf", "R")
    hypnogram(tmp_path / "a-Stages.edf", "W")
    problems = "\n".join(sources.find(tmp_path).problems)
    assert "a-Hypnogram.edf, a-Stages.edf could belong to a-PSG.edf" in problems


# Tables ----------------------------------------------------------------------------------------


def table(folder, text):
    (folder / "files.csv").write_text(text)
    return folder / "files.csv"


def test_a_table_pairs_signals_with_annotations_of_any_name_in_any_order(tmp_path):
    for value, name in enumerate(("01", "02")):
        recording(tmp_path / f"{name} PSG.edf", value, [("+0", "", "start")])
        marks = [("+0", "10", f"W{name}"), ("+10", "30", "N2")]
        write_raw_edf(tmp_path / f"{name} Base.edf", [], marks)
    lines = (
        "y,subject,x\n02 Base.edf,b,02 PSG.edf\n01 Base.edf::annotations,a,01 PSG.edf::signals\n"
    )
    store = convert(None, tmp_path / "s.zarr", table=table(tmp_path, lines))
    assert store.subjects == ["b", "a"] and store.channels == ["C3"] and store.rate_hz == RATE
    assert rows_of_time(store) == ["W02"] * 100 + ["N2"] * 300
    assert store.class_names == ["N2", "W01", "W02"]
    assert zarrts.verify(tmp_path / "s.zarr", sources=tmp_path / "files.csv").problems == ()


@pytest.mark.parametrize(
    ("start", "offset", "first_row"),
    [("22.00.00", "", 0), ("22.00.05", "", 50), ("22.00.05", "3", 30), ("22.00.00", "-2", -20)],
)
def test_annotations_start_where_headers_or_the_table_say(tmp_path, start, offset, first_row):
    recording(tmp_path / "a.edf", 1)
    write_raw_edf(tmp_path / "b.edf", [], [("+1", "10", "W"), ("+11", "10", "R")], start=start)
    lines = f"offset,x,subject,y\n{offset},a.edf,a,b.edf\n"
    store = convert(None, tmp_path / "s.zarr", table=table(tmp_path, lines))
    expected = np.full(RATE * SECONDS, "", "U1")
    for onset, text in ((1, "W"), (11, "R")):
        low = onset * RATE + first_row
        expected[max(0, low) : low + 10 * RATE] = text
    assert rows_of_time(store) == expected.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "onset,duration,label\n0,10,W\n10,20.5,N1\n",
        "label;onset;duration\nN1;10;20.5\nW;0;10\n",
        "stage\tduration_s\tonset_s\nW\t10\t0\nN1\t20.5\t10\n",
        "start,stop,label\n0,100,W\n100,305,N1\n",
    ],
)
@pytest.mark.parametrize("offset", [0, 2])
def test_a_csv_file_labels_signals_of_any_kind(tmp_path, text, offset):
    expected = np.full(RATE * SECONDS, "", "U2")
    expected[offset * RATE : 100 + offset * RATE] = "W"
    expected[100 + offset * RATE : 305 + offset * RATE] = "N1"
    (tmp_path / "stages.csv").write_text(text)
    recording(tmp_path / "a.edf", 1)
    np.savez(tmp_path / "b.npz", eeg=np.ones((400, 1), "f4"), fs=RATE)
    for name in ("a.edf", "b.npz::eeg"):
        lines = f"subject,x,y,offset\na,{name},stages.csv,{offset or ''}\n"
        store = convert(None, tmp_path / "s.zarr", table=table(tmp_path, lines), overwrite=True)
        assert rows_of_time(store) == expected.tolist()
        assert store.rate_hz == RATE
    part = f"subject,x,y,offset,start,stop\na,a.edf,stages.csv,{offset},50,250\n"
    store = convert(None, tmp_path / "p.zarr", table=table(tmp_path, part))
    assert rows_of_time(store) == expected[50:250].tolist()


def test_a_csv_file_of_one_column_labels_stretches(tmp_path):
    recording(tmp_path / "a.edf", 1)
    (tmp_path / "stages.csv").write_text("label\nW\nN1\nN1\nW\n")
    lines = "subject,x,y\na,a.edf,stages.csv\n"
    store = convert(None, tmp_path / "s.zarr", table=table(tmp_path, lines), label_every="10s")
    assert rows_of_time(store) == np.repeat(["W", "N1", "N1", "W"], 100).tolist()


@pytest.mark.parametrize(
    ("stages", "x", "offset", "match"),
    [
        ("onset,label\n0,W\n", "a.edf", "", "has the columns onset, label, but labels need"),
        (
            "onset,duration,label\n0,ten,W\n",
            "a.edf",
            "",
            "line 2 has 0, ten, which are not numbers",
        ),
        ("onset,duration,label\n90,10,W\n", "a.edf", "", "none lasts for a while within the rec"),
        ("onset,duration,label\n0,10,W\n0,1\n", "a.edf", "", "line 3 has fewer values"),
        ("label\n", "a.edf", "", "has no lines"),
        ("onset,duration,label\n0,10,W\n", "b.npy", "", "the rate of x is not known; say rate_hz="),
        ("onset,duration,label\n0,10,W\n", "a.edf", "soon", "could not convert"),
    ],
)
def test_a_scoring_that_cannot_be_used_is_said(tmp_path, stages, x, offset, match):
    recording(tmp_path / "a.edf", 1)
    np.save(tmp_path / "b.npy", np.ones((400, 1), "f4"))
    (tmp_path / "stages.csv").write_text(stages)
    lines = f"subject,x,y,offset\na,{x},stages.csv,{offset}\n"
    with pytest.raises(SourceError, match=match):
        convert(None, tmp_path / "s.zarr", table=table(tmp_path, lines))


def test_an_offset_is_that_of_labels_with_times(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((40, 1), "f4"), y=np.array(["W", "R"] * 20))
    lines = "subject,x,y,offset\na,a.npz::x,a.npz::y,3\n"
    with pytest.raises(SourceError, match="offset= is for labels with times"):
        convert(None, tmp_path / "s.zarr", table=table(tmp_path, lines))
