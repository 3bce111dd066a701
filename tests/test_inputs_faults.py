"""Faults in stores of several inputs: whoever is killed goes on, and no damage is silent."""

import re
import shutil
import warnings

import numpy as np
import pytest
from grown_stores import copy_as_killed, run_with, times, tree

import zarrts
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare, prepare_append
from zarrts.errors import StoreError, ZarrtsError
from zarrts.upkeep import removal

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

KINDS = ("ragged", "dense")
SIZES = {"chunk": 600, "shard": 1800}
INPUTS = ("acc", "hr", "age")
RATE = 4  # steps of acc for one of hr


def people(folder, sizes, kind, seed=0):
    """Save one file a subject: acc as a recorder of 16 bits has it, hr of any values, and age."""
    rng = np.random.default_rng([seed, len(kind)])
    folder.mkdir(parents=True)
    study = {}
    for number, (name, size) in enumerate(sizes.items()):
        counts = rng.integers(-3000, 3000, (RATE * size, 3) if kind == "ragged" else (size, 5, 3))
        study[name] = {
            "acc": (counts * 0.25).astype("f4"),
            "hr": rng.normal(size=(size, 2)).astype("f4"),
            "age": np.array([20.5 + number], "f4"),
            "y": rng.integers(0, 3, RATE * size if kind == "ragged" else size),
        }
        np.savez(folder / f"{name}.npz", **study[name])
    return study


def options_of(kind):
    rates = {"rate_hz": {"acc": RATE, "hr": 1}} if kind == "ragged" else {}
    return {"x": INPUTS, "y": "y", "kind": kind, **rates}


def convert(folder, path, kind, **more):
    zarrts.convert(folder, path, progress=False, **SIZES, **options_of(kind), **more).close()
    return path


def loaded(path):
    """Return what a store has of each subject, as arrays by name."""
    found = {}
    with zarrts.open(path) as store:
        for name in store.subjects:
            x, y = store.samples.select(subjects=[name]).load()
            if store.is_ragged:
                x, y = {key: it[0] for key, it in x.items()}, y[0]
            found[name] = {**x, "y": y}
    return found


def assert_holds(path, study):
    assert_same(loaded(path), study)
    assert zarrts.verify(path, deep=True).problems == ()


def assert_same(found, study):
    assert list(found) == list(study)
    for name, arrays in study.items():
        for key in ("acc", "hr", "y"):
            np.testing.assert_array_equal(found[name][key], arrays[key])
        assert (found[name]["age"] == arrays["age"]).all()


FIRST, SECOND = {"ann": 27, "bea": 4, "cid": 53}, {"dan": 33, "eve": 8}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def made_of(tmp_path_factory):
    """By kind: folders of two parts, what is in them, and the store of the first."""
    found = {}
    for kind in KINDS:
        root = tmp_path_factory.mktemp(kind)
        first = people(root / "0", FIRST, kind)
        second = people(root / "1", SECOND, kind, 1)
        found[kind] = root, first, second, convert(root / "0", root / "a.zarr", kind)
    return found


@pytest.fixture
def made(made_of, kind, tmp_path):
    """Folders, what is in both, and a store of the first that a test may change."""
    root, first, second, path = made_of[kind]
    return root, first, second, shutil.copytree(path, tmp_path / "a.zarr")


# Killed ------------------------------------------------------------------------------------------


def test_a_conversion_killed_at_any_moment_goes_on_to_the_same_bytes(
    made, kind, tmp_path, monkeypatch
):
    root, study, _, whole = made
    copies, target, n_kept = tmp_path / "copies", tmp_path / "b.zarr", 0
    asked = ConvertOptions(workers=1, chunk_bytes=600, shard_bytes=1800, **options_of(kind))
    with monkeypatch.context() as patch:  # a copy is what a kill at this moment leaves
        run_with(
            prepare(str(root / "0"), target, asked),
            lambda n: copy_as_killed(target, copies / f"{n:02d}"),
            patch,
        )
    assert tree(target) == tree(whole)
    for copy in sorted(copies.iterdir()):
        before = times(copy)
        convert(root / "0", copy, kind)
        assert tree(copy) == tree(whole)
        kept = [key for key, time in times(copy).items() if before.get(key) == time]
        n_kept += any(key.startswith("0/x/acc/c") for key in kept)
    assert n_kept > 4
    assert_holds(target, study)


def test_an_append_killed_at_any_moment_leaves_a_version_and_goes_on(made, tmp_path, monkeypatch):
    root, first, second, path = made
    copies, n_whole = tmp_path / "copies", 0
    prepared = prepare_append(str(root / "1"), path, ConvertOptions(workers=1))
    with monkeypatch.context() as patch:
        run_with(prepared, lambda n: copy_as_killed(path, copies / f"{n:02d}"), patch)
    assert_holds(path, first | second)
    for copy in sorted(copies.iterdir()):
        found = loaded(copy)
        is_whole = len(found) == len(first | second)
        assert_same(found, first | second if is_whole else first)
        zarrts.append(copy, root / "1", progress=False).close()
        assert tree(copy) == tree(path)
        n_whole += is_whole
    assert n_whole == 3


@pytest.mark.parametrize("name", ["bea", "eve"])
def test_a_removal_that_is_killed_leaves_the_old_store_or_the_new(
    made, tmp_path, monkeypatch, name
):
    root, first, second, path = made
    zarrts.append(path, root / "1", progress=False).close()
    left = {key: it for key, it in (first | second).items() if key != name}
    before, real = tree(path), removal.publish

    def publish(*args):
        shutil.copytree(path, tmp_path / "old")
        real(*args)
        shutil.copytree(path, tmp_path / "new")

    monkeypatch.setattr(removal, "publish", publish)
    zarrts.remove(path, subject=name)
    monkeypatch.undo()
    assert tree(tmp_path / "old").items() > before.items()
    assert_same(loaded(tmp_path / "old"), first | second)
    zarrts.remove(tmp_path / "old", subject=name)
    assert zarrts.remove(tmp_path / "new", subject=name).is_finished_only
    assert tree(tmp_path / "old") == tree(tmp_path / "new") == tree(path)
    assert_holds(path, left)


def test_no_byte_of_a_removed_subject_is_left_in_any_input(made_of, kind, tmp_path):
    root, first, _, _ = made_of[kind]
    path = convert(root / "0", tmp_path / "a.zarr", kind, codec="none")
    bea = first["bea"]
    counts = np.rint(bea["acc"] / 0.25).astype("<i2")
    rows = [it[0].tobytes() for it in (bea["acc"], counts, bea["hr"])]

    def n_found():
        return sum(rows[i] in content for i in range(3) for content in tree(path).values())

    assert n_found() == 2  # acc once, whether as values or as counts
    zarrts.remove(path, subject="bea")
    assert n_found() == 0
    assert not any(b"bea" in content for content in tree(path).values())


# Damaged -----------------------------------------------------------------------------------------


def outcome_of_reading(path, study):
    """Return whether what is read is right, or None where an error says that it cannot be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert_same(loaded(path), study)
            with zarrts.open(path) as store:
                stats = store.samples.stats()
                values = np.concatenate([it["hr"] for it in study.values()])
                return bool(np.allclose(stats["hr"].mean, values.mean(axis=0), rtol=1e-5))
        except ZarrtsError:
            return None
        except AssertionError:
            return False


def is_reported(path):
    try:
        return bool(zarrts.verify(path, deep=True).problems)
    except ZarrtsError:
        return True


def faults_of(files, rng):
    """Yield faults in words, and the files that each changes: one of each kind in every file."""
    for key, content in files.items():
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        yield f"{key} bit", {key: bytes(flipped)}
        if rng.random() < 0.3:
            yield f"{key} cut", {key: content[: rng.integers(len(content))]}
        if rng.random() < 0.3:
            yield f"{key} missing", {key: None}
    shards = [key for key in files if re.match(r"0/(x/\w+|y|recording)/c/", key)]
    for one in shards:
        for other in shards:
            if one < other and len(files[one]) == len(files[other]) and rng.random() < 0.3:
                yield f"{one} and {other} swapped", {one: files[other], other: files[one]}


def test_no_fault_in_any_file_of_any_input_is_silent(made_of, kind, tmp_path):
    root, study, _, _ = made_of[kind]
    # Shards of one size, so that one can stand in the place of another, and of another input.
    path = convert(root / "0", tmp_path / "a.zarr", kind, codec="none")
    files, silent, seen = tree(path), [], set()
    for fault, changes in faults_of(files, np.random.default_rng(3)):
        for key, content in changes.items():
            (path / key).unlink() if content is None else (path / key).write_bytes(content)
        is_found, outcome = is_reported(path), outcome_of_reading(path, study)
        if not is_found or outcome is False:
            silent.append((fault, is_found, outcome))
        seen.add(fault.split()[-1])
        for key in changes:
            (path / key).write_bytes(files[key])
    assert silent == []
    assert seen == {"bit", "cut", "missing", "swapped"}
    assert not is_reported(path)
    assert outcome_of_reading(path, study) is True


def test_each_file_is_repaired_to_the_same_bytes_or_said_to_be_beyond_it(made):
    root, study, _, path = made
    files, beyond = tree(path), set()
    for number, (key, whole) in enumerate(files.items()):
        content = bytearray(whole)
        content[len(content) // 2] ^= 4
        (path / key).write_bytes(content) if number % 2 else (path / key).unlink()
        try:
            (problem,) = zarrts.repair(path, root / "0").problems
            assert problem.text.startswith(key)
        except StoreError as error:
            assert "convert again" in str(error)
            beyond.add(key)
            (path / key).write_bytes(whole)
        assert tree(path) == files
    table = {key for key in files if key.startswith("0/table/") and "/c/" in key}
    assert beyond == {"zarr.json", "manifests/1.json"} | table
    assert_holds(path, study)


def test_a_source_with_another_value_in_one_input_is_named(made, tmp_path):
    root, study, _, path = made
    for name, place in (("acc", 40), ("hr", 9), ("age", 0)):
        shutil.rmtree(tmp_path / "edited", ignore_errors=True)
        shutil.copytree(root / "0", tmp_path / "edited")
        arrays = {key: it.copy() for key, it in study["cid"].items()}
        arrays[name].reshape(-1)[place] += 0.25
        np.savez(tmp_path / "edited" / "cid.npz", **arrays)
        found = zarrts.verify(path, sources=tmp_path / "edited")
        assert [it for it in found.problems if "cid.npz" in it.text]
        assert not [it for it in found.problems if "ann.npz" in it.text]
    assert zarrts.verify(path, sources=root / "0", deep=True).problems == ()


def test_what_can_be_read_is_delivered_once_and_the_rest_warned_of(made_of, kind, tmp_path):
    root, *_ = made_of[kind]
    path = convert(root / "0", tmp_path / "a.zarr", kind, codec="none")
    with zarrts.open(path) as store:
        samples = samples_of(store)
        whole = {int(i): it for batch in samples.batches(5) for i, it in by_id(batch)}
        n_rows = store.header.segments[0].x.chunk_rows
        file = path / "0/x/acc/c/0/0/0"
        content = bytearray(file.read_bytes())
        content[3] ^= 1  # in the first chunk of acc
        file.write_bytes(content)
    with zarrts.open(path) as store:
        samples = samples_of(store)
        for options, lost in (({}, set(range(n_rows))), ({"inputs": ["hr"]}, set())):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = {}
                for batch in samples.batches(5, on_error="skip", seed=1, **options):
                    for i, it in by_id(batch):
                        assert int(i) not in found
                        found[int(i)] = it
            assert {*whole} - {*found} == lost
            assert bool(caught) == bool(lost)
            for i, values in found.items():
                for name, it in values.items():
                    np.testing.assert_array_equal(it, whole[i][name])


def samples_of(store):
    return store.samples.windows("1s", label="last") if store.is_ragged else store.samples


def by_id(batch):
    for position, sample_id in enumerate(batch.sample_id):
        yield sample_id, {name: it[position].copy() for name, it in batch.x.items()}
