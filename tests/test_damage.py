"""Faults of every kind in a finished store: none is silent, and what is whole can be trained on."""

import re
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Study
from grown_stores import (
    LARGE,
    SHUFFLES,
    SMALL,
    TIGHT,
    AnyArray,
    assert_holds,
    assert_same,
    copy_as_killed,
    grown,
    people,
    run_with,
    three,
    times,
    tree,
)

import zarrts
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare_append
from zarrts.errors import PlanError, ReadError, StoreError, ZarrtsError
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

ROWS, SHARD_ROWS = 5, 15
THOUSAND = {"lz4": 300, "zstd": 300, "none": 400}  # faults; each usual run makes a fifth of them


@pytest.fixture(autouse=True)
def nothing_is_left_open(no_leaks: None) -> None:
    """Threads and files of the loader."""


# A thousand faults -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A store, its files, and what has to be read from it."""

    path: Path
    files: dict[str, bytes]
    facts: list[list[Any]]


def loaded(samples: zarrts.Samples) -> list[Any]:
    """Return all that a store says of its samples, and they themselves."""
    stats = samples.stats()
    numbers = [stats.count, stats.mean, stats.std, stats.min, stats.max]
    return [*samples.load(), samples.subject, samples.filenames, samples.class_counts, numbers]


def streamed(samples: zarrts.Samples) -> list[Any]:
    with samples.batches(7, memory=LARGE) as batches:
        return [it for batch in batches for it in (batch.x.copy(), batch.y, batch.sample_id)]


WAYS, same = (loaded, streamed), np.array_equal


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """One store of each codec; with "none", all shards of an array have one size."""
    found = {}
    for codec in ("lz4", "zstd", "none"):
        folder = tmp_path_factory.mktemp(codec)
        part = people(folder / "0", {"ann": 17, "bea": 4, "cid": 21}, "text")
        path = grown(folder, [part], codec=codec)
        with zarrts.open(path) as store:
            found[codec] = Made(path, tree(path), [way(store.samples) for way in WAYS])
    return found


def kind_of(key: str) -> str:
    """Return which kind of file this is, for faults to be spread over all of them."""
    if key.endswith(".json"):
        return "metadata" if key.startswith("0/") else key
    return key.split("/")[1]


def random_fault(
    files: dict[str, bytes], by_kind: dict[str, list[str]], rng: np.random.Generator
) -> tuple[str, dict[str, bytes | None]]:
    """Return a fault in words, and the files that it changes."""
    key = str(rng.choice(by_kind[str(rng.choice([*by_kind, "x", "y", "x", "y"]))]))
    content = files[key]
    how = str(rng.choice(["bit", "bit", "index", "noise", "cut", "empty", "missing", "swapped"]))
    damaged = bytearray(content)
    if how in ("bit", "index"):
        low = max(0, len(content) - 52) if how == "index" else 0
        damaged[rng.integers(low, len(content))] ^= 1 << rng.integers(8)
    elif how == "noise":
        start = int(rng.integers(len(content)))
        damaged[start : start + 20] = rng.bytes(len(damaged[start : start + 20]))
    elif how in ("cut", "empty"):
        del damaged[rng.integers(1, len(content)) if how == "cut" else 0 :]
    elif how == "swapped":
        likely = [it for it in files if len(files[it]) == len(content) and files[it] != content]
        others = likely or [it for it in by_kind[kind_of(key)] if files[it] != content]
        if others:
            other = str(rng.choice(others))
            return f"{key} and {other} swapped", {key: files[other], other: content}
    if how == "missing" or bytes(damaged) == content:
        return f"{key} missing", {key: None}
    return f"{key} {how}", {key: bytes(damaged)}


def is_reported(path: Path) -> bool:
    try:
        return bool(zarrts.verify(path, deep=True, workers=1).problems)
    except StoreError:
        return True


def outcomes_of_reading(made: Made) -> set[bool | None]:
    """Return whether what is read is right; None where reading says that it cannot be."""
    found: set[bool | None] = set()
    try:
        with zarrts.open(made.path) as store:
            for way, expected in zip(WAYS, made.facts, strict=True):
                try:
                    facts = way(store.samples)
                    found.add(len(facts) == len(expected) and all(map(same, facts, expected)))
                except ZarrtsError:
                    found.add(None)
    except ZarrtsError:
        found.add(None)
    return found


@pytest.mark.parametrize(
    ("codec", "n_faults"),
    [
        *(pytest.param(codec, n, marks=pytest.mark.slow) for codec, n in THOUSAND.items()),
        *((codec, n // 5) for codec, n in THOUSAND.items()),
    ],
)
def test_of_a_thousand_faults_none_is_silent(
    stores: dict[str, Made], codec: str, n_faults: int
) -> None:
    made, rng, silent, seen = stores[codec], np.random.default_rng(7), [], Counter()
    by_kind: dict[str, list[str]] = {}
    for key in made.files:
        by_kind.setdefault(kind_of(key), []).append(key)
    for _ in range(n_faults):
        fault, changes = random_fault(made.files, by_kind, rng)
        for key, content in changes.items():
            file = made.path / key
            file.unlink() if content is None else file.write_bytes(content)
        try:
            is_found, outcomes = is_reported(made.path), outcomes_of_reading(made)
        except Exception as error:
            is_found, outcomes = False, {repr(error)}
        finally:
            for key in changes:
                (made.path / key).write_bytes(made.files[key])
        seen[fault.split()[-1]] += 1
        is_touched = any(kind_of(key) in ("x", "y", "table") for key in changes)
        if not is_found or not outcomes <= ({None} if is_touched else {None, True}):
            silent.append((fault, is_found, outcomes))
    assert silent == []
    assert len(seen) == 7
    assert min(seen.values()) > n_faults / 20
    assert not is_reported(made.path)
    assert outcomes_of_reading(made) == {True}


def test_an_append_killed_at_any_moment_leaves_a_version_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, copies, n_resumed, n_whole = three(tmp_path), tmp_path / "copies", 0, 0
    path = grown(tmp_path, parts[:1])
    prepared = prepare_append(parts[1].folder, path, ConvertOptions(workers=1))
    with monkeypatch.context() as patch:  # a copy is what a kill at this moment leaves
        run_with(prepared, lambda n: copy_as_killed(path, copies / f"{n:02d}"), patch)
    for copy in sorted(copies.iterdir()):
        with zarrts.open(copy) as store:
            is_whole = store.version == 2
        assert_holds(copy, parts[: 1 + is_whole])
        before = times(copy)
        if not is_whole:  # nor does the command that made the store harm what is unfinished
            zarrts.convert(parts[0].folder, copy, **SMALL).close()
            assert times(copy) == before
        is_begun = any(key.startswith("1/x/c/0") for key in before) and not is_whole
        if is_begun and n_resumed % 3 == 2:
            with pytest.raises(PlanError, match=r"unfinished .*dan.npz, eve.npz: no longer there"):
                zarrts.append(copy, parts[2].folder, progress=False)
            assert times(copy) == before
            other = shutil.copytree(copy, tmp_path / f"other{n_resumed}")
            zarrts.append(other, parts[2].folder, restart=True, progress=False).close()
            assert_holds(other, parts[::2])
        zarrts.append(copy, parts[1].folder, progress=False).close()
        assert tree(copy) == tree(path)
        kept = [key for key, time in times(copy).items() if before.get(key) == time]
        n_resumed += any(key.startswith("1/x/c") for key in kept) and not is_whole
        n_whole += is_whole
    assert (n_resumed > 4, n_whole) == (True, 3)


# Trained without what is damaged ---------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """So many chunks that the loader reads ahead in the file."""
    return people(tmp_path_factory.mktemp("skip") / "0", {"ann": 120, "bea": 49, "cid": 131})


@pytest.fixture(scope="module")
def made(study: Study) -> Path:
    return grown(study.folder.parent, [study], codec="none")


@pytest.fixture
def broken(made: Path, tmp_path: Path) -> Path:
    """A store that a test may damage."""
    return shutil.copytree(made, tmp_path / "broken.zarr")


def flip_chunk(path: Path, array: str, chunk: int) -> AnyArray:
    """Flip a bit in a chunk; return the ids of its samples."""
    shard, inside = divmod(chunk, SHARD_ROWS // ROWS)
    file = shard_file(path, array, shard)
    content = bytearray(file.read_bytes())
    content[inside * (ROWS * (72 if array == "x" else 8) + 4) + 9] ^= 1
    file.write_bytes(content)
    return np.arange(chunk * ROWS, chunk * ROWS + ROWS)


def lose_shard(path: Path, array: str, shard: int, content: bytes | None = None) -> AnyArray:
    """Delete a shard, or replace its content; return the ids of its samples."""
    file = shard_file(path, array, shard)
    file.unlink() if content is None else file.write_bytes(content)
    return np.arange(shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS)


def shard_file(path: Path, array: str, shard: int) -> Path:
    return path / "0" / array / "c" / str(shard) / ("0/0" if array == "x" else "")


def damage(path: Path) -> AnyArray:
    """Damage samples and labels, at the start, at the end and in between; return their ids."""
    flipped = [("x", 0), ("y", 1), ("x", 7), ("y", 7), ("x", 59)]
    lost = [("x", 9, None), ("y", 12, None), ("x", 14, b"")]
    ids = [flip_chunk(path, *it) for it in flipped] + [lose_shard(path, *it) for it in lost]
    return np.unique(np.concatenate(ids))


def ids_in(messages: Iterator[str]) -> list[int]:
    """Return the sample ids that warnings name."""
    found: list[int] = []
    for message in messages:
        (words,) = re.findall(r"Left out of every epoch: samples ([\d, to]+)\.$", message)
        for word in words.split(", "):
            low, _, high = word.partition(" to ")
            found += range(int(low), int(high or low) + 1)
    return found


def drained(batches: Any) -> tuple[AnyArray, AnyArray, AnyArray, list[int]]:
    """Return inputs, labels and ids of a stream, and the ids that it warned of."""
    with warnings.catch_warnings(record=True) as caught, batches:
        warnings.simplefilter("always")
        found = [(it.x.copy(), it.y, it.sample_id) for it in batches]
    x, y, ids = zip(*found, strict=True)
    y = None if y[0] is None else np.concatenate(y)
    said = [str(it.message) for it in caught]
    warned = ids_in(it for it in said if "batches are left out of epoch" not in it)
    return np.concatenate(x), y, np.concatenate(ids), warned


@pytest.mark.parametrize("memory", [TIGHT, LARGE])
@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_all_that_can_be_read_is_delivered_once_and_the_rest_warned_of_once(
    study: Study, broken: Path, shuffle: Any, memory: str
) -> None:
    lost = damage(broken)
    with zarrts.open(broken) as store:
        options: dict[str, Any] = {"shuffle": shuffle, "memory": memory, "on_error": "skip"}
        for batch_size, epoch in ((1, 0), (4, 1), (5, 2)):
            batches = store.samples.batches(batch_size, epoch=epoch, **options)
            x, y, ids, warned = drained(batches)
            assert np.sort(ids).tolist() == np.setdiff1d(np.arange(300), lost).tolist()
            assert_same([(x, y)], [(study.all_x[ids], study.all_y[ids])])
            assert sorted(warned) == lost.tolist()
        chosen = store.samples.select(subjects=["bea"])
        x, _, ids, warned = drained(chosen.batches(4, **options))
        assert np.sort(ids).tolist() == np.setdiff1d(chosen.ids, lost).tolist()
        assert sorted(warned) == np.intersect1d(chosen.ids, lost).tolist()
        parts = [
            drained(store.samples.batches(4, rank=rank, world_size=3, **options))[2]
            for rank in range(3)
        ]
        assert np.sort(np.concatenate(parts)).tolist() == np.setdiff1d(range(300), lost).tolist()
    with zarrts.open(broken) as store, pytest.raises(ReadError):
        drained(store.samples.batches(4, shuffle=shuffle, memory=memory))


@pytest.mark.parametrize("memory", [3 << 10, 1 << 20])
def test_later_epochs_leave_the_same_samples_out_without_a_word(
    study: Study, broken: Path, memory: int
) -> None:
    lost = damage(broken)
    options = BatchOptions(batch_size=4, memory=memory, label_mode="raw", on_error="skip")
    with zarrts.open(broken) as store:
        loader = EpochLoader(store.samples.selection, options)
        for epoch in range(3):
            x, y, ids, warned = drained(loader.stream(epoch))
            assert np.sort(ids).tolist() == np.setdiff1d(np.arange(300), lost).tolist()
            assert_same([(x, y)], [(study.all_x[ids], study.all_y[ids])])
            assert sorted(warned) == ([] if epoch else lost.tolist())
        loader.close()


@pytest.mark.filterwarnings("ignore:.*are left out of epoch:UserWarning")
def test_a_batch_that_cannot_be_read_at_all_is_left_out(study: Study, broken: Path) -> None:
    lost = np.concatenate([flip_chunk(broken, "x", chunk) for chunk in (0, 1, 30, 59)])
    with zarrts.open(broken) as store:
        options: dict[str, Any] = {"shuffle": False, "memory": TIGHT, "on_error": "skip"}
        batches = store.samples.batches(5, **options)
        _, _, ids, warned = drained(batches)
        assert ids.tolist() == np.setdiff1d(np.arange(300), lost).tolist()
        assert sorted(warned) == lost.tolist()
        with pytest.warns(UserWarning, match="Left out of every epoch"):
            assert list(store.samples.select(ids=lost).batches(5, **options)) == []


# Keras -----------------------------------------------------------------------------------------


def taken(seq: Any) -> list[Any]:
    """Return the batches of a pass that others interrupt."""
    one, found = iter(seq), []
    for number, batch in enumerate(one):
        found.append(batch)
        if number % 9 == 8:
            next(iter(seq))
    return found


@pytest.mark.filterwarnings("ignore:.*Left out of every epoch:UserWarning")
@pytest.mark.filterwarnings("ignore:.*are left out of epoch:UserWarning")
@pytest.mark.parametrize("way", [list, taken, lambda seq: [seq[i] for i in range(len(seq))]])
def test_a_batch_of_a_sequence_with_no_sample_left_is_never_another_batch(
    study: Study, broken: Path, way: Any
) -> None:
    pytest.importorskip("keras", exc_type=ImportError)
    lost = flip_chunk(broken, "x", 20)
    options: dict[str, Any] = {"shuffle": False, "memory": TIGHT, "on_error": "skip"}
    with zarrts.ZarrSequence(broken, 7, **options) as seq:
        x = np.concatenate([x for x, _ in way(seq)])
        np.testing.assert_array_equal(x, np.delete(study.all_x, lost, axis=0))
    with zarrts.ZarrSequence(broken, 5, **options) as seq:
        if way in (list, taken):
            x = np.concatenate([x for x, _ in way(seq)])
            np.testing.assert_array_equal(x, np.delete(study.all_x, lost, axis=0))
        else:
            with pytest.raises(ReadError, match="None of the samples of this batch can be read"):
                way(seq)


@pytest.mark.filterwarnings("ignore:.*Left out of every epoch:UserWarning")
@pytest.mark.filterwarnings("ignore:.*ran out of data:UserWarning")  # Keras', of fewer batches
@pytest.mark.parametrize("first", [0, 20])
def test_batches_without_a_readable_sample_are_left_out_everywhere(
    study: Study, broken: Path, tmp_path: Path, first: int
) -> None:
    keras = pytest.importorskip("keras", exc_type=ImportError)
    lost = flip_chunk(broken, "x", first)
    rest = np.setdiff1d(np.arange(300), lost)
    shape = study.all_x.shape[1:]
    layers = [keras.layers.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    options: dict[str, Any] = {"shuffle": False, "memory": TIGHT, "on_error": "skip"}
    said = r"^1 of 60 batches are left out of epoch \d: none of their samples"
    with zarrts.ZarrSequence(broken, 5, **options) as seq:
        expected = model.predict(study.all_x[rest], verbose=0)
        true = seq.labels[rest]
        accuracy = np.mean(expected.argmax(axis=1) == true)
        with pytest.warns(UserWarning, match=said):
            found = zarrts.predict(model, broken, like=seq)
        np.testing.assert_array_equal(found.sample_ids, rest)
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
        for name in ("p.npy", "p.zarr"):
            with pytest.warns(UserWarning, match=said):
                kept = zarrts.predict(model, broken, like=seq, out=tmp_path / name)
            np.testing.assert_allclose(kept.values[...], expected, rtol=1e-4, atol=1e-5)
        with pytest.warns(UserWarning, match=said):
            assert zarrts.evaluate(model, broken, like=seq).accuracy == accuracy
        with pytest.warns(UserWarning, match=said):
            np.testing.assert_allclose(model.evaluate(seq, verbose=0)[1], accuracy, rtol=1e-5)
        fed = [x for x, _ in seq.to_tf_dataset()]  # which was warned of
        np.testing.assert_array_equal(np.concatenate(fed), study.all_x[rest])
        with pytest.warns(UserWarning, match=said), seq.like(broken) as other:
            history = model.fit(seq, epochs=3, validation_data=other, verbose=0).history
        assert len(history["loss"]) == len(history["val_loss"]) == 3


def test_labels_that_a_sequence_does_not_give_are_not_read(study: Study, broken: Path) -> None:
    lose_shard(broken, "y", 1)
    with zarrts.open(broken) as store:
        batches = store.samples.batches(4, label_mode=None, memory=LARGE, shuffle=False)
        assert_same([drained(batches)], [(study.all_x, None, np.arange(300), [])])
    pytest.importorskip("keras", exc_type=ImportError)
    with zarrts.ZarrSequence(broken, 5, shuffle=False, memory=LARGE, label_mode=None) as seq:
        np.testing.assert_array_equal(np.concatenate(list(seq)), study.all_x)
        x = np.concatenate([seq[i] for i in range(len(seq))])
        np.testing.assert_array_equal(x, study.all_x)


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_trains_on_what_can_be_read(tmp_path: Path, make_study: Any, shuffle: bool) -> None:
    pytest.importorskip("keras", exc_type=ImportError)
    from keras_models import SMALL, Recorder, flat, make_numbered, numbers

    numbered, model = make_numbered(tmp_path, make_study), Recorder.make()
    file = numbered.path / "0/x/c/0/0/0"
    content = bytearray(file.read_bytes())
    content[100] ^= 1  # in the first of chunks of 14 samples
    file.write_bytes(content)
    rest = list(range(14, 161))
    seq = zarrts.ZarrSequence(numbered.path, 16, shuffle, memory=SMALL, on_error="skip")
    with pytest.warns(UserWarning, match=r"Left out of every epoch: samples 0 to 13\.$") as caught:
        model.fit(seq, epochs=2, shuffle=shuffle, verbose=0)
    assert len(caught) == 1
    fed = model.log.train
    n_batches = len(fed) // 2
    assert n_batches == len(seq)
    for epoch in (fed[:n_batches], fed[n_batches:]):
        assert sorted(flat(numbers(epoch))) == rest
        for x, y, _ in epoch:
            ids = x[:, 0, 0].astype(int)
            np.testing.assert_array_equal(x, numbered.x[ids])
            np.testing.assert_array_equal(np.ravel(y), numbered.codes[ids])
    seq.close()
