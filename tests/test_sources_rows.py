"""Readers of source rows against plain NumPy."""

import io
import os
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format

from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions
from zarrts.sources.rows import strided as rows
from zarrts.sources.rows.arrays import ArrayRows
from zarrts.sources.rows.compressed import SpooledRows, StreamedRows
from zarrts.sources.rows.files import FileStamp
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.types import Recording, RowReader

X_DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u4", ">u4", "<i8", ">f2", "<f4", ">f4", "<f8", ">f8"]
Y_DTYPES = [*X_DTYPES, "<U3", ">U3", "S4"]


def array(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    n = int(np.prod(shape))
    if dtype.kind in "US":
        words = np.array([["a", "é", "W", ""][i] for i in rng.integers(0, 4, n)])
        values = np.char.encode(words, "utf-8") if dtype.kind == "S" else words
        return values.reshape(shape).astype(dtype)
    return (rng.random(n) * 100).reshape(shape).astype(dtype)


def npy_bytes(values, version=(1, 0)):
    out = io.BytesIO()
    npy_format.write_array(out, values, version=version)
    return out.getvalue()


def write(folder, x, y, *, kind, version=(1, 0)):
    if kind == "npy":
        (folder / "a_x.npy").write_bytes(npy_bytes(x, version))
        (folder / "a_y.npy").write_bytes(npy_bytes(y, version))
        return
    method = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}[kind]
    with zipfile.ZipFile(folder / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", npy_bytes(x, version))
        with archive.open("y.npy", "w", force_zip64=True) as member:
            member.write(npy_bytes(y, version))


def found_in(folder, **options):
    found = sources.find(folder, SourceOptions(**options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


@st.composite
def cases(draw):
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=ndim, max_size=ndim)))
    order = draw(st.permutations(["sample", "time", "channel", "trial"][:ndim]))
    axes = tuple(order) if ndim > 1 and draw(st.booleans()) else None
    if draw(st.integers(0, 5)) == 0:
        row_axis = axes.index("sample") if axes else 0
        shape = (*shape[:row_axis], 0, *shape[row_axis + 1 :])
    return {
        "shape": shape,
        "axes": axes,
        "x_dtype": draw(st.sampled_from(X_DTYPES)),
        "y_dtype": draw(st.sampled_from(Y_DTYPES)),
        "order": draw(st.sampled_from("CF")),
        "kind": draw(st.sampled_from(["npy", "stored", "deflated"])),
        "version": draw(st.sampled_from([(1, 0), (2, 0), (3, 0)])),
        "seed": draw(st.integers(0, 99)),
    }


def expected_x(x, axes):
    if axes is None:
        return x
    wanted = ["sample", *(["time"] if "time" in axes else [])]
    wanted += [name for name in axes if name not in ("sample", "time", "channel")]
    wanted += ["channel"] if "channel" in axes else []
    return np.transpose(x, [axes.index(name) for name in wanted])


def check_reads(reader, expected, seed):
    assert isinstance(reader, RowReader)
    assert reader.shape == expected.shape
    assert reader.dtype.isnative
    n = len(expected)
    picks = random.Random(seed)
    ranges = [(0, n), (n, n), (0, 0)]
    ranges += [sorted((picks.randint(0, n), picks.randint(0, n))) for _ in range(6)]
    for start, stop in ranges:
        got = reader.read(start, stop)
        assert got.flags.c_contiguous and got.flags.writeable
        assert got.dtype == reader.dtype
        np.testing.assert_array_equal(got, expected[start:stop])
    with pytest.raises(IndexError, match=f"of {n}"):
        reader.read(0, n + 1)


@settings(deadline=None, max_examples=150)
@given(case=cases())
def test_any_rows_in_any_order_equal_numpy(tmp_path_factory, case):
    folder = tmp_path_factory.mktemp("case")
    x = np.asarray(array(case["x_dtype"], case["shape"], case["seed"]), order=case["order"])
    y = array(case["y_dtype"], (len(x) or 1,), case["seed"])
    write(folder, x, y, kind=case["kind"], version=case["version"])
    axes = case["axes"]
    recording = found_in(folder, axes=axes)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    check_reads(recording.x, expected_x(x, axes), case["seed"])
    check_reads(recording.y, y, case["seed"])
    again = pickle.loads(pickle.dumps(recording.x))
    check_reads(again, expected_x(x, axes), case["seed"] + 1)
    recording.x.close()
    check_reads(recording.x, expected_x(x, axes), case["seed"] + 2)
    for reader in (recording.x, recording.y, again):
        reader.close()


def test_the_kind_of_reader_follows_from_how_rows_lie(tmp_path):
    x = array("<f4", (6, 3, 2))
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(x), y=np.arange(6))
    np.savez_compressed(tmp_path / "b.npz", x=x, y=np.arange(6))
    np.savez_compressed(tmp_path / "c.npz", x=np.asfortranarray(x), y=np.arange(6))
    found = sources.find(tmp_path).recordings
    assert [type(r.x) for r in found] == [StridedRows, StreamedRows, SpooledRows]
    assert [r.x.is_sequential for r in found] == [False, True, False]
    assert [type(r.y) for r in found] == [StridedRows, StreamedRows, StreamedRows]


@pytest.mark.parametrize("missing", ["preadv", "pread"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_read_where_unix_calls_are_missing(tmp_path, monkeypatch, missing, order):
    monkeypatch.delattr(os, missing, raising=False)
    x = np.asarray(array(">f4", (7, 3, 2)), order=order)
    write(tmp_path, x, np.arange(7), kind="npy")
    check_reads(found_in(tmp_path).x, x, 0)


def test_short_reads_are_continued(tmp_path, monkeypatch):
    x = array("<f8", (50, 3))
    write(tmp_path, x, np.arange(50), kind="npy")
    whole = rows._read_at
    monkeypatch.setattr(rows, "_read_at", lambda file, at, into: whole(file, at, into[:7]))
    np.testing.assert_array_equal(found_in(tmp_path).x.read(3, 40), x[3:40])


@given(n_rows=st.integers(1, 100_000), n_runs=st.integers(1, 5), item=st.integers(1, 40_000))
def test_block_rows_make_a_run_of_16_kib_or_all_rows(n_rows, n_runs, item):
    layout = ByteLayout(np.dtype("u1"), (n_runs, n_rows, item), (1, 0, 2))
    block = layout.block_rows
    if n_runs == 1:
        assert block == 1
    else:
        assert 1 <= block <= n_rows
        assert block * item >= 16 * 1024 or block == n_rows
        assert block == 1 or (block - 1) * item < 16 * 1024


def test_offsets_beyond_4_gib_are_read(tmp_path):
    if os.name == "nt":
        pytest.skip("files are not sparse on Windows unless asked")
    x = array("<f4", (5, 2))
    archive_path = tmp_path / "big.npz"
    with open(archive_path, "wb") as file:
        file.truncate(5 << 30)
    with zipfile.ZipFile(archive_path, "a") as archive:
        archive.writestr("x.npy", npy_bytes(x))
        archive.writestr("y.npy", npy_bytes(np.arange(5)))
    recording = found_in(archive_path)
    assert recording.x.offset > 5 << 30
    np.testing.assert_array_equal(recording.x.read(1, 4), x[1:4])
    with open(tmp_path / "b_x.npy", "wb") as file:
        npy_format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": True, "shape": (5 << 30, 2)}
        )
        start = file.tell()
        file.truncate(start + (10 << 30))
        file.seek(start + (5 << 30) + 4_999_999_999)
        file.write(b"\x07")
    np.save(tmp_path / "b_y.npy", np.zeros(3))
    reader = found_in([tmp_path / "b_x.npy", tmp_path / "b_y.npy"]).x
    np.testing.assert_array_equal(reader.read(4_999_999_998, 5_000_000_000), [[0, 0], [0, 7]])


def test_a_stream_reads_on_and_never_holds_more_than_a_piece(tmp_path, monkeypatch):
    x = np.zeros((3000, 1000), np.float32)
    np.savez_compressed(tmp_path / "a.npz", x=x, y=np.arange(3000))
    sizes, opened = [], []
    plain_read, plain_open = zipfile.ZipExtFile.read, zipfile.ZipFile.open
    reader = found_in(tmp_path).x

    def read(self, n=-1):
        sizes.append(n)
        return plain_read(self, n)

    def open_member(self, *args, **kwargs):
        opened.append(args)
        return plain_open(self, *args, **kwargs)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", read)
    monkeypatch.setattr(zipfile.ZipFile, "open", open_member)
    for start in (0, 10, 2000, 2990):
        reader.read(start, start + 10)
    assert len(opened) == 1
    assert min(sizes) >= 1 and max(sizes) <= 1 << 20
    reader.read(5, 6)
    reader.read(4, 5)
    assert len(opened) == 3
    reader.close()


def test_a_spool_goes_away_on_close_and_with_its_reader(tmp_path, monkeypatch):
    spools = tmp_path / "spools"
    spools.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spools))
    x = np.asfortranarray(array("<f4", (6, 3, 2)))
    np.savez_compressed(tmp_path / "a.npz", x=x, y=np.arange(6))
    reader = found_in(tmp_path / "a.npz").x
    reader.read(0, 2)
    assert len(list(spools.iterdir())) == 1
    copy = pickle.loads(pickle.dumps(reader))
    copy.read(0, 2)
    assert len(list(spools.iterdir())) == 2
    reader.close()
    assert len(list(spools.iterdir())) == 1
    del copy
    assert not list(spools.iterdir())


def test_a_spool_that_does_not_fit_says_where(tmp_path, monkeypatch):
    x = np.asfortranarray(array("<f4", (6, 3, 2)))
    np.savez_compressed(tmp_path / "a.npz", x=x, y=np.arange(6))
    reader = found_in(tmp_path).x
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(SourceError, match="no temporary file"):
        reader.read(0, 1)


def test_readers_are_small_when_pickled_and_read_the_same(tmp_path):
    x = array("<f4", (6, 30, 200))
    np.savez_compressed(tmp_path / "a.npz", x=x, y=np.arange(6))
    np.savez(tmp_path / "b.npz", x=x, y=np.arange(6))
    for found in sources.find(tmp_path).recordings:
        for reader in (found.x, found.y):
            pickled = pickle.dumps(reader)
            assert len(pickled) < 2000
            copy = pickle.loads(pickled)
            np.testing.assert_array_equal(copy.read(1, 4), reader.read(1, 4))
            copy.close()
            reader.close()


def test_a_stamp_notices_a_file_that_was_written_again(tmp_path):
    x = array("<f4", (6, 3))
    for kind in ("npy", "deflated"):
        folder = tmp_path / kind
        folder.mkdir()
        write(folder, x, np.arange(6), kind=kind)
        reader = found_in(folder).x
        path = Path(sorted(folder.iterdir())[0])
        os.utime(path, ns=(0, 0))
        with pytest.raises(SourceError, match=f"{path.name}.*changed"):
            reader.read(0, 1)
        path.unlink()
        with pytest.raises(SourceError, match=path.name):
            reader.read(0, 1)


def test_a_file_cut_short_while_open_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a_x.npy"
    write(tmp_path, array("<f4", (6, 3)), np.arange(6), kind="npy")
    reader = found_in(tmp_path).x
    os.truncate(path, path.stat().st_size - 8)
    monkeypatch.setattr(FileStamp, "open", lambda stamp: Path(stamp.path).open("rb", 0))  # noqa: SIM115
    np.testing.assert_array_equal(reader.read(0, 5), array("<f4", (6, 3))[:5])
    with pytest.raises(SourceError, match=r"a_x\.npy: truncated while being read"):
        reader.read(0, 6)


# Recordings that are arrays


def array_likes(x, tmp_path):
    import dask.array as da
    import zarr

    mapped = np.lib.format.open_memmap(tmp_path / "m.npy", "w+", x.dtype, x.shape)
    mapped[:] = x
    native = x.astype(x.dtype.newbyteorder("="))
    stored = zarr.create_array(tmp_path / "z", data=native, chunks=(4, 1, 2))
    return [x, mapped, da.from_array(x, chunks=(4, 2, 1)), stored, x.tolist(), np.asfortranarray(x)]


@pytest.mark.parametrize("which", range(6))
def test_arrays_of_any_kind_read_as_numpy(tmp_path, which):
    x = array(">f4", (9, 3, 2))
    given_x = array_likes(x, tmp_path)[which]
    found = sources.find(Recording("s", given_x, ["a", "b", "c"] * 3))
    assert found.problems == () and found.has_subjects_given
    (recording,) = found.recordings
    assert recording.origin == "recording 1 (s)" and recording.size_bytes == 0
    check_reads(recording.x, x, 0)
    check_reads(recording.y, np.array(["a", "b", "c"] * 3), 0)
    assert recording.x.block_rows == (4 if which in (2, 3) else 1)


def test_rows_of_an_array_are_a_copy():
    x = np.zeros((4, 2))
    reader = ArrayRows(x, "x")
    reader.read(0, 2)[:] = 1
    assert not x.any()


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((2, 2), complex), "complex"),
        (np.array([[1, "a", None]], dtype=object), "Python objects"),
        (np.ma.masked_array([1, 2], mask=[True, False]), "masked"),
        (np.float32(3), "single value"),
        ([[1, 2], [3]], "cannot be made an array"),
        (np.array(["a"]), "x must be numbers"),
    ],
)
def test_arrays_that_cannot_be_inputs_are_problems(x, says):
    found = sources.find([Recording("a", x, [0]), Recording("b", np.zeros((1, 1)), [0])])
    (problem,) = found.problems
    assert problem.startswith("recording 1 (a): x: ") and says in problem
    assert [r.subject for r in found.recordings] == ["b"]


def test_a_dask_array_of_unknown_length_says_what_to_call():
    import dask.array as da

    x = da.from_array(np.arange(6), chunks=2)
    (problem,) = sources.find(Recording("a", x[x > 2], [0, 1, 2])).problems
    assert "compute_chunk_sizes" in problem
