"""Files of signals in formats of other libraries, written by these or from a format's text."""

import struct

import numpy as np

from zarrts import sources
from zarrts.sources import SourceOptions


def only(place, **options):
    """Return the one recording that is found without problems."""
    found = sources.find(place, SourceOptions(**options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


def assert_pieces(rows, expected, seed=0, n=60):
    """Assert that pieces of random size, and the whole, are those of an array."""
    rng = np.random.default_rng(seed)
    assert rows.shape == expected.shape
    np.testing.assert_array_equal(rows.read(0, len(expected)), expected, strict=True)
    for _ in range(n):
        start, stop = sorted(rng.integers(0, len(expected) + 1, 2))
        found = rows.read(int(start), int(stop))
        assert found.flags.c_contiguous and found.dtype == rows.dtype
        np.testing.assert_array_equal(found, expected[start:stop])
    assert rows.read(0, 0).shape == (0, expected.shape[1])


def counts(n_rows, n_channels, seed=0, top=3000):
    return np.random.default_rng(seed).integers(-top, top, (n_rows, n_channels))


def write_brainvision(folder, name, x_uv, rate_hz, channels, marks=(), resolution=0.5):
    """Write microvolts, multiples of the resolution; marks are (row, rows, text)."""
    import pybv

    events = [
        {"onset": row, "duration": rows, "description": text, "type": "Comment"}
        for row, rows, text in marks
    ]
    # pybv cuts towards zero: a little more than the count gives the count.
    away = np.sign(x_uv) * resolution * 1e-3
    pybv.write_brainvision(
        data=(x_uv + away).T * 1e-6,
        sfreq=rate_hz,
        ch_names=list(channels),
        fname_base=name,
        folder_out=str(folder),
        resolution=resolution,
        unit="µV",
        fmt="binary_int16",
        events=events,
    )
    return folder / f"{name}.vhdr"


def write_gdf(path, values, units, *, version=2, per_record=None, events=()):
    """Write int16 `values` (rows, channels) with a gain of 0.5, by arxiv.org/abs/cs/0608052.

    `per_record`: samples of each channel in a record of 1 s; all 100 by default. Of slower
    channels the first values are written. `events`: (row, code).
    """
    n = values.shape[1]
    rates = list(per_record or [100] * n)
    n_records = len(values) // max(rates)
    limits = np.array([[-16384.0] * n, [16383.5] * n]), np.array([[-32768] * n, [32767] * n])

    def texts(items, width):
        return b"".join(str(it).encode().ljust(width) for it in items)

    names = texts([f"c{i}" for i in range(n)], 16)
    if version == 1:
        head = b"GDF 1.25" + b"X X".ljust(80) + b" " * 80 + b"2020010112000000"
        head += struct.pack("<q", 256 * (n + 1)) + bytes(24) + bytes(20)
        head += struct.pack("<qIII", n_records, 1, 1, n)
        table = names + bytes(80 * n) + texts(units, 8)
        table += limits[0].astype("<f8").tobytes() + limits[1].astype("<i8").tobytes()
        table += bytes(80 * n)
    else:
        head = b"GDF 2.20" + b"X X".ljust(66) + bytes(10) + bytes(4) + bytes(64) + bytes(4)
        head += bytes(12) + bytes(8) + bytes(8) + struct.pack("<H", n + 1)
        head += bytes(6) + bytes(8) + bytes(6) + bytes(6) + bytes(12) + bytes(12)
        head += struct.pack("<qIIHH", n_records, 1, 1, n, 0)
        table = names + bytes(80 * n) + bytes(6 * n)
        table += np.array(units, "<u2").tobytes()
        table += limits[0].astype("<f8").tobytes() + limits[1].astype("<f8").tobytes()
        table += bytes(68 * n) + bytes(12 * n)
    table += np.array(rates, "<i4").tobytes() + np.full(n, 3, "<i4").tobytes()
    table += bytes(32 * n)
    assert (len(head), len(table)) == (256, 256 * n)
    columns = [values[: n_records * rate, i].astype("<i2") for i, rate in enumerate(rates)]
    records = b"".join(
        column[r * rate : (r + 1) * rate].tobytes()
        for r in range(n_records)
        for column, rate in zip(columns, rates, strict=True)
    )
    rows = np.array([row + 1 for row, _ in events], "<u4").tobytes()
    codes = np.array([code for _, code in events], "<u2").tobytes()
    table_head = (
        struct.pack("<B3sI", 1, (100).to_bytes(3, "little"), len(events))
        if version == 1
        else struct.pack("<B3sf", 1, len(events).to_bytes(3, "little"), 100.0)
    )
    path.write_bytes(head + table + records + table_head + rows + codes)


def write_persyst(folder, name, values, rate_hz, times=()):
    """Write int16 `values` (rows, channels) in microvolts; `times`: (row, second of the day)."""
    values.astype("<i2").tofile(folder / f"{name}.dat")
    channels = "\n".join(f"c{i}-Ref={i + 1}" for i in range(values.shape[1]))
    clock = "\n".join(f"{row}={second}" for row, second in times)
    (folder / f"{name}.lay").write_text(
        f"[FileInfo]\nFile={name}.dat\nFileType=Interleaved\nSamplingRate={rate_hz}\n"
        f"HeaderLength=0\nCalibration=1.0\nWaveformCount={values.shape[1]}\nDataType=0\n"
        f"[ChannelMap]\n{channels}\n[SampleTimes]\n{clock}\n[Patient]\nFirst=A\nLast=B\nSex=\n"
        "Hand=\nID=1\nBirthDate=01/01/1980\nTestDate=01/02/2020\nTestTime=10:00:00\n"
        "[Comments]\n1.0,2.0,0,100,seizure\n"
    )
