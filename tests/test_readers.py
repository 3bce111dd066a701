"""Every library that reads Zarr gives the values of our stores; run by `tox -e readers`.

Readers that are not installed are skipped. What they read is compared with what was converted,
and never with what we read ourselves.
"""

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import zarrts
from zarrts.storage.checksums import crc32c

# Each store has several chunks in several shards, and the last of both is not full.
SIZES: dict[str, Any] = {"chunk": 480, "shard": 1440, "progress": False}
CHANNELS = ("x", "y", "z")
READ_SCRIPT = Path(__file__).with_name("read_with_zarrita.mjs")
Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Written:
    """A store, and the arrays of each of its parts, by the name of the part ("0").

    `values` are those of x where a part holds counts, and attributes say what these stand for.
    """

    path: Path
    parts: Mapping[str, Arrays]
    values: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def _recordings(
    kind: str, names: tuple[str, ...], seed: int, labels_per: str = "row"
) -> list[zarrts.Recording]:
    rng = np.random.default_rng(seed)
    made = []
    for number, name in enumerate(names):
        n_rows = 37 + 41 * number
        shape = (n_rows, 6, 3) if kind == "dense" else (n_rows, 3)
        x = rng.normal(size=shape).astype("f4")
        x[n_rows // 2] = 0  # the fill value is a value like any other
        y = rng.integers(0, 3, n_rows) if labels_per == "row" else number % 2
        made.append(zarrts.Recording(name, x, y))
    return made


def _arrays(recordings: list[zarrts.Recording], kind: str) -> Arrays:
    x = [np.asarray(it.x) for it in recordings]
    arrays = {
        "x": np.concatenate(x),
        "y": np.concatenate([np.atleast_1d(it.y) for it in recordings]),
    }
    if kind == "dense":
        arrays["recording"] = np.repeat(np.arange(len(x)), [len(it) for it in x])
    else:
        arrays["offsets"] = np.cumsum([0, *(len(it) for it in x)])
    return arrays


def _converted(folder: Path, kind: str, labels_per: str = "row", **options: Any) -> Written:
    recordings = _recordings(kind, ("anna", "bert", "cora"), 0, labels_per)
    path = folder / "study.zarr"
    zarrts.convert(recordings, path, kind=kind, channels=CHANNELS, **{**SIZES, **options}).close()
    return Written(path, {"0": _arrays(recordings, kind)})


def _appended(folder: Path, kind: str) -> Written:
    first = _converted(folder, kind)
    more = _recordings(kind, ("dave", "eve", "fay"), 1)
    zarrts.append(first.path, more, progress=False).close()
    return Written(first.path, {**first.parts, "1": _arrays(more, kind)})


def _counted(
    kind: str, names: tuple[str, ...], gains: tuple[float, ...], seed: int, missing: bool = False
) -> tuple[list[zarrts.Recording], list[np.ndarray[Any, Any]]]:
    """Return recordings of counts, each times a gain of its own, and the counts."""
    rng = np.random.default_rng(seed)
    recordings, counts = [], []
    for number, (name, gain) in enumerate(zip(names, gains, strict=True)):
        n_rows = 37 + 41 * number
        shape = (n_rows, 6, 3) if kind == "dense" else (n_rows, 3)
        found = np.rint(rng.normal(size=shape) * 700).astype(np.int16)
        found[n_rows // 2] = 0  # the fill value is a value like any other
        x = (found * gain).astype(np.float32)
        if missing:
            x[3], found[3] = np.nan, -32768
        recordings.append(zarrts.Recording(name, x, rng.integers(0, 3, n_rows)))
        counts.append(found)
    return recordings, counts


def _packed(
    folder: Path,
    kind: str,
    gains: tuple[float, ...],
    *,
    missing: bool = False,
    appended: tuple[float, ...] = (),
) -> Written:
    """Write counts, and append more of other gains; other libraries read these counts."""
    path = folder / "study.zarr"
    parts: dict[str, Arrays] = {}
    values: dict[str, np.ndarray[Any, Any]] = {}
    names = (("anna", "bert", "cora"), ("dave", "eve", "fay"))
    for number, of_part in enumerate(it for it in (gains, appended) if it):
        recordings, counts = _counted(kind, names[number], of_part, number, missing)
        if number == 0:
            made = zarrts.convert(recordings, path, kind=kind, channels=CHANNELS, **SIZES)
        else:
            made = zarrts.append(path, recordings, progress=False)
        made.close()
        part = str(number)
        array = zarr.open_array(path / part / "x", mode="r")
        assert array.dtype == np.int16
        parts[part] = _arrays(recordings, kind) | {"x": np.concatenate(counts)}
        if len(set(of_part)) > 1:
            assert "scale_factor" not in array.attrs
        else:
            assert array.attrs["scale_factor"] == of_part[0]
            values[part] = np.concatenate([np.asarray(it.x) for it in recordings])
    return Written(path, parts, values)


def _of_several_inputs(folder: Path) -> Written:
    """Write two inputs of unequal lengths, one of 4 steps a row, which is a second."""
    rng = np.random.default_rng(0)
    recordings, seconds = [], (37, 78, 119)
    for name, n_seconds in zip(("anna", "bert", "cora"), seconds, strict=True):
        x = {
            "acc": rng.normal(size=(4 * n_seconds, 3)).astype("f4"),
            "hr": rng.integers(40, 180, (n_seconds, 1)),
        }
        recordings.append(zarrts.Recording(name, x, n_seconds, rate_hz={"acc": 4, "hr": 1}))
    path = folder / "study.zarr"
    zarrts.convert(recordings, path, kind="ragged", **SIZES).close()
    inputs = [np.concatenate([it.x[name] for it in recordings]) for name in ("acc", "hr")]
    arrays = {
        "x/acc": inputs[0].reshape(-1, 4, 3),
        "x/hr": inputs[1],
        "y": np.array(seconds),
        "offsets": np.cumsum([0, *seconds]),
    }
    return Written(path, {"0": arrays})


# Of each, what others read: what is in its arrays, which of packed samples will be counts.
STORES: dict[str, Callable[[Path], Written]] = {
    "dense": lambda folder: _converted(folder, "dense"),
    "dense, zstd": lambda folder: _converted(folder, "dense", codec="zstd"),
    "ragged": lambda folder: _converted(folder, "ragged"),
    "ragged, a label a recording": lambda folder: _converted(folder, "ragged", "recording"),
    "dense, appended to": lambda folder: _appended(folder, "dense"),
    "ragged, appended to": lambda folder: _appended(folder, "ragged"),
    "packed, one gain": lambda folder: _packed(folder, "dense", (0.1, 0.1, 0.1)),
    "packed, with NaN": lambda folder: _packed(folder, "dense", (0.1, 0.1, 0.1), missing=True),
    "packed, several gains": lambda folder: _packed(folder, "dense", (0.1, 0.195, 0.5)),
    "packed, ragged": lambda folder: _packed(folder, "ragged", (0.1, 0.1, 0.1), missing=True),
    "packed, ragged, several gains": lambda folder: _packed(folder, "ragged", (0.1, 0.195, 0.5)),
    "packed, appended to": lambda folder: _packed(
        folder, "dense", (0.1, 0.1, 0.1), appended=(0.2, 0.2, 0.2)
    ),
    "several inputs": _of_several_inputs,
}


@pytest.fixture(scope="module", params=STORES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    made = STORES[request.param](tmp_path_factory.mktemp("readers"))
    for part, arrays in made.parts.items():
        name = next(iter(arrays))  # x, or its first input
        document = json.loads((made.path / part / name / "zarr.json").read_bytes())
        inner = document["codecs"][0]["configuration"]["chunk_shape"][0]
        outer = document["chunk_grid"]["configuration"]["chunk_shape"][0]
        assert inner < outer < len(arrays[name])  # else less is tested than is said
    return made


def _by_group(arrays: Arrays) -> dict[str, list[str]]:
    """Return the names of arrays by the group that they are in: "" or "x"."""
    groups: dict[str, list[str]] = {}
    for name in arrays:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    return groups


def _assert_arrays(found: Mapping[str, Any], wanted: Arrays) -> None:
    for name, values in wanted.items():
        np.testing.assert_array_equal(np.asarray(found[name]), values, err_msg=name)


# Readers -----------------------------------------------------------------------------------------

_PIPELINES = {
    "batched": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}


@pytest.fixture(params=_PIPELINES)
def pipeline(request: pytest.FixtureRequest) -> Any:
    """Zarr with one of its ways to decode."""
    module, _, name = _PIPELINES[request.param].rpartition(".")
    if not hasattr(pytest.importorskip(module), name):
        pytest.skip(f"Zarr {zarr.__version__} has no {name}")
    with zarr.config.set({"codec_pipeline.path": _PIPELINES[request.param]}):
        yield request.param


def test_zarr_python_reads_all_values(written: Written, pipeline: str) -> None:
    rng = np.random.default_rng(0)
    for part, arrays in written.parts.items():
        group = zarr.open_group(written.path / part, mode="r")
        _assert_arrays({name: group[name][:] for name in arrays}, arrays)
        name, x = next(iter(arrays.items()))
        some = rng.permutation(len(x))[:20]
        np.testing.assert_array_equal(group[name].oindex[some], x[some])
        np.testing.assert_array_equal(group[name][7:33, 1:], x[7:33, 1:])


def test_zarr_python_reads_the_table_of_recordings(written: Written, pipeline: str) -> None:
    root = zarr.open_group(written.path, mode="r")
    subjects = [str(it) for part in written.parts for it in root[f"{part}/table/subject"][:]]
    assert subjects == ["anna", "bert", "cora", "dave", "eve", "fay"][: len(subjects)]


def test_tensorstore_reads_all_values(written: Written) -> None:
    ts = pytest.importorskip("tensorstore", reason="tensorstore is not installed")
    for part, arrays in written.parts.items():
        found = {}
        for name in arrays:
            place = {"driver": "file", "path": str(written.path / part / name)}
            array = ts.open({"driver": "zarr3", "kvstore": place}, read=True, open=True).result()
            found[name] = array.read().result()
        _assert_arrays(found, arrays)


def _as_xarray_has_them(found: Any, written: Written, part: str) -> Mapping[str, Any]:
    """Return arrays as they are stored; of counts that xarray made values of, compare these."""
    arrays = {name: np.asarray(found[name]) for name in written.parts[part]}
    if "x" not in arrays:
        return arrays
    if part in written.values:
        values = written.values[part]
        assert arrays["x"].dtype == np.float64
        np.testing.assert_array_equal(arrays["x"].astype(np.float32), values)
        arrays["x"] = written.parts[part]["x"]
    elif written.parts[part]["x"].dtype == np.int16:
        assert not np.isnan(arrays["x"]).any()  # as there is no count that stands for NaN
    return arrays


def test_xarray_reads_all_values(written: Written) -> None:
    xarray = pytest.importorskip("xarray")
    for part, arrays in written.parts.items():
        for chunks in (None, {}):
            found: dict[str, Any] = {}
            for group, names in _by_group(arrays).items():
                place = f"{part}/{group}".rstrip("/")
                with xarray.open_zarr(written.path, group=place, chunks=chunks) as opened:
                    found |= {it: opened[it.rpartition("/")[2]].load() for it in names}
            name = next(iter(arrays))
            assert found[name].dims[0] in ("sample", "row")
            assert found[name].dims[-1] in ("channel", f"channel_of_{name.removeprefix('x/')}")
            _assert_arrays(_as_xarray_has_them(found, written, part), arrays)


def test_xarray_reads_a_dense_store_as_a_tree(written: Written) -> None:
    xarray = pytest.importorskip("xarray")
    with xarray.open_datatree(written.path, engine="zarr") as tree:
        for part, arrays in written.parts.items():
            _assert_arrays(_as_xarray_has_them(tree[part], written, part), arrays)
            assert len(tree[f"{part}/table"]["subject"]) == 3


def test_dask_reads_all_values(written: Written) -> None:
    da = pytest.importorskip("dask.array")
    for part, arrays in written.parts.items():
        found = {name: da.from_zarr(str(written.path / part / name)) for name in arrays}
        for name, array in found.items():
            assert array.shape == arrays[name].shape
        _assert_arrays(
            {name: it.compute(scheduler="threads") for name, it in found.items()}, arrays
        )


def _lose_a_chunk(store: Path) -> None:
    """Let the index of the first shard of x say that its second chunk was never written."""
    shard = store / "0/x/c/0/0/0"
    content = bytearray(shard.read_bytes())
    index = np.frombuffer(content[-(3 * 16 + 4) : -4], "<u8").copy()
    index[2:4] = 2**64 - 1
    content[-(3 * 16 + 4) : -4] = index.tobytes()
    content[-4:] = crc32c(index.tobytes()).to_bytes(4, "little")
    shard.write_bytes(content)


@pytest.mark.parametrize("what", ["chunk", "shard"])
def test_what_is_missing_reads_as_zeros_elsewhere_and_verify_says_so(
    tmp_path: Path, what: str
) -> None:
    made = _converted(tmp_path, "dense")
    x = made.parts["0"]["x"]
    array = zarr.open_array(made.path / "0/x", mode="r")
    chunk_rows = array.chunks[0]
    assert array.shards[0] == 3 * chunk_rows
    if what == "chunk":
        _lose_a_chunk(made.path)
        lost = slice(chunk_rows, 2 * chunk_rows)
    else:
        (made.path / "0/x/c/0/0/0").unlink()
        lost = slice(0, 3 * chunk_rows)
    expected = x.copy()
    expected[lost] = 0
    assert (x[lost] != 0).any()
    array = zarr.open_array(made.path / "0/x", mode="r")
    np.testing.assert_array_equal(array[:], expected)
    if what == "chunk":  # the setting is for files only, or from Zarr 3.2 on
        with zarr.config.set({"array.read_missing_chunks": False}):
            array = zarr.open_array(made.path / "0/x", mode="r")
            np.testing.assert_array_equal(array[:], expected)
    with zarrts.open(made.path) as store, pytest.raises(zarrts.ZarrtsError):
        store.samples.load()
    if what == "shard":
        assert zarrts.verify(made.path).problems
    assert zarrts.verify(made.path, deep=True).problems


def _find_zarrita() -> Path | None:
    """Return the folder of npm's packages in which zarrita is, if Node.js is there, too."""
    folder = Path(os.environ.get("ZARRTS_NODE_MODULES", "node_modules"))
    return folder if shutil.which("node") and (folder / "zarrita").is_dir() else None


def test_zarrita_reads_all_values(written: Written, tmp_path: Path) -> None:
    folder = _find_zarrita()
    if folder is None:
        pytest.skip("zarrita is not installed: npm install zarrita, and ZARRTS_NODE_MODULES")
    # Node.js looks for packages beside the script.
    script = shutil.copy(READ_SCRIPT, folder.parent / f"{tmp_path.name}.mjs")
    try:
        for part, arrays in written.parts.items():
            command = ["node", script, str(written.path / part), str(tmp_path), *arrays]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stderr
            found = {}
            for name, (shape, dtype) in json.loads(result.stdout).items():
                values = np.fromfile(
                    tmp_path / name.replace("/", "."), np.dtype(dtype).newbyteorder("<")
                )
                found[name] = values.reshape(shape)
            _assert_arrays(found, arrays)
    finally:
        Path(script).unlink()


@pytest.mark.skipif(
    importlib.util.find_spec("icechunk") is None
    or importlib.util.find_spec("virtualizarr") is None,
    reason="icechunk or VirtualiZarr is not installed",
)
def test_icechunk_reads_all_values_through_virtualizarr(written: Written, tmp_path: Path) -> None:
    import icechunk
    import virtualizarr
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore

    place = written.path.as_uri()
    config = icechunk.RepositoryConfig.default()
    container = icechunk.VirtualChunkContainer(
        f"{place}/", icechunk.local_filesystem_store(str(written.path))
    )
    config.set_virtual_chunk_container(container)
    repository = icechunk.Repository.create(
        icechunk.in_memory_storage(),
        config,
        {f"{place}/": icechunk.credentials.LocalFileSystemAccess},
    )
    for part, arrays in written.parts.items():
        registry = ObjectStoreRegistry({"file://": LocalStore()})
        for group in sorted(_by_group(arrays)):  # the outer one makes the group
            path = f"{part}/{group}".rstrip("/")
            parser = virtualizarr.parsers.ZarrParser(group=path)
            with virtualizarr.open_virtual_dataset(
                place, registry=registry, parser=parser
            ) as found:
                session = repository.writable_session("main")
                found.vz.to_icechunk(session.store, group=path)
                session.commit("part")
        store = repository.readonly_session("main").store
        group = zarr.open_group(store, path=part, mode="r")
        _assert_arrays({name: group[name][:] for name in arrays}, arrays)
