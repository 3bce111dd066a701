"""Files of wearables that actipy decodes, against actipy, with the gaps of their clocks."""

import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from signal_files import assert_pieces, only

import zarrts
from zarrts import sources
from zarrts.sources import SourceOptions

actipy = pytest.importorskip("actipy", reason="pip install 'zarrts[actipy]'; tox -e formats does")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="actipy needs Java")

# actipy takes time stamps of several forms for numbers of days, which pandas warns of.
QUIET = pytest.mark.filterwarnings("ignore")


def write_geneactiv(path, n_pages=4, rate=100, jump_after=None, seed=0):
    """Write pages of 300 samples, 3 s each; from `jump_after` on, a minute later."""
    rng = np.random.default_rng(seed)
    head = ["Device Identity", "Device Unique Serial Code:012345", *[""] * 45]
    head += ["x gain:25600", "x offset:100", "y gain:25000", "y offset:-200"]
    head += ["z gain:26000", "z offset:0", "Volts:300", "Lux:800", "", "Memory Status"]
    head += [f"Number of Pages:{n_pages}", ""]
    lines, expected = head, []
    for page in range(n_pages):
        second = page * 3 + (60 if jump_after is not None and page >= jump_after else 0)
        raw = rng.integers(-2048, 2048, (300, 3))
        lines += ["Recorded Data", "Device Unique Serial Code:012345", f"Sequence Number:{page}"]
        lines += [f"Page Time:2020-01-01 10:{second // 60:02d}:{second % 60:02d}:000"]
        lines += ["Unassigned:", f"Temperature:{20 + page}.5", "Battery voltage:4.0"]
        lines += ["Device Status:Recording", f"Measurement Frequency:{rate:.1f}"]
        lines += ["".join(f"{v & 0xFFF:03X}" for row in raw for v in (*row, 0))]
        offsets, gains = np.array([100, -200, 0]), np.array([25600, 25000, 26000])
        warm = np.full((300, 1), 20.5 + page)
        expected.append(np.concatenate([(raw * 100 - offsets) / gains, warm], axis=1))
    assert len(head) >= 59
    path.write_text("\n".join(lines) + "\n")
    return np.concatenate(expected).astype("f4")


def packet(kind, second, payload):
    head = struct.pack("<BBIH", 0x1E, kind, second, len(payload))
    check = 0
    for it in head + payload:
        check ^= it
    return head + payload + bytes([~check & 0xFF])


def write_gt3x(path, seconds=(0, 1, 2), rate=30, seed=0):
    """Write a second of int16 samples for each time; counts of 1/256 g."""
    rng = np.random.default_rng(seed)
    log, expected = b"", []
    for second in seconds:
        raw = rng.integers(-2000, 2000, (rate, 3))
        log += packet(26, 1577872800 + second, raw.astype("<i2").tobytes())
        expected.append(raw / 256)
    info = (
        f"Serial Number: MOS2D00000000\nSample Rate: {rate}\nStart Date: 637134732000000000\n"
        "Acceleration Scale: 256.0\nAcceleration Min: -8.0\nAcceleration Max: 8.0\n"
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("info.txt", info)
        file.writestr("log.bin", log)
    return np.concatenate(expected)


def write_cwa(path, n_blocks=20, seed=0):
    """Write blocks of 80 samples at 100 Hz, 1/256 g, as openmovement.dev describes them."""
    rng = np.random.default_rng(seed)
    blocks = [b"MD" + struct.pack("<HB", 1020, 0) + bytes(1019)]
    for number in range(n_blocks):
        first = 80 * number  # the time is that of the sample at `offset`, on a whole second
        second = -(-first // 100)
        raw = rng.integers(-2000, 2000, (80, 3)).astype("<i2")
        clock = 20 << 26 | 1 << 22 | 1 << 17 | 10 << 12 | second // 60 << 6 | second % 60
        head = b"AX" + struct.pack("<HHIII", 508, 0, 1, number, clock)
        head += struct.pack("<HHBBBBhH", 300, 200, 0, 0, 0x4A, 0x32, second * 100 - first, 80)
        block = head + raw.tobytes()
        total = int(np.frombuffer(block, "<u2").astype(int).sum())
        blocks.append(block + struct.pack("<H", -total & 0xFFFF))
    path.write_bytes(b"".join(blocks))


def as_actipy_reads(path):
    """Return the columns that actipy gives without changing a value."""
    data, _ = actipy.read_device(
        str(path),
        lowpass_hz=None,
        calibrate_gravity=False,
        detect_nonwear=False,
        resample_hz=None,
        verbose=False,
    )
    return data.to_numpy().astype("f4")


@QUIET
def test_geneactiv_is_as_actipy_reads_it(tmp_path):
    expected = write_geneactiv(tmp_path / "s01.bin")
    it = only(tmp_path, unlabelled="all")
    assert it.description.channels == ("x", "y", "z", "temperature")
    assert it.description.units == ("g", "g", "g", "degC")
    assert it.description.rate_hz == 100
    assert_pieces(it.x, expected)
    assert_pieces(it.x, as_actipy_reads(tmp_path / "s01.bin"), n=2)
    assert_pieces(only(tmp_path, unlabelled="all", channels=("z", "x")).x, expected[:, [2, 0]])


@QUIET
def test_gt3x_is_as_actipy_reads_it(tmp_path):
    counts = write_gt3x(tmp_path / "s01.gt3x", seconds=range(5))
    it = only(tmp_path, unlabelled="all")
    assert (it.description.units, it.description.rate_hz) == (("g",) * 3, 30)
    own = as_actipy_reads(tmp_path / "s01.gt3x")
    assert_pieces(it.x, own)
    np.testing.assert_allclose(it.x.read(0, 150), counts, atol=5.1e-4)  # it rounds to 0.001 g


@QUIET
def test_cwa_is_as_actipy_reads_it(tmp_path):
    write_cwa(tmp_path / "s01.cwa")
    it = only(tmp_path, unlabelled="all")
    assert it.description.channels == ("x", "y", "z", "temperature", "light")
    assert (it.description.units, it.description.rate_hz) == (("g", "g", "g", "degC", ""), 100)
    own = as_actipy_reads(tmp_path / "s01.cwa")
    assert len(own) > 1400 and np.isfinite(own).all()
    assert_pieces(it.x, own)


@pytest.mark.parametrize("kind", ["bin", "gt3x"])
def test_where_the_clock_jumps_is_a_gap_that_no_window_crosses(tmp_path, kind):
    folder = tmp_path / "in"
    folder.mkdir()
    if kind == "bin":
        values = write_geneactiv(folder / "s01.bin", jump_after=2)
        rate, before, lost_s = 100, 600, 60
    else:
        write_gt3x(folder / "s01.gt3x", seconds=(0, 1, 2, 13, 14))
        rate, before, lost_s = 30, 90, 10
        values = as_actipy_reads_without_gaps(folder / "s01.gt3x")
    found = sources.find(folder, SourceOptions(unlabelled="all"))
    (it,) = found.recordings
    assert_pieces(it.x, values)
    assert (it.gaps.rows.tolist(), it.gaps.seconds.round(2).tolist()) == ([before], [lost_s])
    (note,) = found.notes
    assert f"has 1 gap of {it.gaps.seconds[0]:g} s in all, which no window crosses" in note
    options = {"y": False, "kind": "ragged", "progress": False}
    with zarrts.convert(folder, tmp_path / "s.zarr", **options) as store:
        n = sum((end - start) // 50 for start, end in ((0, before), (before, len(values))))
        assert len(store.samples.windows(50, stride=50)) == n
    assert rate == it.description.rate_hz


def as_actipy_reads_without_gaps(path):
    folder = path.parent.parent / "decoded"
    folder.mkdir()
    actipy.reader.java_read_device(str(path), str(folder), verbose=False)
    rows = np.load(folder / "data.npy")
    return np.stack([rows[it] for it in "xyz"], axis=1)


def test_what_was_decoded_is_deleted_and_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    (tmp_path / "in").mkdir()
    expected = write_geneactiv(tmp_path / "in" / "s01.bin")
    it = only(tmp_path / "in", unlabelled="all")
    assert len(list((tmp_path / "temp").iterdir())) == 1
    it.x.close()
    assert not list((tmp_path / "temp").iterdir())
    assert_pieces(it.x, expected, n=2)
    other = pickle.loads(pickle.dumps(it.x))
    assert_pieces(other, expected, n=2)
    other.close()
    del it, other
    assert not list((tmp_path / "temp").iterdir())


def test_a_study_of_wearables_is_converted(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    x = {name: write_geneactiv(folder / f"{name}.bin", seed=ord(name)) for name in "ab"}
    options = {"y": False, "kind": "ragged", "channels": ["x", "y", "z"], "progress": False}
    with zarrts.convert(folder, tmp_path / "s.zarr", **options) as store:
        assert (store.subjects, store.rate_hz, store.units) == (["a", "b"], 100, ["g"] * 3)
        found, _ = store.samples.load()
        for values, name in zip(found, "ab", strict=True):
            np.testing.assert_array_equal(values, x[name][:, :3])


@pytest.mark.parametrize("kind", ["bin", "gt3x"])
def test_a_damaged_file_is_named(tmp_path, kind, capfd):
    place = tmp_path / f"s01.{kind}"
    write_geneactiv(place) if kind == "bin" else write_gt3x(place)
    content = place.read_bytes()
    place.write_bytes(content[: len(content) * 2 // 3])
    (problem,) = sources.find(tmp_path, SourceOptions(y=False)).problems
    assert problem.startswith(f"s01.{kind}: ")
    capfd.readouterr()


def test_other_bin_files_are_passed_over(tmp_path):
    write_geneactiv(tmp_path / "s01.bin")
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    found = sources.find(tmp_path, SourceOptions(unlabelled="all"))
    assert (found.problems, found.passed_over) == ((), ("weights.bin",))


def test_without_actipy_or_java_it_is_said_what_to_install(tmp_path, monkeypatch):
    write_geneactiv(tmp_path / "s01.bin")
    monkeypatch.setenv("PATH", str(Path(tmp_path)))
    (problem,) = sources.find(tmp_path).problems
    assert "needs Java, and there is no program java" in problem
    monkeypatch.setitem(sys.modules, "actipy.reader", None)
    (problem,) = sources.find(tmp_path).problems
    assert problem.endswith("which is not installed; pip install 'zarrts[actipy]'.")
