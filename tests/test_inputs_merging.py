"""Stores of several inputs as sources: of itself it is the same store, and several become one."""

from dataclasses import replace

import numpy as np
import pytest

import zarrts
from zarrts.errors import SourceError
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.location import locate
from zarrts.storage.store import read_header

SMALL = {"chunk": "2KiB", "shard": "8KiB", "progress": False}
COUNTED = 0.25


def values(rng, shape, *, counted=False):
    """Return float32, of a converter of 16 bits or not."""
    if counted:
        return (rng.integers(-900, 900, shape) * COUNTED).astype("f4")
    return rng.normal(size=shape).astype("f4")


def series(seed, seconds=12, rates=(8, 2), labels=None, counted=True, dtype="f4", **more):
    """Return a recording of inputs of some rates, and a value for all of it."""
    rng = np.random.default_rng(seed)
    x = {
        f"in{i}": values(rng, (round(seconds * rate), i + 1), counted=counted and i == 0)
        for i, rate in enumerate(rates)
    }
    x["age"] = np.array([20.0 + seed, 1.5], dtype)
    y = seed % 2 if labels is None else labels(rng, seconds)
    given = {"rate_hz": {f"in{i}": rate for i, rate in enumerate(rates)}}
    given["channels"] = {f"in{i}": [f"c{n}" for n in range(i + 1)] for i in range(len(rates))}
    given["units"] = {"in0": "uV"}
    return zarrts.Recording(f"s{seed}", x, y, **{**given, **more})


def rated(labels, rate):
    """Return a recording whose labels have a rate of their own."""
    it = series(labels, labels=lambda rng, seconds: rng.integers(0, 3, round(seconds * rate)))
    return replace(it, rate_hz={**it.rate_hz, "y": rate})


def of_samples(seed, n=7):
    rng = np.random.default_rng(seed)
    x = {
        "a": values(rng, (n, 5, 2), counted=True),
        "b": values(rng, (n, 3)),
        "age": np.array([20.0 + seed], "f4"),
    }
    return zarrts.Recording(f"s{seed}", x, rng.integers(0, 3, n))


def texts(rng, seconds):
    return np.array(["rest", "walk", ""])[rng.integers(0, 3, 2 * seconds)]


def several(rate):
    def labels(rng, seconds):
        n = round(rate * seconds)
        return {"stage": rng.integers(0, 3, n), "level": rng.normal(size=n)}

    return labels


def third(seed):
    """Return inputs whose rows are of three and four steps, with labels of one for each row."""
    it = series(seed, 12, (8, 6), lambda rng, seconds: rng.integers(0, 3, 2 * seconds))
    return replace(it, rate_hz={**it.rate_hz, "y": 2})


MAKERS = {
    "one label": ([series(1), series(2, 7)], {}),
    "values": ([series(1, counted=False), series(2, 7)], {"pack": False}),
    "float64": ([series(1, dtype="f8"), series(2, 7, dtype="f8")], {"dtype": "keep"}),
    "rounded": ([series(1, counted=False), series(2, 7)], {"pack": {"in1": 0.01}}),
    "labels of the slow input": ([series(1, labels=texts), series(2, 7, labels=texts)], {}),
    "labels of the fast input": ([rated(1, 8), rated(2, 8)], {}),
    "labels slower than a row": ([rated(1, 0.5), rated(2, 0.5)], {}),
    "labels of a rate of their own": ([rated(1, 4), rated(2, 4)], {}),
    "several labels": ([series(1, labels=several(2)), series(2, labels=several(2))], {}),
    "several labels, fast": ([series(1, labels=several(8)), series(2, labels=several(8))], {}),
    "odd rates": ([series(1, 12, (1 / 3, 1)), series(2, 9, (1 / 3, 1))], {}),
    "no rate is a row": ([third(1), third(2)], {}),
    "one rate": ([series(1, 9, (4, 4)), series(2, 7, (4, 4))], {}),
    "starts": ([series(1, start_s={"in1": 2.2}), series(2, 9)], {}),
    "gaps and a mask": (
        [
            series(1, gaps=[(16, 2.5), (40, 0.0)], mask=np.arange(96) % 31 == 0),
            series(2, 7, mask=np.arange(56) > 50),
        ],
        {},
    ),
    "samples": ([of_samples(1), of_samples(2, 1), of_samples(3)], {"kind": "dense"}),
    "one sample each": ([of_samples(1, 1), of_samples(2, 1)], {"kind": "dense"}),
    "a row each": ([series(1, 0.5), series(2, 1)], {}),
}


def what_is_there(path):
    """Return all that a store holds, but for how it is cut into chunks, and its labels' codes."""
    root = locate(path)
    header = read_header(root)
    table = read_tables(root, header)["0"]
    found = {
        "subject": table.subject,
        "source": table.source,
        "fingerprint": table.fingerprint,
        "starts": table.starts.tolist(),
        "groups": table.groups,
        "kind": header.kind,
        "labels": header.labels,
        "described": {
            name: replace(it, by_hand=frozenset())
            for name, it in header.description.of_inputs.items()
        },
        "steps": {name: it.steps for name, it in header.segments[0].inputs.items()},
        "dtypes": {name: it.spec.dtype for name, it in header.segments[0].inputs.items()},
        "packed": dict(header.segments[0].packed),
        "gains": {
            name: (it.gain.tolist(), it.offset.tolist()) for name, it in table.packing.items()
        },
        "label_steps": header.segments[0].label_steps,
        "gaps": None
        if table.gaps is None
        else [table.gaps.rows.tolist(), table.gaps.seconds.tolist()],
        "needs": header.segments[0].needs,
    }
    with zarrts.open(path) as store:
        reader = store.samples.selection.store.readers
        arrays = {it.name: it.readers[0] for it in reader.inputs}
        arrays |= {"y": reader.y[0]} | ({"mask": reader.mask[0]} if reader.mask[0] else {})
        content = {}
        for name, it in arrays.items():
            rows = np.zeros(
                (it.spec.n_chunks * it.spec.chunk_rows, *it.spec.row_shape), it.spec.dtype
            )
            for chunk in range(it.spec.n_chunks):
                start = chunk * it.spec.chunk_rows
                it.read_into(chunk, rows[start : start + it.spec.chunk_rows])
            content[name] = rows[: it.spec.shape[0]]
    return found, content


def assert_same(one, other):
    (mine, content), (theirs, again) = what_is_there(one), what_is_there(other)
    assert theirs == mine
    assert [*again] == [*content]
    for name, rows in content.items():
        np.testing.assert_array_equal(again[name], rows)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_store_converted_from_itself_is_the_same_store(tmp_path, kind):
    recordings, options = MAKERS[kind]
    zarrts.convert(recordings, tmp_path / "a.zarr", **{"kind": "ragged", **SMALL, **options})
    again = {**SMALL, "chunk": "1KiB"} | {it: options[it] for it in ("pack",) if it in options}
    zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **again)
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    # And again: it is complete.
    content = (tmp_path / "b.zarr" / "zarr.json").read_bytes()
    zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **again)
    assert (tmp_path / "b.zarr" / "zarr.json").read_bytes() == content


def loaded(samples):
    """Return x of each sample by input, and labels as what they are called."""
    x, y = samples.load()
    names = np.array([*samples.class_names, samples.class_names[0]])
    names[-1] = "" if names.dtype.kind == "U" else -1  # of a label that is missing, which is -1
    return x, [names[it].tolist() for it in y]


def assert_loads_as(store, recordings, path, **options):
    """Compare a store with one of recordings, sample by sample, in the order of subjects."""
    zarrts.convert(recordings, path, **{"kind": "ragged", **SMALL, **options})
    with zarrts.open(path) as wanted:
        assert sorted(store.subjects) == sorted(wanted.subjects)
        for subject in wanted.subjects:
            x, y = loaded(store.samples.select(subjects=[subject]))
            wanted_x, wanted_y = loaded(wanted.samples.select(subjects=[subject]))
            assert y == wanted_y
            assert [*x] == [*wanted_x]
            for name in x:
                for one, other in zip(x[name], wanted_x[name], strict=True):
                    np.testing.assert_array_equal(one, other)


def test_stores_of_several_inputs_are_merged_and_added_with_files_beside_them(tmp_path):
    swapped = series(3, 5)
    x = {**swapped.x, "in1": swapped.x["in1"][:, ::-1]}
    other = replace(swapped, x=x, channels={**swapped.channels, "in1": ["c1", "c0"]})
    zarrts.convert([series(1), series(2, 7)], tmp_path / "a.zarr", kind="ragged", **SMALL)
    zarrts.convert([other], tmp_path / "b.zarr", kind="ragged", **SMALL)
    stores = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    with zarrts.convert([*stores, series(4)], tmp_path / "c.zarr", **SMALL) as store:
        expected = [series(1), series(2, 7), swapped, series(4)]
        assert_loads_as(store, expected, tmp_path / "all.zarr")
        assert store.rate_hz == {"age": None, "in0": 8, "in1": 2}
    with zarrts.append(tmp_path / "a.zarr", tmp_path / "b.zarr", progress=False) as store:
        assert store.subjects == ["s1", "s2", "s3"]
        assert_loads_as(store, [series(1), series(2, 7), swapped], tmp_path / "three.zarr")
    with zarrts.convert(tmp_path / "a.zarr", tmp_path / "d.zarr", **SMALL) as store:  # of two parts
        assert_loads_as(store, [series(1), series(2, 7), swapped], tmp_path / "four.zarr")
    assert zarrts.append(tmp_path / "d.zarr", series(5), progress=False).subjects[-1] == "s5"


def test_steps_on_one_input_of_a_store_are_those_on_the_recordings(tmp_path):
    steps = {"in0": [("filter", 0.5, 3), ("resample", "4Hz")]}
    it = [series(1, labels=texts), series(2, 9, gaps=[(24, 2.0)], labels=texts)]
    zarrts.convert(it, tmp_path / "a.zarr", kind="ragged", **SMALL)
    with zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", steps=steps, **SMALL) as store:
        assert_loads_as(store, it, tmp_path / "c.zarr", steps=steps)
        assert store.header.segments[0].needs == ("gaps", "inputs", "steps")


def test_windows_and_batches_of_a_copy_are_those_of_the_store(tmp_path):
    zarrts.convert([rated(1, 8), rated(2, 8)], tmp_path / "a.zarr", kind="ragged", **SMALL)
    zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **SMALL)
    batches = []
    for name in ("a.zarr", "b.zarr"):
        with zarrts.open(tmp_path / name) as store:
            samples = store.samples.windows("1.5s", "0.5s", label="majority")
            batches.append([*samples.batches(5, shuffle=True, seed=3)])
    for one, other in zip(*batches, strict=True):
        np.testing.assert_array_equal(one.y, other.y)
        np.testing.assert_array_equal(one.sample_id, other.sample_id)
        for name in one.x:
            np.testing.assert_array_equal(one.x[name], other.x[name])


def test_stores_of_other_inputs_are_refused_by_name(tmp_path):
    zarrts.convert(series(1), tmp_path / "a.zarr", kind="ragged", **SMALL)
    zarrts.convert(series(2, rates=(8,)), tmp_path / "b.zarr", kind="ragged", **SMALL)
    with pytest.raises(SourceError, match=r"has the inputs age, in0, but .* in0, in1"):
        zarrts.convert([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "c.zarr", **SMALL)


def test_columns_of_the_study_that_splits_keep_whole_are_kept(tmp_path):
    rng = np.random.default_rng(1)
    table = tmp_path / "files.csv"
    lines = ["subject,x,y,site"]
    for i in range(2):
        np.save(tmp_path / f"x{i}.npy", values(rng, (4, 5, 2)))
        np.save(tmp_path / f"y{i}.npy", np.arange(4) % 2)
        lines.append(f"s{i},x{i}.npy,y{i}.npy,{'ab'[i]}")
    table.write_text("\n".join(lines))
    zarrts.convert(table, tmp_path / "a.zarr", **SMALL)
    zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **SMALL)
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")


# Stores that are after steps ---------------------------------------------------------------------

STEPS = {
    "in0": [("filter", 0.5, 3), ("clean", {"amplitude": 300})],
    "in1": [("map", "numpy:cbrt"), ("resample", "1Hz")],
}
MORE = {"in0": [("resample", "4Hz")]}


def steps_of(path):
    return [(it.get("input", ""), it["step"]) for it in read_header(locate(path)).steps]


def test_a_store_after_steps_is_the_same_store_and_they_are_taken_once(tmp_path):
    it = [series(1, labels=texts), series(2, 9, gaps=[(24, 2.0)], labels=texts)]
    zarrts.convert(it, tmp_path / "a.zarr", kind="ragged", steps=STEPS, **SMALL)
    zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **{**SMALL, "chunk": "1KiB"})
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert steps_of(tmp_path / "b.zarr") == steps_of(tmp_path / "a.zarr")
    both = {**STEPS, "in0": [*STEPS["in0"], ("stored", "float32"), *MORE["in0"]]}
    with zarrts.convert(tmp_path / "a.zarr", tmp_path / "c.zarr", steps=MORE, **SMALL) as store:
        assert_loads_as(store, it, tmp_path / "wanted.zarr", steps=both)
    assert steps_of(tmp_path / "c.zarr") == steps_of(tmp_path / "wanted.zarr")
    assert zarrts.verify(tmp_path / "c.zarr", deep=True).problems == ()
    study = zarrts.scan(tmp_path / "a.zarr")
    assert "not taken again on rows of stores: filter 0.5 to 3 Hz; clean" in str(study)
    study = study.on("in0").resample("4Hz")
    with zarrts.convert(study, tmp_path / "d.zarr", **SMALL) as store:
        assert store.rate_hz == {"age": None, "in0": 4, "in1": 1}
    assert_same(tmp_path / "c.zarr", tmp_path / "d.zarr")


def test_files_beside_a_store_after_steps_and_added_to_it_take_these_steps(tmp_path):
    it = [series(n, labels=texts) for n in (1, 2, 3)]
    zarrts.convert(it[0], tmp_path / "a.zarr", kind="ragged", steps=STEPS, **SMALL)
    zarrts.convert(it[1], tmp_path / "b.zarr", kind="ragged", steps=STEPS, **SMALL)
    with zarrts.convert([tmp_path / "a.zarr", it[2]], tmp_path / "c.zarr", **SMALL) as store:
        assert_loads_as(store, [it[0], it[2]], tmp_path / "two.zarr", steps=STEPS)
    with zarrts.append(tmp_path / "a.zarr", [tmp_path / "b.zarr", it[2]], progress=False) as store:
        assert_loads_as(store, it, tmp_path / "three.zarr", steps=STEPS)
    with zarrts.append(tmp_path / "c.zarr", it[1], progress=False) as store:
        assert store.subjects[-1] == "s2"


def test_rows_after_other_steps_are_not_mixed(tmp_path):
    zarrts.convert(series(1), tmp_path / "a.zarr", kind="ragged", **SMALL)
    zarrts.convert(series(2), tmp_path / "b.zarr", kind="ragged", steps=MORE, **SMALL)
    stores = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    with pytest.raises(SourceError, match="were made with other steps than each other") as error:
        zarrts.convert(stores, tmp_path / "c.zarr", **SMALL)
    assert "a.zarr (none), " in str(error.value)
    assert "b.zarr (in0: resample 4 Hz); rows that mean the same" in str(error.value)
    words = r"its store was made with other steps \(resample 4 Hz\) than those here \(none\)"
    with pytest.raises(SourceError, match=words):
        zarrts.append(*stores, progress=False)
    with pytest.raises(SourceError, match=r"channels= is about rows before the steps of b\.zarr"):
        zarrts.convert(stores[1], tmp_path / "c.zarr", channels={"in1": ["c0"]}, **SMALL)
    # Rows before them take them.
    with zarrts.append(*stores[::-1], progress=False) as store:
        assert_loads_as(store, [series(1), series(2)], tmp_path / "two.zarr", steps=MORE)


def only_here(rows):
    return rows * 2


def test_one_input_after_steps_whose_function_is_gone(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    x = values(rng, (300, 3))
    it = zarrts.Recording("s", x, 0, rate_hz=20, channels=["a", "b", "c"])
    steps = [("pick", ["c", "a"]), ("map", only_here), ("resample", "10Hz")]
    zarrts.convert(it, tmp_path / "a.zarr", steps=steps, kind="ragged", **SMALL)
    monkeypatch.delattr("test_inputs_merging.only_here")
    zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **SMALL)
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    more = [("pick", ["a"])]
    with zarrts.convert(tmp_path / "b.zarr", tmp_path / "c.zarr", steps=more, **SMALL) as store:
        assert store.channels == ["a"] and store.rate_hz == 10
        with zarrts.open(tmp_path / "a.zarr") as first:
            np.testing.assert_array_equal(
                store.samples.load()[0][0], first.samples.load()[0][0][:, 1:]
            )
    names = [name for _, name in steps_of(tmp_path / "c.zarr")]
    assert names == ["pick", "map", "resample", "stored", "pick"]


def test_the_files_of_a_store_with_further_steps_are_still_those(tmp_path):
    rng = np.random.default_rng(3)
    for name in ("ann", "bob"):
        (tmp_path / "files").mkdir(exist_ok=True)
        x = values(rng, (400, 2)).astype("f4")
        np.savez(tmp_path / "files" / f"{name}.npz", x=x, y=rng.integers(0, 2, 400), fs=20)
    files, steps = tmp_path / "files", [("pick", ["b", "a"]), ("filter", 1, 5)]
    more = {"kind": "ragged", "channels": ["a", "b"], "units": "uV", **SMALL}
    zarrts.convert(files, tmp_path / "a.zarr", steps=steps, **more)
    then = [("resample", "10Hz"), ("notch", 3)]
    zarrts.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", steps=then, **SMALL)
    assert zarrts.verify(tmp_path / "b.zarr", deep=True, sources=str(files)).problems == ()
    whole = {**more, "steps": [*steps, ("stored", "float32"), *then]}
    zarrts.convert(files, tmp_path / "c.zarr", **whole)
    assert_same(tmp_path / "b.zarr", tmp_path / "c.zarr")
    np.savez(tmp_path / "cid.npz", x=values(rng, (100, 2)), y=np.arange(100) % 2, fs=20)
    for name in ("b.zarr", "c.zarr"):
        zarrts.append(tmp_path / name, tmp_path / "cid.npz", progress=False)
    with zarrts.open(tmp_path / "b.zarr") as one, zarrts.open(tmp_path / "c.zarr") as other:
        for mine, theirs in zip(one.samples.load()[0], other.samples.load()[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)
