"""BIDS data sets: people, sessions, tables beside the recordings, and groups for splits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from edf_files import write_raw_edf
from signal_files import counts

import zarrts
from zarrts import sources
from zarrts.errors import SampleError
from zarrts.sources import SourceOptions
from zarrts.stats.moments import Moments
from zarrts.storage.table import RecordingTable
from zarrts.upkeep.joining import joined_table

CHANNELS = ("Fz", "Cz", "EOG")
EVENTS = "onset\tduration\ttrial_type\n0\t5\trest\n5\t5\ttask\n"


def write_tsv(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def write_recording(root, subject, session=None, task="nap", seed=0, unit="uV", run=None, n_s=10):
    """Write an EDF file of 100 Hz, whose values are whole numbers, without annotations."""
    parts = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    folder = root.joinpath(*parts, "eeg")
    folder.mkdir(parents=True, exist_ok=True)
    name = "_".join([*parts, f"task-{task}", *([f"run-{run}"] if run else [])])
    x = counts(100 * n_s, 3, seed)
    signals = [
        (channel, x[:, i], 100, ("-32768", "32767"), (-32768, 32767))
        for i, channel in enumerate(CHANNELS)
    ]
    write_raw_edf(folder / f"{name}_eeg.edf", signals, units=(unit,) * 3)
    return folder / name, x.astype("f4")


@pytest.fixture
def root(tmp_path):
    """Return a data set of three people, of whom one came twice."""
    root = tmp_path / "ds"
    write_tsv(root / "dataset_description.json", '{"Name": "a", "BIDSVersion": "1.10.0"}')
    write_tsv(
        root / "participants.tsv",
        "participant_id\tage\tsite\nsub-01\t20\tOslo\nsub-02\t30\tOslo\nsub-03\tn/a\tBergen\n",
    )
    write_tsv(root / "task-nap_events.tsv", EVENTS)
    for number, (subject, session) in enumerate(
        [("01", "a"), ("01", "b"), ("02", "a"), ("03", "a")]
    ):
        write_recording(root, subject, session, seed=number)
    return root


def find(root, **options):
    found = sources.find(root, SourceOptions(**options))
    assert found.problems == ()
    return found


def test_two_sessions_of_a_person_are_one_subject_and_columns_are_groups(root, tmp_path):
    found = find(root)
    assert found.has_subjects_given and found.passed_over == ()
    assert [it.subject for it in found.recordings] == ["sub-01", "sub-01", "sub-02", "sub-03"]
    with zarrts.convert(root, tmp_path / "s.zarr", progress=False) as store:
        assert store.subjects == ["sub-01", "sub-02", "sub-03"]
        assert store.recordings[1].groups == {
            **{"age": "20", "site": "Oslo"},
            **{"session": "b", "task": "nap"},
        }
        assert store.class_names == ["rest", "task"]
        train, test = store.samples.split(test=["Bergen"], group="site")
        assert (set(train.subject), set(test.subject)) == ({"sub-01", "sub-02"}, {"sub-03"})
        assert len([*store.samples.folds(group="site")]) == 2
        with pytest.raises(SampleError, match="in several groups"):
            store.samples.split(test=1, group="session")
        with pytest.raises(
            SampleError, match="group='city' is unknown; use 'age', 'session', 'site', "
        ):
            store.samples.split(test=1, group="city")


def test_groups_are_kept_by_append_and_remove_and_make_schema_2(root, tmp_path):
    place = tmp_path / "s.zarr"
    zarrts.convert(root, place, progress=False).close()
    more = tmp_path / "more"
    write_tsv(more / "dataset_description.json", "{}")
    write_tsv(more / "participants.tsv", "participant_id\tsite\nsub-04\tBergen\n")
    write_recording(more, "04", seed=9)
    write_tsv(more / "events.tsv", EVENTS)
    zarrts.append(place, more, progress=False).close()
    zarrts.remove(place, subject="sub-02")
    root_json = json.loads((place / "zarr.json").read_text())["attributes"]["zarrts"]
    assert root_json["schema"] == 2 and "groups" in root_json["needs"]
    with zarrts.open(place) as store:
        sites = [(it.subject, it.groups["site"]) for it in store.recordings]
        assert sites == [
            *[("sub-01", "Oslo")] * 2,
            ("sub-03", "Bergen"),
            ("sub-04", "Bergen"),
        ]
        assert not zarrts.verify(place, deep=True).problems


def test_groups_of_parts_that_are_joined_stay_with_their_recordings():
    said = ({"site": "Oslo"}, {"site": "Graz"})
    parts = [replace(table_of(["a", "b"]), groups=said), table_of(["c"])]
    assert joined_table(parts).groups == (*said, {})
    assert joined_table([parts[1], parts[0]]).groups == ({}, *said)
    assert joined_table([parts[1], parts[1]]).groups == ()


def table_of(subjects):
    n = len(subjects)
    return RecordingTable(
        subject=tuple(subjects),
        source=tuple(subjects),
        fingerprint=tuple(subjects),
        starts=np.arange(n + 1),
        source_starts=np.zeros(n, np.int64),
        label_counts=None,
        moments=Moments.empty(n, 2),
    )


def test_a_corrected_table_of_participants_is_another_study(root, tmp_path):
    zarrts.convert(root, tmp_path / "s.zarr", progress=False).close()
    zarrts.convert(root, tmp_path / "s.zarr", progress=False).close()
    table = root / "participants.tsv"
    table.write_text(table.read_text().replace("Bergen", "Oslo"))
    with pytest.raises(zarrts.ZarrtsError, match="overwrite"):
        zarrts.convert(root, tmp_path / "s.zarr", progress=False)


def test_the_lowest_table_applies_and_sidecars_are_merged(root):
    folder = root / "sub-02" / "ses-a" / "eeg"
    write_tsv(
        folder / "sub-02_ses-a_task-nap_events.tsv",
        "onset\tduration\tvalue\ttrial_type\n2.5\t1\t7\tN2\n9\tn/a\t7\tclick\nn/a\t1\t7\tlost\n",
    )
    # Of another run, and so of none of these.
    write_tsv(folder / "sub-02_ses-a_task-nap_run-1_events.tsv", EVENTS)
    labels = {it.origin: it.y.read(0, 1000) for it in find(root).recordings}
    second = labels.pop("sub-02/ses-a/eeg/sub-02_ses-a_task-nap_eeg.edf")
    assert second.tolist() == [""] * 250 + ["N2"] * 100 + [""] * 650
    for y in labels.values():
        assert y.tolist() == ["rest"] * 500 + ["task"] * 500


def test_channels_tell_units_that_a_file_lacks_and_bad_ones_and_scale_nothing(root):
    name, x = write_recording(root, "04", "a", unit="", seed=9)
    table = "name\ttype\tunits\tstatus\nFz\tEEG\tuV\tgood\nCz\tEEG\tuV\tbad\nEOG\tEOG\tmV\tn/a\n"
    write_tsv(Path(f"{name}_channels.tsv"), table)
    write_tsv(root / "sub-01" / "ses-a" / "eeg" / "sub-01_ses-a_channels.tsv", table)
    found = sources.find(root, SourceOptions(channels=("Fz", "Cz")))
    assert found.problems == ()
    it = found.recordings[-1]
    assert it.subject == "sub-04"
    np.testing.assert_array_equal(it.x.read(0, 1000), x[:, :2])
    assert found.description.units == ("uV", "uV")
    files = "sub-01/ses-a/eeg/sub-01_ses-a_task-nap_eeg.edf, sub-04/ses-a/eeg/sub-04_ses-a_task-na"
    assert f"{files}p_eeg.edf: says that Cz is bad" in found.notes
    assert any("(2 EEG, 1 EOG); channels= chooses" in note for note in found.notes)
    scaled = find(root).recordings[-1].x.read(0, 1000)
    np.testing.assert_array_equal(scaled, x * np.array([1, 1, 1000], "f4"))


@pytest.mark.parametrize("with_table", [True, False])
def test_eeglab_sets_are_recordings_as_well(tmp_path, with_table):
    x = counts(1000, 2).astype("f4")
    folder = tmp_path / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    fields = [("type", "O"), ("latency", "f8"), ("duration", "f8")]
    eeg = {"nbchan": 2, "trials": 1, "pnts": 1000, "srate": 100.0, "xmin": 0.0, "data": x.T}
    eeg["event"] = np.array([("own", 1.0, 1000.0)], fields)
    eeg["chanlocs"] = np.array([("Fz",), ("Cz",)], [("labels", "O")])
    scipy.io.savemat(folder / "sub-01_task-nap_eeg.set", {"EEG": eeg})
    write_tsv(tmp_path / "dataset_description.json", "{}")
    if with_table:
        write_tsv(tmp_path / "events.tsv", EVENTS)
    (it,) = find(tmp_path).recordings
    assert (it.subject, it.description.channels) == ("sub-01", ("Fz", "Cz"))
    np.testing.assert_array_equal(it.x.read(0, 1000), x)
    expected = ["rest"] * 500 + ["task"] * 500 if with_table else ["own"] * 1000
    assert it.y.read(0, 1000).tolist() == expected


def test_derivatives_and_what_is_ignored_are_left_out(root):
    write_recording(root / "derivatives" / "clean", "01", "a")
    write_tsv(root / "derivatives" / "clean" / "dataset_description.json", "{}")
    write_recording(root / "sourcedata", "01", "a")
    write_recording(root, "emptyroom", "a")
    write_recording(root, "05", "a")
    write_tsv(root / ".bidsignore", "# not ready\nsub-05/\n")
    found = find(root)
    assert len(found.recordings) == 4
    assert "BIDS: 4 files of derivatives, source data and the like are left out" in found.notes
    # Asked for by themselves, they are a data set as any other.
    write_tsv(root / "derivatives" / "clean" / "events.tsv", EVENTS)
    (it,) = find(root / "derivatives" / "clean").recordings
    assert it.subject == "sub-01"


def test_a_data_set_below_what_is_given_is_recognised(root):
    found = find(root.parent)
    assert [it.subject for it in found.recordings] == ["sub-01", "sub-01", "sub-02", "sub-03"]
    assert found.recordings[0].origin.startswith("ds/sub-01/")


def test_a_single_folder_of_a_data_set_is_no_data_set(root):
    found = sources.find(root / "sub-01", SourceOptions(unlabelled="rest"))
    assert found.problems == ()
    assert [it.groups for it in found.recordings] == [{}, {}]


def test_new_files_of_a_data_set_need_no_events(root):
    (root / "task-nap_events.tsv").unlink()
    problems = sources.find(root).problems
    assert len(problems) == 4 and all("has no table of events" in it for it in problems)
    inputs = sources.find_inputs(str(root), SourceOptions(y=False))
    assert [it.x.shape for it in inputs] == [(1000, 3)] * 4


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("participants.tsv", "who\tsite\na\tOslo\n", "has no column participant_id"),
        (
            "participants.tsv",
            "participant_id\tsite\nsub-01\n",
            "line 2 has 1 values",
        ),
        ("participants.tsv", "", "is empty"),
        ("task-nap_events.tsv", "onset\tduration\n0\t5\n", "but onset, duration and a text"),
        ("task-nap_events.tsv", "onset\tduration\tvalue\nx\t5\ta\n", "line 2 is not of numbers"),
        ("task-nap_channels.tsv", "name\tkind\nFz\tEEG\n", "needs the columns name, type, units"),
        ("task-nap_eeg.json", "{", "is not JSON"),
    ],
)
def test_a_damaged_table_is_named(root, name, text, said):
    write_tsv(root / name, text)
    problems = sources.find(root).problems
    assert problems and all(it.startswith(name) and said in it for it in problems)
