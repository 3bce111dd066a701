"""Labels as they are and as they become: counting, encoding, and every label mode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.errors import SampleError, SourceError
from zarrts.labels.counting import LabelCounter
from zarrts.labels.scheme import scheme_of, target_function

QUICK = settings(deadline=None, max_examples=60)

CLASSES = {
    "text": np.array(["wake", "N2", "N1", "wake", "REM", "N2", "é"]),
    "integers": np.array([7, -2, 3, 7, 7, -2, 100]),
    "unsigned": np.array([200, 3, 3, 255], np.uint8),
    "booleans": np.array([True, False, False, True]),
    "one class": np.array([5, 5, 5]),
    "several a sample": np.array([[3, 1], [1, 9], [9, 3]]),
}


def count(*recordings):
    """Return counters of some arrays of labels, counted in blocks of 3 rows."""
    counters = []
    for y in recordings:
        counter = LabelCounter(y.dtype, y.shape[1:])
        for start in range(0, len(y), 3):
            counter.add(y[start : start + 3])
        counters.append(counter)
    return counters


def scheme(*recordings):
    return scheme_of(count(*recordings), [y.dtype for y in recordings])


def target(mode, *recordings):
    """Return targets of the first of some recordings, and what mode was used."""
    found = scheme(*recordings)
    turn, used = target_function(found, mode)
    return turn(found.encode(recordings[0])), used


@pytest.mark.parametrize("kind", CLASSES)
def test_class_names_are_the_distinct_values_sorted(kind):
    y = CLASSES[kind]
    names = scheme(y).class_names
    assert list(names) == sorted(set(y.ravel().tolist()))
    assert {type(name) for name in names} == {type(y.ravel().tolist()[0])}  # Python's own


@pytest.mark.parametrize("kind", CLASSES)
def test_raw_is_what_is_stored_and_text_is_stored_as_codes(kind):
    y = CLASSES[kind]
    found, used = target("raw", y)
    assert used == "raw"
    if kind == "text":
        assert found.dtype == np.int32
        assert found.tolist() == [sorted(set(y.tolist())).index(name) for name in y]
    else:
        assert found.dtype == y.dtype
        assert np.array_equal(found, y)


@pytest.mark.parametrize("mode", ["int", "auto"])
@pytest.mark.parametrize("kind", CLASSES)
def test_int_is_the_position_in_the_class_names(kind, mode):
    y = CLASSES[kind]
    names = sorted(set(y.ravel().tolist()))
    found, used = target(mode, y)
    assert used == "int"
    assert found.dtype == np.int32
    assert found.shape == y.shape
    assert found.ravel().tolist() == [names.index(value) for value in y.ravel().tolist()]


@pytest.mark.parametrize("kind", CLASSES)
def test_categorical_has_a_single_1_at_the_class(kind):
    y = CLASSES[kind]
    names = sorted(set(y.ravel().tolist()))
    found, used = target("categorical", y)
    assert used == "categorical"
    assert found.dtype == np.float32
    assert found.shape == (*y.shape, len(names))
    expected = [[float(name == value) for name in names] for value in y.ravel().tolist()]
    assert found.reshape(-1, len(names)).tolist() == expected


@pytest.mark.parametrize(
    "y", [np.array(["no", "yes", "no"]), np.array([3, 9]), np.array([True, False])]
)
def test_binary_is_a_column_of_zeros_and_ones(y):
    found, used = target("binary", y)
    assert used == "binary"
    assert found.dtype == np.float32
    assert found.tolist() == [[float(value == max(y.tolist()))] for value in y.tolist()]


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32", "int64"])
def test_one_hot_rows_are_kept_and_know_their_class(dtype):
    classes = np.array([2, 0, 1, 2, 0])
    y = np.eye(4, dtype=dtype)[classes]  # the last class does not occur
    found = scheme(y)
    assert found.encoding == "one_hot"
    assert found.class_names == (0, 1, 2, 3)
    raw, _ = target("raw", y)
    assert raw.dtype == y.dtype
    assert np.array_equal(raw, y)
    assert target("int", y)[0].tolist() == classes.tolist()
    categorical, used = target("auto", y)
    assert used == "categorical"
    assert categorical.dtype == np.float32
    assert np.array_equal(categorical, y.astype(np.float32))
    assert found.counts_by_class(count(y)[0]).tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize(
    "row", [[0, 0, 0], [1, 1, 0], [0, 2, 0], [0.5, 0.5, 0], [1, 0, np.nan], [2, -1, 0]]
)
def test_one_row_that_is_not_one_hot_makes_them_numbers(row):
    y = np.eye(3)[[0, 1, 2, 1, 0]]
    y[4] = row
    assert scheme(y).encoding == "numbers"
    other = np.eye(3)[[0, 1]]
    assert scheme(other, y).encoding == scheme(y, other).encoding == "numbers"


def test_fractions_are_numbers_and_have_no_classes():
    y = np.array([0.5, 1.25, -3], np.float32)
    found, used = target("auto", y)
    assert scheme(y).class_names is None
    assert used == "raw"
    assert found.dtype == np.float32
    assert np.array_equal(found, y)


def test_a_thousand_values_are_classes_and_one_more_are_numbers():
    assert scheme(np.arange(1000)).class_names == tuple(range(1000))
    for recordings in ([np.arange(1001)], [np.arange(1000), np.arange(500, 1001)]):
        found = scheme(*recordings)
        assert found.class_names is None
        assert found.encoding == "numbers"
        assert target_function(found, "auto")[1] == "raw"


@pytest.mark.parametrize("n_parts", [1, 2])
def test_text_of_more_than_a_thousand_values_is_refused(n_parts):
    y = np.array([f"note {i}" for i in range(1001)])
    with pytest.raises(SourceError, match=r"text with more than 1,000 different values.* y="):
        scheme(*np.array_split(y, n_parts))


@pytest.mark.parametrize("mode", ["int", "categorical", "binary"])
def test_numbers_have_no_class_modes(mode):
    with pytest.raises(SampleError, match=f"label_mode='{mode}' needs classes.* use 'raw'"):
        target(mode, np.array([0.5, 2.5]))


def test_binary_needs_two_classes():
    with pytest.raises(SampleError, match="needs two classes, but there are 3; use 'int'"):
        target("binary", np.array([1, 2, 3]))


def test_an_unknown_mode_lists_those_there_are():
    with pytest.raises(SampleError, match="label_mode='sparse' is unknown; use 'auto', 'int'"):
        target("sparse", np.array([1, 2]))


def test_a_label_that_was_not_counted_is_an_error_and_no_code():
    known = scheme(np.array(["a", "c"]))
    for unknown in ("b", "aa", "z", ""):
        with pytest.raises(SourceError, match=f"the label {unknown} was not there before"):
            known.encode(np.array(["a", unknown, "c"]))


def test_files_of_several_dtypes_share_one_scheme():
    found = scheme(np.array([1, 2], np.uint8), np.array([-5, 2], np.int16))
    assert found.dtype == np.int16
    assert found.class_names == (-5, 1, 2)
    mixed = scheme(np.array([True, False]), np.array([2, 1]))
    assert mixed.class_names == (0, 1, 2)
    texts = scheme(np.array(["a"]), np.array(["longer"]))
    assert texts.encode(np.array(["longer", "a"])).tolist() == [1, 0]


def test_whole_numbers_in_one_file_and_fractions_in_another_are_numbers():
    whole, fractions = np.array([1, 2]), np.array([0.5, 1])
    for recordings in ([whole, fractions], [fractions, whole]):
        found = scheme(*recordings)
        assert found.class_names is None
        assert found.dtype == np.float64


@QUICK
@given(
    labels=st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=20), min_size=1, max_size=3)
)
def test_counts_by_class_are_those_of_each_recording(labels):
    recordings = [np.array(it) for it in labels]
    found = scheme(*recordings)
    names = sorted({value for it in labels for value in it})
    for counter, it in zip(count(*recordings), labels, strict=True):
        assert found.counts_by_class(counter).tolist() == [it.count(name) for name in names]


@QUICK
@given(labels=st.lists(st.text("abcé ü", min_size=1, max_size=4), min_size=1, max_size=20))
def test_codes_lead_back_to_the_text(labels):
    y = np.array(labels)
    found = scheme(y)
    codes = found.encode(y)
    assert [found.class_names[code] for code in codes] == labels
    assert np.array_equal(found.classes_of(codes), codes)


def test_counting_may_stop_when_nothing_more_can_be_learnt():
    (fractions,) = count(np.array([0.5]))
    (classes,) = count(np.array([1]))
    (many,) = count(np.arange(2000))
    (one_hot,) = count(np.eye(2))
    assert [it.can_stop for it in (fractions, classes, many, one_hot)] == [True, False, True, False]
