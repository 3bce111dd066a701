"""Every way in compares what columns and rows mean: the same right values, or the same refusal."""

import warnings

import numpy as np
import pytest
from ways_in import convert, in_memory, piece, rows_of, tabled, write

import zarrts
from zarrts.errors import SampleError, SourceError

# Each takes about a second; tox -e peers runs all of them.
KINDS = ("edf", *(pytest.param(it, marks=pytest.mark.slow) for it in ("hdf5", "npz", "mat")))
WINDOW = 20


class Probe:
    """A network that gives the mean of each column of a window."""

    def predict_on_batch(self, x):
        return np.asarray(x).mean(axis=1)


def changed(what, kind):
    """Return another recording that differs in one thing, its rows as stored, and what is said."""
    it = piece("b", seed=1)
    x = it.x
    if what == "rate":
        other = it.but(rate_hz=20.0)
        return other, None, ("a rate of 20 Hz", "10 Hz")
    if what == "rounding":
        if kind == "edf":
            return it.but(extra={"record_s": "1.000001"}), x, None
        return it.but(rate_hz=10.00001), x, None
    if what == "millivolts":
        return (
            it.but(x=x / 1000, units=("mV",) * 10, extra={"scale": 0.001}),
            x,
            ("b", "mV to uV (times 1,000)"),
        )
    if what == "one unit":
        units = ("uV",) * 9 + ("degC",)
        return it.but(units=units), None, ("c9 in degC", "uV")
    if what == "micro":
        return it.but(units=("\u00b5V",) * 10), x, None
    if what == "order":
        order = np.random.default_rng(2).permutation(10)
        names = tuple(it.channels[i] for i in order)
        return it.but(x=x[:, order], channels=names), x, ("b", "put in order by name")
    if what == "gain":
        return it.but(x=np.round(x / 2) * 2, gain=2.0), np.round(x / 2) * 2, None
    if what == "length":
        return it.but(x=x[:40]), x[:40], None
    if what == "dtype":
        return it.but(extra={"dtype": "f8" if kind == "mat" else "i2"}), x, None
    if what == "count":
        return it.but(x=x[:, :9], channels=it.channels[:9], units=("uV",) * 9), None, ("9",)
    if what == "same":
        return it, x, None
    position = int(what)
    names = tuple("other" if i == position else name for i, name in enumerate(it.channels))
    return it.but(channels=names), None, ("other", f"c{position}", str(position + 1))


CHANGES = [
    *("same", "rate", "rounding", "millivolts", "micro", "one unit", "order", "gain", "length"),
    *("dtype", "count", "0", "8", "9"),
    *(pytest.param(str(i), marks=pytest.mark.slow) for i in range(1, 8)),
]


@pytest.fixture(scope="module", params=[*KINDS, pytest.param("recording", marks=pytest.mark.slow)])
def study(request, tmp_path_factory):
    """A store of one recording, and a sequence of its windows."""
    folder = tmp_path_factory.mktemp(request.param)
    first = piece()
    source = in_memory(first)
    if request.param != "recording":
        write(folder / "first", request.param, [first])
        source = folder / "first"
    store = convert(source, folder / "first.zarr")
    assert (store.channels, store.units, store.rate_hz) == (
        list(first.channels),
        ["uV"] * 10,
        10.0,
    )
    return request.param, first, store


def stored(tmp_path, kind, first, other, way):
    """Return the rows of the other recording in a store that it came into in some way."""
    target = tmp_path / "all.zarr"
    if kind == "recording":
        first, other = in_memory(first), in_memory(other)
        if way == "append":
            convert(first, target).close()
            return rows_of(zarrts.append(target, other, kind="ragged", progress=False), "b")
        return rows_of(convert([first, other], target), "b")
    if way == "folder":
        write(tmp_path / "in", kind, [first, other])
        return rows_of(convert(tmp_path / "in", target), "b")
    if way == "table":
        return rows_of(
            convert(None, target, table=tabled(tmp_path / "in", kind, [first, other])), "b"
        )
    write(tmp_path / "one", kind, [first])
    write(tmp_path / "two", kind, [other])
    convert(tmp_path / "one", target).close()
    return rows_of(zarrts.append(target, tmp_path / "two", kind="ragged", progress=False), "b")


@pytest.mark.parametrize("what", CHANGES)
def test_convert_table_and_append_say_the_same(study, tmp_path, what):
    kind, first, _ = study
    other, expected, said = changed(what, kind)
    for way in ("folder", "append") if kind == "recording" else ("folder", "table", "append"):
        place = tmp_path / way
        place.mkdir()
        if expected is not None:
            found = stored(place, kind, first, other, way)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4, err_msg=way)
            continue
        with pytest.raises(SourceError) as error:
            stored(place, kind, first, other, way)
        assert all(text in str(error.value) for text in said), (way, str(error.value))


@pytest.mark.parametrize("what", CHANGES)
def test_predict_like_and_evaluate_say_the_same(study, tmp_path, what):
    pytest.importorskip("keras", exc_type=ImportError)
    kind, _, store = study
    other, expected, said = changed(what, kind)
    source = in_memory(other)
    if kind != "recording":
        write(tmp_path / "new", kind, [other])
        source = tmp_path / "new"
    windows = store.samples.windows(WINDOW, stride=WINDOW, label="last")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        new = convert(source, tmp_path / "new.zarr")
        with zarrts.ZarrSequence(windows, batch_size=2, stats=None, shuffle=False) as seq:
            of_store = new.samples.windows(WINDOW, stride=WINDOW, label="last")
            is_moved = what in ("order", "millivolts")
            for act in (
                lambda: seq.like(of_store).close(),
                lambda: zarrts.predict(Probe(), of_store, like=seq, progress=False),
            ):
                if expected is None or is_moved:
                    with pytest.raises(SampleError) as refusal:
                        act()
                    texts = said if expected is None else ("predict puts that in order",)
                    if what != "count":
                        assert all(text in str(refusal.value) for text in texts)
                else:
                    act()
            if kind == "recording":
                return
            if expected is None:
                with pytest.raises(SourceError) as error:
                    zarrts.predict(Probe(), source, like=seq, progress=False)
                if what not in ("count", *map(str, range(10))):
                    assert all(text in str(error.value) for text in said)
                return
            found = zarrts.predict(Probe(), source, like=seq, progress=False)
    naive = expected[: len(expected) // WINDOW * WINDOW].reshape(-1, WINDOW, 10).mean(axis=1)
    np.testing.assert_allclose(found.values, naive, rtol=1e-5, atol=1e-2)
    texts = [str(it.message) for it in seen if issubclass(it.category, UserWarning)]
    if said is None:
        assert texts == []
    else:
        assert len(texts) == 1
        assert all(text in texts[0] for text in said)
