"""Right values where other libraries surprise; docs/surprises.md and findings/ tell of them.

Most surprises are held by tests of what they concern; here are those that had none.
"""

import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import zarr
from edf_files import STAGES, write_edf

import zarrts

X = np.random.default_rng(0).normal(size=(6, 20, 2)).astype(np.float32)


def element(kind: int, content: bytes) -> bytes:
    """Tag, content and padding of an element of a MAT-file of version 5."""
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def doubles_in_bytes(name: str, values: np.ndarray) -> bytes:
    """A variable of class double, whose values take a byte each, as MATLAB saves space."""
    flags = element(6, struct.pack("<II", 6, 0))
    sizes = element(5, struct.pack(f"<{values.ndim}i", *values.shape))
    stored = element(2, values.astype(np.uint8).tobytes(order="F"))
    return element(14, flags + sizes + element(1, name.encode()) + stored)


def test_doubles_that_matlab_stored_in_bytes_are_doubles(tmp_path: Path) -> None:
    x = np.arange(24).reshape(4, 3, 2) * 10
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    variables = doubles_in_bytes("X", x) + doubles_in_bytes("y", np.array([[1], [0], [1], [0]]))
    (tmp_path / "s01.mat").write_bytes(head + variables)
    assert scipy.io.loadmat(tmp_path / "s01.mat")["X"].dtype == np.uint8  # what others make of it
    store = zarrts.convert(tmp_path, tmp_path / "a.zarr", dtype="keep", progress=False)
    loaded, _ = store.samples.load()
    assert store.dtype == np.float64
    np.testing.assert_array_equal(loaded, x.astype(np.float64))


@pytest.mark.parametrize("name", ["Status", "Trigger"])
def test_an_edf_signal_of_any_name_has_its_values(tmp_path: Path, name: str) -> None:
    (signal,) = write_edf(tmp_path / "a.edf", (name,), annotations=STAGES)
    store = zarrts.convert(tmp_path / "a.edf", tmp_path / "a.zarr", progress=False)
    (loaded,), _ = store.samples.load()
    assert list(store.channels) == [name]
    np.testing.assert_allclose(loaded[:, 0], signal, atol=0.02)  # a count is 0.015


def edf(first_record_s: float, onset_s: float, record_s: float = 1) -> bytes:
    """Ten records of ten samples, and an annotation of 2 s."""

    def fields(*items: tuple[object, int]) -> bytes:
        return b"".join(str(text).encode().ljust(width) for text, width in items)

    head = fields(("0", 8), ("X X X X", 80), ("Startdate 02-JAN-2020 X X X", 80), ("02.01.20", 8))
    head += fields(("22.00.00", 8), (768, 8), ("EDF+C", 44))
    head += fields((10, 8), (record_s, 8), (2, 4), ("EEG", 16), ("EDF Annotations", 16), ("", 160))
    head += fields(("uV", 8), ("", 8), (-32768, 8), (-1, 8), (32767, 8), (1, 8), (-32768, 8))
    head += fields((-32768, 8), (32767, 8), (32767, 8), ("", 160), (10, 8), (30, 8), ("", 64))
    body = b""
    for record in range(10):
        text = f"+{first_record_s + record * record_s:g}\x14\x14\0"
        if record == 0:
            text += f"+{onset_s:g}\x152\x14N2\x14\0"
        body += np.arange(10 * record, 10 * record + 10, dtype="<i2").tobytes()
        body += text.encode().ljust(60, b"\0")
    return head + body


@pytest.mark.parametrize("first_record_s", [0, 0.5])
def test_onsets_in_edf_count_from_the_header_and_not_from_the_first_record(
    tmp_path: Path, first_record_s: float
) -> None:
    (tmp_path / "a.edf").write_bytes(edf(first_record_s, onset_s=4))
    store = zarrts.convert(tmp_path / "a.edf", tmp_path / "a.zarr", progress=False)
    (x,), (y,) = store.samples.load()
    first = round((4 - first_record_s) * 10)
    np.testing.assert_allclose(x[:, 0], np.arange(100))
    labelled = np.flatnonzero(y == store.class_names.index("N2"))
    assert labelled.tolist() == list(range(first, first + 20))


def test_rates_that_nearly_agree_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(edf(0, onset_s=4))
    (tmp_path / "b.edf").write_bytes(edf(0, onset_s=4, record_s=0.9997))  # as if for 10 Hz
    with pytest.raises(zarrts.ZarrtsError, match=r"10\.003"):
        zarrts.convert(tmp_path, tmp_path / "a.zarr", progress=False)


def test_recordings_that_end_in_nan_keep_their_length(tmp_path: Path) -> None:
    series = [np.ones((5, 1), np.float32), np.ones((3, 1), np.float32)]
    series[0][3:] = np.nan
    parts = [zarrts.Recording(f"s{i}", it, np.array(i)) for i, it in enumerate(series)]
    store = zarrts.convert(parts, tmp_path / "a.zarr", kind="ragged", progress=False)
    loaded, _ = store.samples.load()
    assert [len(it) for it in loaded] == [5, 3]
    assert np.isnan(loaded[0][3:]).all()


def test_labels_that_differ_in_case_are_two_classes(tmp_path: Path) -> None:
    stages = np.array(["N1", "n1", "W", "N1", "n1", "W"])
    recording = zarrts.Recording("s01", X, stages)
    store = zarrts.convert([recording], tmp_path / "a.zarr", progress=False)
    assert list(store.class_names) == ["N1", "W", "n1"]


def test_zarr_sees_what_was_appended(tmp_path: Path) -> None:
    labels = np.arange(6) % 2
    path = tmp_path / "a.zarr"
    zarrts.convert([zarrts.Recording("s01", X, labels)], path, progress=False)
    zarrts.append(path, [zarrts.Recording("s02", X + 1, labels)], progress=False)
    group = zarr.open_group(str(path), mode="r")  # reads what is consolidated in the root
    np.testing.assert_array_equal(group["0/x"][:], X)
    np.testing.assert_array_equal(group["1/x"][:], X + 1)
