"""Labels that are given once for each stretch of a recording are as if repeated by hand."""

import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.cli import main
from zarrts.errors import PlanError, SourceError

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

STAGES = np.array(["N1", "N2", "R", "W"])
EVERY = 30  # rows, 3 s at 10 Hz


def night(seed: int, n_rows: int, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, 2)).astype("f4"), STAGES[rng.integers(0, 4, n_labels)]


def save(folder: Path, nights: dict[str, tuple[int, int]], seed: int = 0) -> dict[str, Any]:
    """Save files of so many rows and labels, and return what is in them."""
    folder.mkdir(exist_ok=True)
    made = {name: night(seed + i, *sizes) for i, (name, sizes) in enumerate(nights.items())}
    for name, (x, y) in made.items():
        np.savez_compressed(folder / f"{name}.npz", x=x, y=y)
    return made


def names_in(store: zarrts.Store, path: str = "0/y") -> list[str]:
    """Return the stored label of each row, by zarr-python alone."""
    codes = np.asarray(zarr.open_array(f"{store.path}/{path}", mode="r")[:])
    return np.array(store.class_names)[codes].tolist()


def convert(source: Any, target: Path, **options: Any) -> zarrts.Store:
    return zarrts.convert(source, target, progress=False, **options)


def labels_of(kind: str, rng: np.random.Generator, count: int) -> Any:
    codes = rng.integers(0, 4, count)
    one = {
        "text": lambda: STAGES[codes],
        "int": lambda: codes * 3 - 5,
        "float": lambda: np.where(codes == 0, np.nan, rng.normal(size=count)),
        "one_hot": lambda: np.eye(4, dtype="u1")[codes],
    }
    return {"stage": one["text"](), "age": one["float"]()} if kind == "named" else one[kind]()


def repeated(labels: Any, every: int, n_rows: int) -> Any:
    if isinstance(labels, dict):
        return {name: repeated(it, every, n_rows) for name, it in labels.items()}
    return np.repeat(labels, every, axis=0)[:n_rows]


@pytest.mark.filterwarnings("ignore:[0-9]+ channels but [0-9]+ time steps")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lengths=st.lists(st.integers(0, 70), min_size=1, max_size=5).filter(any),
    every=st.integers(1, 40),
    kind=st.sampled_from(("text", "int", "float", "one_hot", "named")),
    chunk_rows=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_store_is_that_of_labels_repeated_by_hand(
    lengths: list[int], every: int, kind: str, chunk_rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    short, long = [], []
    for i, n_rows in enumerate(lengths):
        x = rng.normal(size=(n_rows, 2)).astype("f4")
        y = labels_of(kind, rng, -(-n_rows // every))
        short.append(zarrts.Recording(f"s{i}", x, y))
        long.append(zarrts.Recording(f"s{i}", x, repeated(y, every, n_rows)))
    options: dict[str, Any] = {"chunk": chunk_rows * 16, "shard": chunk_rows * 48}
    with tempfile.TemporaryDirectory() as folder:
        by_hand = convert(long, Path(folder) / "a.zarr", kind="ragged", **options)
        store = convert(short, Path(folder) / "b.zarr", label_every=every, **options)
        assert store.header.labels_per == by_hand.header.labels_per
        assert store.class_names == by_hand.class_names
        for name in ("y/stage", "y/age") if kind == "named" else ("y",):
            arrays = [
                zarr.open_array(f"{it.path}/0/{name}", mode="r")[:] for it in (store, by_hand)
            ]
            np.testing.assert_array_equal(*arrays)
        assert zarrts.verify(store.path, deep=True, sources=short).problems == ()
        store.close()
        by_hand.close()


def test_windows_and_sequences_have_the_labels_of_the_files(tmp_path: Path) -> None:
    made = save(tmp_path / "nights", {"a": (600, 20), "b": (275, 10), "c": (29, 1), "d": (360, 12)})
    with convert(tmp_path / "nights", tmp_path / "n.zarr", label_every="3s", rate_hz=10) as store:
        with pytest.warns(UserWarning, match="too short"):
            windows = store.samples.windows("3s", "3s", label="last")
        with pytest.warns(UserWarning, match="too short"):
            sequences = store.samples.windows("3s", "3s", label="majority").sequences(4, stride=2)
        whole = [y[: len(x) // EVERY] for x, y in made.values()]
        found = np.array(store.class_names)[windows.load_labels()]
        assert found.tolist() == np.concatenate(whole).tolist()
        expected = [
            (x[i * EVERY : (i + 4) * EVERY].reshape(4, EVERY, 2), y[i : i + 4].tolist())
            for x, y in made.values()
            for i in range(0, len(x) // EVERY - 3, 2)
        ]
        with sequences.batches(5, shuffle=True, label_mode="int") as batches:
            seen = {
                int(number): (x, np.array(store.class_names)[y].tolist())
                for batch in batches
                for number, x, y in zip(batch.sample_id, batch.x, batch.y, strict=True)
            }
        assert sorted(seen) == list(range(len(expected)))
        for number, (x, y) in enumerate(expected):
            np.testing.assert_array_equal(seen[number][0], x)
            assert seen[number][1] == y


def test_a_night_of_labels_takes_next_to_no_room(tmp_path: Path) -> None:
    x = np.zeros((3_000 * 100, 1), "i1")
    one = zarrts.Recording("a", x, STAGES[np.random.default_rng(0).integers(0, 4, 100)])
    convert(one, tmp_path / "a.zarr", label_every="30s", rate_hz=100).close()
    files = [it for it in (tmp_path / "a.zarr/0/y").rglob("*") if it.is_file()]
    assert sum(it.stat().st_size for it in files) < len(x) / 20


@pytest.mark.parametrize(
    ("n_rows", "n_labels", "every", "message"),
    [
        (95, 3, 30, r"3 labels in 'y', but 95 time steps in 'x' need 4 \(one for each 30 time "
         r"steps and one for the 5 that remain\); the last 5 have no label: cut them off, "
         r"x\[:90\]"),
        (90, 5, 30, r"5 labels in 'y', but 90 time steps in 'x' need 3 \(one for each 30 time "
         r"steps\); if each is that of 18 time steps, say label_every=18"),
        (90, 90, 30, r"90 labels .* need 3 .* has a label of its own: leave label_every= out"),
        (90, 4, 30, r"4 labels .* need 3 .* correct label_every= or rate_hz="),
        (90, 0, 30, r"0 labels .* need 3 .* correct label_every= or rate_hz="),
        (90, 3, "30s", "'30s' is a time, but the rate is not known"),
        (90, 3, "soon", "has to be a number of rows, or a time such as '30s'"),
        (90, 3, 0, "label_every=0 has to be at least 1 row"),
        (90, 3, True, "label_every=True has to be a number of rows, or a time"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused_with_both_numbers(
    tmp_path: Path, n_rows: int, n_labels: int, every: Any, message: str
) -> None:
    good, bad = (
        zarrts.Recording("a", *night(0, 60, 2)),
        zarrts.Recording("b", *night(1, n_rows, n_labels)),
    )
    with pytest.raises(SourceError, match=message):
        convert([good, bad], tmp_path / "a.zarr", label_every=every)
    assert not (tmp_path / "a.zarr").exists()


def test_rows_that_are_samples_have_no_stretches(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="label_every=30 is about rows that follow in time"):
        convert(
            zarrts.Recording("a", *night(0, 60, 2)), tmp_path / "a", label_every=30, kind="dense"
        )


def test_the_rate_that_files_carry_is_enough(tmp_path: Path) -> None:
    (x, y), folder = night(0, 65, 3), tmp_path / "nights"
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"], file["y"] = x, y.astype("S")
        file.attrs["rate_hz"] = 10
    with convert(folder, tmp_path / "a.zarr", label_every="3s") as store:
        assert names_in(store) == np.repeat(y, EVERY)[:65].tolist()


def test_each_of_a_list_of_series_has_its_own(tmp_path: Path) -> None:
    nights = [night(i, n_rows, -(-n_rows // EVERY)) for i, n_rows in enumerate((60, 75, 20))]
    x, y = np.empty(3, object), np.empty(3, object)
    for i, (one, labels) in enumerate(nights):
        x[i], y[i] = one, labels
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s/a_x.npy", x)
    np.save(tmp_path / "s/a_y.npy", y)
    expected = [name for one, labels in nights for name in np.repeat(labels, EVERY)[: len(one)]]
    with convert(tmp_path / "s", tmp_path / "a.zarr", label_every=EVERY) as store:
        assert store.n_samples == 3
        assert names_in(store) == expected
    y[1] = y[1][:2]
    np.save(tmp_path / "s/a_y.npy", y)
    with pytest.raises(SourceError, match=r"a_x.npy\[1\]: 2 labels in .*, but 75 time steps"):
        convert(tmp_path / "s", tmp_path / "b.zarr", label_every=EVERY)
    np.save(tmp_path / "s/a_y.npy", np.array(["W", "R", "W"]))
    with pytest.raises(SourceError, match="one is a list of series and one is not"):
        convert(tmp_path / "s", tmp_path / "b.zarr", label_every=EVERY)


def test_a_file_of_several_subjects_is_split_between_its_rows(tmp_path: Path) -> None:
    x, y = night(0, 100, 4)
    (tmp_path / "s").mkdir()
    np.savez(tmp_path / "s/a.npz", x=x, y=y, subject=np.repeat(["p", "q"], [40, 60]))
    with convert(tmp_path / "s", tmp_path / "a.zarr", label_every=EVERY) as store:
        assert store.subjects == ["p", "q"]
        assert names_in(store) == np.repeat(y, EVERY)[:100].tolist()


def test_floats_become_classes_and_intervals_stay_what_they_are(tmp_path: Path) -> None:
    x, _ = night(0, 90, 3)
    one = zarrts.Recording("a", x, np.array([2.0, 0.0, 1.0]))
    with convert(one, tmp_path / "a.zarr", label_every=EVERY, class_names=[0, 1, 2]) as store:
        assert names_in(store) == [*[2] * 30, *[0] * 30, *[1] * 30]
    spans = np.array([(0, 50, 1), (50, 90, 2)], [("start", int), ("stop", int), ("label", int)])
    pair = [zarrts.Recording("a", x, [2, 0, 1]), zarrts.Recording("b", x + 1, spans)]
    with convert(pair, tmp_path / "b.zarr", label_every=EVERY) as store:
        assert names_in(store) == [*[2] * 30, *[0] * 30, *[1] * 30, *[1] * 50, *[2] * 40]


def test_lines_of_a_table_choose_time_steps(tmp_path: Path) -> None:
    made = save(tmp_path, {"a": (100, 3), "b": (100, 4)})
    table = tmp_path / "all.csv"

    def converted(name: str, *lines: str) -> list[str]:
        table.write_text("\n".join(["subject,x,y,start,stop", *lines]))
        with convert(None, tmp_path / name, table=table, label_every=EVERY) as store:
            assert zarrts.verify(store.path, sources=table).problems == ()
            return names_in(store)

    rows = {name: np.repeat(y, EVERY)[:100].tolist() for name, (_, y) in made.items()}
    found = converted("a.zarr", "a,a.npz::x,a.npz::y,,90", "b,b.npz::x,b.npz::y,45,")
    assert found == rows["a"] + rows["b"][45:]
    with pytest.raises(
        SourceError, match=r"has 3 labels, one for each 30 .* the 100 up to the last"
    ):
        converted("b.zarr", "a,a.npz::x,a.npz::y,5,")
    with pytest.raises(
        SourceError, match=r"has 3 labels, one for each 30 .* the 95 up to the stop"
    ):
        converted("b.zarr", "a,a.npz::x,a.npz::y,0,95")


def test_store_knows_the_option_again(tmp_path: Path) -> None:
    nights, target = tmp_path / "nights", tmp_path / "n.zarr"
    made = save(nights, {"a": (90, 3), "b": (75, 3)})
    convert(nights, target, label_every="3s", rate_hz=10).close()
    root = (target / "zarr.json").read_bytes()
    convert(nights, target, label_every=EVERY, rate_hz=10).close()  # the same in other words
    assert (target / "zarr.json").read_bytes() == root
    save(nights, {"a": (90, 3)})
    with pytest.raises(PlanError, match="label_every was 30 and is 40"):
        convert(nights / "a.npz", target, label_every=40, rate_hz=10)
    more = save(tmp_path / "more", {"c": (80, 3)}, seed=7)
    zarrts.append(target, tmp_path / "more", progress=False).close()  # as it was said then
    x, y = night(9, 50, 50)
    one = zarrts.Recording("d", x, y)
    with zarrts.append(target, one, label_every=1, progress=False) as store:
        rows = [np.repeat(labels, EVERY)[: len(one)].tolist() for one, labels in made.values()]
        assert names_in(store) == [*rows[0], *rows[1]]
        assert names_in(store, "1/y") == np.repeat(more["c"][1], EVERY)[:80].tolist()
        assert names_in(store, "2/y") == y.tolist()
    sources = [nights, tmp_path / "more", one]
    assert zarrts.verify(target, deep=True).problems == ()
    damaged = next(it for it in (target / "0/y").rglob("*") if it.name.isdecimal())
    damaged.write_bytes(b"")
    zarrts.repair(target, sources)
    assert zarrts.verify(target, deep=True).problems == ()


def test_command_says_what_was_understood(tmp_path: Path) -> None:
    save(tmp_path / "nights", {"a": (90, 3), "b": (80, 3)})

    def said(*options: str) -> str:
        found = CliRunner().invoke(
            main, ["convert", "--dry-run", str(tmp_path / "nights"), *options]
        )
        return found.output

    both = said("--label-every", "3s", "--rate-hz", "10")
    assert "; one for each 30 time steps (3 s); the last is for fewer in 1 recording\n" in both
    assert "; one for each 30 time steps; the last is for fewer" in said("--label-every", "30")
    assert "If each label is that of 30 time steps, say label_every=30 (--label-every" in said()
    assert "how long a one, such as label_every='30s'" in said()


def test_whole_floats_are_offered_as_classes_beyond_the_first_stretch(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    x = np.random.default_rng(0).normal(size=(60_000, 1)).astype("f4")
    np.savez(tmp_path / "s/a.npz", x=x, y=np.array([0.0, 3.0]))
    options = ["convert", "--dry-run", str(tmp_path / "s"), "--label-every", "30000"]
    assert "--class-names 0,3" in CliRunner().invoke(main, options).output
