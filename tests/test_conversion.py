"""A store holds what its sources hold, is the same bytes each time, and is there whole or not."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import xarray
import zarr
from conftest import Study, make_study
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import zarrts
from zarrts import system
from zarrts.conversion import run as conversion
from zarrts.conversion.casting import cast_rows
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare
from zarrts.errors import PlanError, SourceError, StoreError

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

X_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "bool")
LABELS = ("int", "uint8", "text", "bool", "one_hot", "one_hot_float", "float", "grid", "texts")
FILES = ("npz", "compressed", "npy", "fortran", "big_endian")
ARRAYS = ("numpy", "dask", "list")
TEXTS = ("W", "N1", "N2 deep", "REM", "größer")


@dataclass(frozen=True)
class Case:
    """A study to be made up, and how to convert it."""

    sizes: tuple[int, ...]
    shape: tuple[int, ...] = (6, 3)
    dtype: str = "f4"
    labels: str = "int"
    forms: tuple[str, ...] = ("npz",)
    chunk_rows: int = 7
    chunks_per_shard: int = 2
    codec: str = "lz4"
    workers: int | None = 2
    has_nan: bool = False
    seed: int = 0

    def make(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return inputs and labels of every subject."""
        rng = np.random.default_rng(self.seed)
        return (
            [self._inputs(rng, size) for size in self.sizes],
            [self._labels(rng, size) for size in self.sizes],
        )

    def _inputs(self, rng: np.random.Generator, size: int) -> np.ndarray:
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            x = rng.normal(3, 100, (size, *self.shape)).astype(dtype)
            if self.has_nan:
                x[rng.random(x.shape) < 0.3] = np.nan
            return x
        if dtype.kind == "b":
            return rng.random((size, *self.shape)) < 0.5
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, (size, *self.shape), dtype, endpoint=True)

    def _labels(self, rng: np.random.Generator, size: int) -> np.ndarray:
        codes = rng.integers(0, 5, size)
        make: dict[str, Callable[[], np.ndarray]] = {
            "int": lambda: np.array([-9, -2, 3, 7, 2**40])[codes],
            "uint8": lambda: codes.astype("u1"),
            "text": lambda: np.array(TEXTS)[codes],
            "bool": lambda: codes > 2,
            "one_hot": lambda: np.eye(5, dtype="u1")[codes],
            "one_hot_float": lambda: np.eye(5, dtype="f4")[codes],
            "float": lambda: rng.normal(size=size),
            "grid": lambda: rng.integers(3, 6, (size, 2, 3)),
            "texts": lambda: np.array(TEXTS)[rng.integers(0, 5, (size, 2))],
        }
        return make[self.labels]()


def save(folder: Path, form: str, name: str, x: np.ndarray, y: np.ndarray) -> None:
    if form == "fortran":
        np.savez_compressed(folder / f"{name}.npz", x=np.asfortranarray(x), y=np.asfortranarray(y))
    elif form == "big_endian":
        np.savez(folder / f"{name}.npz", x=x.astype(x.dtype.newbyteorder(">")), y=y)
    elif form == "npy":
        np.save(folder / f"{name}_x.npy", x)
        np.save(folder / f"{name}_y.npy", y)
    else:
        writer = np.savez_compressed if form == "compressed" else np.savez
        writer(folder / f"{name}.npz", x=x, y=y)


def recording_of(form: str, name: str, x: np.ndarray, y: np.ndarray) -> zarrts.Recording:
    if form == "dask":
        import dask.array

        return zarrts.Recording(name, dask.array.from_array(x, chunks=3), y)
    return zarrts.Recording(name, x, y.tolist() if form == "list" and y.dtype != "u1" else y)


def as_stored(x: np.ndarray) -> np.ndarray:
    """Return the dtype that dtype="auto" promises."""
    return x.astype(np.float32) if x.dtype == np.float64 else x


cases = st.builds(
    Case,
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True).map(tuple),
    shape=st.lists(st.integers(1, 5), max_size=3).map(tuple),
    dtype=st.sampled_from(X_DTYPES),
    labels=st.sampled_from(LABELS),
    forms=st.one_of(
        st.lists(st.sampled_from(FILES), min_size=5, max_size=5),
        st.lists(st.sampled_from(ARRAYS), min_size=5, max_size=5),
    ).map(tuple),
    chunk_rows=st.integers(3, 50),
    chunks_per_shard=st.integers(1, 6),
    codec=st.sampled_from(["lz4", "zstd", "none"]),
    workers=st.sampled_from([None, 1, 2, 3]),
    has_nan=st.booleans(),
    seed=st.integers(0, 1000),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases)
@example(Case(sizes=(5, 3), chunk_rows=1, chunks_per_shard=1, forms=("compressed",)))
@example(Case(sizes=(1,), shape=(), dtype="f8", labels="float", forms=("npy",)))
@example(Case(sizes=(40, 1, 39), shape=(2, 3, 4), dtype="u8", forms=("fortran", "dask")[:1]))
@example(Case(sizes=(9, 30), labels="texts", forms=("compressed", "npy"), chunk_rows=4))
@example(Case(sizes=(9, 30), shape=(), labels="grid", forms=("dask", "list"), has_nan=True))
def test_store_is_the_concatenation_of_its_sources(case: Case) -> None:
    xs, ys = case.make()
    names = [f"s{i:02}" for i in range(len(xs))]
    forms = [case.forms[i % len(case.forms)] for i in range(len(xs))]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        root = Path(folder)
        source: Any = root / "subjects"
        if forms[0] in ARRAYS:
            source = [recording_of(*it) for it in zip(forms, names, xs, ys, strict=True)]
        else:
            source.mkdir()
            for it in zip(forms, names, xs, ys, strict=True):
                save(source, *it)
        row_bytes = as_stored(xs[0])[0].nbytes
        warnings.filterwarnings("ignore", ".* channels but")
        store = zarrts.convert(
            source,
            root / "study.zarr",
            kind="dense",
            chunk=case.chunk_rows * row_bytes,
            shard=case.chunk_rows * row_bytes * case.chunks_per_shard,
            codec=case.codec,
            workers=case.workers,
            memory="64MiB",
            progress=False,
        )
        with store:
            assert_holds(store, xs, ys, names)


def assert_holds(
    store: zarrts.Store, xs: list[np.ndarray], ys: list[np.ndarray], names: list[str]
) -> None:
    x, y = as_stored(np.concatenate(xs)), np.concatenate(ys)
    lengths = [len(it) for it in xs]
    starts = np.cumsum([0, *lengths])
    segment = zarr.open_group(store.path, mode="r")["0"]

    assert (store.n_samples, store.sample_shape, store.dtype) == (len(x), x.shape[1:], x.dtype)
    assert store.kind == "dense"
    assert store.subjects == names
    assert [(it.subject, it.start, it.stop) for it in store.recordings] == [
        (name, starts[i], starts[i + 1]) for i, name in enumerate(names)
    ]
    loaded_x, loaded_y = store.samples.load()
    for stored in (loaded_x, segment["x"][:]):
        assert stored.dtype == x.dtype
        np.testing.assert_array_equal(stored, x)
    np.testing.assert_array_equal(segment["recording"][:], np.repeat(range(len(xs)), lengths))
    np.testing.assert_array_equal(segment["y"][:], loaded_y)

    classes = naive_classes(ys)
    assert store.class_names == classes
    if y.dtype.kind == "U":
        y = np.vectorize(classes.index)(y)
    np.testing.assert_array_equal(loaded_y, y)
    assert store.class_indices == (classes and {it: i for i, it in enumerate(classes)})

    dataset = xarray.open_zarr(f"{store.path}/0", chunks=None)
    assert dataset["x"].dims[0] == dataset["y"].dims[0] == "sample"
    if x.ndim == 3:
        assert dataset["x"].dims == ("sample", "time", "channel")
    np.testing.assert_array_equal(dataset["x"].values, x)
    np.testing.assert_array_equal(dataset["y"].values, y)
    assert_table(dict(segment["table"].arrays()), [as_stored(it) for it in xs], ys, classes)


def naive_classes(ys: list[np.ndarray]) -> list[Any] | None:
    first = ys[0]
    is_one_hot = first.ndim == 2 and first.shape[1] == 5
    if is_one_hot:
        return list(range(5))
    if first.dtype.kind == "f":
        return None
    return sorted({value for y in ys for value in y.reshape(-1).tolist()})


def assert_table(
    arrays: dict[str, zarr.Array], xs: list[np.ndarray], ys: list[np.ndarray], classes: Any
) -> None:
    table = {name: array[:] for name, array in arrays.items()}
    np.testing.assert_array_equal(table["stop"], np.cumsum([len(x) for x in xs]))
    assert not table["source_start"].any()
    if classes is None:
        assert "label_count" not in table
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        if classes is not None:
            is_one_hot = y.ndim == 2 and y.shape[1] == 5
            labels = y.argmax(axis=1) if is_one_hot else y.reshape(-1)
            found = Counter(labels.tolist())
            assert table["label_count"][i].tolist() == [found[name] for name in classes]
        numbers = x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1).astype(np.float64)
        count = (~np.isnan(numbers)).sum(axis=0)
        np.testing.assert_array_equal(table["count"][i], count)
        np.testing.assert_array_equal(table["nan_count"][i], len(numbers) - count)
        for channel in np.flatnonzero(count):
            values = numbers[:, channel][~np.isnan(numbers[:, channel])]
            spread = np.abs(values).max()
            assert table["min"][i, channel] == values.min()
            assert table["max"][i, channel] == values.max()
            assert table["mean"][i, channel] == pytest.approx(values.mean(), abs=1e-12 * spread)
            assert table["m2"][i, channel] == pytest.approx(
                values.var() * len(values), rel=1e-9, abs=1e-20 * spread**2 * len(values)
            )


# The same bytes ------------------------------------------------------------------------------


def tree(root: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


SMALL: dict[str, Any] = {"chunk": 1000, "shard": 3000, "progress": False}


@pytest.mark.parametrize("labels", ["text", "float"])
def test_same_study_gives_the_same_bytes_whatever_the_workers_and_memory(
    tmp_path: Path, labels: str
) -> None:
    study = make_study(tmp_path / "subjects", sizes=[50, 3, 60, 41], labels=labels, dtype="float64")
    copy = shutil.copytree(study.folder, tmp_path / "elsewhere" / "copied")
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    trees = []
    for i, (folder, workers, memory) in enumerate(
        [(study.folder, 1, "20MiB"), (copy, 3, "1GiB"), (study.folder, None, "40MiB")]
    ):
        target = tmp_path / f"store_{i}.zarr"
        zarrts.convert(folder, target, workers=workers, memory=memory, **SMALL)
        trees.append(tree(target))
    assert len([key for key in trees[0] if key.startswith("0/x/c/")]) > 3
    assert trees[0] == trees[1] == trees[2]
    for content in trees[0].values():
        assert str(tmp_path).encode() not in content
        assert b"store_0" not in content


def test_manifest_matches_every_object(tmp_path: Path) -> None:
    study = make_study(tmp_path / "subjects", sizes=[50, 30])
    zarrts.convert(study.folder, tmp_path / "a.zarr", **SMALL)
    files = tree(tmp_path / "a.zarr")
    said = json.loads(files["zarr.json"])["attributes"]["zarrts"]["manifest"]
    manifest = files[said["key"]]
    assert said["sha256"] == hashlib.sha256(manifest).hexdigest()
    assert json.loads(manifest)["objects"] == {
        key: [len(content), google_crc32c.value(content)]
        for key, content in files.items()
        if key not in ("zarr.json", "writing.lock", said["key"])
    }


# There whole or not at all -------------------------------------------------------------------


def assert_no_store(target: Path, words: str = "does not exist") -> None:
    with pytest.raises(StoreError, match=words):
        zarrts.open(target)


def prepared_of(study: Study, target: Path, **options: Any) -> Any:
    sizes = {"chunk_bytes": 1000, "shard_bytes": 3000, "workers": 3}
    return prepare(str(study.folder), target, ConvertOptions(**{**sizes, **options}))


class Crash(Exception):
    """Stands for any failure."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "subjects", sizes=[60, 30, 77], labels="text")


def fail_after(n_calls: int, error: BaseException) -> Callable[[int], None]:
    calls = iter(range(n_calls))

    def on_rows(n_rows: int) -> None:
        if next(calls, None) is None:
            raise error

    return on_rows


def assert_goes_on(study: Study, target: Path, whole: Path) -> None:
    """Check that the same conversion ends in what an uninterrupted one wrote."""
    zarrts.convert(study.folder, whole, **SMALL).close()
    zarrts.convert(study.folder, target, **SMALL).close()
    assert tree(target) == tree(whole)


@pytest.mark.parametrize("error", [Crash("here"), KeyboardInterrupt()])
def test_failure_inside_the_first_shard_leaves_nothing(
    tmp_path: Path, study: Study, error: BaseException, no_leaks: None
) -> None:
    before = tree(tmp_path)
    target = tmp_path / "deep" / "a.zarr"
    with pytest.raises(type(error)):
        conversion.run(prepared_of(study, target), fail_after(0, error))
    assert tree(tmp_path) == before
    assert not target.parent.exists()
    assert_no_store(target)


@pytest.mark.parametrize("error", [Crash("here"), KeyboardInterrupt()])
@pytest.mark.parametrize("n_calls", [10, 13])
def test_failure_inside_a_later_shard_keeps_what_is_finished(
    tmp_path: Path, study: Study, error: BaseException, n_calls: int, no_leaks: None
) -> None:
    target = tmp_path / "deep" / "a.zarr"
    with pytest.raises(type(error)):
        conversion.run(prepared_of(study, target), fail_after(n_calls, error))
    assert_no_store(target, "did not finish")
    assert_goes_on(study, target, tmp_path / "whole.zarr")


def test_failure_waits_for_tasks_that_are_still_writing(tmp_path: Path, study: Study) -> None:
    one_failed = threading.Event()
    turn = threading.Lock()

    def on_rows(n_rows: int) -> None:
        if turn.acquire(blocking=False):
            one_failed.set()
            raise Crash
        assert one_failed.wait(60)

    target = tmp_path / "a.zarr"
    with pytest.raises(Crash):
        conversion.run(prepared_of(study, target), on_rows)
    assert not [it for it in tmp_path.rglob("*") if it.suffix == ".partial"]
    assert not [it for it in threading.enumerate() if it.name.startswith("zarrts-convert")]


def fail_on(monkeypatch: pytest.MonkeyPatch, suffix: str, *, before: bool) -> None:
    """Let the writing of small files fail at one that ends in `suffix`, before or after it."""
    real = system.rename_over

    def rename_over(source: Path, target: Path) -> None:
        if not before or not target.as_posix().endswith(suffix):
            real(source, target)
        if target.as_posix().endswith(suffix):
            raise Crash(suffix)

    monkeypatch.setattr(system, "rename_over", rename_over)


STEPS = ["0/zarr.json", "0/x/zarr.json", "manifests/1.json", "a.zarr/zarr.json"]


@pytest.mark.parametrize("step", STEPS)
def test_failure_while_publishing_keeps_what_is_finished(
    tmp_path: Path, study: Study, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(tmp_path)
    target = tmp_path / "a.zarr"
    with monkeypatch.context() as patch:
        fail_on(patch, step, before=True)
        with pytest.raises(Crash):
            zarrts.convert(study.folder, target, **SMALL)
    if step.startswith("0/"):
        assert tree(tmp_path) == before
        assert_no_store(target)
    else:
        assert_no_store(target, "did not finish")
    assert_goes_on(study, target, tmp_path / "whole.zarr")


def test_failure_after_the_root_is_written_leaves_the_whole_store(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_on(monkeypatch, "a.zarr/zarr.json", before=False)
    with pytest.raises(Crash):
        zarrts.convert(study.folder, tmp_path / "a.zarr", **SMALL)
    with zarrts.open(tmp_path / "a.zarr") as store:
        np.testing.assert_array_equal(store.samples.load()[0], study.all_x)
    monkeypatch.undo()
    assert_goes_on(study, tmp_path / "a.zarr", tmp_path / "whole.zarr")


def test_target_folder_that_was_there_stays_as_it_was(tmp_path: Path, study: Study) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    with pytest.raises(Crash):
        conversion.run(prepared_of(study, target), fail_after(0, Crash()))
    assert target.is_dir()
    assert not list(target.iterdir())
    assert_no_store(target, "is a folder, but no store")


def test_nothing_opens_while_a_conversion_runs(tmp_path: Path, study: Study) -> None:
    target = tmp_path / "a.zarr"
    said = set()

    def on_rows(n_rows: int) -> None:
        with pytest.raises(StoreError) as caught:
            zarrts.open(target)
        said.add(str(caught.value))
        assert not (target / "zarr.json").exists()

    conversion.run(prepared_of(study, target), on_rows)
    assert said == {
        f"{target} is a store whose conversion did not finish. Run the same zarrts convert again."
    }


KILLED = """
    import os, signal, sys
    from zarrts.conversion import run as conversion
    from zarrts.conversion.options import ConvertOptions
    from zarrts.conversion.prepare import prepare
    from zarrts import system

    source, target, step = sys.argv[1:]
    def die(*args, **keywords):
        os.kill(os.getpid(), signal.SIGKILL) if step == "kill" else os._exit(9)
    calls = iter(range(4))
    def on_rows(n_rows):
        if step in ("rows", "kill") and next(calls, None) is None:
            die()
    before = {"group": "0/x/zarr.json", "manifest": "zarr.json"}.get(step)
    rename_over = system.rename_over
    def rename_or_die(source, path):
        is_it = before == path.relative_to(target).as_posix()
        die() if is_it else rename_over(source, path)
    system.rename_over = rename_or_die
    if step == "start":
        os.makedirs(os.path.join(target, "0"))
        die()
    options = ConvertOptions(chunk_bytes=1000, shard_bytes=3000, workers=2)
    conversion.run(prepare(source, target, options), on_rows)
"""


@pytest.mark.parametrize("step", ["start", "group", "rows", "kill", "manifest"])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_killed_conversion_leaves_no_store_and_can_be_repeated(
    tmp_path: Path, study: Study, step: str
) -> None:
    whole, target = tmp_path / "whole.zarr", tmp_path / "a.zarr"
    zarrts.convert(study.folder, whole, **SMALL)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(study.folder), str(target), step],
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if step == "kill" else 9)
    assert target.exists()
    assert_no_store(target, "no store" if step == "start" else "did not finish")
    zarrts.convert(study.folder, target, **SMALL)
    assert tree(target) == tree(whole)


# Overwriting ---------------------------------------------------------------------------------


def assert_equal(store: zarrts.Store, study: Study) -> None:
    with store:
        x, y = store.samples.load()
        np.testing.assert_array_equal(x, study.all_x)
        np.testing.assert_array_equal(np.array(store.class_names)[y], study.all_y)
        assert store.subjects == study.names


@pytest.fixture
def other(tmp_path: Path) -> Study:
    return make_study(tmp_path / "other", sizes=[20, 31], labels="text", seed=5)


def test_same_sources_and_options_again_return_at_once(tmp_path: Path, study: Study) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(study.folder, target, rate_hz=100, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in [target, *target.rglob("*")]}
    again = {**SMALL, "workers": 1, "memory": "200MiB", "dtype": "float32", "rate_hz": 100.0}
    for _ in range(2):
        assert_equal(zarrts.convert(f"{study.folder}/", target, **again), study)
    assert {path: path.stat().st_mtime_ns for path in [target, *target.rglob("*")]} == before


@pytest.mark.parametrize(
    "options",
    [{"codec": "zstd"}, {"chunk": 500}, {"dtype": "float64"}, {"rate_hz": 5}, {"subject": r"."}],
)
def test_other_options_are_refused_without_overwrite(
    tmp_path: Path, study: Study, options: dict[str, Any]
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(study.folder, target, **SMALL)
    before = tree(tmp_path)
    with pytest.raises(PlanError, match=r"other sources or options.*overwrite=True"):
        zarrts.convert(study.folder, target, **{**SMALL, **options})
    assert tree(tmp_path) == before


def test_a_few_corrected_labels_of_many_are_other_sources(tmp_path: Path) -> None:
    folder = tmp_path / "subjects"
    folder.mkdir()
    x, y = np.arange(200_000, dtype="u1"), np.arange(200_000) % 5
    np.save(folder / "a_x.npy", x)
    np.save(folder / "a_y.npy", y)
    options: dict[str, Any] = {"kind": "dense", "progress": False}
    zarrts.convert(folder, tmp_path / "a.zarr", **options).close()
    y[100_000:100_010] = 0
    np.save(folder / "a_y.npy", y)
    with pytest.raises(PlanError, match="other sources or options"):
        zarrts.convert(folder, tmp_path / "a.zarr", **options)


def test_other_sources_are_refused_and_overwrite_replaces(
    tmp_path: Path, study: Study, other: Study
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(study.folder, target, **SMALL)
    (target / "notes.txt").write_text("mine")
    (target / "2024").mkdir()
    (target / "2024" / "more.txt").write_text("mine too")
    with pytest.raises(PlanError, match="other sources or options"):
        zarrts.convert(other.folder, target, **SMALL)
    assert_equal(zarrts.open(target), study)
    for number, now in enumerate([other, study, other], start=1):
        store = zarrts.convert(now.folder, target, overwrite=True, **SMALL)
        assert store.version == number + 1
        assert_equal(store, now)
        assert sorted(path.name for path in target.iterdir()) == sorted(
            ["2024", "manifests", "notes.txt", str(number), "writing.lock", "zarr.json"]
        )
        assert [it.name for it in (target / "manifests").iterdir()] == [f"{number + 1}.json"]
    assert (target / "2024" / "more.txt").read_text() == "mine too"


@pytest.mark.parametrize("step", ["rows", "1/zarr.json", "manifests/2.json", "a.zarr/zarr.json"])
def test_failing_overwrite_leaves_the_old_store(
    tmp_path: Path, study: Study, other: Study, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(study.folder, target, **SMALL)
    (target / "2024").mkdir()
    (target / "2024" / "more.txt").write_text("mine")
    before = tree(target)
    fail_on(monkeypatch, step, before=True)
    prepared = prepared_of(other, target, overwrite=True)
    with pytest.raises(Crash):
        conversion.run(prepared, fail_after(0 if step == "rows" else 1000, Crash()))
    after = tree(target)
    assert {key: after[key] for key in before} == before
    assert_equal(zarrts.open(target), study)
    if step in ("rows", "1/zarr.json"):
        assert after == before
    monkeypatch.undo()
    assert_equal(zarrts.convert(other.folder, target, overwrite=True, **SMALL), other)
    assert "unfinished.journal" not in tree(target)


def test_killed_overwrite_leaves_the_old_store_and_can_be_repeated(
    tmp_path: Path, study: Study, other: Study
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(study.folder, target, **SMALL)
    before = tree(target)
    code = textwrap.dedent(KILLED).replace("workers=2", "workers=2, overwrite=True")
    done = subprocess.run(
        [sys.executable, "-c", code, str(other.folder), str(target), "rows"], check=False
    )
    assert done.returncode == 9
    assert {key: content for key, content in tree(target).items() if key in before} == before
    assert_equal(zarrts.open(target), study)
    assert_equal(zarrts.convert(other.folder, target, overwrite=True, **SMALL), other)
    assert not (target / "0").exists()


def zarr_array_of_a_user(target: Path) -> None:
    zarr.create_array(str(target / "0"), shape=(3,), dtype="i4")[:] = 1


def manifests_of_a_user(target: Path) -> None:
    (target / "manifests").mkdir()
    (target / "manifests" / "1.json").write_text('{"ships": 3}')


def unfinished_with_notes(target: Path) -> None:
    (target / "notes.txt").write_text("mine")
    (target / "manifests").mkdir()


def group_of_a_user(target: Path) -> None:
    zarr.create_group(str(target), attributes={"mine": 1})


def damaged_root(target: Path) -> None:
    (target / "zarr.json").write_text('{"attributes": {"zarrts": {"schema": 1}}}')


def newer_root(target: Path) -> None:
    (target / "zarr.json").write_text('{"attributes": {"zarrts": {"schema": 3}}}')


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (zarr_array_of_a_user, "is not empty: it holds 0,"),
        (manifests_of_a_user, "is not empty: it holds manifests,"),
        (unfinished_with_notes, r"is not empty: it holds notes\.txt,"),
        (group_of_a_user, "is a Zarr group, but no zarrts store.*It is not replaced"),
        (damaged_root, "is damaged.*It is not replaced"),
        (newer_root, "has schema 3.*upgrade.*It is not replaced"),
    ],
)
def test_what_others_wrote_is_never_deleted(
    tmp_path: Path, study: Study, make: Callable[[Path], None], words: str, overwrite: bool
) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    make(target)
    before = tree(tmp_path)
    with pytest.raises(PlanError, match=words):
        zarrts.convert(study.folder, target, overwrite=overwrite, **SMALL)
    assert tree(tmp_path) == before


def test_sources_are_not_a_target(tmp_path: Path, study: Study) -> None:
    before = tree(tmp_path)
    with pytest.raises(PlanError, match=r"subjects is not empty: it holds s00\.npz, s01\.npz"):
        zarrts.convert(study.folder, study.folder, **SMALL)
    with pytest.raises(PlanError, match=r"s02\.npz is a file"):
        zarrts.convert(study.folder, study.folder / "s02.npz", overwrite=True, **SMALL)
    with pytest.raises(PlanError, match=r"s02\.npz is a file"):
        zarrts.convert(study.folder, study.folder / "s02.npz" / "a.zarr", **SMALL)
    assert tree(tmp_path) == before


def test_store_inside_the_folder_of_its_sources_is_no_source(study: Study) -> None:
    for _ in range(2):
        assert_equal(zarrts.convert(study.folder, study.folder / "a.zarr", **SMALL), study)


# What is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "asked", "stored"),
    [
        ("f8", "auto", "f4"),
        ("f8", "keep", "f8"),
        ("f2", "auto", "f2"),
        ("i8", "auto", "i8"),
        ("f4", "float64", "f8"),
        ("f8", np.float16, "f2"),
        ("f8", float, "f8"),
        ("i8", "int16", "i2"),
        ("u1", "f4", "f4"),
        (">f4", "auto", "f4"),
        ("f4", ">f8", "f8"),
    ],
)
def test_dtype(tmp_path: Path, found: str, asked: Any, stored: str) -> None:
    x = np.arange(120).reshape(10, 4, 3).astype(found)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(10) % 2)
    with zarrts.convert(tmp_path, tmp_path / "a.zarr", dtype=asked, **SMALL) as store:
        assert store.dtype == np.dtype(stored)
        np.testing.assert_array_equal(store.samples.load()[0], x.astype(stored))


def test_files_of_several_dtypes_get_the_smallest_that_holds_all(tmp_path: Path) -> None:
    for name, dtype in (("a", "i1"), ("b", "i2"), ("c", "f4")):
        np.savez(
            tmp_path / f"{name}.npz", x=np.ones((3, 2, 2), dtype), y=np.array([1, 2, ord(name)])
        )
    with zarrts.convert(tmp_path, tmp_path / "a.zarr", **SMALL) as store:
        assert store.dtype == np.float32


@pytest.mark.parametrize(
    ("value", "source", "dtype"),
    [
        (1.5, "f4", "i2"),
        (np.nan, "f4", "i2"),
        (40000, "i4", "i2"),
        (-1, "i1", "u1"),
        (-1, "i8", "u8"),
        (2**63, "u8", "i8"),
        (-1.0, "f8", "u8"),
        (2, "u1", "bool"),
        (1e39, "f8", "f4"),
        (70000, "i4", "f2"),
    ],
)
def test_values_that_the_dtype_cannot_hold_are_refused(
    value: float, source: str, dtype: str
) -> None:
    block = np.array([[0], [1], [value]], source)
    with pytest.raises(SourceError, match=r"^s01: .*(choose another dtype|dtype='keep')"):
        cast_rows(block, np.dtype(dtype), "s01")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(X_DTYPES),
    st.sampled_from([it for it in X_DTYPES if it[0] != "f"]),
    st.lists(st.integers(-(2**63), 2**64 - 1) | st.integers(-300, 300), min_size=1, max_size=4),
)
def test_cast_is_exact_or_refused(source: str, target: str, values: list[int]) -> None:
    kind, limits = np.dtype(source).kind, None
    if kind in "iu":
        limits = np.iinfo(source)
        values = [min(max(it, limits.min), limits.max) for it in values]
    elif kind == "b":
        values = [it % 2 for it in values]
    else:
        values = [it % 300 - 150 for it in values]
    block = np.array(values).astype(source) if kind != "u" else np.array(values, source)
    exact = [int(it) for it in block]
    low, high = (0, 1) if target == "bool" else (np.iinfo(target).min, np.iinfo(target).max)
    if all(low <= it <= high for it in exact):
        assert [int(it) for it in cast_rows(block, np.dtype(target), "s")] == exact
    else:
        with pytest.raises(SourceError, match="choose another dtype"):
            cast_rows(block, np.dtype(target), "s")


def test_axes_come_out_as_sample_time_channel(tmp_path: Path) -> None:
    x = np.arange(10 * 3 * 4 * 5).reshape(3, 10, 5, 4).astype("f4")
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(10) % 2)
    axes = ["channel", "sample", "band", "time"]
    with zarrts.convert(tmp_path, tmp_path / "a.zarr", axes=axes, **SMALL) as store:
        np.testing.assert_array_equal(store.samples.load()[0], x.transpose(1, 3, 2, 0))
    dataset = xarray.open_zarr(tmp_path / "a.zarr" / "0")
    assert dataset["x"].dims == ("sample", "time", "band", "channel")


def test_channels_and_rate_are_stored(tmp_path: Path, study: Study) -> None:
    options = {"channels": ["Fz", "Cz", "Pz"], "rate_hz": np.float32(128), **SMALL}
    with zarrts.convert(study.folder, tmp_path / "a.zarr", **options):
        pass
    with zarrts.open(tmp_path / "a.zarr") as store:
        assert (store.channels, store.rate_hz) == (["Fz", "Cz", "Pz"], 128.0)


def test_more_than_a_thousand_integers_are_numbers(tmp_path: Path) -> None:
    y = np.arange(1001)
    np.savez(tmp_path / "a.npz", x=np.zeros((1001, 2, 1), "f4"), y=y)
    with zarrts.convert(tmp_path, tmp_path / "a.zarr", progress=False) as store:
        assert (store.class_names, store.n_classes, store.class_indices) == (None, None, None)
        np.testing.assert_array_equal(store.samples.load()[1], y)


def test_wide_labels_shorten_the_chunks(tmp_path: Path) -> None:
    n = 300
    x, y = np.arange(n, dtype="u1"), np.random.default_rng(0).normal(size=(n, 50, 20))
    np.savez(tmp_path / "a.npz", x=x, y=y)
    options = {"kind": "dense", "chunk": 80_000, "shard": 800_000, "progress": False}
    with zarrts.convert(tmp_path, tmp_path / "a.zarr", **options) as store:
        assert store.header.segments[0].y.chunk_bytes <= 80_000
        np.testing.assert_array_equal(store.samples.load()[1], y)


# Memory --------------------------------------------------------------------------------------

MEASURE = """
    import sys, threading
    from pathlib import Path
    import numpy as np
    import zarrts

    source, target, codec, small = sys.argv[1:]

    def anonymous():
        text = Path("/proc/self/status").read_text()
        return int(text.split("RssAnon:")[1].split()[0]) * 1024

    zarrts.convert(small, target + ".first", progress=False)
    start, peak = anonymous(), 0
    done = threading.Event()

    def watch():
        global peak
        while not done.wait(0.002):
            peak = max(peak, anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    zarrts.convert(source, target, memory="64MiB", codec=codec, progress=False)
    done.set()
    watcher.join()
    print(peak - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells RssAnon")
def test_memory_stays_within_the_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 128, 32)).astype("f4")
    (tmp_path / "subjects").mkdir()
    for i in range(13):
        name = tmp_path / "subjects" / f"s{i:02}"
        if i == 6:  # a compressed one is streamed, and takes its time to make
            np.savez_compressed(f"{name}.npz", x=noise * (i + 1), y=np.arange(400) % 5)
            continue
        x = np.lib.format.open_memmap(f"{name}_x.npy", "w+", "f4", (1000, 128, 32))
        for start in range(0, 1000, 200):
            x[start : start + 200] = noise[rng.integers(0, 400, 200)] * (i + 1)
        x.flush()
        np.save(f"{name}_y.npy", np.arange(1000) % 5)
    small = make_study(tmp_path / "small", sizes=[5, 4])
    arguments = [tmp_path / "subjects", tmp_path / "a.zarr", "lz4", small.folder]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert sum(path.stat().st_size for path in (tmp_path / "subjects").iterdir()) > 195e6
    assert int(done.stdout) < 64 << 20


# The codec ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "codec"), [(4, "lz4"), (32, "none")])
def test_codec_auto_compresses_where_it_saves_something(
    tmp_path: Path, bits: int, codec: str
) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**bits, size=(200, 8, 4), dtype=np.uint32)
    recording = zarrts.Recording("s", x, np.zeros(200, int))
    auto, named = tmp_path / "auto.zarr", tmp_path / "named.zarr"
    zarrts.convert(recording, auto, codec="auto", progress=False).close()
    zarrts.convert(recording, named, codec=codec, progress=False).close()
    assert tree(auto) == tree(named)
