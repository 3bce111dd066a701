"""A table that says where recordings are, and class folders: from files to the store."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import zarrts
from zarrts import sources
from zarrts.cli import main
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions

X = np.arange(10 * 4 * 2, dtype=np.float32).reshape(10, 4, 2)
Y = np.array(list("abababbbaa"))


def said(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(main, [str(it) for it in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Files that no rule describes, and a table that does."""
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "one.npz", eeg=X, ecg=X + 1, stage=Y)
    np.save(tmp_path / "in" / "signal of two.npy", X + 2)
    np.save(tmp_path / "in" / "rest.npy", Y[::-1])
    (tmp_path / "files.csv").write_text(
        "subject,x,y,start,stop,note\n"
        "anna,in/one.npz::eeg,in/one.npz::stage,0,4,first night\n"
        "anna,in/one.npz::ecg,in/one.npz::stage,4,,\n"
        "bert,in/signal of two.npy,in/rest.npy,,,\n",
        "utf-8",
    )
    return tmp_path


def check(store: zarrts.Store) -> None:
    x, y = store.samples.load()
    np.testing.assert_array_equal(x, np.concatenate([X[:4], X[4:] + 1, X + 2]))
    names = np.array(store.class_names)
    assert names[y].tolist() == [*Y, *Y[::-1]]
    assert store.subjects == ["anna", "bert"]
    assert np.unique(store.samples.subject[:10]).tolist() == ["anna"]


def test_a_table_says_whose_what_and_which_rows(layout: Path) -> None:
    with zarrts.convert(
        None, layout / "a.zarr", table=layout / "files.csv", progress=False
    ) as store:
        check(store)
        assert list(store.recordings)[:1]
    lines = said("convert", "--table", layout / "files.csv", layout / "a.zarr").splitlines()
    assert "is complete already" in "\n".join(lines)
    output = said("convert", "--table", layout / "files.csv", "--dry-run")
    assert output.startswith(
        "3 lines of a table, 3 files -> 2 subjects: anna (2 lines), bert (1 line)"
    )
    assert "each is a line of a table" in output
    said("verify", layout / "a.zarr", "--sources", layout / "files.csv")


def test_one_label_in_a_table_is_that_of_the_series(tmp_path: Path) -> None:
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", X[i])
    (tmp_path / "t.csv").write_text(
        "subject,x,label\n" + "".join(f"p{i % 2},{i}.npy,{'ab'[i // 2]}\n" for i in range(4))
    )
    with zarrts.convert(str(tmp_path / "t.csv"), tmp_path / "a.zarr", progress=False) as store:
        assert store.kind == "dense"
        x, y = store.samples.load()
        np.testing.assert_array_equal(x, X[:4])
        assert [store.class_names[code] for code in y] == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("anna,in/one.npz,in/rest.npy,,", "has 3 arrays; it holds eeg, ecg, stage; name one"),
        ("anna,in/gone.npy,in/rest.npy,,", "in/gone.npy: no such file"),
        ("anna,in/one.npz::eeg,,,", "needs y or label"),
        (",in/one.npz::eeg,in/rest.npy,,", "subject left empty"),
        ("anna,in/one.npz::eeg,in/rest.npy,5,5", "rows 5 to 5 are none"),
        ("anna,in/one.npz::eeg,in/rest.npy,5,50", "rows 5 to 50 of eeg, which has 10"),
        ("anna,in/one.npz::eeg,in/rest.npy,a,", "line 2"),
        ("anna,files.csv,in/rest.npy,,", "is not of a kind that can be read"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(layout: Path, line: str, says: str) -> None:
    (layout / "files.csv").write_text(f"subject,x,y,start,stop\n{line}\n", "utf-8")
    try:
        (problem,) = sources.find(layout / "files.csv").problems
    except SourceError as error:
        problem = str(error)
    assert "files.csv: line 2: " in problem and says in problem


def test_a_table_is_a_csv_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has to be a \.csv file"):
        zarrts.convert(None, tmp_path / "a.zarr", table="files.xlsx")
    assert "name the files" in said("convert", tmp_path / "a.zarr", status=2)
    assert "Missing argument" in said("append", tmp_path / "a.zarr", status=2)


# Class folders -----------------------------------------------------------------------------------


def write_classes(root: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Save a series at each path below `root`, and return them."""
    series = {}
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        series[name] = X[i % 10] + i
        np.save(root / name, series[name])
    return series


FLAT = ["walk/a1.npy", "run/b1.npy", "walk/c1.npy", "rest/d1.npy", "run/e1.npy"]


def test_folders_are_classes_as_in_keras(tmp_path: Path) -> None:
    series = write_classes(tmp_path / "in", FLAT)
    (tmp_path / "in" / "run" / ".hidden.npy").write_bytes(b"no")
    with zarrts.convert(
        tmp_path / "in", tmp_path / "a.zarr", folders="classes", progress=False
    ) as store:
        assert store.class_names == ["rest", "run", "walk"]
        assert store.class_indices == {"rest": 0, "run": 1, "walk": 2}
        assert list(store.samples.filenames) == sorted(FLAT)
        assert store.subjects == ["d1", "b1", "e1", "a1", "c1"]
        x, y = store.samples.load()
        for values, code, name in zip(x, y, store.samples.filenames, strict=True):
            np.testing.assert_array_equal(values, series[name])
            assert store.class_names[code] == name.split("/")[0]


def test_class_names_fix_the_order_and_refuse_others(tmp_path: Path) -> None:
    write_classes(tmp_path / "in", FLAT)
    names = ["walk", "swim", "run", "rest"]
    options = {"folders": "classes", "progress": False}
    with zarrts.convert(
        tmp_path / "in", tmp_path / "a.zarr", class_names=names, **options
    ) as store:
        assert store.class_indices == {"walk": 0, "swim": 1, "run": 2, "rest": 3}
        assert store.samples.load()[1].tolist() == [3, 2, 2, 0, 0]
    with pytest.raises(SourceError, match=r"folders walk are none of class_names= \(run, rest\)"):
        zarrts.convert(tmp_path / "in", tmp_path / "b.zarr", class_names=["run", "rest"], **options)


@pytest.mark.parametrize("upper", ["subjects", "classes"])
def test_a_second_level_is_the_subject(tmp_path: Path, upper: str) -> None:
    pairs = [(subject, label) for subject in ("s01", "s02") for label in ("run", "walk")]
    names = [f"{s}/{c}/1.npy" if upper == "subjects" else f"{c}/{s}/1.npy" for s, c in pairs]
    write_classes(tmp_path / "in", names)
    found = sources.find(tmp_path / "in", SourceOptions(folders="classes"))
    assert found.problems == () and found.has_subjects_given
    got = {(it.subject, it.y.read(0, 1)[0]) for it in found.recordings}
    assert got == set(pairs)


def test_levels_that_could_be_either_are_asked_for(tmp_path: Path) -> None:
    write_classes(tmp_path / "in", [f"{a}/{b}/1.npy" for a in ("x", "y") for b in ("p", "q")])
    with pytest.raises(SourceError, match="which are the classes"):
        sources.find(tmp_path / "in", SourceOptions(folders="classes"))
    found = sources.find(tmp_path / "in", SourceOptions(folders="subjects/classes"))
    assert sorted({it.subject for it in found.recordings}) == ["x", "y"]


def test_series_of_unequal_length_in_class_folders_are_recordings(tmp_path: Path) -> None:
    for name, length in (("run/a.npy", 5), ("walk/b.npy", 7)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.zeros((length, 2), np.float32))
    found = sources.find(tmp_path, SourceOptions(folders="classes"))
    assert found.problems == ()
    assert [(it.x.shape, it.labels_per) for it in found.recordings] == [
        ((5, 2), "recording"),
        ((7, 2), "recording"),
    ]


def test_axes_of_a_series_in_class_folders(tmp_path: Path) -> None:
    series = write_classes(tmp_path / "in", FLAT)
    found = sources.find(
        tmp_path / "in", SourceOptions(folders="classes", axes=("channel", "time"))
    )
    for it in found.recordings:
        np.testing.assert_array_equal(it.x.read(0, 1)[0], series[it.origin].T)


def test_links_that_loop_end(tmp_path: Path) -> None:
    write_classes(tmp_path / "in", FLAT)
    try:
        (tmp_path / "in" / "run" / "up").symlink_to(tmp_path / "in", target_is_directory=True)
    except OSError:
        pytest.skip("this account may not make links")
    for follow_links in (False, True):
        found = sources.find(
            tmp_path / "in", SourceOptions(folders="classes", follow_links=follow_links)
        )
        assert len(found.recordings) == len(FLAT)


def test_files_outside_of_classes_are_named(tmp_path: Path) -> None:
    write_classes(tmp_path, [*FLAT, "loose.npy"])
    np.savez(tmp_path / "run" / "z.npz", a=X, b=X)
    first, second = sources.find(tmp_path, SourceOptions(folders="classes")).problems
    assert first.startswith("loose.npy: lies in no folder")
    assert second.startswith("run/z.npz: holds a (")
    assert "it is not clear which array is the inputs; name it with x=" in second
