"""Several chunks in one call: each as it was written, and none that is anything else."""

import os
import platform
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from zarrts.loops import chunks, library
from zarrts.storage.checksums import crc32c

needs_reader = pytest.mark.skipif(chunks.reader() is None, reason="nothing reads several at once")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file to write to and read from."""
    path = tmp_path_factory.mktemp("chunks") / "shard"
    path.touch()
    with path.open("r+b") as opened:
        yield opened


def stored(values, *, level=5, shuffle=1, change=lambda frame: frame):
    """Return a frame of Blosc and its checksum; `change` is made before the checksum."""
    frame = change(blosc.compress(values.tobytes(), b"lz4", level, shuffle, 0, values.itemsize))
    return frame + crc32c(frame).to_bytes(4, "little")


def written(file, parts):
    """Write parts one after the other, with a gap between; return offset and size of each."""
    content, places = b"gap", []
    for part in parts:
        places.append((len(content), len(part)))
        content += part + b"gap"
    file.seek(0)
    file.truncate()
    file.write(content)
    file.flush()
    return places


def read(file, places, outs, checksums=None):
    checksums = [-1] * len(outs) if checksums is None else checksums
    return chunks.reader()(
        [
            (file.fileno(), offset, size, checksum, out)
            for (offset, size), checksum, out in zip(places, checksums, outs, strict=True)
        ]
    )


def checksum_of(part):
    return int.from_bytes(part[-4:], "little")


def test_linux_reads_several_at_once_with_the_compiled_library():
    if library.choice().compiled is None:
        assert chunks.reader() is None
    elif sys.platform == "linux" and platform.machine() == "x86_64":
        assert chunks.reader() is not None


@needs_reader
@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([1, 3, 100, 4095, 4096, 12_288, 30_000]), max_size=9),
    dtype=st.sampled_from(["i1", "i2", "f4", "f8"]),
    is_noise=st.booleans(),
    level=st.sampled_from([0, 1, 5]),
    shuffle=st.sampled_from([0, 1, 2]),
)
def test_chunks_come_back_as_they_were_written(file, seed, sizes, dtype, is_noise, level, shuffle):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    values = [
        np.frombuffer(rng.bytes(n * dtype.itemsize), dtype)
        if is_noise
        else rng.integers(0, 9, n).astype(dtype)
        for n in sizes
    ]
    parts = [stored(it, level=level, shuffle=shuffle) for it in values]
    places = written(file, parts)
    outs = [np.full(it.shape, 7, dtype) for it in values]
    checksums = [checksum_of(it) for it in parts]
    if sizes:
        assert read(file, places, outs, checksums) == len(sizes)
    for found, expected in zip(outs, values, strict=True):
        assert found.tobytes() == expected.tobytes()


@needs_reader
@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    which=st.integers(0, 4),
    where=st.integers(0, 2**30),
    mask=st.integers(1, 255),
    is_noise=st.booleans(),
)
def test_the_first_that_is_damaged_and_those_behind_it_are_left(
    file, seed, which, where, mask, is_noise
):
    rng = np.random.default_rng(seed)
    high = 2**15 if is_noise else 9
    values = [rng.integers(0, high, 9000).astype(np.int16) for _ in range(5)]
    parts = [bytearray(stored(it)) for it in values]
    parts[which][where % len(parts[which])] ^= mask
    outs = [np.zeros(9000, np.int16) for _ in values]
    assert read(file, written(file, parts), outs) == which
    for found, expected in zip(outs[:which], values, strict=False):
        assert found.tobytes() == expected.tobytes()


def header(at, number):
    return lambda frame: frame[:at] + number.to_bytes(4, "little") + frame[at + 4 :]


@needs_reader
@pytest.mark.parametrize("is_noise", [True, False])
def test_what_is_not_exactly_as_expected_is_left(file, is_noise):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**15 if is_noise else 9, 9000).astype(np.int16)
    other = values[::-1].copy()
    right, out = stored(values), np.zeros(9000, np.int16)
    (place,) = written(file, [right])
    assert read(file, [place], [out], [checksum_of(right)]) == 1
    # The chunk of another place, whose own checksum is right.
    assert read(file, [place], [out], [checksum_of(stored(other))]) == 0
    assert read(file, [place], [out], [1 << 32]) == 0
    # More and fewer values, and a part that is cut, empty, or beyond the end.
    assert read(file, [place], [np.zeros(8999, np.int16)]) == 0
    assert read(file, [place], [np.zeros(9001, np.int16)]) == 0
    offset, size = place
    for n_bytes in (size - 1, 20, 19, 4, 0):
        assert read(file, [(offset, n_bytes)], [out]) == 0
    assert read(file, [(offset + 10**6, size)], [out]) == 0
    assert read(file, [(2**62, size)], [out]) == 0
    # Sizes in the header that are not those of the chunk.
    for at, true in ((4, values.nbytes), (12, size - 4)):
        for number in (true - 1, true + 1):
            (wrong,) = written(file, [stored(values, change=header(at, number))])
            assert read(file, [wrong], [out]) == 0


@needs_reader
def test_no_more_are_read_than_one_call_takes(file):
    values = [np.full(10, n, np.int32) for n in range(chunks.MOST_CHUNKS + 3)]
    outs = [np.zeros(10, np.int32) for _ in values]
    assert read(file, written(file, [stored(it) for it in values]), outs) == chunks.MOST_CHUNKS
    assert [int(it[0]) for it in outs[: chunks.MOST_CHUNKS]] == list(range(chunks.MOST_CHUNKS))
    assert not any(it.any() for it in outs[chunks.MOST_CHUNKS :])


@needs_reader
def test_memory_that_cannot_be_written_is_refused(file):
    values = np.arange(100)
    (place,) = written(file, [stored(values)])
    out = np.zeros(100, np.int64)
    out.flags.writeable = False
    with pytest.raises((BufferError, TypeError, ValueError)):
        read(file, [place], [out])
    with pytest.raises((BufferError, TypeError, ValueError)):
        read(file, [place], [np.zeros(200, np.int64)[::2]])
    assert os.fstat(file.fileno()).st_size > 0  # and the file is open


@needs_reader
def test_threads_read_at_the_same_time(file):
    rng = np.random.default_rng(2)
    values = [rng.integers(0, 9, 20_000).astype(np.int16) for _ in range(12)]
    places = written(file, [stored(it) for it in values])
    wrong = []

    def work(seed):
        order = np.random.default_rng(seed).permutation(12).tolist()
        for _ in range(20):
            outs = [np.zeros(20_000, np.int16) for _ in order]
            n_read = read(file, [places[i] for i in order], outs)
            same = (np.array_equal(outs[k], values[i]) for k, i in enumerate(order))
            if n_read != 12 or not all(same):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
