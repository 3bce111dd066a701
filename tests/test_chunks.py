"""Chunks come back as they were written, or not at all; whoever wrote them."""

import contextlib
import json
import os
import shutil
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zarr
from conftest import make_study
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.registry import register_codec

import zarrts
from zarrts.conversion.codecs import CODECS
from zarrts.conversion.publish import create_segment, write_checksums
from zarrts.errors import ReadError, StoreError
from zarrts.storage import chunks
from zarrts.storage.checksums import crc32c
from zarrts.storage.chunks import (
    ChunkReader,
    DirectReader,
    can_read_at_once,
    open_chunks,
    read_first,
)
from zarrts.storage.open_files import OPEN_FILES
from zarrts.storage.segments import array_spec, read_segment
from zarrts.storage.shards import ShardWriter
from zarrts.storage.table import digest_of_table, read_table
from zarrts.storage.zarr_reader import ZarrReader
from zarrts.types import ArraySpec

BLOSCS = {
    f"blosc {cname} {shuffle}": BloscCodec(cname=cname, clevel=3, shuffle=shuffle, typesize=4)
    for cname in ("lz4", "zstd")
    for shuffle in ("shuffle", "bitshuffle", "noshuffle")
}
DIRECT: dict[str, list[Any]] = {
    "none": [],
    "zstd": [ZstdCodec(level=1)],
    **{name: [codec] for name, codec in BLOSCS.items()},
}
DIRECT |= {f"{name} + crc32c": [*chain, Crc32cCodec()] for name, chain in DIRECT.items()}


def random_values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Return values that compress, but not to nothing."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 50, shape).astype(dtype)


def write_with_zarr(
    root: Path,
    values: np.ndarray,
    codecs: list[Any],
    *,
    chunk_rows: int,
    shard_rows: int | None,
    endian: str = "little",
    **sharding: Any,
) -> None:
    inner = [BytesCodec(endian=endian), *codecs]
    if shard_rows is not None:
        chunks = (chunk_rows, *values.shape[1:])
        inner = [ShardingCodec(chunk_shape=chunks, codecs=inner, **sharding)]
    array = zarr.create(
        values.shape,
        chunks=(shard_rows or chunk_rows, *values.shape[1:]),
        dtype=values.dtype,
        store=str(root / "0" / "x"),
        codecs=inner,
        zarr_format=3,
        config={"write_empty_chunks": True},
    )
    array[:] = values


def spec_of(root: Path) -> ArraySpec:
    """Return what the metadata of the array that `write_with_zarr` wrote say."""
    return array_spec("0/x", json.loads((root / "0/x/zarr.json").read_bytes()))


def read_all(reader: ChunkReader) -> np.ndarray:
    """Read every chunk into memory that holds something else before."""
    spec = reader.spec
    out = np.empty((spec.n_chunks, *spec.chunk_shape), spec.dtype)
    out.view(np.uint8)[:] = 0xAB
    for chunk in range(spec.n_chunks):
        reader.will_need(chunk)
        reader.read_into(chunk, out[chunk])
    return out.reshape(-1, *spec.row_shape)[: spec.shape[0]]


@pytest.mark.parametrize("chain", DIRECT)
def test_direct_reader_knows_every_chain_of_zarr_python(
    tmp_path: Path, chain: str, no_leaks: None
) -> None:
    values = random_values((50, 4, 3), "f4")
    write_with_zarr(tmp_path, values, DIRECT[chain], chunk_rows=6, shard_rows=18)
    spec = spec_of(tmp_path)
    reader = open_chunks(tmp_path, spec)
    assert isinstance(reader, DirectReader)
    assert reader.is_direct
    assert (spec.n_shards, spec.n_chunks, spec.chunks_per_shard) == (3, 9, 3)
    np.testing.assert_array_equal(read_all(reader), values)
    np.testing.assert_array_equal(read_all(ZarrReader(tmp_path, spec)), values)
    reader.close()
    np.testing.assert_array_equal(read_all(reader), values)
    reader.close()


@pytest.mark.parametrize("dtype", ["bool", "i1", "u2", "i4", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize(("n_rows", "row_shape"), [(1, ()), (7, ()), (8, (5,)), (33, (2, 1, 3))])
def test_dtypes_and_partial_ends(
    tmp_path: Path, dtype: str, n_rows: int, row_shape: tuple[int, ...]
) -> None:
    values = random_values((n_rows, *row_shape), dtype)
    chain = DIRECT["blosc lz4 shuffle + crc32c"]
    write_with_zarr(tmp_path, values, chain, chunk_rows=4, shard_rows=8)
    spec = spec_of(tmp_path)
    assert spec.dtype == values.dtype
    for kind in (DirectReader, ZarrReader):
        reader = kind(tmp_path, spec)
        np.testing.assert_array_equal(read_all(reader), values)
        reader.close()


TRANSPOSE = TransposeCodec(order=(1, 0))
OTHERS: dict[str, dict[str, Any]] = {
    "gzip": {"codecs": [GzipCodec(level=1)]},
    "crc before": {"codecs": [Crc32cCodec(), ZstdCodec(level=1)]},
    "twice": {"codecs": [ZstdCodec(level=1), ZstdCodec(level=1)]},
    "big-endian": {"codecs": [Crc32cCodec()], "endian": "big"},
    "index at the start": {"codecs": [Crc32cCodec()], "index_location": "start"},
    "index without checksum": {"codecs": [], "index_codecs": [BytesCodec()]},
    "no shards": {"codecs": [Crc32cCodec()], "shard_rows": None},
}


def assert_through_zarr(root: Path, values: np.ndarray) -> None:
    reader = open_chunks(root, spec_of(root))
    assert isinstance(reader, ZarrReader)
    assert not reader.is_direct
    np.testing.assert_array_equal(read_all(reader), values)
    reader.close()
    np.testing.assert_array_equal(read_all(reader), values)


@pytest.mark.parametrize("name", OTHERS)
def test_everything_else_goes_through_zarr_python(tmp_path: Path, name: str) -> None:
    values = random_values((20, 3), "f4")
    write_with_zarr(tmp_path, values, **{"chunk_rows": 3, "shard_rows": 6, **OTHERS[name]})
    assert_through_zarr(tmp_path, values)


def test_transposed_chunks_go_through_zarr_python(tmp_path: Path) -> None:
    values = random_values((20, 3), "f4")
    inner = [TRANSPOSE, BytesCodec(), Crc32cCodec()]
    array = zarr.create(
        values.shape,
        chunks=(6, 3),
        dtype="f4",
        store=str(tmp_path / "0" / "x"),
        codecs=[ShardingCodec(chunk_shape=(3, 3), codecs=inner)],
    )
    array[:] = values
    assert_through_zarr(tmp_path, values)


@pytest.mark.parametrize("split", ["chunks", "shards"])
def test_channels_that_are_divided_go_through_zarr_python(tmp_path: Path, split: str) -> None:
    values = random_values((20, 4), "f4")
    array = zarr.create_array(
        str(tmp_path / "0" / "x"),
        shape=values.shape,
        chunks=(3, 2),
        shards=(6, 4 if split == "chunks" else 2),
        dtype="f4",
        compressors=[Crc32cCodec()],
    )
    array[:] = values
    assert_through_zarr(tmp_path, values)


@pytest.mark.parametrize(
    "encoding", [{"name": "v2", "separator": "/"}, {"name": "default", "separator": "."}]
)
def test_other_names_of_files_go_through_zarr_python(tmp_path: Path, encoding: Any) -> None:
    values = random_values((20, 3), "f4")
    array = zarr.create_array(
        str(tmp_path / "0" / "x"),
        shape=values.shape,
        chunks=(3, 3),
        shards=(6, 3),
        dtype="f4",
        compressors=[Crc32cCodec()],
        chunk_key_encoding=encoding,
    )
    array[:] = values
    assert_through_zarr(tmp_path, values)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(CODECS),
    st.sampled_from(["bool", "i1", "i2", "f2", "f4", "f8", "u8"]),
    st.integers(1, 40),
    st.lists(st.integers(1, 4), max_size=3).map(tuple),
    st.integers(1, 9),
    st.integers(1, 4),
)
def test_zarr_python_reads_what_the_writer_wrote(
    codec: str, dtype: str, n_rows: int, row_shape: tuple[int, ...], chunk_rows: int, per_shard: int
) -> None:
    values = random_values((n_rows, *row_shape), dtype)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        segment = create_segment(
            root,
            "0",
            x=(values.shape, values.dtype),
            y=((n_rows,), np.dtype("i8")),
            chunk_rows=chunk_rows,
            shard_rows=chunk_rows * per_shard,
            codec=codec,
        )
        spec = segment.x
        shards = []
        for number in range(spec.n_shards):
            with ShardWriter(root, spec, number) as writer:
                start = number * spec.shard_rows
                for first in range(start, min(start + spec.shard_rows, n_rows), chunk_rows):
                    chunk = np.zeros(spec.chunk_shape, spec.dtype)
                    rows = values[first : first + chunk_rows]
                    chunk[: len(rows)] = rows
                    writer.append(chunk)
                written = writer.commit()
            content = (root / written.key).read_bytes()
            assert (len(content), crc32c(content)) == (written.size, written.checksum)
            shards.append(written)
        write_checksums(root, segment, shards)
        array = zarr.open_array(str(root / "0" / "x"), mode="r")
        np.testing.assert_array_equal(array[:], values)
        reader = open_chunks(root, spec)
        assert reader.is_direct
        np.testing.assert_array_equal(read_all(reader), values)
        reader.close()
        assert not list(root.rglob("*.partial"))


def test_shard_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    segment = create_segment(
        tmp_path,
        "0",
        x=((8, 2), np.dtype("f4")),
        y=((8,), np.dtype("i8")),
        chunk_rows=2,
        shard_rows=4,
        codec="lz4",
    )
    with pytest.raises(ZeroDivisionError), ShardWriter(tmp_path, segment.x, 0) as writer:
        writer.append(np.zeros((2, 2), "f4"))
        raise ZeroDivisionError
    assert not [
        path
        for path in (tmp_path / "0" / "x").rglob("*")
        if "c" in path.name[:1] and path.is_file()
    ]
    assert not list(tmp_path.rglob("*.partial"))


# Damage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    make_study(folder / "subjects", sizes=[20, 13], sample_shape=(5, 2))
    for codec in CODECS:
        options: dict[str, Any] = {"codec": codec, "progress": False}
        zarrts.convert(
            folder / "subjects", folder / f"{codec}.zarr", chunk=200, shard=800, **options
        ).close()
    return folder


def shard_files(root: Path, array: str = "x") -> list[Path]:
    return sorted(path for path in (root / "0" / array / "c").rglob("*") if path.is_file())


def assert_right_or_refused(root: Path, truth: np.ndarray) -> int:
    """Read every chunk; return how many were refused."""
    spec = spec_of(root)
    reader = open_chunks(root, spec)
    n_refused = 0
    for chunk in range(spec.n_chunks):
        out = np.full(spec.chunk_shape, 77, spec.dtype)
        start = chunk * spec.chunk_rows
        expected = truth[start : start + spec.chunk_rows]
        try:
            reader.read_into(chunk, out)
        except ReadError as error:
            n_refused += 1
            assert str(root) in str(error)
            assert "rows " in str(error)
            assert "Mend the store with zarrts repair, copy it again, or convert again with" in str(
                error
            )
            is_right = False
        else:
            np.testing.assert_array_equal(out[: len(expected)], expected)
            is_right = True
        if can_read_at_once(reader):
            out[:] = 77
            assert read_first([(reader, chunk, out)]) == is_right
            assert not is_right or np.array_equal(out[: len(expected)], expected)
    reader.close()
    return n_refused


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(CODECS), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 255))
def test_flipped_byte_is_refused_or_does_no_harm(
    store: Path, codec: str, which: int, where: int, mask: int
) -> None:
    root = store / f"{codec}.zarr"
    truth = zarr.open_array(str(root / "0" / "x"), mode="r")[:]
    files = shard_files(root)
    file = files[which % len(files)]
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[where % len(whole)] ^= mask
    file.write_bytes(damaged)
    try:
        # Every byte of our shards is under a checksum.
        assert assert_right_or_refused(root, truth) >= 1
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("codec", CODECS)
def test_shards_that_are_cut_or_missing_are_refused(
    store: Path, tmp_path: Path, codec: str
) -> None:
    root = shutil.copytree(store / f"{codec}.zarr", tmp_path / "a.zarr")
    truth = zarr.open_array(str(root / "0" / "x"), mode="r")[:]
    assert assert_right_or_refused(root, truth) == 0
    file = shard_files(root)[0]
    whole = file.read_bytes()
    n_chunks = 4
    for stop in {0, 1, 20, 67, 68, len(whole) // 2, len(whole) - 1}:
        file.write_bytes(whole[:stop])
        assert assert_right_or_refused(root, truth) == n_chunks
    file.write_bytes(whole[5:])
    assert assert_right_or_refused(root, truth) == n_chunks
    file.unlink()
    assert assert_right_or_refused(root, truth) == n_chunks
    file.mkdir()
    assert assert_right_or_refused(root, truth) == n_chunks


def with_index(content: bytes, change: Any) -> bytes:
    """Change the index of a shard of four chunks and give it a valid checksum."""
    index = np.frombuffer(content[-68:-4], "<u8").reshape(4, 2).copy()
    change(index)
    raw = index.tobytes()
    return content[:-68] + raw + crc32c(raw).to_bytes(4, "little")


@pytest.mark.parametrize("entry", [(0, 2**63), (2**63, 10), (2**64 - 2, 2**64 - 1), (10**6, 5)])
def test_index_that_points_outside_the_file_is_refused(
    store: Path, tmp_path: Path, entry: tuple[int, int]
) -> None:
    root = shutil.copytree(store / "lz4.zarr", tmp_path / "a.zarr")
    truth = zarr.open_array(str(root / "0" / "x"), mode="r")[:]
    file = shard_files(root)[0]
    file.write_bytes(with_index(file.read_bytes(), lambda index: index.__setitem__(2, entry)))
    assert assert_right_or_refused(root, truth) == 4


@pytest.mark.parametrize("codec", CODECS)
def test_chunk_that_was_never_written_is_refused_and_not_zeros(
    store: Path, tmp_path: Path, codec: str
) -> None:
    root = shutil.copytree(store / f"{codec}.zarr", tmp_path / "a.zarr")
    truth = zarr.open_array(str(root / "0" / "x"), mode="r")[:]
    file = shard_files(root)[0]
    file.write_bytes(with_index(file.read_bytes(), lambda index: index[1].fill(2**64 - 1)))
    assert assert_right_or_refused(root, truth) == 1


@pytest.mark.parametrize("chain", [name for name in DIRECT if not name.endswith("crc32c")])
def test_shorter_chunk_without_checksum_is_refused(tmp_path: Path, chain: str) -> None:
    """A smaller chunk, decoded into reused memory, would leave old values behind it."""
    values = random_values((8, 4), "f4")
    small, large = tmp_path / "small", tmp_path / "large"
    write_with_zarr(small, values[:, :2], DIRECT[chain], chunk_rows=8, shard_rows=8)
    write_with_zarr(large, values, DIRECT[chain], chunk_rows=8, shard_rows=8)
    shutil.copy(shard_files(small)[0], shard_files(large)[0])
    reader = open_chunks(large, spec_of(large))
    with pytest.raises(ReadError, match="cannot be decoded"):
        read_all(reader)
    reader.close()


@pytest.mark.parametrize("name", ["gzip", "index at the start", "no shards"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise"])
def test_zarr_reader_refuses_damage_as_well(tmp_path: Path, name: str, damage: str) -> None:
    values = random_values((18, 3), "f4")
    write_with_zarr(tmp_path, values, **{"chunk_rows": 3, "shard_rows": 6, **OTHERS[name]})
    file = shard_files(tmp_path)[1]
    whole = file.read_bytes()
    content = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": os.urandom(len(whole))}
    file.unlink() if damage == "missing" else file.write_bytes(content[damage])
    reader = open_chunks(tmp_path, spec_of(tmp_path))
    assert isinstance(reader, ZarrReader)
    with pytest.raises(ReadError, match=r"rows \d+ to \d+ cannot be read"):
        read_all(reader)


def test_disk_error_while_reading_is_a_read_error(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zarrts.system import PositionalFile

    root = store / "lz4.zarr"
    spec = spec_of(root)
    reader = open_chunks(root, spec)
    out = np.empty(spec.chunk_shape, spec.dtype)
    reader.read_into(0, out)

    def fail(*args: Any) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(PositionalFile, "read_into_each", fail)
    with pytest.raises(ReadError, match=r"rows 5 to 9 of 0/x cannot be read \(Input/o"):
        reader.read_into(1, out)
    reader.close()


# Threads -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    root = tmp_path_factory.mktemp("threads")
    values = random_values((600, 4), "f4")
    chain = DIRECT["blosc lz4 shuffle + crc32c"]
    write_with_zarr(root, values, chain, chunk_rows=3, shard_rows=15)
    return root, values


def read_random_chunks(
    reader: DirectReader, values: np.ndarray, seed: int, barrier: threading.Barrier
) -> int:
    spec = reader.spec
    out = np.empty(spec.chunk_shape, spec.dtype)
    barrier.wait(60)
    n_wrong = 0
    for chunk in np.random.default_rng(seed).integers(0, spec.n_chunks, 300):
        reader.will_need(int(chunk))
        reader.read_into(int(chunk), out)
        start = chunk * spec.chunk_rows
        n_wrong += not np.array_equal(out, values[start : start + spec.chunk_rows])
    return n_wrong


@pytest.mark.parametrize("max_open", [1, 5, 100])
def test_threads_share_a_few_open_files(
    many: tuple[Path, np.ndarray], max_open: int, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, values = many
    reader = DirectReader(root, spec_of(root))
    monkeypatch.setattr(OPEN_FILES, "most", max_open)
    n_threads = 12
    barrier = threading.Barrier(n_threads)
    with ThreadPoolExecutor(n_threads) as pool:
        jobs = [pool.submit(read_random_chunks, reader, values, i, barrier) for i in range(12)]
        assert [job.result() for job in jobs] == [0] * n_threads
    assert len(reader._open) <= max(max_open, n_threads)
    if Path("/proc/self/fd").exists():
        names = [os.readlink(it) for it in Path("/proc/self/fd").iterdir() if it.is_symlink()]
        assert sum(name.startswith(str(root)) for name in names) == len(reader._open)
    reader.close()


@pytest.mark.parametrize("max_open", [1, 32, 1000])
def test_chunks_of_many_files_are_read_with_few_of_them_in_use(
    many: tuple[Path, np.ndarray], max_open: int, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, values = many
    reader = DirectReader(root, spec_of(root))
    if not can_read_at_once(reader):
        pytest.skip("nothing reads several at once")
    monkeypatch.setattr(OPEN_FILES, "most", max_open)
    read_at_once, n_files = chunks._read_at_once, []

    def counting(wanted: Any) -> int:
        n_files.append(len({chunk // reader.spec.chunks_per_shard for _, chunk, _ in wanted}))
        return read_at_once(wanted)

    monkeypatch.setattr(chunks, "_read_at_once", counting)
    outs = np.zeros((reader.spec.n_chunks, *reader.spec.chunk_shape), reader.spec.dtype)
    wanted = [(reader, chunk, out) for chunk, out in enumerate(outs)]
    assert read_first(wanted) == len(wanted)
    np.testing.assert_array_equal(outs.reshape(-1, 4), values)
    # Five chunks a file, at most 64 a call.
    assert max(n_files) == {1: 1, 32: 2, 1000: 14}[max_open]
    reader.close()


def test_close_while_others_read_harms_nobody(
    many: tuple[Path, np.ndarray], no_leaks: None
) -> None:
    root, values = many
    reader = DirectReader(root, spec_of(root))
    n_threads = 6
    barrier = threading.Barrier(n_threads + 1)
    with ThreadPoolExecutor(n_threads) as pool:
        jobs = [pool.submit(read_random_chunks, reader, values, i, barrier) for i in range(6)]
        barrier.wait(60)
        while not all(job.done() for job in jobs):
            reader.close()
        assert [job.result() for job in jobs] == [0] * n_threads
    reader.close()


def test_zarr_reader_is_shared_by_threads(tmp_path: Path) -> None:
    values = random_values((60, 3), "f4")
    write_with_zarr(tmp_path, values, [GzipCodec(level=1)], chunk_rows=3, shard_rows=6)
    reader = open_chunks(tmp_path, spec_of(tmp_path))
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda _: read_all(reader), range(6)):
            np.testing.assert_array_equal(found, values)


@dataclass(frozen=True)
class _Recorded(Crc32cCodec):
    """A codec of somebody else's: remembers that it was built, as a harmful one could act."""

    built: ClassVar[list[Any]] = []

    @classmethod
    def from_dict(cls, data: Any) -> "_Recorded":
        cls.built.append(data)
        return cls()


@pytest.fixture
def recorded() -> Iterator[list[Any]]:
    register_codec("tests.recorded", _Recorded)
    _Recorded.built.clear()
    yield _Recorded.built
    _Recorded.built.clear()


def _with_codec(path: Path, where: str) -> None:
    """Let the metadata of an array name the codec that is recorded."""
    document = json.loads(path.read_bytes())
    ours = {"name": "tests.recorded", "configuration": {}}
    sharding = document["codecs"][0].get("configuration", {})
    {
        "outside": document["codecs"],
        "inside": sharding.get("codecs"),
        "index": sharding.get("index_codecs"),
    }[where].append(ours)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("where", ["outside", "inside", "index"])
def test_a_codec_that_is_not_listed_is_never_built(
    tmp_path: Path, recorded: list[Any], where: str
) -> None:
    values = random_values((20, 3), "f4")
    write_with_zarr(tmp_path, values, [GzipCodec(level=1)], chunk_rows=3, shard_rows=6)
    _with_codec(tmp_path / "0/x/zarr.json", where)
    reader = open_chunks(tmp_path, spec_of(tmp_path))
    with pytest.raises(ReadError, match=r"codec 'tests\.recorded' is not among those.*blosc"):
        reader.read_into(0, np.empty((3, 3), "f4"))
    assert recorded == []
    with contextlib.suppress(Exception):  # so that this test could fail
        zarr.open_array(str(tmp_path / "0/x"), mode="r")
    assert recorded != []


def test_no_codec_of_a_table_is_built_that_is_not_listed(
    tmp_path: Path, recorded: list[Any]
) -> None:
    samples = random_values((20, 3), "f4")
    zarrts.convert(
        [zarrts.Recording("anna", samples, np.arange(20) % 2)],
        tmp_path / "a.zarr",
        kind="dense",
        progress=False,
    ).close()
    _with_codec(tmp_path / "a.zarr/0/table/subject/zarr.json", "outside")
    # Whoever sends a store can put the checksum right as well.
    digest = digest_of_table(tmp_path / "a.zarr", "0")
    segment = replace(read_segment(tmp_path / "a.zarr", "0"), table_sha256=digest)
    with pytest.raises(StoreError, match=r"codec 'tests\.recorded' is not among those"):
        read_table(tmp_path / "a.zarr", segment)
    assert recorded == []


def test_a_thread_has_one_buffer_for_all_arrays(tmp_path: Path) -> None:
    """A store of a thousand parts has thousands of arrays, each read by every thread."""
    readers, n_bytes = [], 1 << 18
    for number in range(12):
        root = tmp_path / str(number)
        values = random_values((2, n_bytes // 4), "f4", number)
        write_with_zarr(
            root, values, DIRECT["blosc lz4 shuffle + crc32c"], chunk_rows=1, shard_rows=2
        )
        readers.append((DirectReader(root, spec_of(root)), values))
    out = np.empty((1, n_bytes // 4), np.float32)

    def read_each() -> int:
        tracemalloc.start()
        try:
            for reader, values in readers:
                for chunk in range(2):
                    reader.read_into(chunk, out)
                    np.testing.assert_array_equal(out[0], values[chunk])
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(read_each).result() < 2 * n_bytes
    for reader, _ in readers:
        reader.close()
