"""The meaning of names: inputs or labels, files that are a pair, subjects that are one person."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.errors import SourceError
from zarrts.sources.formats.array_names import pick
from zarrts.sources.formats.npy_pairs import pair_up
from zarrts.sources.study.subject_names import session_like

# Arrays of one file


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x", "y"], ("x", "y")),
        (["labels", "Data"], ("Data", "labels")),
        (["X_train", "y_train"], ("X_train", "y_train")),
        (["eeg", "y"], ("eeg", "y")),
        (["x", "hypno"], ("x", "hypno")),
        (["fs", "channels", "signals", "Stages"], ("signals", "Stages")),
    ],
)
def test_usual_names_are_recognised(names, expected):
    assert pick(names, origin="f") == expected


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        ["x", "data", "y"],
        ["x"],
        ["x", "a", "b"],
        [],
        ["x", "X", "y"],
        ["X_train", "y_train", "X_test", "y_test"],
    ],
)
def test_names_that_could_mean_several_are_an_error_that_lists_them(names):
    with pytest.raises(SourceError) as caught:
        pick(names, origin="f.npz", describe=lambda name: f"<{name}>")
    assert str(caught.value).startswith("f.npz: ")
    assert all(f"<{name}>" in str(caught.value) for name in names)


def test_given_names_win_and_must_exist():
    names = ["x", "y", "stage", "eeg"]
    assert pick(names, x="eeg", y="stage", origin="f") == ("eeg", "stage")
    assert pick(names, x="eeg", y="y", origin="f") == ("eeg", "y")
    assert pick(["a", "b"], y="a", origin="f") == ("b", "a")
    assert pick(["x", "y"], x="y", origin="f") == ("y", "x")
    with pytest.raises(SourceError, match=r"no array 'EEG', which x= names; it holds x, y"):
        pick(names, x="EEG", origin="f")


# Pairs of files


def paired(names, **options):
    pairs, problems = pair_up(names, **options)
    return [(pair.folder, pair.name, pair.x, pair.y) for pair in pairs], problems


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        ("s01_x.npy", "s01_y.npy", "s01"),
        ("s01-X.npy", "s01-y.npy", "s01"),
        ("s01.x.npy", "s01.y.npy", "s01"),
        ("x_s01.npy", "y_s01.npy", "s01"),
        ("s01_data.npy", "s01_labels.npy", "s01"),
        ("data_s01_x.npy", "data_s01_y.npy", "data_s01"),
        ("s01.npy", "s01_labels.npy", "s01"),
        ("x.npy", "y.npy", ""),
        ("eeg.npy", "labels.npy", ""),
        ("X_train.npy", "y_train.npy", "train"),
        ("s{0}_x.npy", "s{0}_y.npy", "s{0}"),
    ],
)
def test_pairs_are_told_by_name(x, y, name):
    for folder in ("", "a/b"):
        at = f"{folder}/" if folder else ""
        assert paired([at + y, at + x]) == ([(folder, name, at + x, at + y)], [])


@pytest.mark.parametrize(
    ("x", "y", "options"),
    [
        ("s01_eeg.npy", "s01_hyp.npy", {"x": "eeg", "y": "hyp"}),
        ("s01_eeg.npy", "s01_y.npy", {"x": "eeg"}),
        ("eeg.npy", "hyp.npy", {"x": "eeg", "y": "hyp"}),
        ("raw_s01_v2.npy", "lab_s01_v1.npy", {"x": "raw_*_v2", "y": "lab_*_v1"}),
        ("s01.npy", "s01_y.npy", {"x": "*", "y": "*_y"}),
    ],
)
def test_given_names_and_patterns_pair_files(x, y, options):
    (pair,), problems = paired([x, y], **options)
    assert pair[2:] == (x, y) and problems == []


def test_files_of_different_folders_are_no_pair():
    pairs, problems = paired(["a/s_x.npy", "b/s_y.npy"])
    assert pairs == [] and len(problems) == 2
    assert "a/s_y.npy" in problems[0] and "b/s_x.npy" in problems[1]


@pytest.mark.parametrize(
    ("present", "expected", "options"),
    [
        ("s{1}_x.npy", "s{1}_y.npy", {}),
        ("d/s01_labels.npy", "d/s01_data.npy", {}),
        ("y_s01.npy", "x_s01.npy", {}),
        ("s01/x.npy", "s01/y.npy", {}),
        ("eeg_s01.npy", "hyp_s01.npy", {"x": "eeg", "y": "hyp"}),
        ("s01_eeg.npy", "s01-hyp.npy", {"x": "eeg", "y": "*-hyp"}),
        ("eeg-s01.npy", "s01_hyp.npy", {"x": "eeg-*", "y": "hyp"}),
    ],
)
def test_a_missing_half_names_both_files(present, expected, options):
    pairs, (problem,) = paired([present], **options)
    assert pairs == []
    assert problem.startswith(f"{present}: ") and expected in problem


def test_too_many_candidates_and_unknown_names_are_problems():
    pairs, problems = paired(
        ["s1_x.npy", "s1_data.npy", "s1_y.npy", "s2_x.npy", "s2_y.npy", "q.npy"]
    )
    assert [pair[1] for pair in pairs] == ["s2"]
    assert len(problems) == 2
    assert all(name in problems[0] for name in ("s1_x.npy", "s1_data.npy", "s1_y.npy"))
    assert problems[1].startswith("q.npy: is neither inputs nor labels")


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([f"{a}{b}.npy" for a in ("", "x_", "y_", "s_") for b in ("x", "y", "q")])
    )
)
def test_every_file_ends_in_a_pair_or_in_a_problem(names):
    pairs, problems = pair_up(set(names))
    used = [name for pair in pairs for name in (pair.x, pair.y)]
    assert len(used) == len(set(used))
    for name in set(names) - set(used):
        assert any(name in problem for problem in problems)


# Sessions


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["s01_night1", "s01_night2", "s02_night1"], [["s01_night1", "s01_night2"]]),
        (["S1-run-01", "S1-run-02", "S2-run-01"], [["S1-run-01", "S1-run-02"]]),
        (["sub-1_ses-1", "sub-2_ses-1"], []),
        (["ses1_a", "a_session 2", "b"], [["ses1_a", "a_session 2"]]),
        (["a/day1", "a/day2", "b/day1"], [["a/day1", "a/day2"]]),
        (["s01", "s01_rec2"], [["s01", "s01_rec2"]]),
        # A digit ends a word as well.
        (["s01Trial1", "s01trial2"], [["s01Trial1", "s01trial2"]]),
        (["s1_night1", "s1_NIGHT_2"], [["s1_night1", "s1_NIGHT_2"]]),
        (["s01", "s02", "S01", "s1"], []),
        (["monday1", "monday2", "prune1", "prune2"], []),
        (["night1", "night2"], [["night1", "night2"]]),
        (["s1_run1", "s1_run1"], []),
        (["s1_run1_day2", "s1_run2_day1"], [["s1_run1_day2", "s1_run2_day1"]]),
    ],
)
def test_names_that_differ_in_the_session_only_are_grouped(names, groups):
    assert [list(group) for group in session_like(names)] == groups
