"""EDF and BDF files, written by pyEDFlib; what needs one is skipped where that is missing."""

import warnings
from datetime import datetime

import numpy as np
import pytest

RATE, SECONDS = 50, 12
NO_WHEEL = "pyEDFlib has no wheel for every Python"


def write_edf(path, names=("Fpz-Cz", "EOG"), rates=None, annotations=(), seed=0, bdf=False):
    """Write noise, and return it as (time, channel) where all rates are alike."""
    pyedflib = pytest.importorskip("pyedflib", reason=NO_WHEEL)
    rng = np.random.default_rng(seed)
    kind = pyedflib.FILETYPE_BDFPLUS if bdf else pyedflib.FILETYPE_EDFPLUS
    rates = rates or [RATE] * len(names)
    signals = [rng.normal(0, 50, rate * SECONDS) for rate in rates]
    bits = 2**23 if bdf else 2**15
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pyedflib.EdfWriter(str(path), len(names), kind) as file:
            # By default it is the second of writing, and files that belong together would differ.
            file.setStartdatetime(datetime(2024, 12, 31, 22, 0, 0))
            file.setSignalHeaders(
                [
                    {
                        "label": name,
                        "dimension": "uV",
                        "sample_frequency": rate,
                        "physical_min": -500,
                        "physical_max": 500,
                        "digital_min": -bits,
                        "digital_max": bits - 1,
                        "transducer": "",
                        "prefilter": "",
                    }
                    for name, rate in zip(names, rates, strict=True)
                ]
            )
            if signals:
                file.writeSamples(signals)
            for onset, duration, text in annotations:
                file.writeAnnotation(onset, duration, text)
    return signals


STAGES = [(0, 4, "W"), (4, 2.5, "N1"), (8, 100, "R")]


def _field(value, width):
    return str(value).encode("latin-1")[:width].ljust(width)


def write_raw_edf(path, signals, annotations=None, record_s="1", start="22.00.00", units=()):
    """Write an EDF+ file byte by byte, with headers that libraries would not write.

    Signals are (name, digital values, samples in a record, physical limits, digital limits), the
    annotations (onset, duration, text), all of them text; a file without signals has one record.
    Units are those of the first signals, uV of the others.
    """
    n_records = len(signals[0][1]) // signals[0][2] if signals else 1
    lists = b"".join(
        f"{onset}\x15{duration}\x14{text}\x14\0".encode()
        for onset, duration, text in annotations or ()
    )
    room = 2 * (len(lists) + 100)
    units = [*units, *["uV"] * (len(signals) - len(units)), ""]
    columns = [
        (name, n, limits, digital, unit)
        for (name, _, n, limits, digital), unit in zip(signals, units, strict=False)
    ]
    if annotations is not None:
        columns.append(("EDF Annotations", room // 2, (-1, 1), (-32768, 32767), ""))
    head = _field("0", 8) + _field("X", 80) + _field("Startdate X X X X", 80)
    head += _field("01.01.20", 8) + _field(start, 8) + _field(256 * (1 + len(columns)), 8)
    head += _field("EDF+C", 44) + _field(n_records, 8) + _field(record_s, 8)
    head += _field(len(columns), 4)
    fields = [
        (16, lambda it: it[0]),
        (80, lambda it: ""),
        (8, lambda it: it[4]),
        (8, lambda it: it[2][0]),
        (8, lambda it: it[2][1]),
        (8, lambda it: it[3][0]),
        (8, lambda it: it[3][1]),
        (80, lambda it: ""),
        (8, lambda it: it[1]),
        (32, lambda it: ""),
    ]
    for width, value in fields:
        head += b"".join(_field(value(it), width) for it in columns)
    parts = [head]
    for record in range(n_records):
        for _, values, n, _, _ in signals:
            part = np.asarray(values[record * n : (record + 1) * n])
            parts.append(part.astype("<i2").tobytes())
        if annotations is not None:
            mark = f"+{record * float(record_s):g}\x14\x14\0".encode()
            parts.append((mark + (lists if record == 0 else b"")).ljust(room, b"\0"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))


def write_peer_edf(path, signals, per_record, n_records, duration, marks, start, *, is_bdf=False):
    """Write an EDF+ or BDF+ file that other readers accept, each field as it is given.

    Signals are (name, digital values, digital limits, physical limits as text, unit), the marks
    (onset in seconds, duration in seconds, text), all in the first record.
    """
    width = 3 if is_bdf else 2
    lists = b"".join(
        f"{onset:+.6f}\x15{lasting:.6f}\x14{text}\x14\0".encode() for onset, lasting, text in marks
    )
    room = -(-(len(lists) + 40) // width)
    name = "BDF Annotations" if is_bdf else "EDF Annotations"
    least = -(2 ** (8 * width - 1))
    columns = [(it[0], it[4], it[3], it[2], per_record) for it in signals]
    columns.append((name, "", ("-1", "1"), (least, -least - 1), room))
    head = (b"\xffBIOSEMI" if is_bdf else _field("0", 8)) + _field("X X X X", 80)
    months = {"01": "JAN", "12": "DEC"}
    day, month, year = start[0].split(".")
    century = 1900 if int(year) >= 85 else 2000
    date = f"{day}-{months[month]}-{century + int(year)}"
    head += _field(f"Startdate {date} X X X", 80) + _field(start[0], 8) + _field(start[1], 8)
    head += _field(256 * (1 + len(columns)), 8) + _field("BDF+C" if is_bdf else "EDF+C", 44)
    head += _field(n_records, 8) + _field(duration, 8) + _field(len(columns), 4)
    for size, value in [
        (16, lambda it: it[0]),
        (80, lambda it: ""),
        (8, lambda it: it[1]),
        (8, lambda it: it[2][0]),
        (8, lambda it: it[2][1]),
        (8, lambda it: it[3][0]),
        (8, lambda it: it[3][1]),
        (80, lambda it: ""),
        (8, lambda it: it[4]),
        (32, lambda it: ""),
    ]:
        head += b"".join(_field(value(it), size) for it in columns)
    parts = [head]
    for record in range(n_records):
        for _, values, *_ in signals:
            part = np.asarray(values[record * per_record : (record + 1) * per_record])
            raw = part.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
            parts.append(raw.tobytes())
        mark = f"+{record * float(duration):.6f}\x14\x14\0".encode()
        parts.append((mark + (lists if record == 0 else b"")).ljust(room * width, b"\0"))
    path.write_bytes(b"".join(parts))
