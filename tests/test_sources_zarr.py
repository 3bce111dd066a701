"""Zarr arrays and groups as sources: those of other programs, in pieces, and what is refused."""

import itertools
import json
import pickle
import shutil

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from source_kinds import QUICK

import zarrts
from zarrts import sources
from zarrts.buckets.mounts import Mounts
from zarrts.cli import main
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions

_names = itertools.count()
RNG = np.random.default_rng(7)
X = RNG.random((30, 12, 3)).astype(np.float32)
Y = np.array(["W", "N1", "R"])[np.arange(30) % 3]


def array(group, name, values, **options):
    """Write an array; text is text of any length."""
    values = np.asarray(values)
    dtype = str if values.dtype.kind == "U" else values.dtype
    made = group.create_array(name, shape=values.shape, dtype=dtype, **options)
    made[...] = values.astype(object) if values.dtype.kind == "U" else values
    return made


def group_of(path, zarr_format=3, **attributes):
    return zarr.open_group(path, mode="w", zarr_format=zarr_format, attributes=attributes)


def two_subjects(path, **options):
    top = group_of(path, zarr_format=options.pop("zarr_format", 3))
    for i, name in enumerate(("ann", "bob")):
        inside = top.create_group(name)
        array(inside, "x", X + i, **options)
        array(inside, "y", np.arange(30) % 3)
    return path


def pieces(reader, expected, seed=0, n_pieces=12):
    """Compare random pieces of rows, and all of them, value by value."""
    rng = np.random.default_rng(seed)
    n_rows = len(expected)
    assert reader.shape == expected.shape and reader.dtype == expected.dtype
    for _ in range(n_pieces):
        start, stop = sorted(rng.integers(0, n_rows + 1, 2))
        np.testing.assert_array_equal(reader.read(int(start), int(stop)), expected[start:stop])
    np.testing.assert_array_equal(reader.read(0, n_rows), expected)


@st.composite
def stored_arrays(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    dtype = draw(st.sampled_from(["?", "i1", "<i2", ">i2", "u4", "i8", "<f4", ">f4", "f8"]))
    chunks = tuple(draw(st.integers(1, length)) for length in shape)
    options = {"chunks": chunks}
    zarr_format = draw(st.sampled_from([2, 3]))
    if zarr_format == 3 and draw(st.booleans()):
        options["shards"] = tuple(
            size * draw(st.integers(1, -(-length // size)))
            for size, length in zip(chunks, shape, strict=True)
        )
    if zarr_format == 2:
        options["order"] = draw(st.sampled_from("CF"))
    options["compressors"] = draw(st.sampled_from(["auto", None]))
    return zarr_format, shape, dtype, options


@settings(max_examples=25, **QUICK)
@given(stored_arrays(), st.integers(0, 99))
def test_every_array_of_zarr_is_read_in_pieces_as_zarr_reads_it(tmp_path_factory, stored, seed):
    zarr_format, shape, dtype, options = stored
    path = tmp_path_factory.mktemp("zarr") / "s.zarr"
    top = group_of(path, zarr_format)
    values = (np.random.default_rng(seed).random(shape) * 90 + 1).astype(dtype)
    made = array(top, "x", values, **options)
    array(top, "y", np.arange(shape[0]) + 1)
    found = sources.find(path, SourceOptions(kind="dense"))
    assert found.problems == ()
    (recording,) = found.recordings
    pieces(recording.x, np.asarray(made[...]).astype(values.dtype.newbyteorder("=")), seed)
    pieces(pickle.loads(pickle.dumps(recording.x)), values.astype(values.dtype.newbyteorder("=")))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_for_each_subject(tmp_path, zarr_format):
    two_subjects(tmp_path / "study.zarr", zarr_format=zarr_format)
    with zarrts.convert(tmp_path / "study.zarr", tmp_path / "out.zarr", progress=False) as store:
        assert store.subjects == ["ann", "bob"]
        x, y = store.samples.load()
        assert [it.source for it in store.recordings] == ["study.zarr/ann", "study.zarr/bob"]
    np.testing.assert_array_equal(x, np.concatenate([X, X + 1]))
    np.testing.assert_array_equal(y, np.tile(np.arange(30) % 3, 2))


def test_hierarchies_in_a_folder_and_arrays_that_are_paired(tmp_path):
    for name in ("a", "b"):
        top = group_of(tmp_path / "groups" / f"{name}.zarr")
        array(top, "x", X), array(top, "y", Y)
        (tmp_path / "pairs").mkdir(exist_ok=True)
        for part, values in (("x", X + ord(name)), ("y", np.arange(30))):
            zarr.save_array(tmp_path / "pairs" / f"{name}_{part}.zarr", values)
    found = sources.find(tmp_path / "groups")
    assert [it.origin for it in found.recordings] == ["a.zarr", "b.zarr"]
    assert len({it.y.read(0, 30).tolist() == Y.tolist() for it in found.recordings}) == 1
    found = sources.find(tmp_path / "pairs")
    assert [it.subject for it in found.recordings] == ["a", "b"]
    assert found.problems == ()
    pieces(found.recordings[1].x, X + np.float32(ord("b")))


def test_one_array_for_each_subject_without_labels_or_with_a_table(tmp_path):
    for name in ("a", "b"):
        zarr.save_array(tmp_path / "raw" / f"{name}.zarr", X)
    found = sources.find(tmp_path / "raw", SourceOptions(y=False))
    assert [it.subject for it in found.recordings] == ["a", "b"]
    (problem, _) = sources.find(tmp_path / "raw").problems
    assert "a.zarr" in problem and "_y" in problem
    table = tmp_path / "raw" / "files.csv"
    table.write_text("subject,x,label\nann,a.zarr,walk\nbob,b.zarr,run\n")
    found = sources.find(str(table), SourceOptions(axes=("sample", "time", "channel")))
    assert [it.subject for it in found.recordings] == ["ann", "bob"]
    pieces(found.recordings[0].x, X)


def test_names_of_dimensions_and_attributes_are_kept(tmp_path):
    top = group_of(tmp_path / "s.zarr", sampling_rate=250)
    names = ("trial", "channel", "time")
    made = array(top, "x", X, dimension_names=names)
    made.attrs.update({"ch_names": list("abcdefghijkl"), "units": "uV"})
    array(top, "y", Y)
    found = sources.find(tmp_path / "s.zarr")
    (recording,) = found.recordings
    pieces(recording.x, np.moveaxis(X, 1, 2))
    assert found.description.channels == tuple("abcdefghijkl")
    assert found.description.units == ("uV",) * 12
    assert found.description.rate_hz == 250


@pytest.mark.parametrize("n_labels", [1, 30])
def test_a_series_is_told_by_its_dimensions(tmp_path, n_labels):
    top = group_of(tmp_path / "s.zarr")
    array(top, "x", X[:, :, 0].T, dimension_names=("channel", "time"))
    array(top, "y", np.arange(n_labels) % 2 + 1)
    (recording,) = sources.find(tmp_path / "s.zarr").recordings
    assert recording.labels_per == ("row" if n_labels == 30 else "recording")
    pieces(recording.x, X[:, :, 0])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_values_are_those_that_xarray_means(tmp_path, zarr_format):
    xarray = pytest.importorskip("xarray", reason="it comes with zarrts[test]")
    counts = RNG.integers(-9, 9, (20, 4)).astype("i2")
    encodings = {
        "both": {"scale_factor": 0.1, "add_offset": 2.0},
        "scale": {"scale_factor": 0.25, "_FillValue": -9},
        "offset": {"add_offset": 1.5},
        "fill": {"_FillValue": -9},
        "whole": {"scale_factor": 3},
        "plain": {},
    }
    dims = ("time", "channel")
    values = {
        # Counts as they are, and their attributes: what xarray writes when it packs.
        name: xarray.DataArray(
            counts,
            attrs=it,
            dims=dims,
            coords={"channel": np.array(list("abcd"), object)},
        )
        for name, it in encodings.items()
    }
    values["y"] = xarray.DataArray(np.arange(20), dims="time")
    path = tmp_path / "s.zarr"
    try:
        xarray.Dataset(values).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    except AttributeError:
        pytest.skip("this version of xarray cannot write _FillValue with this version of Zarr")
    with xarray.open_zarr(path, consolidated=False) as opened:
        for name in encodings:
            expected = opened[name].to_numpy()
            found = sources.find(path, SourceOptions(x=name, y="y"))
            assert found.problems == ()
            (recording,) = found.recordings
            pieces(recording.x, expected)
            assert found.description.channels == ("a", "b", "c", "d")


# What is missing, or damaged ---------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"zarr_format": 2}, {"shards": (10, 12, 3)}])
def test_chunks_that_were_never_written_are_counted(tmp_path, options):
    path = tmp_path / "s.zarr"
    top = group_of(path, options.pop("zarr_format", 3))
    values = X.copy()
    values[5:15] = 0  # two chunks, which zarr-python does not write
    made = array(top, "x", values, chunks=(5, 12, 3), fill_value=0, **options)
    array(top, "y", np.arange(30) % 3 + 1)
    says = r"s\.zarr: /x: 2 of its 6 chunks are not there, and would be read as 0"
    (problem,) = sources.find(path).problems
    assert problem.startswith("s.zarr: /x: 2 of its 6 chunks are not there")
    with pytest.raises(SourceError, match=says):
        zarrts.convert(path, tmp_path / "out.zarr", progress=False)
    convert = {"missing_chunks": "fill", "progress": False}
    with zarrts.convert(path, tmp_path / "out.zarr", **convert) as store:
        np.testing.assert_array_equal(store.samples.load()[0], made[...])
    shown = CliRunner().invoke(
        main, ["convert", str(path), "--dry-run", "--missing-chunks", "fill"]
    )
    assert shown.exit_code == 0, shown.output


def test_a_chunk_that_goes_meanwhile_is_an_error_and_not_zeros(tmp_path):
    path = two_subjects(tmp_path / "s.zarr", chunks=(5, 12, 3))
    recording = sources.find(path).recordings[0]
    (path / "ann" / "x" / "c" / "3" / "0" / "0").unlink()
    recording.x.read(0, 15)
    with pytest.raises(SourceError, match=r"rows 15 to 30 cannot be read.*is missing"):
        recording.x.read(15, 30)


@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("content", [b"", b"what is this", None])
def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path, is_sharded, content):
    options = {"shards": (10, 12, 3)} if is_sharded else {}
    path = two_subjects(tmp_path / "s.zarr", chunks=(5, 12, 3), **options)
    file = path / "ann" / "x" / "c" / "1" / "0" / "0"
    file.write_bytes(file.read_bytes()[:-7] if content is None else content)
    found = sources.find(path)
    try:
        found.recordings[-2].x.read(0, 30)
    except (SourceError, IndexError) as error:
        said = str(error)
    if is_sharded:
        (said,) = found.problems
    assert said.startswith("s.zarr: /ann/x") or "/ann/x: rows 0 to 30 cannot be read" in said
    assert found.recordings[-1].subject == "bob"


BAD = {
    "not JSON": (b"{", "zarr.json is damaged"),
    "no object": (b"[]", "zarr.json is damaged (not an object)"),
    "format": (b'{"zarr_format": 4}', "metadata are damaged (zarr_format 4)"),
    "no shape": (b'{"zarr_format": 3, "node_type": "array"}', "a node of type 'array'"),
    "shape": (b'{"zarr_format": 3, "node_type": "array", "shape": [-1]}', "the shape (-1,)"),
    "dtype": ({"data_type": "r128"}, "cannot be read by zarr-python"),
    "codec": ({"codecs": [{"name": "pickle"}]}, "its codec 'pickle' is not among those"),
    "complex": ({"data_type": "complex64", "fill_value": [0, 0]}, "is complex"),
    "transformers": ({"storage_transformers": [{"name": "evil"}]}, "storage transformers"),
}


@pytest.mark.parametrize("name", BAD)
def test_metadata_that_are_damaged_are_a_sentence(tmp_path, name):
    content, says = BAD[name]
    for subject in ("ann", "bob"):
        top = group_of(tmp_path / f"{subject}.zarr")
        array(top, "x", X), array(top, "y", Y)
    file = tmp_path / "ann.zarr" / "x" / "zarr.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(file.read_bytes()) | content).encode()
    file.write_bytes(content)
    found = sources.find(tmp_path)
    assert [it.subject for it in found.recordings] == ["bob"]
    (problem,) = found.problems
    assert problem.startswith("ann.zarr") and says in problem and problem.endswith(".")


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    path = two_subjects(tmp_path / "s.zarr", zarr_format=2)
    file = path / "ann" / "x" / ".zarray"
    metadata = json.loads(file.read_bytes())
    file.write_text(json.dumps(metadata | {"dtype": "|O", "filters": [{"id": "pickle"}]}))
    (problem,) = sources.find(path).problems
    assert "its codec 'pickle' is not among those" in problem


def test_stores_of_zarrts_are_passed_over_in_folders_and_so_is_zarr_beside_other_files(tmp_path):
    np.savez(tmp_path / "s1.npz", x=X, y=Y)
    two_subjects(tmp_path / "copy.zarr")
    zarrts.convert(tmp_path / "s1.npz", tmp_path / "store.zarr", progress=False).close()
    assert [it.origin for it in sources.find(tmp_path).recordings] == ["s1.npz"]
    (tmp_path / "s1.npz").unlink()
    assert [it.subject for it in sources.find(tmp_path).recordings] == ["ann", "bob"]
    shutil.rmtree(tmp_path / "copy.zarr")
    with pytest.raises(SourceError, match=r"1 Zarr arrays or stores"):
        sources.find(tmp_path)
    (tmp_path / "store.zarr" / "zarr.json").unlink()  # one that was not finished
    with pytest.raises(SourceError, match=r"no \.npy"):
        sources.find(tmp_path)


def test_content_that_changes_is_another_fingerprint_and_other_groups_keep_theirs(tmp_path):
    path = two_subjects(tmp_path / "s.zarr", chunks=(5, 12, 3))
    before = {it.subject: it.fingerprint for it in sources.find(path).recordings}
    shutil.copytree(path, tmp_path / "elsewhere.zarr")
    moved = sources.find(tmp_path / "elsewhere.zarr").recordings
    assert {it.subject: it.fingerprint for it in moved} == before
    zarr.open_array(path / "ann" / "x")[7] = 1
    after = {it.subject: it.fingerprint for it in sources.find(path).recordings}
    assert after["bob"] == before["bob"] and after["ann"] != before["ann"]


@pytest.fixture
def upload():
    """Return what puts a folder into a bucket in memory, and gives its address and the bucket."""
    made = []

    def put(folder):
        place = f"memory://zarrs{next(_names)}"
        remote, _ = Mounts().at(place)
        made.append(remote)
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{folder.name}/{path.relative_to(folder).as_posix()}"
                remote.put(key, path.read_bytes())
        return place, remote

    yield put
    for remote in made:
        remote.close()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_same_hierarchy_in_a_bucket(tmp_path, upload, zarr_format):
    options = {"shards": (10, 12, 3)} if zarr_format == 3 else {}
    local = two_subjects(tmp_path / "s.zarr", chunks=(5, 12, 3), zarr_format=zarr_format, **options)
    top, remote = upload(local)
    convert = {"progress": False, "chunk": "2KiB", "subject": r"[^/]+$"}
    with zarrts.convert(local, tmp_path / "here.zarr", **convert) as here:
        expected, _ = here.samples.load()
    for i, place in enumerate((f"{top}/s.zarr", top, f"{top}/*.zarr")):
        with zarrts.convert(place, tmp_path / f"out{i}.zarr", **convert) as store:
            assert store.subjects == ["ann", "bob"]
            np.testing.assert_array_equal(store.samples.load()[0], expected)
    remote.delete(["s.zarr/bob/x/c/1/0/0" if zarr_format == 3 else "s.zarr/bob/x/1.0.0"])
    says = rf"bob/x: {2 if options else 1} of its 6 chunks are not there"
    with pytest.raises(SourceError, match=says):
        zarrts.convert(top, tmp_path / "no.zarr", **convert)
