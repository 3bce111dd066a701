"""One signal written in several formats, each by its own library, is one store."""

import shutil

import numpy as np
import pytest
from edf_files import write_raw_edf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signal_files import counts, write_brainvision

import zarrts

mne = pytest.importorskip("mne", reason="tox -e formats installs it")
wfdb = pytest.importorskip("wfdb", reason="tox -e formats installs it")
pytest.importorskip("pybv", reason="tox -e formats installs it")
h5py = pytest.importorskip("h5py")

TEXTS = ("Comment/W", "Comment/N1")  # pybv writes the type before the text


def write_edf(folder, k, rate, names, half):
    signals = [
        (name, k[:, i], rate, ("-16384", "16383.5"), (-32768, 32767))
        for i, name in enumerate(names)
    ]
    times = f"{half / rate:g}", f"{(len(k) - half) / rate:g}"
    marks = [("+0", times[0], TEXTS[0]), (f"+{times[0]}", times[1], TEXTS[1])]
    write_raw_edf(folder / "s01.edf", signals, marks, units=("uV",) * len(names))


def write_vhdr(folder, k, rate, names, half):
    marks = [(0, half, "W"), (half, len(k) - half, "N1")]
    write_brainvision(folder, "s01", k * 0.5, rate, names, marks)


def write_fif(folder, k, rate, names, half):
    raw = mne.io.RawArray(
        k.T * 0.5e-6, mne.create_info(list(names), float(rate), "eeg"), verbose="error"
    )
    onsets, durations = [0, half / rate], [half / rate, (len(k) - half) / rate]
    raw.set_annotations(mne.Annotations(onsets, durations, list(TEXTS)))
    raw.save(folder / "s01_raw.fif", fmt="double", verbose="error")


def write_wfdb(folder, k, rate, names, half):
    n = len(names)
    wfdb.wrsamp(
        "s01",
        fs=rate,
        units=["uV"] * n,
        sig_name=list(names),
        d_signal=k,
        fmt=["16"] * n,
        adc_gain=[2.0] * n,
        baseline=[0] * n,
        write_dir=str(folder),
    )
    wfdb.wrann(
        "s01",
        "st",
        np.array([0, half]),
        symbol=['"', '"'],
        aux_note=list(TEXTS),
        write_dir=str(folder),
    )


def write_hdf5(folder, k, rate, names, half):
    with h5py.File(folder / "s01.h5", "w") as file:
        file["x"] = (k * 0.5).astype("f4")
        file["x"].attrs.update({"channels": list(names), "units": ["uV"] * len(names), "fs": rate})
        file["y"] = [TEXTS[0]] * half + [TEXTS[1]] * (len(k) - half)


WRITERS = (write_edf, write_vhdr, write_fif, write_wfdb, write_hdf5)


def stored(folder, place):
    """Return all that a store says, and its values."""
    shutil.rmtree(place, ignore_errors=True)
    with zarrts.convert(
        folder,
        place,
        kind="ragged",
        units="uV",
        subject=lambda path: "s01",
        progress=False,
    ) as store:
        x, y = store.samples.load(), None
        x, y = x
        return (
            (store.channels, store.units, store.rate_hz, store.class_names, store.subjects),
            np.concatenate(x),
            np.concatenate(y),
        )


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_five_formats_of_one_signal_are_one_store(tmp_path, data):
    rate = data.draw(st.sampled_from([100, 128, 250]))
    n_rows = rate * data.draw(st.integers(2, 12))
    names = [f"EEG {i}" for i in range(data.draw(st.integers(1, 4)))]
    # On whole seconds or between: onsets in text have their digits.
    half = data.draw(st.sampled_from([rate, rate // 2 * 2 - 1, n_rows - 1]))
    k = counts(n_rows, len(names), data.draw(st.integers(0, 99)), top=32_000)
    found = []
    for write in WRITERS:
        folder = tmp_path / "in"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write(folder, k, rate, names, half)
        found.append(stored(folder, tmp_path / "s.zarr"))
    said, x, y = found[0]
    assert said == (names, ["uV"] * len(names), rate, sorted(TEXTS), ["s01"])
    np.testing.assert_array_equal(x, (k * 0.5).astype("f4"))
    assert y.tolist() == [1] * half + [0] * (n_rows - half)
    for other, values, labels in found[1:]:
        assert other == said
        np.testing.assert_array_equal(values, x, strict=True)
        np.testing.assert_array_equal(labels, y, strict=True)
