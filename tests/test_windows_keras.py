"""Windows against Keras' own tools, and unequal lengths in networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts

keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore:.* recordings are too short for a:UserWarning")
LENGTHS = (40, 23, 61, 8)
QUICK = settings(deadline=None, max_examples=25)


@pytest.fixture(scope="module")
def recordings():
    rng = np.random.default_rng(1)
    return [(rng.standard_normal((n, 2)).astype("f4"), rng.integers(0, 3, n)) for n in LENGTHS]


@pytest.fixture(scope="module")
def store(recordings, tmp_path_factory):
    return zarrts.convert(
        [zarrts.Recording(f"s{i}", x, y) for i, (x, y) in enumerate(recordings)],
        tmp_path_factory.mktemp("store") / "rows.zarr",
        kind="ragged",
        chunk=64,
        progress=False,
    )


def joined(parts):
    xs, ys = zip(*parts, strict=True)
    return np.concatenate(xs), np.concatenate(ys)


@QUICK
@given(
    length=st.integers(1, 15),
    rate=st.integers(1, 4),
    stride=st.integers(1, 6),
    start=st.integers(0, 5),
    end=st.none() | st.integers(20, 30),
    reverse=st.booleans(),
)
def test_windows_are_those_of_timeseriesgenerator(
    store, recordings, length, rate, stride, start, end, reverse
):
    generator_of = keras.src.legacy.preprocessing.sequence.TimeseriesGenerator
    parts = []
    for x, y in recordings:
        last = len(x) - 1 if end is None else min(end, len(x) - 1)
        if start + length > last:
            continue
        generator = generator_of(
            x, y, length, rate, stride, start, last, reverse=reverse, batch_size=7
        )
        batches = (generator[i] for i in range(len(generator)))
        parts += [batch for batch in batches if len(batch[0])]
    expected_x, expected_y = joined(parts)
    stop = None if end is None else end + 1
    samples = store.samples.windows(
        length, stride, rate, start=start, stop=stop, reverse=reverse, label="next"
    )
    x, y = samples.load()
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)


@settings(deadline=None, max_examples=6)
@given(steps=st.integers(1, 7), rate=st.integers(1, 4), stride=st.integers(1, 6))
def test_windows_are_those_of_timeseries_dataset_from_array(store, recordings, steps, rate, stride):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("makes a tf.data set")
    parts = []
    for x, y in recordings:
        if len(x) <= (steps - 1) * rate:
            continue
        dataset = keras.utils.timeseries_dataset_from_array(
            x, y, steps, sequence_stride=stride, sampling_rate=rate, batch_size=5
        )
        parts += [(bx.numpy(), by.numpy()) for bx, by in dataset]
    expected_x, expected_y = joined(parts)
    samples = store.samples.windows((steps - 1) * rate + 1, stride, rate, label="first")
    x, y = samples.load()
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)


# Unequal lengths in networks -----------------------------------------------------------------

MANY = tuple(np.random.default_rng(3).integers(4, 60, 48).tolist())


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Recordings whose class is the sign of their mean."""
    rng = np.random.default_rng(2)
    signs = rng.integers(0, 2, len(MANY))
    return zarrts.convert(
        [
            zarrts.Recording(
                f"s{i % 6}", (rng.standard_normal((n, 2)) + 2 * sign - 1).astype("f4"), int(sign)
            )
            for i, (n, sign) in enumerate(zip(MANY, signs, strict=True))
        ],
        tmp_path_factory.mktemp("series") / "series.zarr",
        kind="ragged",
        progress=False,
    )


class _CountsTraces(keras.layers.Layer):
    """Passes its input on; Python runs it once for each shape that a network is compiled for."""

    def __init__(self):
        super().__init__()
        self.shapes = []
        self.supports_masking = True

    def call(self, x):
        self.shapes.append(tuple(x.shape))
        return x


def classifier(counter, *, masking):
    inputs = keras.Input((None, 2))
    x = keras.layers.Masking()(inputs) if masking else inputs
    x = keras.layers.GRU(4)(counter(x))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    adam = keras.optimizers.Adam(0.02)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_a_network_learns_from_masked_series_in_few_shapes(series):
    keras.utils.set_random_seed(0)
    counter = _CountsTraces()
    model = classifier(counter, masking=True)
    with zarrts.ZarrSequence(series, batch_size=4, pad="batch", buckets=3) as seq:
        lengths = {seq[i][0].shape[1] for i in range(len(seq))}
        assert len(lengths) <= 3
        n_built = len(counter.shapes)
        history = model.fit(seq, epochs=8, verbose=0)
    assert history.history["accuracy"][-1] > 0.9
    if keras.backend.backend() != "torch":  # which traces nothing
        assert len(counter.shapes) - n_built <= 3


def test_predictions_do_not_depend_on_padding(series):
    keras.utils.set_random_seed(0)
    model = classifier(_CountsTraces(), masking=True)
    options = {"batch_size": 5, "shuffle": False, "label_mode": None}
    found = [
        model.predict(zarrts.ZarrSequence(series, pad=pad, buckets=buckets, **options), verbose=0)
        for pad, buckets in (("batch", None), ("batch", 4), ("longest", None), (60, None))
    ]
    assert found[0].shape == (len(MANY), 2)
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, atol=1e-6)


def test_a_mask_is_a_second_input(series):
    keras.utils.set_random_seed(0)
    x, mask = keras.Input((None, 2)), keras.Input((None,), dtype="bool")
    outputs = keras.layers.Dense(2)(keras.layers.GRU(4)(x, mask=mask))
    model = keras.Model([x, mask], outputs)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with zarrts.ZarrSequence(series, batch_size=5, pad="batch", pad_value=9.0, mask=True) as seq:
        (found, seen), _ = seq[0]
        assert ((found == 9.0).all(axis=2) == ~seen).all()
        model.fit(seq, epochs=1, verbose=0)
        test = seq.like(series.samples.select(subjects=["s1"]))
        one = model.predict(test, verbose=0)
    with zarrts.ZarrSequence(
        series.samples.select(subjects=["s1"]), pad=70, mask=True, shuffle=False
    ) as other:
        np.testing.assert_allclose(one, model.predict(other, verbose=0), atol=1e-6)


def test_labels_of_rows_train_a_network_step_by_step(store, recordings):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((None, 2)), keras.layers.Masking(), keras.layers.Dense(3)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with zarrts.ZarrSequence(store, batch_size=2, pad="batch") as seq:
        model.fit(seq, epochs=2, verbose=0)
        test = seq.like(store)
        labels = test.labels
        for found, (_, y) in zip(labels, recordings, strict=True):
            np.testing.assert_array_equal(found, y)


def test_windows_feed_fit_and_predict_in_order(store):
    keras.utils.set_random_seed(0)
    samples = store.samples.windows(6, 2, label="next", target="x", channels=[1])
    model = keras.Sequential([keras.Input((6, 2)), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with zarrts.ZarrSequence(samples, batch_size=8, stats=samples.stats()) as seq:
        model.fit(seq, epochs=2, verbose=0)
        test = seq.like(samples)
        assert len(model.predict(test, verbose=0)) == len(samples) == len(test.labels)
        raw = np.stack([samples[i][1] for i in range(5)])
        scaled = (raw - samples.stats().mean[1]) / samples.stats().std[1]
        np.testing.assert_allclose(test.labels[:5], scaled, rtol=1e-4, atol=1e-6)


def test_a_stateful_network_sees_each_stretch_as_one_series(store, recordings):
    keras.utils.set_random_seed(0)
    batch, length = 2, 5
    samples = store.samples.windows(length, length, label="last")
    order = samples.stateful_order(batch)
    gru = keras.layers.GRU(3, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(batch, length, 2)), gru])
    with zarrts.ZarrSequence(samples, batch, order=order, shuffle=False) as seq:
        assert len(seq) == len(samples) // batch
        found = [keras.ops.convert_to_numpy(model(seq[i][0])) for i in range(len(seq))]
    rows = [x[at : at + length] for x, _ in recordings for at in range(0, len(x) - 4, length)]
    n = len(rows) // batch
    stretches = [np.concatenate(rows[:n]), np.concatenate(rows[n : 2 * n])]
    whole = keras.layers.GRU(3, return_sequences=True)
    whole.build((None, None, 2))
    whole.set_weights(gru.get_weights())
    expected = keras.ops.convert_to_numpy(whole(np.stack(stretches)))[:, length - 1 :: length]
    np.testing.assert_allclose(np.stack(found, axis=1), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(zarrts.SampleError, match="samples make no full batch"):
        samples.stateful_order(1000)
