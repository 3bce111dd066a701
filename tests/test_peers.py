"""Readers against independent ones, value by value, on generated files: tox -e peers."""

import itertools
import shutil

import h5py
import numpy as np
import pytest
import scipy.io
from edf_files import write_peer_edf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zarrts import sources
from zarrts.sources import SourceOptions

edfio = pytest.importorskip("edfio", reason="tox -e peers installs it")
mne = pytest.importorskip("mne", reason="tox -e peers installs it")
pyedflib = pytest.importorskip("pyedflib", reason="tox -e peers installs it")
mat73 = pytest.importorskip("mat73", reason="tox -e peers installs it")

# What peers warn of in headers that are allowed, or of their own use of libraries.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def folder(tmp_path):
    """Return a function that gives an empty folder each time: one an example."""

    def empty():
        shutil.rmtree(tmp_path / "it", ignore_errors=True)
        (tmp_path / "it").mkdir()
        return tmp_path / "it"

    return empty


def only(place, **options):
    found = sources.find(place, SourceOptions(**options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


# EDF and BDF -----------------------------------------------------------------------------------

NAMES = ("EEG Fpz-Cz", "C3", "ECG", "Resp nasal", "T8-P8")
UNITS = ("uV", "mV", "V", "%", "degC", "")
TEXTS = ("W", "Sleep stage 1", "movement time", "R")


@st.composite
def limits(draw, bits):
    """Return (digital, physical) limits, as a header of 8 characters can write them."""
    least = -(2 ** (bits - 1))
    low = draw(st.integers(least, least + 2000))
    high = draw(st.integers(-least - 2001, -least - 1))
    gain = draw(st.sampled_from([1.0, 0.5, 0.1, 0.01, 3.0, 0.03125]))
    shift = draw(st.sampled_from([0.0, 100.0, -7.5]))
    physical = tuple(f"{it * gain % 99999 + shift:.2f}"[:8] for it in (low, high))
    if float(physical[0]) == float(physical[1]):
        physical = ("-100", "100")
    if draw(st.booleans()) and draw(st.booleans()):
        physical = physical[::-1]  # a negative gain
    return (low, high), physical


@st.composite
def edf_files(draw):
    """Return the header's fields and the digital values of a file, in plain types."""
    is_bdf = draw(st.booleans())
    bits = 24 if is_bdf else 16
    n_records = draw(st.integers(1, 5))
    n_signals = draw(st.integers(1, 4))
    per_record = draw(st.integers(8, 40))  # a mark lasts an eighth of all
    duration = draw(st.sampled_from(["1", "2", "0.5", "1.000", "0.25", "10", "0.999936"]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    signals = []
    for name in draw(st.permutations(NAMES))[:n_signals]:
        digital, physical = draw(limits(bits))
        values = rng.integers(digital[0], digital[1] + 1, n_records * per_record)
        signals.append((name, values, digital, physical, draw(st.sampled_from(UNITS))))
    total = n_records * float(duration)
    marks = []
    edges = sorted(draw(st.sets(st.integers(0, 8), min_size=2, max_size=5)))
    for low, high in itertools.pairwise(edges):
        if draw(st.booleans()) or not marks:
            marks.append((low / 8 * total, (high - low) / 8 * total, draw(st.sampled_from(TEXTS))))
    start = draw(st.sampled_from([("01.01.85", "00.00.00"), ("31.12.24", "23.59.59")]))
    return is_bdf, signals, per_record, n_records, duration, marks, start


def naive_physical(values, digital, physical):
    """Return the values in the unit of the file, as the specification says."""
    (low, high), (least, most) = digital, map(float, physical)
    return (values - low) * ((most - least) / (high - low)) + least


@BOUNDED
@given(made=edf_files())
def test_edf_and_bdf_are_read_as_by_edfio_pyedflib_and_mne(folder, made):
    is_bdf, signals, per_record, n_records, duration, marks, start = made
    path = folder() / ("a.bdf" if is_bdf else "a.edf")
    write_peer_edf(path, signals, per_record, n_records, duration, marks, start, is_bdf=is_bdf)
    ours = only(path)
    x = ours.x.read(0, ours.x.shape[0])
    described = ours.description
    expected = np.stack([naive_physical(v, d, p) for _, v, d, p, _ in signals], axis=1)
    scale = np.abs(expected).max(axis=0) + np.ptp(expected, axis=0) + 1
    np.testing.assert_allclose(x / scale, expected / scale, rtol=0, atol=2e-7)
    read = edfio.read_bdf(path) if is_bdf else edfio.read_edf(path)
    assert described.channels == tuple(it.label for it in read.signals)
    assert described.rate_hz == pytest.approx(read.signals[0].sampling_frequency, rel=1e-9)
    for column, signal in enumerate(read.signals):
        np.testing.assert_allclose(
            x[:, column] / scale[column], signal.data / scale[column], rtol=0, atol=2e-7
        )
        # Ours in the spelling that is compared, theirs as it is written.
        assert (described.units or ("",) * len(signals))[column] == signal.physical_dimension
    _same_as_pyedflib(path, x, described, signals, scale, duration)
    _same_as_mne(path, x, described, signals, scale)
    _same_annotations(read, ours, marks, per_record / float(duration))


def _same_as_pyedflib(path, x, described, signals, scale, duration):
    if len(duration) > 6:  # it rounds the duration of records to tens of microseconds
        return
    with pyedflib.EdfReader(str(path)) as file:
        assert tuple(it.strip() for it in file.getSignalLabels()) == described.channels
        for column in range(len(signals)):
            assert file.getSampleFrequency(column) == pytest.approx(described.rate_hz, rel=1e-9)
            unit = file.getPhysicalDimension(column).strip()
            assert unit == (described.units or ("",) * len(signals))[column]
            theirs = file.readSignal(column)
            np.testing.assert_allclose(
                x[:, column] / scale[column], theirs / scale[column], rtol=0, atol=2e-7
            )


def _same_as_mne(path, x, described, signals, scale):
    kind = mne.io.read_raw_bdf if path.suffix == ".bdf" else mne.io.read_raw_edf
    raw = kind(path, preload=True, verbose="error", stim_channel=None, encoding="latin1")
    assert tuple(raw.ch_names) == described.channels
    assert raw.info["sfreq"] == pytest.approx(described.rate_hz, rel=1e-6)
    # MNE turns units of voltage into volts, and leaves all others as they are.
    volts = {"uV": 1e6, "mV": 1e3, "V": 1.0}
    for column, (_, _, _, _, unit) in enumerate(signals):
        theirs = raw.get_data()[column] * volts.get(unit, 1.0)
        np.testing.assert_allclose(
            x[:, column] / scale[column], theirs / scale[column], rtol=0, atol=3e-7
        )


def _same_annotations(read, ours, marks, rate_hz):
    """Compare labels of rows with the intervals that edfio reads, cut naively."""
    n_rows = ours.y.shape[0]
    expected = np.full(n_rows, "", "U20")
    found = [(it.onset, it.duration, it.text) for it in read.annotations]
    assert len(found) == len(marks)
    for onset, lasting, text in found:
        expected[round(onset * rate_hz) : round((onset + lasting) * rate_hz)] = text
    got = ours.y.read(0, n_rows)
    differing = np.flatnonzero(got != expected)
    # Ours lets intervals touch where times were rounded to text: at most a row at each border.
    assert len(differing) <= 2 * len(marks)


# MATLAB ----------------------------------------------------------------------------------------

DTYPES = ("f4", "f8", "i1", "i2", "i4", "u1", "u2")


@st.composite
def arrays(draw):
    """Return x of 2 or 3 axes, samples first, and a label for each."""
    shape = tuple(draw(st.lists(st.integers(2, 6), min_size=2, max_size=3)))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    x = (rng.random(shape) * 100).astype(dtype)
    y = rng.integers(0, 3, shape[0])
    names = tuple(f"ch {i}" for i in range(shape[-1]))
    return x, y, names, draw(st.sampled_from([100, 128.0, 0.5]))


def _as_in_memory(recording):
    return recording.x.read(0, recording.x.shape[0]), recording.y.read(0, recording.y.shape[0])


@BOUNDED
@given(made=arrays(), is_packed=st.booleans(), is_column=st.booleans())
def test_matlab_5_is_read_as_by_scipy(folder, made, is_packed, is_column):
    x, y, names, rate_hz = made
    path = folder() / "a.mat"
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    labels = y.reshape(-1, 1) if is_column else y.reshape(1, -1)
    values = {"x": x, "y": labels, "ch_names": cells, "fs": rate_hz}
    scipy.io.savemat(path, values, do_compression=is_packed)
    theirs = scipy.io.loadmat(path)
    ours = only(path, kind="dense")
    found_x, found_y = _as_in_memory(ours)
    np.testing.assert_array_equal(found_x, theirs["x"])
    np.testing.assert_array_equal(found_y, theirs["y"].reshape(-1))
    assert ours.description.channels == tuple(str(it[0]) for it in theirs["ch_names"][:, 0])
    assert ours.description.rate_hz == float(theirs["fs"][0, 0])


@BOUNDED
@given(made=arrays(), is_packed=st.booleans())
def test_matlab_73_is_read_as_by_mat73(folder, made, is_packed):
    x, y, _, rate_hz = made
    path = folder() / "a.mat"
    classes = {"f4": "single", "f8": "double", "i1": "int8", "i2": "int16", "i4": "int32"}
    classes |= {"u1": "uint8", "u2": "uint16"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in (("x", x), ("y", y.reshape(1, -1).astype("f8")), ("fs", [[rate_hz]])):
            value = np.asarray(value)
            options = {"chunks": True, "compression": "gzip"} if is_packed else {}
            dataset = file.create_dataset(name, data=value.T, **options)  # as MATLAB stores it
            class_name = classes.get(value.dtype.str[1:], "double")
            dataset.attrs["MATLAB_class"] = np.bytes_(class_name)
    with path.open("r+b") as file:
        file.write((b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM").ljust(512, b"\0"))
    theirs = mat73.loadmat(path)
    ours = only(path, kind="dense")
    found_x, found_y = _as_in_memory(ours)
    np.testing.assert_array_equal(found_x, theirs["x"])
    np.testing.assert_array_equal(found_y, theirs["y"].reshape(-1))
    assert ours.description.rate_hz == float(theirs["fs"])


# HDF5 and NumPy --------------------------------------------------------------------------------


@BOUNDED
@given(
    made=arrays(),
    options=st.sampled_from(
        [
            {},
            {"chunks": True},
            {"chunks": True, "compression": "gzip", "shuffle": True},
            {"chunks": True, "compression": "lzf"},
            {"chunks": True, "fletcher32": True},
        ]
    ),
    order=st.sampled_from("<>"),
    place=st.sampled_from(["dataset", "group", "file"]),
)
def test_hdf5_is_read_as_by_h5py(folder, made, options, order, place):
    x, y, names, rate_hz = made
    path = folder() / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("raw")
        dataset = group.create_dataset("x", data=x.astype(x.dtype.newbyteorder(order)), **options)
        group["y"] = y
        where = {"dataset": dataset, "group": group, "file": file}[place]
        where.attrs["channels"] = names
        where.attrs["sampling_rate"] = rate_hz
        dataset.attrs["units"] = "mV"
    ours = only(path, kind="dense")
    found_x, found_y = _as_in_memory(ours)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(found_x, file["raw/x"][:])
        np.testing.assert_array_equal(found_y, file["raw/y"][:])
    described = ours.description
    assert (described.channels, described.rate_hz) == (names, rate_hz)
    assert described.units == ("mV",) * len(names)


@BOUNDED
@given(
    made=arrays(),
    is_packed=st.booleans(),
    order=st.sampled_from("CF"),
    byte_order=st.sampled_from("<>"),
)
def test_npz_is_read_as_by_numpy(folder, made, is_packed, order, byte_order):
    x, y, names, rate_hz = made
    path = folder() / "a.npz"
    saved = np.asarray(x.astype(x.dtype.newbyteorder(byte_order)), order=order)
    save = np.savez_compressed if is_packed else np.savez
    save(path, x=saved, y=y, ch_names=names, fs=rate_hz)
    ours = only(path, kind="dense")
    found_x, found_y = _as_in_memory(ours)
    with np.load(path, allow_pickle=False) as theirs:
        np.testing.assert_array_equal(found_x, theirs["x"])
        np.testing.assert_array_equal(found_y, theirs["y"])
        assert ours.description.channels == tuple(theirs["ch_names"].tolist())
        assert ours.description.rate_hz == float(theirs["fs"])
