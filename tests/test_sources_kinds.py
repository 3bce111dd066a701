"""One study in every kind of file is one store; and no mutation of a file gives wrong arrays."""

import importlib.util
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from edf_files import NO_WHEEL
from hypothesis import given, settings
from hypothesis import strategies as st
from source_kinds import (
    QUICK,
    SUBJECTS,
    WRITERS,
    npy_bytes,
    studies,
    write_dict,
    write_hdf5,
    write_mat,
    write_npz,
    write_objects,
    write_sequence,
)

import zarrts
from zarrts import sources
from zarrts.errors import SourceError


def stored(folder, **options):
    with zarrts.convert(
        folder, folder.with_suffix(".zarr"), dtype="float64", progress=False, **options
    ) as store:
        x, y = store.samples.load()
        names = np.array(store.class_names)[y]
        return x, names.tolist(), list(store.samples.subject), store.class_names


@settings(**QUICK, max_examples=3)
@given(case=studies())
@pytest.mark.filterwarnings("ignore:.*channels but:UserWarning")
def test_one_study_in_every_kind_is_one_store(tmp_path_factory, case):
    study, more = case
    expected_x = np.concatenate([x for x, _ in study]).astype("f8")
    expected_y = np.concatenate([y for _, y in study]).tolist()
    owners = [name for name, (x, _) in zip(SUBJECTS, study, strict=True) for _ in x]
    top = tmp_path_factory.mktemp("kinds")
    for kind, write in WRITERS.items():
        folder = top / kind
        folder.mkdir()
        for name, (x, y) in zip(SUBJECTS, study, strict=True):
            write(folder, name, x, y, more)
        x, y, subjects, names = stored(folder)
        np.testing.assert_array_equal(x, expected_x, err_msg=kind)
        assert (y, subjects, names) == (expected_y, owners, sorted(set(expected_y))), kind
    if len({it.tobytes() for it in expected_x}) < len(expected_x):
        return  # the same series under two names is refused
    folder = top / "classes"
    for name, (x, y) in zip(SUBJECTS, study, strict=True):
        for i, (series, label) in enumerate(zip(x, y, strict=True)):
            path = folder / name / label
            path.mkdir(parents=True, exist_ok=True)
            (path / f"{i}.npy").write_bytes(npy_bytes(series, more["version"]))
    x, y, subjects, _ = stored(folder, folders="subjects/classes")
    found = sorted(zip(subjects, y, (it.tobytes() for it in x), strict=True))
    assert found == sorted(
        zip(owners, expected_y, (it.tobytes() for it in expected_x), strict=True)
    )


def test_the_watch_data_load_without_unpickling(monkeypatch):
    spec = importlib.util.find_spec("seglearn")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the extra demo is not installed")
    path = Path(spec.submodule_search_locations[0]) / "data" / "watch_dataset.npy"
    plain = np.load(path, allow_pickle=True).item()
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    found = sources.find(path)
    assert found.problems == ()
    assert len(found.recordings) == len(plain["X"]) == 140
    assert {name: len(values) for name, values in sources.load_arrays(str(path)).items()} == {
        name: len(values) for name, values in plain.items()
    }
    for recording, x, y in zip(found.recordings, plain["X"], plain["y"], strict=True):
        np.testing.assert_array_equal(recording.x.read(0, len(x)), x)
        assert recording.y.read(0, 1).tolist() == [y]


# Mutations -------------------------------------------------------------------------------------

_MORE = {"version": (1, 0), "protocol": 4, "method": zipfile.ZIP_DEFLATED}
_RNG = np.random.default_rng(0)
FUZZ_X = _RNG.integers(0, 100, (6, 4, 3)).astype("<f4")
FUZZ_Y = np.array(["W", "N1", "é", "W", "é", "N1"])


def write_edf(folder, name, x, y, more):
    pyedflib = pytest.importorskip("pyedflib", reason=NO_WHEEL)
    with pyedflib.EdfWriter(str(folder / f"{name}.edf"), 1, pyedflib.FILETYPE_EDFPLUS) as file:
        file.setSignalHeader(
            0,
            {
                "label": "Fz",
                "dimension": "uV",
                "sample_frequency": 10,
                "physical_min": -100,
                "physical_max": 100,
                "digital_min": -1000,
                "digital_max": 1000,
                "transducer": "",
                "prefilter": "",
            },
        )
        file.writeSamples([np.arange(60) % 17.0])
        file.writeAnnotation(0, 4, "W")


def write_protocol_2(folder, name, x, y, more):
    write_dict(folder, name, x, y, {**more, "protocol": 2})


FUZZED = {
    "npz": write_npz,
    "sequence": write_sequence,
    "objects": write_objects,
    "protocol 2": write_protocol_2,
    "MATLAB": write_mat,
    "MATLAB, not compressed": lambda f, n, x, y, m: write_mat(
        f, n, x, y, {**m, "method": zipfile.ZIP_STORED}
    ),
    "EDF": write_edf,
}


def read_all(path):
    """Return all arrays that are found in a file, or None where it is refused."""
    found = sources.find(path)
    if found.problems:
        assert all(it.endswith(".") for it in found.problems)
        return None
    content = []
    try:
        for it in found.recordings:
            for reader in (it.x, it.y):
                assert np.prod(reader.shape) < 10_000  # nothing is declared that is not there
                content.append(reader.read(0, reader.shape[0]))
    except SourceError:
        return None
    finally:
        for it in found.recordings:
            it.x.close()
            it.y.close()
    return content


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "add", "copy", "huge"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=3,
)


def mutated(content, changes):
    out = bytearray(content)
    for what, where, how in changes:
        at = int(where * (len(out) - 1))
        if what == "flip":
            out[at] ^= how[0] or 1
        elif what == "cut":
            del out[at : at + how[0]]
        elif what == "add":
            out[at:at] = how
        elif what == "copy":
            out[at:at] = out[at // 2 : at // 2 + how[0]]
        else:
            out[at : at + 4] = struct.pack("<I", 0xFFFFFFFF - how[0])
        if not out:
            return b""
    return bytes(out)


@pytest.mark.parametrize("kind", FUZZED)
@settings(**QUICK, max_examples=60)
@given(changes=MUTATIONS)
@pytest.mark.filterwarnings("ignore")
def test_a_mutated_file_is_refused_or_has_its_shape(tmp_path_factory, kind, changes):
    folder = tmp_path_factory.mktemp("fuzz")
    FUZZED[kind](folder, "a", FUZZ_X, FUZZ_Y, _MORE)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    expected = read_all(path)
    assert expected is not None
    path.write_bytes(mutated(whole, changes))
    got = read_all(path)
    if got is not None and kind == "npz":  # the only one of these with checksums of all content
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_mutated_hdf5_files_never_end_the_process(tmp_path):
    """HDF5 is a library in C, so it is tried in a process of its own."""
    write_hdf5(tmp_path, "a", FUZZ_X, FUZZ_Y, _MORE)
    content = (tmp_path / "a.h5").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        changed = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            changed[at] ^= int(rng.integers(1, 256))
        (tmp_path / f"{number:02}.h5").write_bytes(changed[: None if number % 5 else -50])
    code = (
        "import sys, pathlib; sys.path[:0] = sys.argv[2:];"
        "from test_sources_kinds import read_all;"
        "[read_all(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())];"
        "print('whole')"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path), *map(str, TESTS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    assert done.stdout.strip() == "whole", done.stderr


TESTS = (Path(__file__).parent,)
