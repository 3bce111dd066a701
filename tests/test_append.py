"""More subjects in a store: what was there stays as it was, for whoever reads it."""

import json
import re
import shutil
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from click.testing import CliRunner
from grown_stores import (
    LARGE,
    SHUFFLES,
    SMALL,
    TIGHT,
    AnyArray,
    assert_holds,
    assert_same,
    grown,
    naive,
    people,
    run_with,
    snapshot,
    three,
    times,
    whole,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zarrts
from zarrts import Recording
from zarrts.cli import main
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare_append
from zarrts.errors import SourceError, StoreError
from zarrts.storage import segments

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

X = np.random.default_rng(0).standard_normal((4, 6, 3)).astype("f4")


@pytest.mark.filterwarnings("ignore:The training part has no sample of class")
@pytest.mark.parametrize("kind", ["text", "int", "bool", "one_hot", "float"])
def test_parts_are_one_study_with_new_classes_at_the_end(tmp_path: Path, kind: str) -> None:
    parts = three(tmp_path, kind)
    path, x, subject = grown(tmp_path, parts, rate_hz=50), whole(parts), whole(parts, "subject")
    for version in (1, 2, 3):
        y, codes, classes = naive(parts[:version], kind)
        n = len(y)
        with zarrts.open(path, version=version) as store:
            assert (store.version, store.n_samples, store.rate_hz) == (version, n, 50)
            assert store.class_names == classes
            assert_same([store.samples.load()], [(x[:n], y)])
            assert_same([store.samples[-1]], [(x[n - 1], y[n - 1])])
            assert store.samples.subject.tolist() == subject[:n].tolist()
            assert store.samples.filenames == [f"{name}.npz" for name in subject[:n]]
            assert_facts(store.samples, x[:n], codes, classes)
            _, test = store.samples.split(test=[subject[n - 1], "cid"][: max(1, version - 1)])
            ids = np.flatnonzero(np.isin(subject[:n], test.subjects))
            assert_same([(test.ids, *test.load())], [(ids, x[ids], y[ids])])


def assert_facts(
    samples: zarrts.Samples, x: AnyArray, codes: AnyArray, classes: list[Any] | None
) -> None:
    """Statistics, classes and weights are those of the arrays."""
    stats, doubles = samples.stats(), x.astype("f8")
    np.testing.assert_allclose(stats.mean, doubles.mean((0, 1)))
    np.testing.assert_allclose(stats.std, doubles.std((0, 1)))
    assert_same([(stats.count, stats.min)], [([6 * len(x)] * 3, x.min((0, 1)))])
    if classes is None:
        return
    for ids in (np.arange(len(x)), np.arange(10, len(x) - 2)):
        counts, chosen = np.bincount(codes[ids], minlength=len(classes)), samples.select(ids=ids)
        assert chosen.class_counts.tolist() == counts.tolist()
        weights = {i: len(ids) / (np.count_nonzero(counts) * n) for i, n in enumerate(counts) if n}
        assert chosen.class_weight() == pytest.approx(weights)
    for code, name in enumerate(classes):
        chosen = samples.select(classes=[name])
        np.testing.assert_array_equal(chosen.ids, np.flatnonzero(codes == code))


@settings(deadline=None, max_examples=7, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=3), min_size=2, max_size=4),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_sample_is_delivered_once_with_its_own_label(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], batch_size: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("random")
    parts = [
        people(folder / f"{n}", {f"p{n}{i}": size for i, size in enumerate(some)}, "float")
        for n, some in enumerate(sizes)
    ]
    x, y = whole(parts), whole(parts, "all_y")
    with zarrts.open(grown(folder, parts)) as store:
        chosen = store.samples.select(ids=np.flatnonzero((np.arange(len(x)) + seed) % 3))
        for shuffle, memory, samples in product(SHUFFLES, (TIGHT, LARGE), (store.samples, chosen)):
            if len(samples):
                found = samples.batches(batch_size, shuffle=shuffle, seed=seed, memory=memory)
                xs, ys, ids = map(np.concatenate, zip(*snapshot(found), strict=True))
                np.testing.assert_array_equal(np.sort(ids), samples.ids)
                assert_same([(xs, ys)], [(x[ids], y[ids])])


def test_the_order_of_each_version_stays_what_it_was(tmp_path: Path) -> None:
    parts = [*three(tmp_path), people(tmp_path / "3", {"gil": 12, "hal": 14})]
    path, before = grown(tmp_path, parts[:1]), []

    def orders(version: int) -> list[Any]:
        with zarrts.open(path, version=version) as store:
            return [
                batch
                for shuffle, memory in product(SHUFFLES, (TIGHT, LARGE))
                for batch in snapshot(store.samples.batches(4, shuffle=shuffle, memory=memory))
            ]

    for number in range(1, 5):
        before.append(orders(number))
        for version in range(1, number):
            assert_same(orders(version), before[version - 1])
            assert_holds(path, parts[:version], version)
        if number < 4:
            zarrts.append(path, parts[number].folder, progress=False).close()
    with pytest.raises(StoreError, match=r"no version 9; there is 1, 2, 3, 4\. Open it without"):
        zarrts.open(path, version=9)


@pytest.mark.parametrize("memory", [TIGHT, LARGE])
def test_whoever_reads_is_not_disturbed_during_an_append_nor_after_it(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, found = three(tmp_path), []
    path = grown(tmp_path, parts[:1])
    with zarrts.open(path) as store, store.samples.batches(2, memory=memory) as batches:
        expected = snapshot(store.samples.batches(2, memory=memory))
        prepared = prepare_append(parts[1].folder, path, ConvertOptions(workers=1))
        run_with(prepared, lambda moment: found.append(next(batches)), monkeypatch)
        assert 5 < len(found) < len(expected)
        assert_same([(it.x, it.y, it.sample_id) for it in (*found, *batches)], expected)
        assert_same(snapshot(store.samples.batches(2, memory=memory)), expected)
        assert (store.version, store.subjects) == (1, parts[0].names)
    assert_holds(path, parts[:2])


def refusal(path: Path, source: Any) -> str:
    """Return why an append is refused; it may have written nothing."""
    before = times(path)
    with pytest.raises(SourceError) as caught:
        zarrts.append(path, source, progress=False)
    assert times(path) == before
    return str(caught.value)


def test_all_that_does_not_fit_is_refused_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    parts, folder = three(tmp_path), tmp_path / "bad"
    path = grown(tmp_path, parts[:2])
    people(folder, {"eve": 9, "fay": 8})
    x = np.random.default_rng(0).standard_normal((7, 6, 3))
    np.savez(folder / "shape.npz", x=x[:, :5], y=np.ones(7, int))
    np.savez(folder / "label.npz", x=x, y=np.ones((7, 2), int))
    np.savez(folder / "short.npz", x=x, y=np.ones(6, int))
    shutil.copy(parts[0].folder / "cid.npz", folder / "copy.npz")
    said = refusal(path, folder)
    assert said.startswith("Nothing was added. ")
    for words in (
        "shape.npz: samples of shape (5, 3), but the store's have (6, 3)",
        "label.npz: labels of shape (2,), but the store's have ()",
        "short.npz: 7 inputs in 'x', but 6 labels in 'y'",
        "cid.npz (in the store) and copy.npz: the same content under 2 names",
        "eve.npz: the store has a subject eve already",
    ):
        assert words in said
    assert "fay.npz" not in said
    again = refusal(path, parts[0].folder)
    assert "same content under 2 names" in again
    for name in parts[0].names:  # each once as what is in the store, and once as what is new
        assert again.count(f"{name}.npz") == 2, again
    with pytest.raises(StoreError, match="does not exist"):
        zarrts.append(tmp_path / "no.zarr", folder)
    assert not (tmp_path / "no.zarr").exists()


@pytest.mark.parametrize(
    ("there", "new", "words"),
    [
        (["N1", "N2"], [1, 2], "are numbers, but those in the store are text"),
        ([1, 2], ["N1", "N2"], "are text, but those in the store are numbers"),
        ([1, 2], [0.5, 2], "the label 0.5 is not a whole number, and so not a class"),
        (np.int8([1, 2]), [1, 200], "int64, which do not all fit the store's int8"),
        ([False, True], [1, 2], "int64, which do not all fit the store's bool"),
        ([[0, 1], [1, 0]], [[1, 1], [1, 0]], "are numbers, but .* in the store are one-hot rows"),
    ],
)
def test_labels_of_another_kind_are_refused(
    tmp_path: Path, there: Any, new: Any, words: str
) -> None:
    zarrts.convert(Recording("ann", X[:2], np.array(there)), tmp_path / "a.zarr", **SMALL).close()
    said = refusal(tmp_path / "a.zarr", Recording("bea", X[2:], np.array(new)))
    assert re.search(words, said)


def test_inputs_that_the_dtype_of_the_store_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = grown(tmp_path, [people(tmp_path / "0", {"ann": 20}, dtype="int16")])
    x = np.full((40, 6, 3), 7.0)
    more = Recording("bea", x, np.ones(40, int))
    for bad in (0.5, 40_000.0, np.nan):
        x[33, 2, 1] = bad
        assert f"recording 1 (bea): the value {bad} is not representable as int16" in refusal(
            path, more
        )
    x[33] = -7
    with zarrts.append(path, more, progress=False) as store:
        np.testing.assert_array_equal(store.samples.load()[0][20:], x)


def test_two_sessions_of_one_person_are_refused_across_parts_too(tmp_path: Path) -> None:
    path = grown(tmp_path, [people(tmp_path / "0", {"s01_night1": 9, "s02_night1": 9})])
    more = people(tmp_path / "1", {"s01_night2": 9, "s03_night1": 8})
    assert re.search("s01_night1.*several sessions of one person", refusal(path, more.folder))


def test_arrays_and_axes_are_those_of_the_store_unless_said_otherwise(tmp_path: Path) -> None:
    rng, axes = np.random.default_rng(0), ("sample", "band", "channel", "time")
    for name in ("ann", "bea"):
        raw, filtered = rng.standard_normal((2, 9, 2, 4, 4)).astype("f4")
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / f"{name}.npz", x=filtered, raw=raw, y=rng.integers(0, 3, 9))
    path = tmp_path / "a.zarr"
    zarrts.convert(tmp_path / "ann", path, x="raw", axes=axes, **SMALL).close()
    with zarrts.append(path, tmp_path / "bea", progress=False) as store:
        np.testing.assert_array_equal(store.samples.load()[0][9:], raw.transpose(0, 3, 1, 2))
    assert xarray.open_zarr(path / "1")["x"].dims == ("sample", "time", "band", "channel")


def test_rows_of_two_axes_are_samples_where_the_store_says_so(tmp_path: Path) -> None:
    parts = [people(tmp_path / name, {name: 9}, shape=(6,)) for name in ("ann", "bea")]
    assert_holds(grown(tmp_path, parts, kind="dense"), parts)


@pytest.mark.parametrize(
    ("there", "new", "names"),
    [
        (np.array([5, 5]), np.array([True, False]), [5, 0, 1]),
        (np.uint8([[1, 1], [0, 1]]), np.uint8([[0, 1], [1, 0]]), [0, 1]),
    ],
    ids=["truth values among integers", "rows with several ones, and rows with one"],
)
def test_labels_that_one_conversion_takes_can_be_appended(
    tmp_path: Path, there: AnyArray, new: AnyArray, names: list[int]
) -> None:
    both = [Recording("ann", X[:2], there), Recording("bea", X[2:], new)]
    with zarrts.convert(both, tmp_path / "whole.zarr", **SMALL) as store:
        expected = store.samples.load()
    zarrts.convert(both[0], tmp_path / "a.zarr", **SMALL).close()
    with zarrts.append(tmp_path / "a.zarr", both[1], progress=False) as store:
        assert_same([store.samples.load()], [expected])
        assert [(type(it), it) for it in store.class_names or ()] == [(int, it) for it in names]


def test_the_same_append_again_changes_nothing(tmp_path: Path) -> None:
    parts = three(tmp_path)
    path = grown(tmp_path, parts)
    before = times(path)
    with zarrts.append(path, parts[2].folder, progress=False) as store:
        assert (store.version, store.n_samples) == (3, 86)
    assert times(path) == before
    assert "same content under 2 names" in refusal(path, parts[1].folder)


def test_the_command_says_what_it_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    parts = three(tmp_path)
    path = grown(tmp_path, parts[:1])
    before = times(path)

    def command(*options: str, status: int = 0) -> list[str]:
        result = CliRunner().invoke(main, ["append", str(path), str(parts[1].folder), *options])
        assert result.exit_code == status, result.output
        return result.output.splitlines()

    first, *_, last = command("--dry-run")
    assert first.startswith("2 files -> 2 subjects")
    assert last == "Nothing written. Repeat without --dry-run."
    assert times(path) == before
    assert command()[-1] == f"{path} is complete, with these as its latest version."
    assert_holds(path, parts[:2])
    assert command()[-1] == f"{path} holds these already."
    shutil.copy(parts[0].folder / "ann.npz", parts[1].folder)
    assert command(status=1)[0] == "Error: Nothing was added. 1 problem:"


def test_the_root_is_read_in_time_that_grows_as_its_parts_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = grown(tmp_path, three(tmp_path))
    content = (path / "zarr.json").read_bytes()
    n_nodes, real = [], segments.arrays_of

    def arrays_of(metadata: Any, name: str) -> Any:
        n_nodes.append(len(metadata))
        return real(metadata, name)

    monkeypatch.setattr(segments, "arrays_of", arrays_of)
    with zarrts.open(path) as store:
        assert not n_nodes
        assert store.n_samples == store.n_samples > 0
    assert len(n_nodes) == 3
    # Those of arrays of samples; what other programs read besides is not even parsed.
    nodes = json.loads(content)["consolidated_metadata"]["metadata"]
    others = (["checksum"], ["table"])
    assert sum(n_nodes) == len([path for path in nodes if path.split("/")[1:2] not in others])
