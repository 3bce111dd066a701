"""Splits and folds: always whole subjects, drawn the same way for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.errors import SampleError
from zarrts.splits import hold_out as splits

QUICK = settings(deadline=None, max_examples=100)
FIVE = ["a", "b", "c", "d", "e"]


def named(subjects, parts):
    assert all(list(part) == sorted(set(part)) for part in parts.values())
    return {name: tuple(subjects[i] for i in part) for name, part in parts.items()}


def hold_out(subjects, **wanted):
    return named(subjects, splits.hold_out(subjects, **wanted))


def folds(subjects, *k, **arguments):
    return (named(subjects, parts) for parts in splits.draw_folds(subjects, *k, **arguments))


def study(n):
    return [f"s{i:02d}" for i in range(n)]


def assert_is_partition(parts, subjects):
    together = [name for part in parts.values() for name in part]
    assert len(together) == len(set(together))
    assert set(together) == set(subjects)
    assert all(parts.values())
    for part in parts.values():
        assert list(part) == [name for name in subjects if name in part]  # the store's order


@st.composite
def requests(draw):
    """Return (subjects, val, test) that can be met; each a list of names, count or fraction."""
    n = draw(st.integers(3, 14))
    subjects = study(n)
    shuffled = draw(st.permutations(subjects))
    wanted, left = {}, n - 1
    for part in draw(st.sampled_from([("val",), ("test",), ("val", "test"), ("test", "val")])):
        count = draw(st.integers(1, max(1, left // 2)))
        how = draw(st.sampled_from(["names", "count", "fraction"]))
        left -= count
        names, shuffled = shuffled[:count], shuffled[count:]
        wanted[part] = {"names": names, "count": count, "fraction": count / n}[how]
    return subjects, wanted


@QUICK
@given(request=requests(), seed=st.integers(0, 2**40))
def test_no_subject_is_on_two_sides_and_none_is_lost(request, seed):
    subjects, wanted = request
    parts = hold_out(subjects, **wanted, seed=seed)
    assert list(parts) == ["train", *(name for name in ("val", "test") if name in wanted)]
    assert_is_partition(parts, subjects)
    for name, part in wanted.items():
        if isinstance(part, list):
            assert set(parts[name]) == set(part)
        else:
            count = part if isinstance(part, int) else round(part * len(subjects))
            assert len(parts[name]) == max(1, count)
    assert hold_out(subjects, **wanted, seed=seed) == parts


@pytest.mark.parametrize(
    ("fraction", "n_subjects", "count"),
    [(0.2, 5, 1), (0.01, 5, 1), (0.3, 13, 4), (0.5, 4, 2), (0.99, 100, 99), (0.2, 83, 17)],
)
def test_a_fraction_is_of_all_subjects_rounded_and_at_least_one(fraction, n_subjects, count):
    parts = hold_out(study(n_subjects), test=fraction)
    assert len(parts["test"]) == count
    # Also where some are named already.
    both = hold_out(study(2 * n_subjects), val=["s00"], test=fraction / 2)
    assert len(both["test"]) == max(1, round(fraction * n_subjects))


def test_names_are_a_name_a_list_a_tuple_or_an_array():
    expected = {"train": ("a", "c", "e"), "test": ("b", "d")}
    for names in (["d", "b"], ("b", "d"), np.array(["b", "d"]), {"b", "d"}):
        assert hold_out(FIVE, test=names) == expected
    assert hold_out(FIVE, test="b")["test"] == ("b",)


def test_counts_from_numpy_are_counts():
    assert hold_out(FIVE, test=np.int64(2)) == hold_out(FIVE, test=2)
    assert hold_out(FIVE, test=np.float64(0.4)) == hold_out(FIVE, test=0.4)


@pytest.mark.parametrize("seed", [None, -1, 0.5, "a"])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(SampleError, match="0 or more: the same seed"):
        hold_out(FIVE, test=1, seed=seed)
    with pytest.raises(SampleError, match="0 or more: the same seed"):
        next(folds(FIVE, 2, seed=seed))


def test_seeds_draw_different_subjects_and_each_is_drawn_alike():
    drawn = [hold_out(study(10), test=1, seed=seed)["test"][0] for seed in range(2000)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 10
    assert np.abs(counts - 200).max() < 70  # five standard deviations


def test_a_known_draw():  # pinned: a change of the draw moves subjects between published splits
    assert hold_out(study(10), val=2, test=2, seed=0) == {
        "train": ("s00", "s04", "s05", "s07", "s08", "s09"),
        "val": ("s01", "s03"),
        "test": ("s02", "s06"),
    }


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, r"Say what to hold out: split\(test="),
        ({"test": ["a", "x", "y"]}, "test: no subject named x, y; the subjects are a, b, c, d, e"),
        ({"val": "x"}, "val: no subject named x"),
        ({"test": []}, "test: an empty list"),
        ({"val": ["b", "c"], "test": ["c", "d"]}, "c would be in two parts; name each once"),
        ({"test": FIVE}, "Holding out 5 of 5 subjects leaves none to train on"),
        ({"val": 2, "test": 3}, "Holding out 5 of 5 subjects leaves none to train on"),
        ({"val": ["a"], "test": 5}, "test=5 asks for 5 subjects, but only 4 of 5 are left"),
        ({"test": 6}, "test=6 asks for 6 subjects, but only 5 of 5 are left"),
        ({"test": 0}, "test=0: give names, a count of subjects .* fraction between 0 and 1"),
        ({"test": -1}, "test=-1: give names"),
        ({"test": 1.0}, "test=1.0: give names"),
        ({"test": 0.0}, "test=0.0: give names"),
        ({"test": float("nan")}, "test=nan: give names"),
        ({"val": True}, "val=True: give names"),
    ],
)
def test_what_cannot_be_held_out_is_refused(wanted, message):
    with pytest.raises(SampleError, match=message):
        hold_out(FIVE, **wanted)


def test_a_long_list_of_subjects_is_cut_in_the_message():
    with pytest.raises(SampleError, match=r"are s00, .*, s09 and 20 more\.$"):
        hold_out(study(30), test=["zoe"])


@QUICK
@given(data=st.data(), n=st.integers(2, 12), seed=st.integers(0, 1000))
def test_folds_test_every_subject_once(data, n, seed):
    subjects = study(n)
    k = data.draw(st.none() | st.integers(2, n))
    largest = 1 if k is None else -(-n // k)
    val = data.draw(st.integers(0, n - largest - 1))
    found = list(folds(subjects, k, val=val, seed=seed))
    assert len(found) == (k or n)
    tested = [name for parts in found for name in parts["test"]]
    assert sorted(tested) == subjects
    for parts in found:
        assert list(parts) == (["train", "val", "test"] if val else ["train", "test"])
        assert_is_partition(parts, subjects)
        assert len(parts.get("val", ())) == val
        assert len(parts["test"]) in (n // (k or n), largest)
    assert list(folds(subjects, k, val=val, seed=seed)) == found


def test_folds_without_k_leave_one_subject_out_in_order():
    assert [parts["test"] for parts in folds(FIVE)] == [(name,) for name in FIVE]
    assert [parts["val"] for parts in folds(FIVE, val=1)] == [
        ("b",),
        ("c",),
        ("d",),
        ("e",),
        ("a",),
    ]


def test_seeds_draw_different_folds():
    drawn = {tuple(parts["test"] for parts in folds(study(12), 3, seed=s)) for s in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 1}, r"folds\(1\) of 5 subjects: .* between 2 and 5"),
        ({"k": 6}, r"folds\(6\) of 5 subjects: .* between 2 and 5"),
        ({"val": 4}, "val=4: of 5 subjects, 4 are not tested in a fold"),
        ({"k": 2, "val": 2}, "val=2: of 5 subjects, 2 are not tested in a fold"),
        ({"val": -1}, "val=-1"),
    ],
)
def test_folds_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(SampleError, match=message):
        list(folds(FIVE, **arguments))


def test_one_subject_makes_no_folds():
    with pytest.raises(SampleError, match="at least 2 subjects"):
        list(folds(["a"]))
