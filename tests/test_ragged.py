"""A ragged store holds recordings of unequal lengths, row after row, and their labels."""

import hashlib
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.errors import SourceError

DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "bool")
LABELS = ("int", "bool", "text", "gaps", "float", "one_hot", "grid")
TEXTS = np.array(["W", "N1", "N2 deep", "größer"])


@dataclass(frozen=True)
class Case:
    """Recordings to be made up, and how to convert them."""

    lengths: tuple[int, ...]
    n_channels: int = 3
    dtype: str = "f4"
    labels: str = "int"
    labels_per: str = "row"
    chunk_rows: int = 7
    chunks_per_shard: int = 2
    workers: int = 2
    seed: int = 0

    def make(self) -> tuple[list[np.ndarray], list[Any]]:
        """Return inputs and labels of every recording."""
        rng = np.random.default_rng(self.seed)
        inputs = [self._inputs(rng, length) for length in self.lengths]
        n_labels = self.lengths if self.labels_per == "row" else [1] * len(self.lengths)
        return inputs, [self._labels(rng, count) for count in n_labels]

    def _inputs(self, rng: np.random.Generator, length: int) -> np.ndarray:
        values = rng.integers(-100, 100, (length, self.n_channels))
        return (
            np.abs(values).astype(self.dtype) if self.dtype[0] == "u" else values.astype(self.dtype)
        )

    def _labels(self, rng: np.random.Generator, count: int) -> np.ndarray:
        codes = rng.integers(0, 4, count)
        return {
            "int": lambda: np.array([-9, 3, 7, 2**40])[codes],
            "bool": lambda: codes > 1,
            "text": lambda: TEXTS[codes],
            "gaps": lambda: np.append(TEXTS, "")[rng.integers(0, 5, count)],
            "float": lambda: np.where(codes == 0, np.nan, rng.normal(size=count)),
            "one_hot": lambda: np.eye(4, dtype="u1")[codes],
            "grid": lambda: rng.integers(3, 6, (count, 2)),
        }[self.labels]()

    def sources(self) -> list[zarrts.Recording]:
        """Return them as arrays that are given; subjects have one to three each."""
        pairs = zip(*self.make(), strict=True)
        return [zarrts.Recording(f"s{i * i // 5}", x, y) for i, (x, y) in enumerate(pairs)]

    def convert(self, target: Path, **options: Any) -> zarrts.Store:
        """Convert them, with the number of rows of a chunk as wanted where x is the widest."""
        row_bytes = max(self.n_channels * np.dtype(stored_dtype(self.dtype)).itemsize, 16)
        chunk = self.chunk_rows * row_bytes
        sizes = {"chunk": chunk, "shard": chunk * self.chunks_per_shard}
        options = {"kind": "ragged", "workers": self.workers, "progress": False, **sizes, **options}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[0-9]+ channels but [0-9]+ time steps")
            return zarrts.convert(self.sources(), target, **options)


def stored_dtype(dtype: str) -> np.dtype:
    """Return the dtype that dtype="auto" promises."""
    return np.dtype("f4") if dtype == "f8" else np.dtype(dtype)


def read(store: zarrts.Store, array: str) -> np.ndarray:
    """Read an array of the first part, by zarr-python alone."""
    return np.asarray(zarr.open_array(f"{store.path}/0/{array}", mode="r")[:])


def digest(folder: Path) -> str:
    """Return a digest of all files below a folder."""
    found = hashlib.sha256()
    for path in sorted(it for it in folder.rglob("*") if it.is_file()):
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def expected_labels(labels: list[np.ndarray], store: zarrts.Store) -> np.ndarray:
    """Return the labels one after the other, text as positions among the sorted names.

    Empty text is no label: -1.
    """
    every = np.concatenate(labels)
    if every.dtype.kind != "U":
        return every
    names = sorted({*every.tolist()} - {""})
    assert store.class_names == names
    return np.array([names.index(text) if text in names else -1 for text in every.tolist()])


# What is stored -------------------------------------------------------------------------------

CASES = st.builds(
    Case,
    lengths=st.lists(st.sampled_from((0, 1, 2, 6, 7, 8, 14, 40)), min_size=1, max_size=7)
    .filter(any)
    .map(tuple),
    n_channels=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    labels=st.sampled_from(LABELS),
    labels_per=st.sampled_from(("row", "recording")),
    chunk_rows=st.integers(1, 20),
    chunks_per_shard=st.integers(1, 4),
    workers=st.integers(1, 3),
    seed=st.integers(0, 99),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(CASES)
@example(Case(lengths=(100,), chunk_rows=3))  # one recording in many parts
@example(Case(lengths=(1, 2, 1, 0, 3, 1), chunk_rows=20))  # many recordings in one part
@example(Case(lengths=(0, 0, 5), labels_per="recording", labels="text"))
@example(Case(lengths=(1, 1), labels_per="recording"))
@example(Case(lengths=(9, 4), labels="gaps"))
@example(Case(lengths=(0, 0, 1), n_channels=1, labels="gaps", labels_per="recording", seed=1))
def test_store_is_the_recordings_one_after_the_other(case: Case) -> None:
    inputs, labels = case.make()
    if case.labels == "gaps" and not any(it.size and (it != "").any() for it in labels):
        return
    # Equal recordings are refused, and short ones are equal by chance.
    contents = [(x.tobytes(), y.tobytes()) for x, y in zip(inputs, labels, strict=True) if len(x)]
    assume(len({*contents}) == len(contents))
    is_either = all(length == 1 for length in case.lengths)
    with tempfile.TemporaryDirectory() as folder:
        store = case.convert(Path(folder) / "a.zarr", pack=False)
        assert store.kind == "ragged"
        assert store.header.labels_per == ("row" if is_either else case.labels_per)
        assert (store.n_samples, store.sample_shape) == (len(inputs), (None, case.n_channels))
        x, offsets, y = (read(store, array) for array in ("x", "offsets", "y"))
        np.testing.assert_array_equal(x, np.concatenate(inputs).astype(stored_dtype(case.dtype)))
        assert x.dtype == stored_dtype(case.dtype)
        assert offsets.tolist() == np.cumsum([0, *case.lengths]).tolist()
        if not is_either:
            np.testing.assert_array_equal(y, expected_labels(labels, store))
        for i, it in enumerate(store.recordings):
            assert (it.start, it.stop, it.n_rows) == (i, i + 1, case.lengths[i])
            assert it.subject == f"s{i * i // 5}"
        for i, one in enumerate(inputs):
            found = store.catalog.moments.row(i)
            assert found.count.tolist() == [len(one)] * case.n_channels
            if len(one):
                values = one.astype(stored_dtype(case.dtype)).astype("f8")
                np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-6, atol=1e-6)
        assert zarrts.verify(store.path, deep=True, sources=case.sources()).problems == ()
        store.close()


@pytest.mark.parametrize("labels_per", ["row", "recording"])
def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, labels_per: str) -> None:
    case = Case(lengths=(30, 1, 0, 55, 7), labels="text", labels_per=labels_per)
    for workers in (1, 4):
        case.convert(tmp_path / f"{workers}.zarr", workers=workers).close()
    assert digest(tmp_path / "1.zarr") == digest(tmp_path / "4.zarr")


def test_axes_of_files_are_channels_then_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "files").mkdir()
    every = [rng.normal(size=(3, length)).astype("f4") for length in (9, 4, 12)]
    for name, x in zip("abc", every, strict=True):
        np.savez(tmp_path / "files" / f"{name}.npz", x=x, y=np.arange(x.shape[1]))
    with zarrts.convert(
        tmp_path / "files",
        tmp_path / "a.zarr",
        axes=("channel", "time"),
        channels=["u", "v", "w"],
        rate_hz=50,
        progress=False,
    ) as store:
        assert (store.kind, store.channels, store.rate_hz) == ("ragged", ["u", "v", "w"], 50)
        np.testing.assert_array_equal(read(store, "x"), np.concatenate([x.T for x in every]))
        assert read(store, "y").tolist() == [*range(9), *range(4), *range(12)]
        assert zarrts.verify(store.path, deep=True, sources=tmp_path / "files").problems == ()
    opened = xarray.open_zarr(str(tmp_path / "a.zarr" / "0"))
    assert opened["x"].dims == ("row", "channel")


def test_intervals_become_labels_of_rows(tmp_path: Path) -> None:
    spells = np.array(
        [(7, 9, "N1"), (0, 3, "W"), (9, 10, "W")],
        dtype=[("start", "i8"), ("stop", "i8"), ("label", "U2")],
    )
    x = np.zeros((12, 2), "f4")
    with zarrts.convert(
        zarrts.Recording("a", x, spells), tmp_path / "a.zarr", chunk=40, shard=80, progress=False
    ) as store:
        assert store.class_names == ["N1", "W"]
        assert read(store, "y").tolist() == [1, 1, 1, -1, -1, -1, -1, 0, 0, 1, -1, -1]
        assert store.catalog.class_counts is not None
        assert store.catalog.class_counts.tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("spells", "said"),
    [
        ([(0, 3, 1), (2, 5, 1)], "0 to 3 and 2 to 5 overlap"),
        ([(0, 13, 1)], r"outside the 12 rows \(0 to 13\)"),
        ([(4, 4, 1)], r"empty or outside.*4 to 4"),
        ([(0, 3, 1)], "9 of 12 rows are in no interval"),
    ],
)
def test_intervals_that_say_too_little_or_too_much_are_refused(
    tmp_path: Path, spells: list[tuple[int, int, int]], said: str
) -> None:
    labels = np.array(spells, dtype=[("start", "i8"), ("stop", "i8"), ("label", "i4")])
    with pytest.raises(SourceError, match=said):
        zarrts.convert(zarrts.Recording("a", np.zeros((12, 2)), labels), tmp_path / "a.zarr")


# What decides ---------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["rest", 3, True, np.float32(2.5), np.array("rest"), ["rest"]])
def test_one_label_for_a_2d_array_makes_it_a_series(tmp_path: Path, label: Any) -> None:
    sources = [zarrts.Recording(name, np.ones((n, 2)), label) for name, n in (("a", 5), ("b", 9))]
    with zarrts.convert(sources, tmp_path / "a.zarr", progress=False) as store:
        assert (store.kind, store.n_samples, store.header.labels_per) == ("ragged", 2, "recording")
        assert len(read(store, "y")) == 2


def test_series_of_one_length_are_dense_where_that_is_said(tmp_path: Path) -> None:
    sources = [zarrts.Recording("a", np.full((5, 2), i), "rest") for i in range(3)]
    with zarrts.convert(sources, tmp_path / "a.zarr", kind="dense", progress=False) as store:
        assert (store.kind, store.n_samples, store.sample_shape) == ("dense", 3, (5, 2))


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    one = zarrts.Recording("a", np.zeros((5, 2)), "rest")
    another = zarrts.Recording("b", np.ones((6, 2)), "rest")

    def refusal(*sources: zarrts.Recording, **options: Any) -> str:
        with pytest.raises(SourceError) as caught:
            zarrts.convert(list(sources), tmp_path / "a.zarr", progress=False, **options)
        assert not (tmp_path / "a.zarr").exists()
        return str(caught.value)

    samples = zarrts.Recording("c", np.zeros((4, 5, 2)), np.arange(4))
    said = refusal(one, another, samples)
    assert "recording 3 (c): has samples on its first axis, but 2 of 3" in said
    said = refusal(one, another, zarrts.Recording("c", np.zeros((4, 3)), "rest"))
    assert "recording 3 (c): rows of 3 channels, but 2 of 3" in said
    rows = zarrts.Recording("c", np.zeros((4, 2)), np.array(list("abca")))
    said = refusal(rows, zarrts.Recording("d", np.ones((3, 2)), np.array(["a"])), kind="ragged")
    assert "recording 2 (d): has one label for all of its rows, but 1 of 2" in said
    said = refusal(zarrts.Recording("c", np.zeros((4, 2)), np.arange(3)), kind="ragged")
    assert "4 time steps in 'x', but 3 labels in 'y'" in said
    said = refusal(zarrts.Recording("c", np.zeros(4), np.arange(4)), kind="ragged")
    assert "x[:, None]" in said
    said = refusal(zarrts.Recording("c", np.zeros((0, 2)), "rest"))
    assert "No recording holds a single time step" in said
    said = refusal(one, zarrts.Recording("b", np.ones((6, 2)), 3))
    assert "labels that are" in said
