"""Finding files, telling inputs from labels, pairing files and naming subjects."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions
from zarrts.sources.study import fingerprint
from zarrts.types import Recording

X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
Y = np.arange(4)


def npz(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(arrays or {"x": X, "y": Y}))


def npy(folder, *names):
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = path.stem.lower()
        np.save(path, Y if any(w in stem for w in ("y", "label", "stage")) else X)


def origins(found):
    return [recording.origin for recording in found.recordings]


def subjects(found):
    assert found.problems == ()
    return [recording.subject for recording in found.recordings]


# What is read


def test_folders_are_searched_to_the_bottom_in_sorted_order(tmp_path):
    for name in ("s2.npz", "s10.npz", "b/s1.npz", "Z/s3.NPZ", "b/c/s4.npz"):
        with open(tmp_path / "t", "wb") as file:
            np.savez(file, x=X, y=Y)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(tmp_path / "t", path)
    npy(tmp_path, "p/a_x.npy", "p/a_y.npy")
    found = sources.find(tmp_path)
    expected = ["Z/s3.NPZ", "b/c/s4.npz", "b/s1.npz", "p/a_x.npy", "s10.npz", "s2.npz"]
    assert origins(found) == expected == sorted(expected)
    assert subjects(found) == ["s3", "s4", "s1", "a", "s10", "s2"]
    assert not found.has_subjects_given
    one = found.recordings[2]
    assert (one.x_name, one.y_name) == ("x", "y")
    assert one.size_bytes == (tmp_path / "b/s1.npz").stat().st_size
    pair = found.recordings[3]
    assert (pair.x_name, pair.y_name) == ("a_x.npy", "a_y.npy")
    assert pair.size_bytes == sum(p.stat().st_size for p in (tmp_path / "p").iterdir())


def test_hidden_names_zarr_stores_and_other_files_are_passed_over(tmp_path):
    npz(tmp_path / "s1.npz")
    for hidden in (".s2.npz", ".cache/s3.npz", "study.zarr/s4.npz"):
        npz(tmp_path / hidden)
    (tmp_path / "study.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "README.txt").write_text("hello")
    assert origins(sources.find(tmp_path)) == ["s1.npz"]
    (problem,) = sources.find(tmp_path / "study.zarr").problems
    assert problem.startswith("study.zarr: its Zarr metadata are damaged")


def test_nothing_readable_says_what_was_there(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.csvx").write_text("")
    (tmp_path / "notes.TXT").write_text("")
    (tmp_path / "LICENSE").write_text("")
    with pytest.raises(SourceError, match=r"no \.npy or .* files in .*: 3 \.csvx") as caught:
        sources.find(tmp_path)
    assert "1 .txt" in str(caught.value) and "1 without suffix" in str(caught.value)
    with pytest.raises(SourceError, match="no files at all"):
        (tmp_path / "empty").mkdir()
        sources.find(tmp_path / "empty")


def test_paths_that_are_not_there_are_all_named(tmp_path):
    npz(tmp_path / "a.npz")
    gone, pattern = str(tmp_path / "gone"), str(tmp_path / "*.mat")
    with pytest.raises(SourceError) as caught:
        sources.find([tmp_path / "a.npz", gone, pattern])
    assert gone in str(caught.value) and "*.mat (a pattern that matches nothing)" in str(
        caught.value
    )


@pytest.mark.parametrize("bad", [[], 3, [3], "", None, [b"x"], "s3://bucket/a"])
def test_what_is_no_source_is_an_error(bad):
    with pytest.raises(SourceError):
        sources.find(bad)


def test_a_file_of_another_kind_given_by_name_is_a_problem(tmp_path):
    npz(tmp_path / "a.npz")
    (tmp_path / "b.docx").write_text("")
    found = sources.find([tmp_path / "a.npz", tmp_path / "b.docx"])
    assert origins(found) == ["a.npz"]
    (problem,) = found.problems
    assert problem.startswith("b.docx: is not of a kind that can be read (.npy, .npz, .h5, ")


def test_origins_are_relative_to_what_holds_everything_given(tmp_path):
    for name in ("one/a.npz", "one/deep/b.npz", "two/c.npz"):
        npz(tmp_path / name)
    (tmp_path / "one" / "n.txt").write_text("")
    one, two = tmp_path / "one", tmp_path / "two"
    assert origins(sources.find(one / "a.npz")) == ["a.npz"]
    assert origins(sources.find([one, two])) == ["one/a.npz", "one/deep/b.npz", "two/c.npz"]
    assert origins(sources.find([one, one / "a.npz"])) == ["a.npz", "deep/b.npz"]
    assert origins(sources.find(str(tmp_path / "*" / "?.npz"))) == ["one/a.npz", "two/c.npz"]
    assert origins(sources.find(str(one / "*"))) == ["a.npz", "deep/b.npz"]
    assert origins(sources.find(str(tmp_path / "**"))) == origins(sources.find(tmp_path))


def test_a_name_with_brackets_is_a_path_where_it_exists(tmp_path):
    npz(tmp_path / "study[1]" / "a.npz")
    assert origins(sources.find(tmp_path / "study[1]")) == ["a.npz"]


def test_links_to_folders_neither_hang_nor_vanish(tmp_path):
    npz(tmp_path / "study" / "sub" / "a.npz")
    npz(tmp_path / "elsewhere" / "b.npz")
    try:
        os.symlink(tmp_path / "study", tmp_path / "study" / "sub" / "loop")
    except OSError:
        pytest.skip("no symbolic links here")
    found = sources.find(tmp_path / "study")
    assert (origins(found), found.problems) == (["sub/a.npz"], ())
    os.symlink(tmp_path / "elsewhere", tmp_path / "study" / "more")
    os.symlink(tmp_path / "nowhere", tmp_path / "study" / "c.npz")
    found = sources.find(tmp_path / "study")
    assert origins(found) == ["sub/a.npz"]
    assert len(found.problems) == 2
    assert any("more: is a link to the folder" in problem for problem in found.problems)
    assert any(problem.startswith("c.npz: is not a regular file") for problem in found.problems)


def test_recordings_and_files_mix(tmp_path):
    npz(tmp_path / "b.npz")
    found = sources.find([Recording("z", X, Y), tmp_path / "b.npz", Recording("a", X, Y)])
    assert subjects(found) == ["b", "z", "a"]
    assert origins(found) == ["b.npz", "recording 1 (z)", "recording 2 (a)"]
    assert not found.has_subjects_given


def test_a_thousand_files_take_no_time_to_speak_of(tmp_path):
    npz(tmp_path / "0000.npz")
    for index in range(1, 1000):
        os.link(tmp_path / "0000.npz", tmp_path / f"{index:04}.npz")
    assert len(sources.find(tmp_path).recordings) == 1000


def test_importing_sources_is_light():
    code = (
        "import sys, zarrts.sources as s; "
        "print(sorted({'dask','zarr','h5py','pandas','keras'} & set(sys.modules)))"
    )
    root = Path(sources.__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr


# Inputs and labels in one file


def test_an_ambiguous_file_shows_names_shapes_and_options(tmp_path):
    npz(tmp_path / "a.npz", a=X, b=Y)
    npz(tmp_path / "b.npz", x=X, y=Y)
    npz(tmp_path / "c.npz", p=np.array([None]), q=Y)
    found = sources.find(tmp_path)
    assert origins(found) == ["b.npz"]
    first, second = found.problems
    assert "a.npz: holds a (4, 3, 2) float32, b (4,) int64" in first
    assert "(x=)" in first and "(y=)" in first
    assert "p (1,) object" in second
    assert origins(sources.find(tmp_path / "a.npz", SourceOptions(x="a"))) == ["a.npz"]


@pytest.mark.parametrize("option", [{"x": 3}, {"y": 3}, {"x": ""}, {"x": "a", "y": "a"}])
def test_names_that_are_no_names_are_refused(tmp_path, option):
    npz(tmp_path / "a.npz")
    with pytest.raises(SourceError, match="="):
        sources.find(tmp_path, SourceOptions(**option))


@pytest.mark.parametrize(
    "axes",
    ["sample", ["sample", "sample"], ["time", "epoch"], [], ["sample", 3], ["sample", ""]],
)
def test_axes_without_one_sample_axis_are_refused(tmp_path, axes):
    npz(tmp_path / "a.npz")
    with pytest.raises(SourceError, match="axes="):
        sources.find(tmp_path, SourceOptions(axes=axes))


def test_a_wrong_number_of_axes_is_a_problem_of_the_file(tmp_path):
    npz(tmp_path / "a.npz", x=X[0], y=Y)
    npz(tmp_path / "b.npz")
    found = sources.find(tmp_path, SourceOptions(axes=("sample", "channel", "time")))
    assert origins(found) == ["b.npz"] and found.recordings[0].x.shape == (4, 2, 3)
    (problem,) = found.problems
    assert "has 2 axes (shape (3, 2)), but axes= names 3" in problem


def test_subjects_of_pairs_are_stem_folder_or_path(tmp_path):
    npy(tmp_path / "one", "s01_x.npy", "s01_y.npy")
    npy(tmp_path / "two", "s03/x.npy", "s03/y.npy", "s04/data.npy", "s04/labels.npy")
    npy(tmp_path / "three", "x.npy", "y.npy")
    assert subjects(sources.find(tmp_path / "one")) == ["s01"]
    assert subjects(sources.find(tmp_path / "two")) == ["s03", "s04"]
    assert subjects(sources.find(tmp_path / "three")) == ["three"]


# Subjects


def test_names_that_collide_become_paths(tmp_path):
    for name in ("a/data.npz", "b/data.npz", "c/other.npz", "data.npz"):
        npz(tmp_path / name)
    npy(tmp_path / "a", "data_x.npy", "data_y.npy")
    found = sources.find(tmp_path)
    assert origins(found) == ["a/data.npz", "a/data_x.npy", "b/data.npz", "c/other.npz", "data.npz"]
    assert subjects(found) == ["a/data.npz", "a/data_x.npy", "b/data", "other", "data"]


@pytest.fixture
def study(tmp_path):
    for name in ("g1/s01_night1.npz", "g1/s01_night2.npz", "g2/s02_night1.npz"):
        npz(tmp_path / name)
    return tmp_path


def test_a_regular_expression_names_subjects(study):
    for pattern in (r"s\d+", r"(s\d+)_night", r"/(.+)_"):
        found = sources.find(study, SourceOptions(subject=pattern))
        assert subjects(found) == ["s01", "s01", "s02"] and found.has_subjects_given
    assert subjects(sources.find(study, SourceOptions(subject="^g."))) == ["g1", "g1", "g2"]
    with pytest.raises(SourceError, match="not a regular expression"):
        sources.find(study, SourceOptions(subject="("))


def test_files_without_a_subject_are_listed_together(study):
    options = ["s01", {"s02_night1": "b"}, lambda path: None, r"(zz)?"]
    left_out = [["g2/s02_night1.npz"], ["g1/s01_night1.npz", "g1/s01_night2.npz"]]
    for option, expected in zip(options, [*left_out, None, None], strict=True):
        (problem,) = sources.find(study, SourceOptions(subject=option)).problems
        for origin in expected or [f"g1/s01_night{i}.npz" for i in (1, 2)]:
            assert origin in problem


def test_functions_and_mappings_name_subjects(study):
    assert subjects(sources.find(study, SourceOptions(subject=lambda path: path[3:6]))) == [
        "s01",
        "s01",
        "s02",
    ]
    table = {"g1/s01_night1.npz": "a", "s01_night2": "a", "g2/s02_night1": "b", "unused": "c"}
    assert subjects(sources.find(study, SourceOptions(subject=table))) == ["a", "a", "b"]
    for bad in (lambda path: 3, lambda path: 1 / 0, {"s01_night1": 3}, 3, [("a", "b")]):
        with pytest.raises(SourceError, match=r"subject=|subject must be"):
            sources.find(study, SourceOptions(subject=bad))


def test_a_csv_table_names_subjects(study):
    table = study / "who.CSV"
    table.write_text(
        "\ufefffile,age,subject\r\ng1/s01_night1.npz,3,Anna B\r\ns01_night2,3,Anna B\r\n"
        "g2\\s02_night1.npz,4,Ben\r\n",
        encoding="utf-8",
    )
    for option in (table, str(table)):
        assert subjects(sources.find(study, SourceOptions(subject=option))) == [
            "Anna B",
            "Anna B",
            "Ben",
        ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,subject\na,b\n", "add file"),
        ("", "add file, subject"),
        ("file,subject\na,\n", "line 2 lacks"),
        ("file,subject\na\n", "line 2 lacks"),
        ("file,subject\na,b\na,c\n", "line 3 gives a the subject c, but an earlier line"),
        ("file,subject\n\xff,b\n", "cannot be read"),
    ],
)
def test_a_bad_table_says_where(study, text, says):
    (study / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=says):
        sources.find(study, SourceOptions(subject=study / "t.csv"))
    with pytest.raises(SourceError, match=r"gone.csv: no such file"):
        sources.find(study, SourceOptions(subject="gone.csv"))


# Fingerprints


def test_fingerprints_follow_content_not_names_or_times(tmp_path):
    rng = np.random.default_rng(0)
    content = bytearray(rng.bytes(3_000_000))
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(content)
    os.utime(paths[0], ns=(0, 0))
    first, second = (fingerprint.look_at([str(path)]) for path in paths)
    assert first.digest == second.digest and first.stamp != second.stamp
    assert first.size_bytes == 3_000_000 and len(first.digest) == 32
    assert len({first.digest_of(part) for part in ("", "a", "b")}) == 3
    for position in (0, 65_535, 2_999_999, 3_000_000 - 65_536):
        changed = bytearray(content)
        changed[position] ^= 1
        paths[1].write_bytes(changed)
        assert fingerprint.look_at([str(paths[1])]).digest != first.digest
    paths[1].write_bytes(content[:-1])
    assert fingerprint.look_at([str(paths[1])]).digest != first.digest


@given(st.integers(0, 40 * 65_536))
def test_sampled_blocks_cover_both_ends_and_small_files_wholly(size):
    offsets = fingerprint.block_offsets(size)
    assert offsets == sorted(set(offsets)) and len(offsets) <= 16
    if size:
        assert offsets[0] == 0 and offsets[-1] + 65_536 >= size
    if size <= 16 * 65_536:
        assert sum(min(65_536, size - offset) for offset in offsets) == size


def test_fingerprints_of_pairs_and_arrays_cover_labels(tmp_path):
    npy(tmp_path, "a_x.npy", "a_y.npy")
    first = sources.find(tmp_path).recordings[0].fingerprint
    np.save(tmp_path / "a_y.npy", Y + 1)
    assert sources.find(tmp_path).recordings[0].fingerprint != first

    def digest(x, y):
        return sources.find(Recording("s", x, y)).recordings[0].fingerprint

    assert digest(X, Y) == digest(X.astype(">f4"), Y.tolist())
    assert len({digest(X, Y), digest(X + 1, Y), digest(X, Y + 1), digest(X[:3], Y)}) == 4
    assert digest(X[:0], Y[:0]) == digest(X[:0], Y[:0])


def test_a_recording_that_differs_in_the_middle_has_another_fingerprint():
    x = np.zeros((1000, 5, 2), "f4")
    changed = x.copy()
    changed[500, 2, 1] = 1
    labels = np.arange(1000)
    first, second = (
        sources.find(Recording("s", values, labels)).recordings[0].fingerprint
        for values in (x, changed)
    )
    assert first != second
