"""Streams of XDF files, against pyxdf; gaps stay where they are."""

import pickle
import struct
import sys

import numpy as np
import pytest
from signal_files import assert_pieces, counts, only

import zarrts
from zarrts import sources
from zarrts.sources import SourceOptions
from zarrts.sources.formats import xdf_files

pyxdf = pytest.importorskip("pyxdf", reason="pip install 'zarrts[xdf]'; tox -e formats does")

CHANNELS = ("Fz", "Cz", "EOG")


def chunk(tag, content):
    body = struct.pack("<H", tag) + content
    return b"\x04" + struct.pack("<I", len(body)) + body


def header(number, name, rate, form, labels=()):
    channels = "".join(
        f"<channel><label>{it}</label><unit>microvolts</unit></channel>" for it in labels
    )
    text = (
        f'<?xml version="1.0"?><info><name>{name}</name><type>EEG</type>'
        f"<channel_count>{max(1, len(labels))}</channel_count><nominal_srate>{rate}</nominal_srate>"
        f"<channel_format>{form}</channel_format><desc><channels>{channels}</channels></desc></info>"
    )
    return chunk(2, struct.pack("<I", number) + text.encode())


def numbers(number, times, values):
    rows = b"".join(
        b"\x08" + struct.pack("<d", at) + row.astype("<f4").tobytes()
        for at, row in zip(times, values, strict=True)
    )
    return chunk(3, struct.pack("<I", number) + b"\x04" + struct.pack("<I", len(times)) + rows)


def texts(number, times, words):
    rows = b"".join(
        b"\x08" + struct.pack("<d", at) + b"\x01" + bytes([len(word)]) + word.encode()
        for at, word in zip(times, words, strict=True)
    )
    return chunk(3, struct.pack("<I", number) + b"\x04" + struct.pack("<I", len(times)) + rows)


def footer(number, times):
    text = (
        f"<info><first_timestamp>{times[0]}</first_timestamp>"
        f"<last_timestamp>{times[-1]}</last_timestamp><sample_count>{len(times)}</sample_count></info>"
    )
    return chunk(6, struct.pack("<I", number) + text.encode())


def write_xdf(path, x, rate=100, jump=None, more=()):
    """Write a stream of float32, and one of markers; `jump`: (row, seconds)."""
    times = 5000 + np.arange(len(x)) / rate
    if jump is not None:
        times[jump[0] :] += jump[1]
    marks = [times[0] + 0.5, times[-1]]
    parts = [b"XDF:", chunk(1, b'<?xml version="1.0"?><info><version>1.0</version></info>')]
    parts += [header(1, "amp", rate, "float32", CHANNELS), header(2, "marks", 0, "string")]
    parts += [header(3 + i, name, rate, "float32", CHANNELS) for i, name in enumerate(more)]
    parts += [numbers(1, times[:500], x[:500]), texts(2, marks, ["go", "stop"])]
    parts += [numbers(1, times[500:], x[500:])]
    parts += [numbers(3 + i, times, x * 2) for i in range(len(more))]
    parts += [footer(1, times), footer(2, marks)]
    parts += [footer(3 + i, times) for i in range(len(more))]
    path.write_bytes(b"".join(parts))


def test_a_stream_is_as_pyxdf_gives_it(tmp_path):
    x = (counts(1200, 3) * 0.25).astype("f4")
    write_xdf(tmp_path / "s01.xdf", x)
    it = only(tmp_path, unlabelled="rest")
    assert (it.description.channels, it.description.units) == (CHANNELS, ("uV",) * 3)
    assert it.description.rate_hz == 100 and it.gaps is None
    own, _ = pyxdf.load_xdf(tmp_path / "s01.xdf", dejitter_timestamps=False)
    np.testing.assert_array_equal(own[0]["time_series"], x)
    assert_pieces(it.x, x)
    it.x.close()
    assert_pieces(pickle.loads(pickle.dumps(it.x)), x, n=3)
    assert_pieces(only(tmp_path, channels=("EOG",), unlabelled="rest").x, x[:, 2:])


def test_a_jump_of_time_stamps_is_a_gap_where_it_was(tmp_path):
    x = counts(1200, 3).astype("f4")
    write_xdf(tmp_path / "s01.xdf", x, jump=(700, 3.0))
    it = only(tmp_path, unlabelled="rest")
    assert (it.gaps.rows.tolist(), it.gaps.seconds.round(3).tolist()) == ([700], [3.0])
    assert_pieces(it.x, x, n=3)


def test_of_several_streams_one_is_chosen(tmp_path):
    x = counts(1200, 3).astype("f4")
    write_xdf(tmp_path / "s01.xdf", x, more=("watch",))
    (problem,) = sources.find(tmp_path, SourceOptions(unlabelled="rest")).problems
    assert "amp (1200, 3), watch (1200, 3)" in problem and "give its name" in problem
    it = only(tmp_path, x="watch", y="annotations", unlabelled="rest")
    assert_pieces(it.x, x * 2, n=3)
    with zarrts.convert(
        tmp_path, tmp_path / "s.zarr", x="amp", y=False, kind="ragged", progress=False
    ) as store:
        np.testing.assert_array_equal(store.samples.load()[0][0], x)


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    place = tmp_path / "s01.xdf"
    write_xdf(place, counts(1200, 3).astype("f4"))
    monkeypatch.setattr(xdf_files, "MAX_BYTES", 1000)
    (problem,) = sources.find(tmp_path).problems
    assert "pyxdf loads a file whole, which is done up to 1,000" in problem
    monkeypatch.undo()
    place.write_bytes(b"XDF?" + place.read_bytes()[4:])
    (problem,) = sources.find(tmp_path).problems
    assert problem == "s01.xdf: is not an XDF file; copy it again."
    write_xdf(place, counts(1200, 3).astype("f4"))
    content = place.read_bytes()
    for cut in (len(content) // 2, len(content) - 300):
        place.write_bytes(content[:cut])
        (problem,) = sources.find(tmp_path).problems
        assert problem.startswith("s01.xdf: the stream amp ends after ")
    monkeypatch.setitem(sys.modules, "pyxdf", None)
    (problem,) = sources.find(tmp_path).problems
    assert problem.endswith("which is not installed; pip install 'zarrts[xdf]'.")


def test_several_streams_are_inputs_at_their_own_times(tmp_path):
    x = counts(1200, 3).astype("f4")
    write_xdf(tmp_path / "s01.xdf", x, more=("watch",))
    content = (tmp_path / "s01.xdf").read_bytes()
    # The watch, whose numbers come last, starts two and a half seconds later.
    at = content.rindex(numbers(3, 5000 + np.arange(1200) / 100, x * 2))
    late = numbers(3, 5002.5 + np.arange(1200) / 100, x * 2)
    (tmp_path / "s01.xdf").write_bytes(content[:at] + late + content[at + len(late) :])
    more = {"y": False, "kind": "ragged", "progress": False}
    with zarrts.convert(tmp_path, tmp_path / "s.zarr", x=["amp", "watch"], **more) as store:
        found, _ = store.samples.load()
        np.testing.assert_array_equal(found["amp"][0], x[250:])
        np.testing.assert_array_equal(found["watch"][0], 2 * x[:950])
