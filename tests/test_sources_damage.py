"""Files that are damaged, odd or hostile: a sentence for each, never wrong data."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions
from zarrts.sources.formats import npy_header as npy

X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
Y = np.arange(4)


def saved(values):
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def with_header(text, version=1, data=b""):
    raw = text if isinstance(text, bytes) else text.encode()
    length = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes([version, 0]) + length + raw + data


def header(descr="<f4", fortran="False", shape="(4,)"):
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def problem_of(folder, content, *, inside=None):
    """Return the one problem of a study whose second file is good."""
    np.savez(folder / "good.npz", x=X, y=Y)
    if inside is None:
        (folder / "bad_x.npy").write_bytes(content)
        np.save(folder / "bad_y.npy", Y)
    else:
        with zipfile.ZipFile(folder / "bad.npz", "w", inside) as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", saved(Y))
    found = sources.find(folder)
    assert [recording.origin for recording in found.recordings] == ["good.npz"]
    (problem,) = found.problems
    assert problem.startswith("bad_x.npy: " if inside is None else "bad.npz: array 'x'")
    assert problem.endswith(".") and "\n" not in problem
    return problem


BAD = {
    "empty": (b"", "it is empty"),
    "not npy": (b"PK\x03\x04whatever", "is not an .npy array"),
    "text": (b"version https://git-lfs", "is not an .npy array"),
    "magic only": (b"\x93NUMPY", "is not an .npy array"),
    "version": (b"\x93NUMPY\x09\x00" + b"\0" * 80, "version 9.0"),
    "cut header": (saved(X)[:50], "ends inside its header"),
    "long header": (with_header(b" " * 20_000 + header().encode(), 2), "header of 20,"),
    "huge header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "header of 4,294,967,295 bytes"),
    "no dict": (with_header("[1, 2]\n"), "damaged .npy header"),
    "code": (with_header("__import__('os').abort()\n"), "damaged .npy header"),
    "deep": (with_header("(" * 5000 + "\n"), "damaged .npy header"),
    "bad descr": (with_header(header(descr="zz")), "damaged .npy header"),
    "negative": (with_header(header(shape="(-4,)")), "impossible shape (-4,)"),
    "truncated": (saved(X)[:-10], "holds 86 bytes of data but its header declares 96"),
    "nothing but header": (saved(X)[:128], "holds 0 bytes of data but its header declares 96"),
    "huge shape": (
        with_header(header(shape="(1000000000000, 100000)")),
        "holds 0 bytes of data but its header declares 400,000,000,000,000,000",
    ),
    "absurd shape": (with_header(header(shape="(0, 99999999999999999999)")), "more than any"),
    "many axes": (with_header(header(shape=str((1,) * 40)), data=b"1234"), "more than any"),
    "trailing": (saved(X) + b"1", "has 1 bytes after its array of 96"),
    "objects": (saved(np.array([None, {}], dtype=object)), "np.savez(file, x=..., y=...)"),
    "structured": (saved(np.zeros(3, "i4,f4")), "structured"),
    "subarray": (with_header(header(descr=("<f4", (2,)))), "structured"),
    "void": (saved(np.zeros(3, "V4")), "structured"),
    "datetime": (saved(np.zeros(3, "M8[s]")), "datetime"),
    "timedelta": (saved(np.zeros(3, "m8[s]")), "timedelta"),
    "complex": (saved(np.zeros(3, "c8")), "complex"),
    "text inputs": (saved(np.array(["a"])), "x must be numbers"),
    "empty text": (with_header(header(descr="<U0", shape="(9,)")), "must be numbers"),
    "0-d": (saved(np.float32(3)), "is a single value (0 axes)"),
    "no values": (saved(np.zeros((3, 0, 2))), "leaves no value"),
}


@pytest.mark.parametrize("inside", [None, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_array_is_one_sentence_and_the_good_file_is_found(tmp_path, name, inside):
    content, says = BAD[name]
    assert says in problem_of(tmp_path, content, inside=inside)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_one_array(tmp_path, method):
    says = "has 224 bytes after its array of 96"
    assert says in problem_of(tmp_path, saved(X) + saved(X), inside=method)


def test_long_doubles_are_refused(tmp_path):
    if np.dtype("longdouble").itemsize == 8:
        pytest.skip("here a long double is a double")
    assert "long double" in problem_of(tmp_path, saved(np.zeros(3, "longdouble")))


def test_nothing_in_a_pickle_runs(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    bomb = np.empty(1, dtype=object)
    bomb[0] = Bomb()
    for kind in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        assert "which could run code" in problem_of(tmp_path, saved(bomb), inside=kind)


def test_both_halves_of_a_pair_are_reported(tmp_path):
    (tmp_path / "a_x.npy").write_bytes(b"no")
    (tmp_path / "a_y.npy").write_bytes(saved(Y)[:-1])
    first, second = sources.find(tmp_path).problems
    assert first.startswith("a_x.npy: ") and second.startswith("a_y.npy: is truncated")


def test_labels_in_bytes_must_be_utf8(tmp_path):
    np.save(tmp_path / "a_x.npy", X)
    np.save(tmp_path / "a_y.npy", np.array([b"wach", b"\xff", b"r", b"r"]))
    reader = sources.find(tmp_path).recordings[0].y
    assert reader.dtype == np.dtype("U4")
    assert reader.read(0, 1).tolist() == ["wach"]
    with pytest.raises(SourceError, match=r"a_y\.npy: holds text that is not UTF-8"):
        reader.read(0, 4)


def test_text_that_is_not_unicode_is_an_error(tmp_path):
    np.save(tmp_path / "a_x.npy", X)
    data = np.array([0x110000, 0x61, 0xD800], "<u4").tobytes()
    (tmp_path / "a_y.npy").write_bytes(with_header(header("<U1", shape="(3,)"), data=data))
    reader = sources.find(tmp_path).recordings[0].y
    assert reader.read(1, 2).tolist() == ["a"]
    for row in (0, 2):
        with pytest.raises(SourceError, match="not valid Unicode"):
            reader.read(row, row + 1)


@settings(deadline=None, max_examples=300)
@given(
    position=st.integers(0, 127),
    value=st.integers(0, 255),
    cut=st.integers(0, 230) | st.none(),
)
@example(position=8, value=255, cut=None)
@example(position=22, value=ord("a"), cut=None)
def test_any_header_gives_a_header_or_a_source_error(position, value, cut):
    content = bytearray(saved(X)[:cut])
    if position < len(content):
        content[position] = value
    try:
        found = npy.read_header(io.BytesIO(content), "f")
        npy.check_header(found, "x", len(content) - found.offset, "f")
    except SourceError as error:
        assert str(error).startswith("f: ")


@settings(deadline=None, max_examples=200)
@given(text=st.binary(max_size=60) | st.text("(){}[]'\",:0123456789descrfotan_h<>|-*", max_size=60))
def test_any_header_text_gives_a_header_or_a_source_error(text):
    try:
        npy.read_header(io.BytesIO(with_header(text)), "f")
    except SourceError as error:
        assert str(error).startswith("f: ")


# Archives


def archive_problem(folder, write):
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        write(archive)
    (problem,) = sources.find(path).problems
    assert problem.startswith("a.npz: ")
    return problem


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../x.npy", "out of the archive"),
        ("/x.npy", "out of the archive"),
        ("a/../../x.npy", "out of the archive"),
        ("C:/x.npy", "out of the archive"),
        ("a\\..\\x.npy", "out of the archive"),
        ("readme.txt", "is not an array"),
        ("folder/", "is not an array"),
    ],
)
def test_members_that_are_no_plain_arrays_are_refused(tmp_path, name, says):
    def write(archive):
        for member, values in (("x.npy", X), ("y.npy", Y), (name, Y)):
            info = zipfile.ZipInfo(member)
            info.filename = member
            archive.writestr(info, saved(values))

    problem = archive_problem(tmp_path, write)
    assert repr(name) in problem or os.name == "nt"  # zipfile turns backslashes there
    assert says in problem


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    def write(archive):
        for member, values in (("x.npy", X), ("y.npy", Y), ("x.npy", X + 1)):
            archive.writestr(member, saved(values))

    assert "'x.npy' is there twice" in archive_problem(tmp_path, write)


def test_an_encrypted_member_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    (problem,) = sources.find(path).problems
    assert "'x.npy' is encrypted" in problem


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06"])
def test_what_is_no_archive_is_a_problem(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    (problem,) = sources.find(tmp_path).problems
    assert problem.startswith("a.npz: is ")


def test_a_cut_archive_is_a_problem(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", x=X, y=Y)
    content = (tmp_path / "whole.npz").read_bytes()
    for size in range(0, len(content), 7):
        (tmp_path / "cut.npz").write_bytes(content[:size])
        (problem,) = sources.find(tmp_path / "cut.npz").problems
        assert problem.startswith("cut.npz: ")


def test_a_member_that_declares_more_than_it_holds_is_a_problem(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    (size,) = struct.unpack_from("<I", content, at)
    struct.pack_into("<I", content, at, size + 1000)
    (tmp_path / "a.npz").write_bytes(content)
    (problem,) = sources.find(tmp_path).problems
    assert "has 1,000 bytes after its array of 96" in problem


@pytest.mark.parametrize("order", "CF")
@settings(deadline=None, max_examples=150)
@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bytes_of_compressed_arrays_are_an_error_or_do_no_harm(
    tmp_path_factory, order, flips
):
    folder = tmp_path_factory.mktemp("flip")
    rng = np.random.default_rng(0)
    x = np.asarray(rng.integers(0, 9, (40, 5, 2)).astype(np.float32), order=order)
    y = np.arange(40)
    path = folder / "a.npz"
    np.savez_compressed(path, x=x, y=y)
    content = bytearray(path.read_bytes())
    for where, flip in flips:
        content[min(int(where * len(content)), len(content) - 1)] ^= flip
    path.write_bytes(content)
    found = sources.find(path, SourceOptions(x="x", y="y"))
    if found.problems:
        return
    (recording,) = found.recordings
    try:
        whole = recording.x.read(0, recording.x.shape[0])
        labels = recording.y.read(0, recording.y.shape[0])
    except SourceError as error:
        assert "a.npz: array" in str(error)
        return
    finally:
        recording.x.close()
        recording.y.close()
    np.testing.assert_array_equal(whole, x)
    np.testing.assert_array_equal(labels, y)


def test_the_checksum_is_compared_however_the_last_row_is_reached(tmp_path):
    x = np.random.default_rng(0).random((50, 4000)).astype(np.float32)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=x, y=np.arange(50))
    content = path.read_bytes()
    wrong = struct.pack("<I", zlib.crc32(b"something else"))
    with zipfile.ZipFile(path) as archive:
        right = struct.pack("<I", archive.getinfo("x.npy").CRC)
    assert content.count(right) >= 1
    path.write_bytes(content.replace(right, wrong))
    for ranges in ([(0, 50)], [(49, 50)], [(0, 10), (10, 30), (30, 50)], [(40, 45), (0, 50)]):
        (recording,) = sources.find(path).recordings
        for start, stop in ranges[:-1]:
            recording.x.read(start, stop)
        with pytest.raises(SourceError, match=r"array 'x': the compressed bytes are damaged"):
            recording.x.read(*ranges[-1])


def test_a_bomb_is_read_in_pieces_only(tmp_path):
    import tracemalloc

    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            member.write(with_header(header("|u1", shape="(100000000,)")))
            for _ in range(100):
                member.write(bytes(1_000_000))
        archive.writestr("y.npy", saved(Y))
    (recording,) = sources.find(tmp_path).recordings
    tracemalloc.start()
    recording.x.read(99_999_990, 100_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
