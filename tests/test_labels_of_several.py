"""Labels that are rows of 0 and 1: several at once, one each, or none."""

import warnings

import numpy as np
import pytest

import zarrts
from zarrts.labels.losses import check_loss

RNG = np.random.default_rng(0)


def person(name, y, **more):
    x = np.random.default_rng(len(name) + int(y.sum())).normal(size=(len(y), 6, 2))
    return zarrts.Recording(name, x.astype("f4"), y, **more)


def several(seed, n=40, dtype="u1"):
    y = (np.random.default_rng(seed).random((n, 5)) < 0.4).astype(dtype)
    y[:3] = 0
    y[3] = 1
    return y


def one_hot(seed, n=40, dtype="u1"):
    return np.eye(5, dtype=dtype)[np.random.default_rng(seed).integers(0, 5, n)]


def converted(tmp_path, people):
    return zarrts.convert(people, tmp_path / "a.zarr", progress=False)


@pytest.mark.parametrize("dtype", ["u1", "i8", "bool", "f4"])
def test_several_at_once_train_as_they_are(tmp_path, dtype):
    keras = pytest.importorskip("keras", exc_type=ImportError)
    people = [person(f"p{i}", several(i, dtype=dtype)) for i in range(3)]
    with converted(tmp_path, people) as store:
        model = keras.Sequential(
            [
                keras.Input((6, 2)),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(5, "sigmoid"),
            ]
        )
        model.compile("sgd", "binary_crossentropy", run_eagerly=True)
        with zarrts.ZarrSequence(store.samples, batch_size=8, shuffle=False) as seq:
            y = np.concatenate([np.asarray(seq[i][1]) for i in range(len(seq))])
            assert np.array_equal(y, np.concatenate([it.y for it in people]))
            model.fit(seq, verbose=0)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "binary_focal_crossentropy"])
@pytest.mark.parametrize("names", [[0, 1], [False, True], [0]])
def test_losses_of_yes_and_no_fit_rows_of_ones(loss, names):
    check_loss(loss, "int", names, 5, 5)


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_losses_of_one_class_name_what_fits_rows_of_ones(loss):
    with pytest.raises(
        zarrts.SampleError, match=r"'binary_crossentropy' and Dense\(5, 'sigmoid'\)"
    ):
        check_loss(loss, "int", [0, 1], 5, 5)


def test_a_label_for_each_step_is_no_row_of_labels():
    check_loss("binary_crossentropy", "int", [0, 1], 1, 200)
    check_loss("sparse_categorical_crossentropy", "int", [0, 1], 2, 200)
    with pytest.raises(zarrts.SampleError, match="wants 0 or 1 for each output"):
        check_loss("binary_crossentropy", "int", [0, 1, 2], 5, 5)


@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_a_row_without_a_one_is_named(tmp_path, dtype):
    people = [person(f"p{i}", one_hot(i, dtype=dtype)) for i in range(4)]
    people[2].y[7] = 0
    people[2].y[30] = 0
    with pytest.warns(
        UserWarning, match=r"2 of 160 labels have no 1.*row 7 of 'y' in rec.* 3 \(p2\)"
    ):
        converted(tmp_path, people).close()
    # The remedy: a column of its own.
    for it in people:
        object.__setattr__(it, "y", np.c_[it.y, (it.y.sum(axis=1) == 0).astype(dtype)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with zarrts.convert(people, tmp_path / "b.zarr", progress=False) as store:
            assert store.class_names == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("make", [several, one_hot])
def test_labels_of_several_and_of_one_are_not_warned_of(tmp_path, make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted(tmp_path, [person(f"p{i}", make(i)) for i in range(3)]).close()


def test_rows_are_counted_through_blocks(tmp_path):
    y = one_hot(0, 300_000, "f8")  # 12 MB of labels, read by pieces
    y[250_001] = 0
    x = np.zeros((len(y), 1, 1), "f4")
    with pytest.warns(UserWarning, match="row 250001 of 'y'"):
        converted(tmp_path, [zarrts.Recording("p", x, y)]).close()


def test_append_names_the_row_that_is_not_one_hot(tmp_path):
    converted(tmp_path, [person(f"p{i}", one_hot(i)) for i in range(3)]).close()
    y = one_hot(9)
    y[4, :2] = 1
    y[4, 2:] = 0
    with pytest.raises(zarrts.SourceError, match=r"one-hot rows.* row 4 of 'y' has 2 1\."):
        zarrts.append(tmp_path / "a.zarr", person("new", y), progress=False)
