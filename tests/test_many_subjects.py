"""A study of very many people: what is said of it stays short, and splits are as of a few."""

import re

import numpy as np
import pytest
from studies import samples_of

import zarrts
from zarrts.errors import SampleError
from zarrts.results import Evaluation
from zarrts.splits.stratified import even_parts

N = 20_000
NAMES = [f"p{i:05d}" for i in range(N)]
COUNTS = np.random.default_rng(0).integers([1, 0, 0], [4, 3, 3], (N, 3))
MORE = re.compile(r"p\d{5} and \d?\d,\d{3} more")


@pytest.fixture(scope="module")
def samples():
    return samples_of(list(zip(NAMES, COUNTS.tolist(), strict=True)))


@pytest.mark.parametrize(
    "fails",
    [
        lambda it: it.select(subjects=["nobody"]),
        lambda it: it.select(subjects=[f"{name}x" for name in NAMES]),
        lambda it: it.split(test=[f"{name}x" for name in NAMES]),
        lambda it: it.split(test=[]),
        lambda it: it.split(val=NAMES[5:], test=NAMES[:-5]),
        lambda it: it.split(test=1, group={}),
        lambda it: list(it.folds([NAMES[5:], NAMES[:-5]])),
        lambda it: zarrts.assert_disjoint(every_second(it, 0), every_second(it, 1)),
    ],
)
def test_messages_name_a_few_and_count_the_others(samples, fails):
    with pytest.raises(SampleError, match=MORE) as raised:
        fails(samples)
    assert len(str(raised.value)) < 700


def every_second(samples, which):
    """Return every second sample of all, so that two sets share subjects but no sample."""
    return samples.select(ids=samples.ids[which::2])


def test_what_is_shown_and_printed_is_short(samples, capsys):
    split = samples.split(test=0.25)
    assert capsys.readouterr().out == ""
    assert f"test: {len(split.test):,} samples of 5,000 subjects (p0" in repr(split)
    assert repr(split).endswith("and 4,990 more), 25% of samples>")
    assert repr(samples) == f"<zarrts.Samples: {len(samples):,} of study.zarr, 20,000 subjects>"


def test_a_table_of_results_has_a_hundred_subjects_and_all():
    evaluation = Evaluation(
        subjects=tuple(NAMES), class_names=("a", "b"), confusion=np.ones((N, 2, 2), np.int64)
    )
    lines = str(evaluation).splitlines()
    assert len(lines) == 104
    assert [it.split()[0] for it in lines[1:101]] == NAMES[:100]
    assert lines[101:103] == ["and 19,900 more", "all               80,000    0.500  0.500  0.500"]


def test_splits_and_folds_have_the_samples_of_whole_subjects(samples):
    owners = np.repeat(np.arange(N), COUNTS.sum(axis=1))
    split = samples.split(val=NAMES[::7], test=N // 10, seed=3, stratify=True)
    test = [int(name[1:]) for name in split.test.subjects]
    assert len(test) == N // 10
    assert not {it for it in test if it % 7 == 0}
    assert np.array_equal(split.val.ids, np.flatnonzero(owners % 7 == 0))
    assert np.array_equal(split.test.ids, np.flatnonzero(np.isin(owners, test)))
    assert np.array_equal(np.sort(np.concatenate([it.ids for it in split])), samples.ids)
    tested = [test.subjects for _, test in samples.folds(4, stratify=True)]
    assert [len(it) for it in tested] == [N // 4] * 4
    assert sorted(name for fold in tested for name in fold) == NAMES
    one = next(samples.folds(val=2))
    assert [one.test.subjects, one.val.subjects] == [NAMES[:1], NAMES[1:3]]


def test_in_time_each_of_many_subjects_is_cut(samples):
    counts = COUNTS.sum(axis=1) + 4
    longer = samples_of([(name, [n, 0, 0]) for name, n in zip(NAMES, counts.tolist(), strict=True)])
    split = longer.split(test=1, within="subject", gap=1)
    stops = np.cumsum(counts)
    assert np.array_equal(split.test.ids, stops - 1)
    assert np.array_equal(split.train.ids, np.setdiff1d(longer.ids, [stops - 1, stops - 2]))


@pytest.mark.parametrize("n_parts", [3, 400, 5000])
def test_of_many_groups_some_change_places_and_all_parts_get_more_even(n_parts):
    parts = np.sort(np.arange(N) % n_parts)
    found = even_parts(COUNTS, parts)
    assert np.array_equal(np.bincount(found), np.bincount(parts))
    assert np.count_nonzero(found != parts) <= 2000

    def unevenness(parts):
        total = 0.0
        for part, n_groups in enumerate(np.bincount(parts)):
            of_classes = COUNTS[parts == part].sum(axis=0) / COUNTS.sum(axis=0)
            total += ((of_classes - n_groups / N) ** 2).sum() / (n_groups / N)
        return total

    assert unevenness(found) < (0.01 if n_parts == 3 else 1) * unevenness(parts)
