"""Folders that open as a store and those that do not, and why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from conftest import Study, make_study

import zarrts
from zarrts.errors import StoreError, ZarrtsError
from zarrts.storage.store import is_store, read_header


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(
        tmp_path_factory.mktemp("store") / "subjects", sizes=[9, 4, 12], labels="text"
    )


@pytest.fixture(scope="module")
def path(study: Study) -> Path:
    target = study.folder.parent / "a.zarr"
    options: dict[str, Any] = {"channels": ["Fz", "Cz", "Pz"], "rate_hz": 50, "progress": False}
    zarrts.convert(study.folder, target, chunk=300, shard=600, **options).close()
    return target


def refusal(path: Path) -> str:
    assert not is_store(path)
    with pytest.raises(StoreError) as caught:
        zarrts.open(path)
    return str(caught.value)


def test_header_says_what_was_converted(path: Path, study: Study) -> None:
    header = read_header(path)
    assert (header.version, header.kind) == (1, "dense")
    assert (header.x_name, header.y_name) == ("x", "y")
    assert (header.channels, header.rate_hz) == (("Fz", "Cz", "Pz"), 50.0)
    assert header.labels.encoding == "codes"
    assert header.labels.class_names == ("N1", "N2", "REM", "wake")
    (segment,) = header.segments
    assert (segment.x.shape, segment.y.shape) == ((25, 6, 3), (25,))
    assert segment.x.chunk_rows == segment.y.chunk_rows == segment.recording.chunk_rows == 4
    assert segment.x.shard_rows == segment.y.shard_rows == segment.recording.shard_rows == 8
    shards = [it for it in (path / "0").rglob("c/*") if it.is_file() or it.name.isdigit()]
    assert shards
    assert segment.stored_bytes == sum(
        it.stat().st_size
        for array in ("x", "y", "recording")
        for it in (path / "0" / array / "c").rglob("*")
        if it.is_file()
    )


def test_opening_reads_nothing_but_the_root(path: Path, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_bytes((path / "zarr.json").read_bytes())
    with zarrts.open(tmp_path) as store:
        assert (store.n_samples, store.sample_shape, store.n_classes) == (25, (6, 3), 4)
        with pytest.raises(StoreError, match="0 is not there any more"):
            _ = store.subjects


def test_open_takes_text_and_paths_and_only_the_version_that_is_there(path: Path) -> None:
    for given in (path, str(path), f"{path}/"):
        with zarrts.open(given) as store:
            assert store.n_samples == 25
    zarrts.open(path, version=1).close()
    with pytest.raises(StoreError, match=r"no version 3; there is 1\. Open it without version="):
        zarrts.open(path, version=3)


def test_other_zarr_readers_see_names_of_axes_and_attributes(path: Path, study: Study) -> None:
    root = zarr.open_group(str(path), mode="r")
    assert sorted(name for name, _ in root["0"].arrays()) == ["recording", "x", "y"]
    assert root["0/x"].metadata.dimension_names == ("sample", "time", "channel")
    assert root["0/table/label_count"].metadata.dimension_names == ("recording_id", "class")
    assert root["0/table/subject"][:].tolist() == study.names
    assert root["0/table/source"][:].tolist() == [f"{name}.npz" for name in study.names]
    assert root.attrs["zarrts"]["rate_hz"] == 50.0
    table = xarray.open_zarr(path / "0" / "table", consolidated=False)
    assert table["mean"].dims == ("recording_id", "channel")
    means = [x.astype("f8").mean(axis=(0, 1)) for x in study.x]
    np.testing.assert_allclose(table["mean"].values, means)
    tree = xarray.open_datatree(path, engine="zarr")
    np.testing.assert_array_equal(tree["0/x"].values, study.all_x)


def test_every_array_that_was_written_knows_its_chunks(path: Path) -> None:
    for name, array in zarr.open_group(str(path), mode="r")["0"].arrays():
        stored = [it for it in (path / "0" / name / "c").rglob("*") if it.is_file()]
        assert len(stored) == array.nchunks if array.shards is None else 4


# What does not open --------------------------------------------------------------------------


def test_paths_that_are_no_store_say_what_they_are(path: Path, study: Study) -> None:
    parent = path.parent
    empty = parent / "empty"
    empty.mkdir(exist_ok=True)
    foreign = parent / "foreign.zarr"
    zarr.create_group(str(foreign), overwrite=True)
    make = "zarrts convert SOURCES study.zarr"
    assert refusal(parent / "no.zarr") == (
        f"{parent / 'no.zarr'} does not exist. Check the spelling, or make a store: {make}"
    )
    assert refusal(study.folder) == (
        f"{study.folder} holds source files, not a store. Convert them first: zarrts convert "
        f"{study.folder} study.zarr, and open study.zarr."
    )
    file = study.folder / "s00.npz"
    assert refusal(file) == (
        f"{file} is a file, not a store. Make one: zarrts convert {file} study.zarr"
    )
    assert refusal(empty) == f"{empty} is a folder, but no store. Make one: {make}"
    assert refusal(foreign) == f"{foreign} is a Zarr group, but no zarrts store. Make one: {make}"
    assert refusal(path / "0") == (
        f"{path / '0'} is a part of a store; open the folder that it is in: {path}"
    )
    assert "Zarr array, but no zarrts store" in refusal(path / "0" / "x")


def replace(*keys: str | int, value: Any) -> Callable[[Any], Any]:
    def change(document: Any) -> Any:
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        return document

    return change


def remove(*keys: str | int) -> Callable[[Any], Any]:
    def change(document: Any) -> Any:
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return document

    return change


OURS = ("attributes", "zarrts")
META = ("consolidated_metadata", "metadata")


@pytest.mark.parametrize(
    "change",
    [
        lambda document: [],
        lambda document: 5,
        lambda document: None,
        replace("attributes", value=[1]),
        replace(*OURS, value=7),
        *(remove(*OURS, key) for key in ("schema", "version", "labels", "segments", "rate_hz")),
        replace(*OURS, "labels", "dtype", value="int33"),
        replace(*OURS, "segments", 0, "name", value="7"),
        remove(*META),
        remove(*META, "0/x", "shape"),
        remove(*META, "0/y", "codecs"),
        replace(*META, "0/x", "data_type", value="float33"),
        replace(*META, "0/x", "chunk_grid", value={}),
    ],
)
def test_damaged_root_is_a_store_error(
    path: Path, tmp_path: Path, change: Callable[[Any], Any]
) -> None:
    document = change(json.loads((path / "zarr.json").read_bytes()))
    (tmp_path / "zarr.json").write_text(json.dumps(document))
    said = refusal(tmp_path)
    assert str(tmp_path / "zarr.json") in said
    assert "is damaged" in said
    assert "convert again" in said


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"not json", b"{}"])
def test_root_that_is_no_json_is_a_store_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "zarr.json").write_bytes(content)
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"schema": 3}, "has schema 3, but this version of zarrts reads schemas 1 and 2"),
        (
            {"schema": 2, "needs": ["colour", "smell"]},
            "needs colour, smell, which this version of zarrts does not know",
        ),
        ({"schema": 2}, "needs more, which this version of zarrts does not know"),
    ],
)
def test_newer_schema_asks_for_an_upgrade(
    path: Path, tmp_path: Path, attributes: dict[str, object], why: str
) -> None:
    document = json.loads((path / "zarr.json").read_bytes())
    document["attributes"]["zarrts"] = attributes | {"surprise": True}
    (tmp_path / "zarr.json").write_text(json.dumps(document))
    assert refusal(tmp_path) == (
        f"{tmp_path} {why}; upgrade zarrts: python -m pip install --upgrade zarrts."
    )


def test_truncated_root_never_raises_anything_else(path: Path, tmp_path: Path) -> None:
    content = (path / "zarr.json").read_bytes()
    for stop in range(0, len(content) - 1, 97):
        (tmp_path / "zarr.json").write_bytes(content[:stop])
        refusal(tmp_path)


@pytest.mark.parametrize("column", ["subject", "mean", "label_count", "start"])
def test_damaged_table_is_a_store_error(path: Path, tmp_path: Path, column: str) -> None:
    copy = shutil.copytree(path, tmp_path / "copy.zarr")
    file = next(it for it in (copy / "0" / "table" / column / "c").rglob("*") if it.is_file())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with zarrts.open(copy) as store, pytest.raises(ZarrtsError, match="cannot be read"):
        _ = store.subjects


@pytest.mark.parametrize("column", ["subject", "start", "mean", "label_count"])
@pytest.mark.parametrize("what", ["chunks", "empty", "array"])
def test_missing_part_of_the_table_is_a_store_error_and_never_zeros(
    path: Path, tmp_path: Path, column: str, what: str
) -> None:
    copy = shutil.copytree(path, tmp_path / "copy.zarr")
    folder = copy / "0" / "table" / column
    if what == "empty":
        for file in (folder / "c").rglob("*"):
            if file.is_file():
                file.write_bytes(b"")
    else:
        shutil.rmtree(folder if what == "array" else folder / "c")
    with zarrts.open(copy) as store, pytest.raises(StoreError, match="table of recordings"):
        _ = store.subjects
