"""A data set of torch gives the batches of the samples, to workers and ranks each its own."""

import gc
import pickle

import numpy as np
import pytest
from loader_threads import loader_threads, no_threads_stay

import zarrts

torch = pytest.importorskip("torch", reason="samples.to_torch needs torch")

SIZES = (37, 60, 23, 41)
N, BATCH, N_BATCHES = 161, 16, 11
SMALL = "12KiB"  # nine chunks at once


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study):
    folder = tmp_path_factory.mktemp("torch")
    study = make_study(folder / "people", sizes=SIZES, labels="text")
    zarrts.convert(
        study.folder, folder / "study.zarr", chunk="1KiB", shard="8KiB", progress=False
    ).close()
    return study


@pytest.fixture
def samples(study, no_leaks):
    """All samples of a store that has no thread and no file left in the end."""
    with zarrts.open(study.folder.parent / "study.zarr") as store:
        yield store.samples


@pytest.fixture
def dataset(samples):
    """Make data sets that are closed in the end."""
    made = []

    def make(some=samples, batch_size=BATCH, memory=SMALL, **options):
        made.append(some.to_torch(batch_size, memory=memory, **options))
        return made[-1]

    yield make
    for it in made:
        it.close()


def loaded(dataset, **options):
    return torch.utils.data.DataLoader(dataset, batch_size=None, **options)


def read(batches):
    """Return x and y of some batches."""
    xs, ys = zip(*batches, strict=True)
    return torch.cat(xs).numpy(), torch.cat(ys).numpy()


def numbers_of(study, x):
    """Return which sample of the study each row of x is."""
    number_of = {it.tobytes(): i for i, it in enumerate(study.all_x)}
    return [number_of[it.tobytes()] for it in x]


def test_an_epoch_is_that_of_batches(study, samples, dataset):
    made = dataset(seed=4)
    for epoch in (0, 3):
        made.set_epoch(epoch)
        assert made.epoch == epoch
        expected = list(samples.batches(BATCH, memory=SMALL, seed=4, epoch=epoch, label_mode="int"))
        found = list(made)
        assert len(found) == len(made) == N_BATCHES
        for (x, y), batch in zip(found, expected, strict=True):
            assert np.array_equal(x.numpy(), batch.x)
            assert np.array_equal(y.numpy(), batch.y)


def test_each_sample_comes_once_with_its_label_as_torch_wants_it(study, dataset):
    x, y = read(dataset())
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    seen = numbers_of(study, x)
    assert sorted(seen) == list(range(N))
    codes = np.unique(study.all_y, return_inverse=True)[1]
    assert np.array_equal(y, codes[seen])
    loss = torch.nn.functional.cross_entropy(torch.zeros(N, 4), torch.from_numpy(y))
    assert loss.item() == pytest.approx(np.log(4))


def test_weights_are_the_third_of_a_batch(samples, dataset):
    expected = list(samples.batches(BATCH, memory=SMALL, label_mode="int", sample_weight="class"))
    found = list(loaded(dataset(sample_weight="class"), num_workers=0))
    assert len(found) == N_BATCHES
    for (_, y, weight), batch in zip(found, expected, strict=True):
        assert weight.dtype == torch.float32
        assert np.array_equal(weight.numpy(), batch.sample_weight)
        assert np.array_equal(y.numpy(), batch.y)


def test_batches_are_never_changed_after_they_were_handed_out(dataset):
    made = dataset()
    kept = list(made)
    copies = [(x.clone(), y.clone()) for x, y in kept]
    list(made)
    for batch, copy in zip(kept, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, copy, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 12 worker processes")
@pytest.mark.parametrize("n_workers", [0, 2, 12])
def test_workers_share_the_batches_and_double_none(study, dataset, n_workers):
    made = dataset()
    made.set_epoch(2)
    alone = {x.numpy().tobytes() for x, _ in made}
    found = list(loaded(made, num_workers=n_workers))
    assert len(found) == N_BATCHES
    assert {x.numpy().tobytes() for x, _ in found} == alone
    assert sorted(numbers_of(study, read(found)[0])) == list(range(N))


def test_workers_that_stay_see_the_epoch_that_was_set(study, dataset):
    made = dataset()
    loader = loaded(made, num_workers=2, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        made.set_epoch(epoch)
        orders.append(numbers_of(study, read(loader)[0]))
        assert sorted(orders[-1]) == list(range(N))
    assert orders[0] == orders[2] != orders[1]
    loader._iterator._shutdown_workers()


def test_workers_start_whatever_threads_of_the_parent_are_at(study, dataset):
    made = dataset(batch_size=2)
    reading = iter(made)
    next(reading)
    assert loader_threads()
    assert len(list(loaded(made, num_workers=2))) == len(made)
    assert len(list(reading)) == len(made) - 1


def test_a_copy_in_another_process_gives_the_same(samples, dataset):
    made = dataset(stats=samples.stats())
    made.set_epoch(7)
    copy = pickle.loads(pickle.dumps(made))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(made, copy, strict=True))
    copy.close()
    copy._selection.store.close()


@pytest.mark.slow
def test_workers_that_are_spawned_read_too(study, dataset):
    found = list(loaded(dataset(), num_workers=2, multiprocessing_context="spawn"))
    assert sorted(numbers_of(study, read(found)[0])) == list(range(N))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_ranks_share_the_epoch_and_have_as_many_batches(study, dataset, n_workers):
    seen = []
    for rank in range(3):
        found = list(loaded(dataset(rank=rank, world_size=3), num_workers=n_workers))
        assert len(found) == 4
        seen += numbers_of(study, read(found)[0])
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_run_goes_on_from_a_batch(dataset, n_workers):
    made = dataset()
    whole = [x.numpy().tobytes() for x, _ in made]
    made.set_epoch(0, first_batch=7)
    rest = [x.numpy().tobytes() for x, _ in loaded(made, num_workers=n_workers)]
    assert len(made) == len(rest) == 4
    assert sorted(rest) == sorted(whole[7:])
    made.set_epoch(0, first_batch=N_BATCHES)
    assert list(made) == []


def test_two_loops_at_once_keep_their_places(dataset):
    made = dataset()
    pairs = list(zip(made, made, strict=True))
    assert len(pairs) == N_BATCHES
    assert all(torch.equal(one[0], other[0]) for one, other in pairs)


def test_a_loop_that_ends_early_leaves_no_threads(dataset):
    for _ in dataset(batch_size=2):
        break
    assert no_threads_stay()


def test_to_drop_a_loop_waits_for_no_other_loop(dataset):
    """Garbage may be collected while a batch is taken, in the same thread."""
    made = dataset(batch_size=2)
    reading = iter(made)
    next(reading)
    with made._passes._locked():
        del reading
        gc.collect()
    assert no_threads_stay()
    assert len(list(made)) == len(made)


def test_dtypes_of_torch_and_numpy_and_no_labels(samples, dataset):
    assert next(iter(dataset(dtype=torch.float16)))[0].dtype == torch.float16
    assert next(iter(dataset(dtype="float64")))[0].dtype == torch.float64
    alone = next(iter(dataset(label_mode=None)))
    assert alone.shape == (BATCH, 6, 3)
    assert next(iter(dataset(label_mode="categorical")))[1].dtype == torch.float32


def test_series_are_padded_and_masked_and_labels_have_names(tmp_path):
    rng = np.random.default_rng(0)
    every = [rng.normal(size=(n, 2)).astype("f4") for n in (9, 4, 6)]
    recordings = [
        zarrts.Recording(f"s{i}", x, {"stage": np.arange(len(x)) % 2, "age": np.ones(len(x))})
        for i, x in enumerate(every)
    ]
    with zarrts.convert(recordings, tmp_path / "rows.zarr", kind="ragged", progress=False) as store:
        made = store.samples.to_torch(3, shuffle=False, pad="longest", mask=True)
        (x, mask), y = next(iter(made))
        assert sorted(y) == ["age", "stage"]
        for i, series in enumerate(every):
            assert np.array_equal(x[i][mask[i]].numpy(), series)
            assert y["stage"][i][mask[i]].tolist() == [it % 2 for it in range(len(series))]
            assert not x[i][~mask[i]].any()
        made.close()


def test_places_that_are_none_and_a_mask_of_nothing_are_refused(samples, dataset):
    with pytest.raises(zarrts.SampleError, match="Epoch 0 has no batch 12: it has 11"):
        dataset().set_epoch(0, first_batch=12)
    with pytest.raises(zarrts.SampleError, match="give pad= too"):
        dataset(mask=True)
    with pytest.raises(TypeError, match="no keyword 'num_workers'; use workers="):
        dataset(num_workers=2)
