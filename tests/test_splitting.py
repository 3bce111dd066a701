"""Splits of samples: nobody on two sides, whatever the study and the splitter."""

import json
import warnings
from unittest import mock

import numpy as np
import pytest
from conftest import make_study
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import samples_of

import zarrts
from zarrts.errors import SampleError
from zarrts.splits import splitting
from zarrts.splits.stratified import even_parts

QUICK = settings(deadline=None, max_examples=50)
SITES = ("Bonn", "Graz", "Oslo")


@st.composite
def studies(draw, min_subjects=4):
    """Return recordings (subject, class counts), those of a subject anywhere."""
    n_subjects = draw(st.integers(min_subjects, 9))
    owners = list(range(n_subjects)) + draw(
        st.lists(st.integers(0, n_subjects - 1), min_size=0, max_size=6)
    )
    owners = draw(st.permutations(owners))
    counts = st.tuples(st.integers(1, 30), st.integers(0, 9), st.integers(0, 3))
    return [(f"s{owner}", draw(counts)) for owner in owners]


class LeaveOneGroupOut:
    """Divides as scikit-learn's class of this name."""

    def split(self, positions, labels, groups):
        assert len(positions) == len(labels) == len(groups)
        for group in np.unique(groups):
            yield np.flatnonzero(groups != group), np.flatnonzero(groups == group)


@st.composite
def divisions(draw):
    """Return (samples, subject of each sample, splits) of a random study and a random splitter."""
    recordings = draw(studies())
    samples = samples_of(recordings)
    names = [subject for subject, counts in recordings for _ in range(sum(counts))]
    n = len(set(names))
    seed, stratify = draw(st.integers(0, 99)), draw(st.booleans())
    site = {f"s{i}": SITES[i % 3] for i in range(n)}
    how = draw(st.sampled_from(["split", "folds", "k", "given", "group", "groups", "splitter"]))
    drawn = {"seed": seed, "stratify": stratify}
    if how == "split":
        found = [samples.split(val=1, test=2, **drawn)]
    elif how == "folds":
        found = list(samples.folds(val=draw(st.integers(0, 2))))
    elif how == "k":
        found = list(samples.folds(draw(st.integers(2, n)), repeats=2, **drawn))
    elif how == "given":
        found = list(samples.folds([["s0", "s2"], ["s1"]], val=1))
    elif how == "group":
        found = [samples.split(test=1, group=draw(st.sampled_from([site, site.get])), **drawn)]
    elif how == "groups":
        found = list(samples.folds(group=[site[name] for name in samples.subjects]))
    else:
        with mock.patch.object(splitting, "load_labels", lambda _: np.zeros(len(names), int)):
            found = list(samples.split_by(LeaveOneGroupOut()))
    return samples, np.array(names), found


@QUICK
@given(division=divisions())
@pytest.mark.filterwarnings("ignore:The training part has no sample")
def test_no_subject_is_on_two_sides_for_any_study_and_splitter(division):
    samples, names, found = division
    assert found
    for parts in found:
        ids = [part.ids for part in parts]
        together = np.concatenate(ids)
        assert len(np.unique(together)) == len(together) == len(samples)
        sides = [set(names[it].tolist()) for it in ids]
        assert all(sides)
        assert sum(map(len, sides)) == len(set().union(*sides))


@QUICK
@given(
    counts=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 9), st.integers(0, 2)), min_size=4, max_size=14
    ),
    n_parts=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_stratified_parts_keep_their_sizes_and_are_never_less_even(counts, n_parts, seed):
    counts = np.array(counts)
    parts = np.random.default_rng(seed).permutation(np.arange(len(counts)) % n_parts)
    found = even_parts(counts, parts)
    assert np.bincount(found).tolist() == np.bincount(parts).tolist()

    def naive(parts):
        total = 0.0
        for part in range(n_parts):
            of_groups = (parts == part).mean()
            for c in range(3):
                if counts[:, c].sum():
                    of_class = counts[parts == part, c].sum() / counts[:, c].sum()
                    total += (of_class - of_groups) ** 2 / of_groups
        return total

    assert naive(found) <= naive(parts) + 1e-9


def test_stratify_brings_the_proportions_of_classes_together():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([0.5, 0.5, 0.5], 24)
    recordings = [(f"s{i}", (share * 400).astype(int)) for i, share in enumerate(shares)]
    samples = samples_of(recordings)

    def worst(found):
        overall = samples.class_counts / len(samples)
        parts = [part for fold in found for part in fold]
        return max(np.abs(part.class_counts / len(part) - overall).max() for part in parts)

    drawn = [worst(samples.folds(4, seed=seed)) for seed in range(10)]
    even = [worst(samples.folds(4, seed=seed, stratify=True)) for seed in range(10)]
    assert max(even) < 0.06 < np.mean(drawn)
    one = worst([samples.split(val=4, test=4, stratify=True)])
    assert one < 0.06 < worst([samples.split(val=4, test=4)])


def test_folds_of_folds_keep_the_outer_test_out_of_everything():
    samples = samples_of([(f"s{i}", (5, 5, 5)) for i in range(6)])
    for train, test in samples.folds(3):
        for inner, val in train.folds(val=0):
            assert len(inner.subjects) == 3
            assert len(val.subjects) == 1
            assert set(inner.subjects) | set(val.subjects) == set(train.subjects)
            assert not set(test.subjects) & set(train.subjects)


def test_repeats_draw_anew_and_test_everybody_each_time():
    samples = samples_of([(f"s{i}", (5, 5, 5)) for i in range(8)])
    tested = [fold.test.subjects for fold in samples.folds(4, repeats=3)]
    for repetition in range(3):
        names = np.concatenate(tested[4 * repetition : 4 * repetition + 4])
        assert sorted(names) == samples.subjects
    assert tested[:4] == [fold.test.subjects for fold in samples.folds(4)]
    assert tested[:4] != tested[4:8] != tested[8:]


# Groups


def test_groups_by_site_hold_out_whole_sites():
    samples = samples_of([(f"s{i}", (4, 4, 4)) for i in range(7)])
    site = {f"s{i}": SITES[i % 3] for i in range(7)}
    parts = samples.split(test=["Graz"], group=site)
    assert parts.test.subjects == ["s1", "s4"]
    assert parts.train.subjects == ["s0", "s2", "s3", "s5", "s6"]
    by_site = [fold.test.subjects for fold in samples.folds(group=lambda name: site[name])]
    assert by_site == [["s0", "s3", "s6"], ["s1", "s4"], ["s2", "s5"]]


def test_sessions_of_one_subject_are_divided_only_if_that_is_said():
    samples = samples_of([("a", (3, 3, 3)), ("b", (3, 3, 3)), ("a", (5, 5, 5))])
    with pytest.raises(SampleError, match=r"Recordings of a are in several groups.*allow_overlap"):
        samples.split(test=1, group=["day 1", "day 1", "day 2"])
    parts = samples.split(test=["day 2"], group=["day 1", "day 1", "day 2"], allow_overlap=True)
    assert parts.test.ids.tolist() == list(range(18, 33))
    assert [len(fold.test) for fold in samples.folds(group="recording", allow_overlap=True)] == [
        9,
        9,
        15,
    ]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("site", "group='site' is unknown; use 'subject', 'recording', a dict"),
        ({"a": 1}, "group= has no entry for b;"),
        ([1, 2, 3, 4], r"group= has 4 entries, but there are 2 subjects .* and 3 recordings"),
    ],
)
def test_groups_that_do_not_fit_are_refused(group, message):
    samples = samples_of([("a", (3, 3, 3)), ("b", (3, 3, 3)), ("a", (5, 5, 5))])
    with pytest.raises(SampleError, match=message):
        samples.split(test=1, group=group)


# Time inside subjects


@QUICK
@given(
    recordings=studies(),
    gap=st.integers(0, 3),
    val=st.none() | st.sampled_from([0.2, 1]),
    within=st.sampled_from(["subject", "recording"]),
)
def test_in_time_the_first_samples_train_and_the_last_are_held_out(recordings, gap, val, within):
    samples = samples_of([(name, (20, *counts[1:])) for name, counts in recordings])
    owners = [
        name if within == "subject" else str(i)
        for i, (name, counts) in enumerate(recordings)
        for _ in range(20 + sum(counts[1:]))
    ]
    found = samples.split(val=val, test=0.3, within=within, gap=gap)
    side = np.full(len(samples), -1)
    for number, part in enumerate(found):
        side[part.ids] = number
    for owner in set(owners):
        own = side[np.array(owners) == owner]
        n = len(own)
        expected = []
        sizes = ([] if val is None else [val if val == 1 else round(0.2 * n)]) + [round(0.3 * n)]
        for number, size in enumerate(sizes):
            expected += [-1] * gap + [number + 1] * size
        assert own.tolist() == [0] * (n - len(expected)) + expected


@QUICK
@given(recordings=studies(), gap=st.integers(0, 3), k=st.integers(2, 5))
def test_folds_in_time_test_every_sample_once_and_leave_gaps(recordings, gap, k):
    samples = samples_of([(name, (20, 0, 0)) for name, _ in recordings])
    names = np.repeat([name for name, _ in recordings], 20)
    tested = []
    for train, test in samples.folds(k, within="subject", gap=gap):
        tested.append(test.ids)
        for name in set(names.tolist()):
            own = np.flatnonzero(names == name)
            inside = np.flatnonzero(np.isin(own, test.ids))
            trained = np.flatnonzero(np.isin(own, train.ids))
            low, high = inside.min() - gap, inside.max() + gap
            assert inside.tolist() == list(range(inside.min(), inside.max() + 1))
            assert trained.tolist() == [i for i in range(len(own)) if not low <= i <= high]
    assert sorted(np.concatenate(tested).tolist()) == list(range(len(samples)))


@given(
    length=st.integers(1, 12),
    stride=st.integers(1, 7),
    share=st.floats(0.05, 1),
    gap=st.integers(0, 3),
    k=st.integers(2, 4),
    seed=st.integers(0, 2**20),
)
@settings(deadline=None, max_examples=40)
def test_in_time_only_windows_that_share_rows_or_lie_in_the_gap_are_left_out(
    recordings_of_rows, length, stride, share, gap, k, seed
):
    lengths, store = recordings_of_rows
    windows = store.samples.windows(length, stride, label="first")
    chosen = windows.select(
        ids=windows.ids[np.random.default_rng(seed).random(len(windows)) < share]
    )
    # Subject, recording and first row of each chosen window, in order.
    places = [
        (i // 2, i, at) for i, n in enumerate(lengths) for at in range(0, n - length + 1, stride)
    ]
    of_id = dict(zip(windows.ids.tolist(), places, strict=True))

    def naive(held, own):
        """Return the samples of a subject that may train, and are before or after those held."""
        low, high = own.index(held[0]), own.index(held[-1])

        def shares(i):
            return any(
                of_id[i][:2] == of_id[j][:2] and abs(of_id[i][2] - of_id[j][2]) < length
                for j in held
            )

        before = [i for i in own[: max(0, low - gap)] if not shares(i)]
        return before, [i for i in own[high + 1 + gap :] if not shares(i)]

    subjects = sorted({of_id[i][0] for i in chosen.ids.tolist()})
    owned = {s: [i for i in chosen.ids.tolist() if of_id[i][0] == s] for s in subjects}
    try:
        train, test = chosen.split(test=0.4, within="subject", gap=gap)
    except SampleError as error:
        assert "nothing is left to train on" in str(error) or "holds no samples" in str(error)
    else:
        for own in owned.values():
            held = own[len(own) - max(1, round(0.4 * len(own))) :]
            assert [i for i in own if i in set(test.ids.tolist())] == held
            assert [i for i in own if i in set(train.ids.tolist())] == naive(held, own)[0]
    try:
        folds = list(chosen.folds(k, within="subject", gap=gap))
    except SampleError as error:
        assert "left to train on" in str(error) or "the number of folds" in str(error)
        return
    for number, (train, test) in enumerate(folds):
        for own in owned.values():
            held = own[len(own) * number // k : len(own) * (number + 1) // k]
            before, after = naive(held, own)
            assert [i for i in own if i in set(test.ids.tolist())] == held
            assert [i for i in own if i in set(train.ids.tolist())] == before + after


@pytest.fixture(scope="module")
def recordings_of_rows(tmp_path_factory):
    """Two recordings of each of two subjects, of unequal lengths, and their store."""
    lengths = (60, 23, 47, 31)
    recordings = [
        zarrts.Recording(f"s{i // 2}", np.zeros((n, 1), "f4"), np.arange(n) % 2)
        for i, n in enumerate(lengths)
    ]
    path = tmp_path_factory.mktemp("rows") / "a.zarr"
    return lengths, zarrts.convert(recordings, path, kind="ragged", progress=False)


@pytest.mark.parametrize("as_given", [list, np.array], ids=["list", "array"])
def test_groups_may_be_given_as_a_list_or_an_array(as_given):
    samples = samples_of([(f"p{i}", (5, 5, 5)) for i in range(4)])
    sites = as_given(["graz", "oslo", "graz", "oslo"])
    train, test = samples.split(test=["oslo"], group=sites)
    assert (train.subjects, test.subjects) == (["p0", "p2"], ["p1", "p3"])
    assert [fold.test.subjects for fold in samples.folds(group=sites)] == [
        ["p0", "p2"],
        ["p1", "p3"],
    ]
    with pytest.raises(SampleError, match="group= and within= exclude each other"):
        samples.split(test=0.5, within="subject", group=sites)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": 0.5, "gap": 5, "within": "subject"}, "a has 9 samples, but 9 are held out"),
        ({"test": ["a"], "within": "subject"}, "give a fraction of its samples"),
        ({"test": 1.5, "within": "subject"}, "test=1.5: within a subject"),
        ({"within": "subject"}, r"split\(test=0.2, within='subject'\)"),
        ({"test": 0.2, "within": "day"}, "within='day' is unknown; use 'subject' or 'recording'"),
        ({"test": 0.2, "within": "subject", "gap": -1}, "gap=-1 has to be a number of samples"),
        ({"test": 0.2, "within": "subject", "stratify": True}, "stratify= and within= exclude"),
        ({"test": 1, "gap": 2}, "gap=2 needs within='subject'"),
    ],
)
def test_divisions_in_time_that_cannot_be_are_refused(arguments, message):
    samples = samples_of([("a", (3, 3, 3)), ("b", (13, 3, 3))])
    with pytest.raises(SampleError, match=message):
        samples.split(**arguments)


# Overlap


def test_parts_that_share_subjects_or_samples_are_refused():
    samples = samples_of([("a", (3, 3, 3)), ("b", (3, 3, 3)), ("c", (3, 3, 3))])
    a_and_b, c = samples.select(subjects=["a", "b"]), samples.select(subjects=["c"])
    half, other = samples.select(ids=[0, 1]), samples.select(ids=[2, 3])
    assert repr(zarrts.Split(train=a_and_b, test=c)) == (
        "<zarrts.Split of study.zarr: train: 18 samples of 2 subjects; "
        "test: 9 samples of 1 subject (c), 33% of samples>"
    )
    zarrts.assert_disjoint(a_and_b, c)
    with pytest.raises(SampleError, match="train and val share the subjects a: the network"):
        zarrts.Split(train=half, val=other, test=c)
    zarrts.Split(train=half, test=other, allow_overlap=True)
    for allow in (False, True):
        with pytest.raises(SampleError, match="part 0 and part 1 share 2 samples; no sample may"):
            zarrts.assert_disjoint(a_and_b, half, allow_overlap=allow)
    foreign = samples_of([("d", (3, 3, 3))], write_id="1")
    with pytest.raises(SampleError, match="come from one store"):
        zarrts.assert_disjoint(c, foreign)


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored by KFold")
def test_a_splitter_that_ignores_subjects_is_refused(monkeypatch):
    selection = pytest.importorskip("sklearn.model_selection")
    samples = samples_of([("a", (9, 0, 0)), ("b", (9, 0, 0))])
    monkeypatch.setattr(splitting, "load_labels", lambda _: np.zeros(18, int))
    with pytest.raises(SampleError, match="share the subjects a, b"):
        list(samples.split_by(selection.KFold(3, shuffle=True, random_state=0)))
    found = list(samples.split_by(selection.KFold(3), allow_overlap=True))
    assert [part.ids.tolist() for part in found[0]] == [list(range(6, 18)), list(range(6))]
    grouped = list(samples.split_by(selection.StratifiedGroupKFold(2)))
    assert [fold.test.subjects for fold in grouped] in ([["a"], ["b"]], [["b"], ["a"]])


def test_splitters_and_numbers_of_folds_are_told_where_they_belong():
    selection = pytest.importorskip("sklearn.model_selection")
    samples = samples_of([("a", (9, 0, 0)), ("b", (9, 0, 0))])
    with pytest.raises(SampleError, match=r"not GroupKFold; .* samples\.split_by\(splitter\)"):
        next(samples.folds(selection.GroupKFold(2)))
    for wrong in (2.5, "a", []):
        with pytest.raises(SampleError, match="give a number, or a list of lists of names"):
            next(samples.folds(wrong))
    for wrong in (2, [["a"], ["b"]], "a"):
        with pytest.raises(SampleError, match=r"splitter of scikit-learn.*samples\.folds\("):
            next(samples.split_by(wrong))


# What reading costs


@QUICK
@given(recordings=studies(), chunk_rows=st.integers(1, 40), seed=st.integers(0, 9))
def test_amplification_is_what_a_walk_over_the_chunks_finds(recordings, chunk_rows, seed):
    samples = samples_of(recordings, chunk_rows=chunk_rows)
    n = len(samples)
    ids = np.flatnonzero(np.random.default_rng(seed).random(n) < 0.3)
    for some in (samples.select(ids=ids) if len(ids) else samples, samples):
        chunks = {i // chunk_rows for i in some.ids.tolist()}
        decoded = sum(min(n, (chunk + 1) * chunk_rows) - chunk * chunk_rows for chunk in chunks)
        assert some.amplification == decoded / len(some)


def test_leaving_one_of_thirteen_subjects_out_reads_little_that_is_not_used():
    rng = np.random.default_rng(0)  # 13 subjects, 24 GB of samples of 16 KiB in chunks of 1 MiB
    sizes = rng.integers(60_000, 180_000, 13)
    samples = samples_of([(f"s{i}", (size, 0, 0)) for i, size in enumerate(sizes)], chunk_rows=64)
    for parts in samples.folds(val=1):
        assert len(parts) == 3
        assert max(part.amplification for part in parts) <= 1.05


# Files


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    study = make_study(folder / "in", sizes=(12, 9, 10, 7), labels="text")
    with zarrts.convert(study.folder, folder / "study.zarr", progress=False) as store:
        yield store


def test_a_saved_split_comes_back_the_same(store, tmp_path):
    split = store.samples.split(val=1, test=["s02"])
    split.save(tmp_path / "split.json")
    document = json.loads((tmp_path / "split.json").read_text())
    assert document["parts"]["test"] == {"n_samples": 10, "subjects": ["s02"]}
    found = store.load_split(tmp_path / "split.json")
    assert found.names == ("train", "val", "test")
    for part, other in zip(split, found, strict=True):
        assert np.array_equal(part.ids, other.ids)
    in_time = store.samples.split(test=0.25, within="subject", gap=1)
    in_time.save(str(tmp_path / "time.json"))
    for part, other in zip(in_time, store.load_split(str(tmp_path / "time.json")), strict=True):
        assert np.array_equal(part.ids, other.ids)


def test_a_split_is_refused_by_another_store_and_another_version(store, tmp_path):
    split = store.samples.split(test=1)
    split.save(tmp_path / "split.json")
    other = make_study(tmp_path / "other", sizes=(12, 9, 10, 7), labels="text", seed=1)
    with (
        zarrts.convert(other.folder, tmp_path / "other.zarr", progress=False) as foreign,
        pytest.raises(SampleError, match=r"is a split of another store: .* version 1"),
    ):
        foreign.load_split(tmp_path / "split.json")
    more = make_study(tmp_path / "more", sizes=(5,), labels="text", seed=2)
    (more.folder / "s00.npz").rename(more.folder / "s09.npz")
    zarrts.append(tmp_path / "other.zarr", more.folder, progress=False).close()
    with zarrts.open(tmp_path / "other.zarr", version=1) as first:
        first.samples.split(test=1).save(tmp_path / "first.json")
    with (
        zarrts.open(tmp_path / "other.zarr") as second,
        pytest.raises(SampleError, match=r"made for version 1 .*Open that version"),
    ):
        second.load_split(tmp_path / "first.json")
    with zarrts.open(tmp_path / "other.zarr", version=1) as first:
        assert len(first.load_split(tmp_path / "first.json").train.subjects) == 3


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": "zarrts-split/2"}', '{"format": "zarrts-split/1", "store": {}}'],
)
def test_files_that_are_no_split_are_refused(store, tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(SampleError, match=r"bad.json is not a split that zarrts saved"):
        store.load_split(tmp_path / "bad.json")
    with pytest.raises(SampleError, match="there is no such file"):
        store.load_split(tmp_path / "missing.json")


def test_a_split_that_was_edited_is_refused(store, tmp_path):
    path = tmp_path / "split.json"
    store.samples.split(test=1).save(path)
    path.write_text(path.read_text().replace('"n_samples": 2', '"n_samples": 1'))
    with pytest.raises(SampleError, match="has other samples than it says"):
        store.load_split(path)


def test_missing_classes_warn_where_the_user_stands():
    samples = samples_of([("a", (3, 0, 0)), ("b", (3, 0, 0)), ("c", (3, 2, 0))])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples.split(test=["c"])
        list(samples.folds())
    assert [it.filename for it in caught] == [__file__] * 2
    assert "no sample of class 1, which c has" in str(caught[0].message)
