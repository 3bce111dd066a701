"""Studies without labels: said as such, converted, grown, checked, and never guessed."""

import numpy as np
import pytest
from edf_files import write_edf

import zarrts
from zarrts import PlanError, SampleError, SourceError

X = np.random.default_rng(0).normal(size=(50, 4)).astype("f4")
NO_INTERVALS = np.zeros(0, dtype=[("start", "i8"), ("stop", "i8"), ("label", "U8")])


def convert(source, path, **options):
    return zarrts.convert(source, path, progress=False, **options)


@pytest.mark.parametrize("y", [None, "", np.full(50, ""), NO_INTERVALS])
def test_a_series_without_any_label_is_stored_and_read(tmp_path, y):
    path = tmp_path / "a.zarr"
    people = [zarrts.Recording("new", X, y), zarrts.Recording("other", X[:30], None)]
    if not isinstance(y, str) and y is not None:
        people = people[:1]
    with convert(people, path, kind="ragged", rate_hz=50) as store:
        assert store.class_names == [] and store.samples.n_unlabelled == len(people)
        assert store.samples.class_counts.tolist() == []
        x = next(
            iter(
                store.samples.windows(10, 10, label="recording" if y is None else "all").batches(
                    5, label_mode=None, shuffle=False
                )
            )
        ).x
        np.testing.assert_array_equal(x, X.reshape(5, 10, 4))
    assert zarrts.verify(path, deep=True).problems == ()
    with convert(people, path, kind="ragged", rate_hz=50, overwrite=True) as store:
        assert len(store.samples) == len(people)


def test_samples_without_labels_are_rows_or_recordings_as_is_said(tmp_path):
    three_axes = X.reshape(10, 5, 4)
    with convert(zarrts.Recording("a", three_axes, None), tmp_path / "a.zarr") as store:
        assert len(store.samples) == 10
    with convert(zarrts.Recording("a", X, None), tmp_path / "b.zarr", kind="dense") as store:
        assert len(store.samples) == 50
    with pytest.raises(SourceError, match="can be read in two ways"):
        convert(zarrts.Recording("a", X, None), tmp_path / "c.zarr")


def test_files_have_no_labels_where_it_is_said_and_only_there(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    np.savez(folder / "a.npz", x=X, y=np.arange(50) % 3)
    np.savez(folder / "b.npz", x=X[:20])
    path = tmp_path / "a.zarr"
    with pytest.raises(SourceError, match=r"b\.npz: .*which array is the labels"):
        convert(folder, path, kind="ragged")
    with convert(folder, path, kind="ragged", y=False) as store:
        assert store.subjects == ["a", "b"] and store.samples.n_unlabelled == 2
    assert zarrts.verify(path, deep=True, sources=folder).problems == ()
    next(path.glob("0/x/c/0/0")).write_bytes(b"")
    assert len(zarrts.repair(path, folder).problems) == 1
    assert zarrts.verify(path, deep=True, sources=folder).problems == ()
    for options in ({"label_every": 5}, {"folders": "classes"}):
        with pytest.raises((SourceError, PlanError), match="y=False says that there are no labels"):
            convert(folder, tmp_path / "b.zarr", y=False, **options)


def test_a_table_needs_no_column_of_labels(tmp_path):
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "who.csv").write_text("subject,x\nanna,one.npy\n")
    with convert(tmp_path / "who.csv", tmp_path / "a.zarr", kind="ragged", y=False) as store:
        assert store.subjects == ["anna"] and store.samples.n_unlabelled == 1


def test_labels_come_later_or_stay_away(tmp_path):
    path = tmp_path / "a.zarr"
    convert(zarrts.Recording("a", X, None), path, kind="ragged").close()
    zarrts.append(path, zarrts.Recording("b", 2 * X, "walk"), progress=False).close()
    with zarrts.append(path, zarrts.Recording("c", 3 * X, None), progress=False) as store:
        assert store.class_names == ["walk"]
        assert store.samples.class_counts.tolist() == [1]
        assert store.samples.labelled().subjects == ["b"]
    assert zarrts.verify(path, deep=True).problems == ()


def test_recordings_without_labels_lie_beside_text_and_not_beside_numbers(tmp_path):
    rows = np.full(50, "walk")
    people = [zarrts.Recording("a", X, None), zarrts.Recording("b", X, rows)]
    with convert(people, tmp_path / "a.zarr", kind="ragged") as store:
        assert store.samples.class_counts.tolist() == [50]
        assert store.samples.labelled().subjects == ["b"]
    people[1] = zarrts.Recording("b", X, np.arange(50) % 3)
    with pytest.raises(SourceError, match=r"\(a\): has no labels, but those of others"):
        convert(people, tmp_path / "b.zarr", kind="ragged")


def test_training_without_labels_says_what_to_do(tmp_path):
    pytest.importorskip("keras", exc_type=ImportError)
    with convert(zarrts.Recording("a", X.reshape(10, 5, 4), None), tmp_path / "a.zarr") as store:
        with pytest.raises(SampleError, match=r"has a label: give label_mode=None"):
            zarrts.ZarrSequence(store)
        with zarrts.ZarrSequence(store, label_mode=None, shuffle=False) as seq:
            np.testing.assert_array_equal(seq[0], X.reshape(10, 5, 4))


def test_the_command_says_that_there_are_no_labels(tmp_path):
    from click.testing import CliRunner

    from zarrts.cli import main

    np.savez(tmp_path / "a.npz", x=X, y=np.arange(50))
    command = ["convert", str(tmp_path / "a.npz"), str(tmp_path / "a.zarr"), "--kind", "ragged"]
    found = CliRunner().invoke(main, [*command, "--no-y", "--dry-run"])
    assert found.exit_code == 0 and "none, as is said" in found.output
    found = CliRunner().invoke(main, [*command, "--no-y", "--y", "y"])
    assert found.exit_code == 2 and "--no-y says that there are none" in found.output


@pytest.mark.parametrize("way", ["folder", "table", "bids"])
def test_signals_follow_in_time_without_labels_as_well(tmp_path, way):
    folder = tmp_path / "files"
    folder.mkdir()
    signals = write_edf(folder / "sub-1_eeg.edf", annotations=[(0, 3, "W")])
    options = {"y": False}
    if way == "table":
        (tmp_path / "list.csv").write_text("subject,x\none,files/sub-1_eeg.edf\n")
        source, options["table"] = None, tmp_path / "list.csv"
    else:
        source = folder
    if way == "bids":
        (folder / "dataset_description.json").write_text('{"Name": "a", "BIDSVersion": "1.9.0"}')
        (folder / "sub-1" / "eeg").mkdir(parents=True)
        (folder / "sub-1_eeg.edf").rename(folder / "sub-1" / "eeg" / "sub-1_eeg.edf")
    with convert(source, tmp_path / "a.zarr", **options) as store:
        assert (store.kind, store.rate_hz, store.samples.n_unlabelled) == ("ragged", 50, 1)
        (x,), _ = store.samples.load()
        np.testing.assert_allclose(x, np.stack(signals, axis=1), atol=0.02)
    # As it was to be said before, and with the same bytes.
    with convert(source, tmp_path / "b.zarr", kind="ragged", **options):
        pass
    ours, theirs = ((tmp_path / name / "0/x/c/0/0").read_bytes() for name in ("a.zarr", "b.zarr"))
    assert ours == theirs
    with convert(source, tmp_path / "c.zarr", kind="dense", **options) as store:
        assert len(store.samples) == 600  # where each row is said to be a sample
