"""Zarr as other programs of this field lay it out: braindecode, biosigIO (NEMAR), hdmf-zarr."""

import csv
import json
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
import zarr
from test_sources_zarr import pieces

import zarrts
from zarrts import sources
from zarrts.sources import SourceOptions

RNG = np.random.default_rng(3)
NAMES = ["Fz", "Cz", "Pz"]

INFO = {  # of mne.Info.to_json_dict(), what is used here
    "ch_names": NAMES,
    "sfreq": 100.0,
    "chs": [
        {"ch_name": it, "unit": {"_mne_type": "NamedInt", "value": 107, "name": "FIFF_UNIT_V"}}
        for it in NAMES
    ],
}


def braindecode(path, kind, recordings, **more):
    """Write a hierarchy as braindecode's Zarr backend does."""
    root = zarr.open(str(path), mode="w")
    root.attrs.update({"n_datasets": len(recordings), "dataset_type": kind})
    for i, (values, table, description) in enumerate(recordings):
        group = root.create_group(f"recording_{i}")
        group.create_array("data", data=values.astype("f4"), chunks=values.shape)
        if table is not None:
            with open(path / f"recording_{i}" / "metadata.tsv", "w", newline="") as file:
                csv.writer(file, delimiter="\t").writerows(table)
        group.attrs.update({"description": description, "info": INFO, **more})
    return path


def windows(targets):
    lines = [["", "i_window_in_trial", "i_start_in_trial", "i_stop_in_trial", "target"]]
    return lines + [[i, i, 20 * i, 20 * i + 20, it] for i, it in enumerate(targets)]


def test_windows_of_braindecode(tmp_path):
    data = [RNG.normal(size=(n, 3, 20)) for n in (5, 4, 6)]
    targets = [[0, 1, 2, 0, 1], [1, 1, 2, 0], [0, 0, 1, 2, 1, 0]]
    recordings = [
        (x, windows(y), {"subject": subject, "session": "0train", "run": str(i)})
        for i, (x, y, subject) in enumerate(zip(data, targets, (1, 1, 2), strict=True))
    ]
    path = braindecode(tmp_path / "dataset.zarr", "WindowsDataset", recordings)
    with zarrts.convert(path, tmp_path / "out.zarr", progress=False, missing_chunks="fill") as out:
        assert out.subjects == ["1", "2"]
        assert (out.channels, out.units, out.rate_hz) == (NAMES, ["V"] * 3, 100)
        x, y = out.samples.load()
    expected = np.concatenate(data).astype("f4")
    np.testing.assert_array_equal(x, np.moveaxis(expected, 1, 2))
    assert y.tolist() == [it for some in targets for it in some]


def test_signals_of_braindecode(tmp_path):
    data = RNG.normal(size=(3, 200))
    about = {"subject": 7, "age": 31, "pathological": True}
    table = windows(["rest", "rest", "move"])
    path = braindecode(
        tmp_path / "a.zarr", "EEGWindowsDataset", [(data, table, about)], targets_from="metadata"
    )
    (recording,) = sources.find(path).recordings
    pieces(recording.x, data.astype("f4").T)
    assert recording.y.read(0, 200).tolist() == ["rest"] * 40 + ["move"] * 20 + [""] * 140
    path = braindecode(
        tmp_path / "b.zarr", "RawDataset", [(data, None, about)], target_name="pathological"
    )
    (recording,) = sources.find(path).recordings
    assert (recording.subject, recording.labels_per) == ("7", "recording")
    assert recording.y.read(0, 1).tolist() == ["True"]
    path = braindecode(tmp_path / "c.zarr", "RawDataset", [(data, None, about)])
    (problem,) = sources.find(path).problems
    assert problem.startswith("c.zarr/recording_0: is a RawDataset without a target; say y=False")
    (recording,) = sources.find(path, SourceOptions(y=False)).recordings
    pieces(recording.x, data.astype("f4").T)


def biosigio(path, counts, scale, offset, events, version=2, names=NAMES):
    """Write a hierarchy as biosigIO's exporter does, and NEMAR serves it."""
    root = zarr.open_group(str(path), mode="w")
    root.attrs.update(
        {
            "format": "biosigio-zarr",
            "format_version": version,
            "dtype": "int16",
            "channel_groups": ["eeg_250hz"],
        }
    )
    group = root.create_group("eeg_250hz")
    channels = [
        {"label": name, "unit": "uV", "row_index": i, "scale": scale[i], "offset": offset[i]}
        for i, name in enumerate(names)
    ]
    group.attrs.update({"modality": "EEG", "rate": 250.0, "channels": channels[::-1]})
    signal = group.create_array(
        "0", shape=counts.shape, dtype="i2", chunks=(3, 100), shards=(3, 300)
    )
    signal[:] = counts
    signal.attrs.update(
        {
            "level": 0,
            "rate": 250.0,
            "kind": "signal",
            "scale": scale,
            "offset": offset,
            "physical_formula": "physical = digital * scale + offset",
        }
    )
    view = group.create_group("view").create_array("1", data=np.ones((2, 3, 10), "f4"))
    view.attrs.update({"kind": "minmax_envelope", "usable_for_inference": False})
    inside = root.create_group("events")
    for name, dtype, column in (("onset", "f8", 0), ("duration", "f8", 1), ("code", "i4", 2)):
        inside.create_array(name, data=np.array([it[column] for it in events], dtype))
    inside.attrs["label_map"] = {"1": "rest", "2": "move"}
    return path


def test_a_recording_of_nemar_is_in_physical_units_with_its_events(tmp_path):
    counts = RNG.integers(-3000, 3000, (3, 700)).astype("i2")
    scale, offset = [0.0638, 0.0403, 0.5], [1195.83, 687.08, -2.0]
    events = [(0.4, 0.4, 1), (0.8, 1.2, 2), (2.2, 0.01, 1)]
    path = biosigio(tmp_path / "sub-01_task-rest_eeg.zarr", counts, scale, offset, events)
    found = sources.find(path)
    assert found.problems == ()
    (recording,) = found.recordings
    physical = counts * np.array(scale)[:, None] + np.array(offset)[:, None]
    pieces(recording.x, physical.T)
    assert found.description.channels == tuple(NAMES)
    assert found.description.units == ("uV",) * 3 and found.description.rate_hz == 250
    labels = recording.y.read(0, 700).tolist()
    assert labels[99:101] == ["", "rest"] and labels[199:201] == ["rest", "move"]
    assert labels[500] == "" and labels.count("move") == 300
    (recording,) = sources.find(path, SourceOptions(y=False)).recordings
    pieces(recording.x, physical.T)
    options = SourceOptions(y=False, x="eeg_250hz/0", axes=("channel", "time"))
    pieces(sources.find(path, options).recordings[0].x, physical.T)


def test_channels_of_one_name_are_told_apart(tmp_path):
    """One that is really called "T8#1" keeps that name."""
    counts = np.ones((3, 10), "i2")
    names = ["T8", "T8", "T8#1"]
    path = biosigio(tmp_path / "a.zarr", counts, [1.0] * 3, [0.0] * 3, [], names=names)
    found = sources.find(path, SourceOptions(y=False))
    assert found.description.channels == ("T8#2", "T8#3", "T8#1")


def test_a_version_of_biosigio_that_is_not_known_is_refused(tmp_path):
    path = biosigio(tmp_path / "a.zarr", np.ones((3, 300), "i2"), [1] * 3, [0] * 3, [(0, 1, 1)], 3)
    (problem,) = sources.find(path).problems
    assert "is biosigio-zarr of version 3, and 2 is the latest" in problem


def test_electrical_series_of_nwb_in_their_units(tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="tox -e formats has pynwb")
    backend = pytest.importorskip("hdmf_zarr.nwb", reason="tox -e formats has hdmf-zarr")
    from pynwb.ecephys import ElectricalSeries

    counts = RNG.integers(1, 3000, (500, 4)).astype("i2")
    path = tmp_path / "sub-1.nwb.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hdmf and zarr, about themselves
        file = pynwb.NWBFile(
            session_description="s",
            identifier="i",
            session_start_time=datetime(2020, 1, 1, tzinfo=UTC),
        )
        device = file.create_device("probe")
        group = file.create_electrode_group("g", description="d", location="l", device=device)
        for _ in range(4):
            file.add_electrode(group=group, location="l")
        region = file.create_electrode_table_region([0, 1, 2, 3], "all")
        more = {"one": {"offset": 0.5}, "many": {"channel_conversion": [1.0, 2.0, 3.0, 4.0]}}
        for name, it in more.items():
            file.add_acquisition(
                ElectricalSeries(
                    name=name, data=counts, electrodes=region, rate=1000.0, conversion=1e-6, **it
                )
            )
        with backend.NWBZarrIO(str(path), "w") as io:
            io.write(file)
        expected = {}
        with backend.NWBZarrIO(str(path), "r") as io:
            series = io.read().acquisition
            for name in more:
                scale = 1e-6 * np.asarray(more[name].get("channel_conversion", 1.0))
                stored = np.asarray(series[name].data[:])
                expected[name] = stored * scale + series[name].offset
                if name == "one":
                    np.testing.assert_array_equal(expected[name], series[name].get_data_in_units())
    for name in more:
        options = SourceOptions(y=False, x=f"acquisition/{name}/data")
        found = sources.find(path, options)
        assert found.problems == ()
        pieces(found.recordings[0].x, expected[name])
        assert found.description.rate_hz == 1000
        assert found.description.units == ("V",) * 4


def test_what_a_layout_says_of_itself_is_not_trusted(tmp_path):
    data = RNG.normal(size=(4, 3, 20))
    path = braindecode(tmp_path / "d.zarr", "WindowsDataset", [(data, windows([1, 2]), {})])
    (problem,) = sources.find(path).problems
    assert "has 4 windows, but 2 lines in its metadata.tsv" in problem
    root = json.loads((path / "zarr.json").read_bytes())
    root["attributes"]["n_datasets"] = 3
    (path / "zarr.json").write_text(json.dumps(root))
    problems = sources.find(path).problems
    assert sum("is not there" in it for it in problems) == 2
