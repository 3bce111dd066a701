"""Balanced and listed orders: exact quotas, nobody forgotten, few units open at once."""

import hashlib

import numpy as np
import pytest
from conftest import make_study
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import batches_of, selections, whole

import zarrts
from zarrts.errors import SampleError
from zarrts.ordering.listed import ListedOrder
from zarrts.ordering.order import Batching
from zarrts.ordering.sampling import Balanced, Listed

QUICK = settings(deadline=None, max_examples=25)


@st.composite
def strata(draw, n):
    """Return a stratum for each of n samples, at random, in runs, or sorted; some have none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = rng.choice([-1, 0, 2, 7, 8], n, p=rng.dirichlet(np.ones(5)))
    how = draw(st.sampled_from(["mixed", "runs", "sorted"]))
    if how == "runs":
        codes = np.repeat(codes, 7)[:n]
    codes = np.sort(codes) if how == "sorted" else codes
    codes[rng.integers(n)] = 2
    return codes


def order_of(balanced, units, *, size=8, slots=None, seed=0, epoch=0, rank=0, world_size=1):
    batching = Batching(
        n_samples=balanced.n_samples(world_size), batch_size=size, rank=rank, world_size=world_size
    )
    return balanced.order(units, batching, slots=slots, seed=seed, epoch=epoch)


def check_open(order, piece, low, slots, unit_of):
    """Check that what a piece draws from is open, and no more; return its lowest place."""
    assert low <= piece.low <= piece.places.min()
    assert piece.places.max() < piece.high <= order.n_places
    if slots is not None:
        limit = piece.low + slots if piece.limit is None else piece.limit
        assert piece.high <= limit
    opened = order.units(piece.low, piece.high)[piece.places - piece.low]
    assert np.array_equal(opened, unit_of[piece.numbers])
    return piece.low


@QUICK
@given(
    drawn=st.data(),
    selection=selections(),
    resample=st.sampled_from(["oversample", "undersample"]),
    slots=st.sampled_from([9, 16, 40]),
)
def test_what_a_batch_draws_from_is_in_its_slot_however_far_is_read_ahead(
    drawn, selection, resample, slots
):
    units, unit_of = selection
    codes = drawn.draw(strata(len(unit_of)))
    try:
        order = order_of(Balanced(codes, resample), units, size=7, slots=slots, epoch=1)
    except SampleError:
        return
    every = np.arange(order.n_places)
    slot_of, opened_units = order.slots(every), order.units(0, order.n_places)
    assert slot_of.min() >= 0
    assert slot_of.max() < slots
    n_batches = order.batching.n_batches
    for first in (0, n_batches // 2):  # from the start, and where a run goes on
        pieces = [it for batch in range(first, n_batches) for it in order.pieces(batch)]
        held, opened = np.full(slots, -1), pieces[0].low
        for piece in pieces:
            for place in range(opened, max(opened, piece.limit)):
                held[slot_of[place]] = opened_units[place]
            opened = max(opened, piece.limit)
            assert piece.high <= opened <= order.n_places
            assert np.array_equal(held[slot_of[piece.places]], unit_of[piece.numbers])


@QUICK
@given(
    drawn=st.data(),
    selection=selections(),
    resample=st.sampled_from(["oversample", "undersample"]),
    size=st.integers(1, 40),
    slots=st.sampled_from([None, 9, 16, 40]),
    world_size=st.integers(1, 3),
    epoch=st.integers(0, 9),
)
def test_every_batch_holds_the_quotas_and_every_sample_its_due(
    drawn, selection, resample, size, slots, world_size, epoch
):
    units, unit_of = selection
    codes = drawn.draw(strata(len(unit_of)))
    balanced = Balanced(codes, resample)
    sizes = np.array([np.sum(codes == it) for it in np.unique(codes[codes >= 0])])
    times = np.zeros(len(codes), np.int64)
    for rank in range(world_size):
        try:
            order = order_of(
                balanced,
                units,
                size=size,
                slots=slots,
                seed=3,
                epoch=epoch,
                rank=rank,
                world_size=world_size,
            )
        except SampleError as error:
            assert slots is not None, error
            return
        low = 0
        for batch in range(order.batching.n_batches):
            found = []
            for piece in order.pieces(batch):
                assert piece.start == sum(map(len, found))
                low = check_open(order, piece, low, slots, unit_of)
                found.append(piece.numbers)
            numbers = np.concatenate(found)
            counts = [np.sum(codes[numbers] == it) for it in np.unique(codes[codes >= 0])]
            assert max(counts) - min(counts) <= 1
            assert sum(counts) == len(numbers)
            np.add.at(times, numbers, 1)
    n_draws = int(times.sum()) // len(sizes)
    if resample == "oversample":
        assert n_draws == world_size * -(-sizes.max() // world_size)
    else:
        assert n_draws == world_size * max(1, sizes.min() // world_size)
    for code, n in zip(np.unique(codes[codes >= 0]), sizes, strict=True):
        mine = times[codes == code]
        assert mine.sum() == n_draws
        assert mine.min() >= n_draws // n
        assert mine.max() <= -(-n_draws // n)
    assert not times[codes < 0].any()


@QUICK
@given(drawn=st.data(), selection=selections(), size=st.integers(1, 40))
def test_a_batch_by_itself_is_that_of_the_epoch(drawn, selection, size):
    units, unit_of = selection
    codes = drawn.draw(strata(len(unit_of)))
    slots = drawn.draw(st.sampled_from([None, 60]))
    every = batches_of(order_of(Balanced(codes), units, size=size, slots=slots, epoch=2))
    backwards = order_of(Balanced(codes), units, size=size, slots=slots, epoch=2)
    for batch in reversed(range(len(every))):
        found = np.concatenate([it.numbers for it in backwards.pieces(batch)])
        assert np.array_equal(found, every[batch])


def test_epochs_and_seeds_differ_and_orders_stay_for_ever():
    codes = np.arange(4000) % 3 * (np.arange(4000) % 7 > 2)
    balanced, units = Balanced(codes), whole(4000, 8, 5)
    found = {
        (slots, seed, epoch): np.concatenate(
            batches_of(order_of(balanced, units, slots=slots, seed=seed, epoch=epoch))
        )
        for slots in (None, 64)
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    }
    digests = {
        key: hashlib.sha256(it.astype("<i8").tobytes()).hexdigest()[:8] for key, it in found.items()
    }
    assert len(set(digests.values())) == 6
    # A run that is resumed with a newer version has to find the same batches.
    assert digests[None, 0, 0] == "afa452a1"
    assert digests[64, 0, 0] == "30d2029b"


def test_ranks_that_hold_unlike_units_draw_no_sample_twice():
    codes = np.array([8, 2, 0, 0, 8, 8, -1, 8, -1, 0, -1, 8, 0])
    balanced, units = Balanced(codes, "undersample"), whole(13, 2, 1)
    for seed in range(20):
        drawn = np.concatenate(
            [
                np.concatenate(
                    batches_of(order_of(balanced, units, seed=seed, rank=rank, world_size=3))
                )
                for rank in range(3)
            ]
        )
        plenty = drawn[codes[drawn] != 2]  # there is one sample of stratum 2, for three ranks
        assert len(np.unique(plenty)) == len(plenty)


def test_undersampling_shows_others_in_each_epoch():
    codes = (np.arange(2000) % 10 > 0).astype(int)
    for slots in (None, 40):
        epochs = [
            np.concatenate(
                batches_of(
                    order_of(
                        Balanced(codes, "undersample"), whole(2000, 8, 5), slots=slots, epoch=epoch
                    )
                )
            )
            for epoch in range(12)
        ]
        often = np.concatenate([it[codes[it] == 1] for it in epochs])
        assert all(len(it) == 400 for it in epochs)
        assert len(np.unique(often)) > 900  # of 1,800; 2,400 were drawn


@pytest.mark.parametrize("kind", ["mixed", "runs", "sorted"])
def test_oversampling_reads_each_unit_about_once(kind):
    rng = np.random.default_rng(0)
    n, rows = 64 * 400, 64
    codes = rng.choice(5, n, p=[0.05, 0.1, 0.4, 0.25, 0.2])
    codes = {"mixed": codes, "runs": np.repeat(codes[: n // 16], 16), "sorted": np.sort(codes)}[
        kind
    ]
    order = order_of(Balanced(codes), whole(n, rows, 13), size=128, slots=160)
    assert order.n_places <= 1.1 * n / rows


def test_many_small_strata_are_read_about_twice_where_memory_is_short():
    rng = np.random.default_rng(0)
    n, rows = 64 * 752, 64
    classes = np.repeat(rng.choice(5, n // 16, p=[0.05, 0.1, 0.4, 0.25, 0.2]), 16)
    order = order_of(
        Balanced(classes + 5 * (np.arange(n) * 13 // n)), whole(n, rows, 13), size=128, slots=102
    )
    assert order.n_places <= 2 * n / rows  # it shows three times as many samples as there are


def test_batches_are_about_as_good_as_those_of_a_full_shuffle():
    n = 64 * 400
    codes = np.random.default_rng(0).choice(3, n)
    drift = np.sin(np.arange(n) / 40)  # what a batch should average out
    found = []
    for epoch in range(4):
        order = order_of(Balanced(codes), whole(n, 64, 13), size=128, slots=160, epoch=epoch)
        means = [drift[it].mean() for it in batches_of(order) if len(it) == 128]
        found.append(np.var(means) * 128 / np.var(drift))
    assert np.mean(found) < 2  # 1 is a full shuffle, 6 are groups of 16 units


def test_too_many_strata_for_the_memory_are_refused_with_what_it_takes():
    codes = np.arange(800) // 8
    with pytest.raises(SampleError, match=r"balance= has 100 groups, .* raise memory \d+\.\d"):
        order_of(Balanced(codes), whole(800, 8, 5), slots=6)


def test_nothing_to_balance_is_refused():
    with pytest.raises(SampleError, match="no sample is in a group"):
        Balanced(np.array([-1, -1]))
    with pytest.raises(SampleError, match="resample='up' is unknown; use 'oversample'"):
        Balanced(np.array([0, 1]), "up")


@QUICK
@given(
    drawn=st.data(),
    selection=selections(),
    size=st.integers(1, 40),
    slots=st.sampled_from([None, 3, 5, 9, 40]),
    world_size=st.integers(1, 3),
)
def test_a_list_is_shown_as_it_is(drawn, selection, size, slots, world_size):
    units, unit_of = selection
    rng = np.random.default_rng(drawn.draw(st.integers(0, 2**32)))
    numbers = rng.integers(0, len(unit_of), drawn.draw(st.integers(world_size, 200)))
    if drawn.draw(st.booleans()):
        numbers = np.sort(numbers)
    shown = []
    for rank in range(world_size):
        batching = Batching(
            n_samples=len(numbers), batch_size=size, rank=rank, world_size=world_size
        )
        order = Listed(numbers).order(units, batching, slots=slots, seed=0, epoch=5)
        low = 0
        for batch in range(batching.n_batches):
            for piece in order.pieces(batch):
                low = check_open(order, piece, low, slots, unit_of)
                shown.append(piece.numbers)
    assert np.array_equal(np.concatenate(shown), numbers)


def test_a_list_that_goes_to_and_fro_reads_a_unit_again_only_when_it_is_long_ago():
    units = whole(80, 8, 1)
    numbers = np.tile([0, 9, 1, 10], 20)
    order = ListedOrder(units, Batching(n_samples=80, batch_size=8), numbers, 4)
    assert order.n_places == 2


# Through a real store ---------------------------------------------------------------------

ROWS = 4
TIGHT = 40 * ROWS * (6 * 3 * 4 + 8)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose classes are mixed unequally, and the path of its store."""
    folder = tmp_path_factory.mktemp("balance")
    study = make_study(folder / "sources", sizes=(150, 70, 101))
    rng = np.random.default_rng(5)
    for name, x, y in zip(study.names, study.x, study.y, strict=True):
        y[:] = np.array([-2, 3, 7])[rng.choice(3, len(y), p=[0.1, 0.7, 0.2])]
        np.savez(study.folder / f"{name}.npz", x=x, y=y)
    options = {"chunk": ROWS * 72, "shard": 5 * ROWS * 72, "progress": False}
    zarrts.convert(study.folder, folder / "store.zarr", **options).close()
    return study, folder / "store.zarr"


def seen(batches):
    return [(it.sample_id, it.x.copy(), it.y.copy()) for it in batches]


@pytest.mark.parametrize("memory", ["1MiB", TIGHT])
@pytest.mark.parametrize("balance", ["class", "subject", "class+subject", "group"])
def test_batches_of_a_store_are_balanced_and_its_own(study, no_leaks, balance, memory):
    study, path = study
    group = np.arange(len(study.all_y)) % 5
    wanted = {
        "class": study.all_y.astype(str),
        "subject": study.subject,
        "class+subject": np.char.add(study.all_y.astype(str), study.subject),
        "group": group,
    }[balance]
    n_groups = len(np.unique(wanted))
    options = {"balance": group if balance == "group" else balance, "memory": memory, "epoch": 3}
    with zarrts.open(path) as store:
        passes = [seen(store.samples.batches(18, **options, workers=workers)) for workers in (1, 3)]
        under = seen(store.samples.batches(18, **options, resample="undersample"))
    for one, other in zip(*passes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    for ids, x, y in [*passes[0], *under]:
        assert np.array_equal(x, study.all_x[ids])
        assert np.array_equal(y, study.all_y[ids])
        counts = np.unique(wanted[ids], return_counts=True)[1]
        if len(ids) == 18:
            assert len(counts) == min(n_groups, 18)
        assert counts.max() - counts.min() <= 1
    ids = np.concatenate([it[0] for it in passes[0]])
    assert set(ids) == set(range(len(wanted)))
    ids = np.concatenate([it[0] for it in under])
    assert len(set(ids)) == len(ids)
    assert len(ids) == n_groups * np.unique(wanted, return_counts=True)[1].min()


def test_a_sequence_is_balanced_on_every_rank_and_goes_on_where_it_was(study, no_leaks):
    pytest.importorskip("keras", reason="the core needs no Keras")
    study, path = study
    options = {"batch_size": 9, "balance": "class", "world_size": 2, "memory": TIGHT}
    with zarrts.open(path) as store:
        n_most = max(np.unique(study.all_y, return_counts=True)[1])
        for rank in range(2):
            with zarrts.ZarrSequence(store, rank=rank, **options) as seq:
                batches = [y.copy() for _, y in seq]
                assert len(seq) == len(batches) == -(-3 * -(-n_most // 2) // 9)
                assert all(np.ptp(np.bincount(y, minlength=3)) <= 1 for y in batches)
                for i in (len(seq) - 1, 0):
                    assert np.array_equal(seq[i][1], batches[i])
                loop = iter(seq)
                for _ in range(3):
                    next(loop)
                state = seq.state_dict()
            with zarrts.ZarrSequence(store, rank=rank, **options) as resumed:
                resumed.load_state_dict(state)
                assert all(
                    np.array_equal(y, expected)
                    for (_, y), expected in zip(resumed, batches[3:], strict=True)
                )
        with (
            zarrts.ZarrSequence(store, **{**options, "balance": "subject"}) as other,
            pytest.raises(SampleError, match="sampling was balance oversample"),
        ):
            other.load_state_dict(state)
        with pytest.raises(SampleError, match="labels of a shuffled sequence"):
            _ = other.labels


@pytest.mark.parametrize("memory", ["1MiB", TIGHT // 2])
def test_an_order_is_followed_and_told(study, no_leaks, memory):
    pytest.importorskip("keras", reason="the core needs no Keras")
    study, path = study
    ids = np.random.default_rng(2).integers(80, 221, 230)
    with zarrts.open(path) as store:
        some = store.samples.select(ids=range(80, 221))
        with zarrts.ZarrSequence(some, batch_size=6, order=ids, memory=memory) as seq:
            for _ in range(2):
                found = list(seq)
                assert np.array_equal(np.concatenate([x for x, _ in found]), study.all_x[ids])
                codes = np.concatenate([y for _, y in found])
                assert np.array_equal(np.array(store.class_names)[codes], study.all_y[ids])
            assert np.array_equal(seq.sample_ids, ids)
            assert np.array_equal(seq.labels, codes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"balance": "classes"}, "balance='classes' is unknown; use 'class', 'subject'"),
        ({"balance": [1, 2]}, r"balance= has shape \(2,\), but there are 321 samples"),
        ({"balance": "class", "shuffle": False}, "leave shuffle=False out"),
        ({"balance": "class", "order": [1]}, "nothing is left to balance"),
        ({"order": [3, 400]}, "order= has 1 ids that are not among these samples, such as 400"),
        ({"order": [True, False]}, "dtype bool; give sample ids"),
    ],
)
def test_options_that_make_no_sense_are_refused(study, options, message):
    with zarrts.open(study[1]) as store, pytest.raises(SampleError, match=message):
        store.samples.batches(8, **options)
