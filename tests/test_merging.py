"""Stores as sources: a store of itself is the same store, and several become one."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import zarrts
from zarrts.cli import main
from zarrts.errors import SourceError
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.location import locate
from zarrts.storage.store import read_header

RNG = np.random.default_rng(5)
SMALL = {"chunk": 400, "shard": 1200, "progress": False, "workers": 2}


def convert(source, target, **options):
    return zarrts.convert(source, target, **{**SMALL, **options})


def dense(folder, names, n_rows=(9, 14), classes=("W", "N1"), dtype="f4", **more):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        n = n_rows[i % len(n_rows)]
        x = RNG.normal(size=(n, 6, 2)).astype(dtype)
        y = np.array(classes)[np.arange(n) % len(classes)]
        np.savez(folder / f"{name}.npz", x=x, y=y, ch_names=["C3", "C4"], fs=100, **more)
    return folder


def ragged(folder, names, labels_per="recording"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        x = RNG.normal(size=(11 + 7 * i, 2)).astype("f4")
        y = np.array(["a", "b"])[RNG.integers(0, 2, len(x) if labels_per == "row" else 1)]
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return folder


def table_of(path):
    root = locate(path)
    header = read_header(root)
    return header, read_tables(root, header)["0"]


def assert_same(one, other):
    """Compare values, labels, what they mean, subjects and provenance of two stores."""
    header, table = table_of(one)
    again, other_table = table_of(other)
    for name in ("subject", "source", "fingerprint"):
        assert getattr(table, name) == getattr(other_table, name)
    if table.packing and other_table.packing:
        packing, other_packing = table.packing[""], other_table.packing[""]
        np.testing.assert_array_equal(packing.gain, other_packing.gain)
        np.testing.assert_array_equal(packing.offset, other_packing.offset)
        assert header.segments[0].x.packed == again.segments[0].x.packed
    assert not table.packing or other_table.packing
    for name in ("starts", "source_starts", "label_counts"):
        np.testing.assert_array_equal(getattr(table, name), getattr(other_table, name))
    assert header.labels == again.labels
    assert (header.kind, header.labels_per) == (again.kind, again.labels_per)
    assert replace(header.description, by_hand=frozenset()) == replace(
        again.description, by_hand=frozenset()
    )
    with zarrts.open(one) as first, zarrts.open(other) as second:
        assert first.dtype == second.dtype
        for x, y in zip(first.samples.load(), second.samples.load(), strict=True):
            if isinstance(x, dict):
                for key, values in x.items():
                    np.testing.assert_array_equal(values, y[key])
            else:
                for mine, theirs in zip(x, y, strict=True):
                    np.testing.assert_array_equal(mine, theirs)


def counts(folder, offset=0.0, **more):
    """Write what a converter of 16 bits gave, once with a gap in what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(("ann", "bob")):
        k = RNG.integers(-900, 900, (9 + 5 * i, 6, 2))
        x = (k * 0.1 + offset * (1 + i)).astype("f4")
        if more and i:
            x[3, 2] = np.nan
        np.savez(folder / f"{name}.npz", x=x, y=np.arange(len(x)) % 2)
    return folder


MAKERS = {
    "packed": (counts, {}),
    "packed with NaN": (lambda folder: counts(folder, 3.5, nan=True), {}),
    "rounded": (lambda folder: dense(folder, ["ann", "bob"]), {"pack": 0.01}),
    "dense": (lambda folder: dense(folder, ["ann", "bob"]), {}),
    "float64": (lambda folder: dense(folder, ["ann", "bob"], dtype="f8"), {"dtype": "keep"}),
    "class order": (
        lambda folder: dense(folder, ["ann", "bob"]),
        {"class_names": ["W", "REM", "N1"], "units": "uV"},
    ),
    "numbers": (lambda folder: dense(folder, ["ann", "bob"], classes=(3, 1, 2)), {}),
    "bool": (lambda folder: dense(folder, ["ann", "bob"], classes=(True, False)), {}),
    "ages": (lambda folder: dense(folder, ["ann", "bob"], classes=(20.5, 31.0)), {}),
    "missing": (lambda folder: dense(folder, ["ann", "bob"], classes=("W", "")), {}),
    "one hot": (lambda folder: dense(folder, ["ann", "bob"], classes=np.eye(3)), {}),
    "unlabelled": (lambda folder: dense(folder, ["ann", "bob"]), {"y": False}),
    "axes": (
        lambda folder: dense(folder, ["ann", "bob"]),
        {"axes": ("sample", "channel", "time"), "override": ()},
    ),
    "ragged": (lambda folder: ragged(folder, ["ann", "bob", "cid"]), {}),
    "rows": (lambda folder: ragged(folder, ["ann", "bob"], "row"), {"kind": "ragged"}),
    "flat": (
        lambda folder: ragged(folder, ["ann", "bob"], "row"),
        {"kind": "dense"},
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_store_converted_from_itself_is_the_same_store(tmp_path, kind):
    make, options = MAKERS[kind]
    folder = make(tmp_path / "files")
    if kind == "axes":
        for path in folder.iterdir():
            with np.load(path) as file:
                np.savez(path, x=file["x"], y=file["y"])
    convert(folder, tmp_path / "a.zarr", **options).close()
    convert(tmp_path / "a.zarr", tmp_path / "b.zarr").close()
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    found = [
        zarrts.verify(tmp_path / name, deep=True, sources=str(folder)).problems
        for name in ("a.zarr", "b.zarr")
    ]
    assert found[1] == found[0]
    # And again: it is complete; and what is written depends on nothing else.
    convert(tmp_path / "a.zarr", tmp_path / "b.zarr").close()
    convert(tmp_path / "b.zarr", tmp_path / "c.zarr").close()
    contents = [(tmp_path / name / "zarr.json").read_bytes() for name in ("b.zarr", "c.zarr")]
    assert contents[0] == contents[1]


def test_a_store_of_values_becomes_one_of_counts_and_back(tmp_path):
    convert(counts(tmp_path / "files"), tmp_path / "a.zarr", pack=False).close()
    convert(tmp_path / "a.zarr", tmp_path / "b.zarr").close()
    convert(tmp_path / "b.zarr", tmp_path / "c.zarr", pack=False).close()
    loaded = []
    for name in ("a.zarr", "b.zarr", "c.zarr"):
        with zarrts.open(tmp_path / name) as store:
            loaded.append(store.samples.load()[0])
    assert table_of(tmp_path / "b.zarr")[1].packing
    np.testing.assert_array_equal(loaded[0], loaded[1])
    assert_same(tmp_path / "a.zarr", tmp_path / "c.zarr")


def test_several_arrays_of_labels(tmp_path):
    folder = dense(tmp_path / "files", ["ann"], n_rows=(8,), age=np.arange(8.0) + 20)
    convert(folder, tmp_path / "a.zarr", y=["y", "age"]).close()
    convert(tmp_path / "a.zarr", tmp_path / "b.zarr").close()
    assert_same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_stores_are_merged_and_classes_meet_by_their_names(tmp_path):
    convert(dense(tmp_path / "1", ["ann", "bob"]), tmp_path / "a.zarr", class_names=["W", "N1"])
    convert(dense(tmp_path / "2", ["cid"], classes=("REM", "N1", "W")), tmp_path / "b.zarr")
    places = [str(tmp_path / name) for name in ("a.zarr", "b.zarr", "both.zarr")]
    done = CliRunner().invoke(main, ["convert", *places, "--chunk", "1KiB", "--shard", "4KiB"])
    assert done.exit_code == 0, done.output
    with (
        zarrts.open(places[0]) as one,
        zarrts.open(places[1]) as two,
        zarrts.open(places[2]) as both,
    ):
        assert both.subjects == ["ann", "bob", "cid"]
        assert both.class_names == ["W", "N1", "REM"]
        x, y = both.samples.load()
        np.testing.assert_array_equal(
            x, np.concatenate([one.samples.load()[0], two.samples.load()[0]])
        )
        names = [np.array(it.class_names)[it.samples.load()[1]] for it in (one, two)]
        assert np.array(both.class_names)[y].tolist() == np.concatenate(names).tolist()
        assert [it.source for it in both.recordings] == ["ann.npz", "bob.npz", "cid.npz"]
        assert (both.channels, both.rate_hz) == (["C3", "C4"], 100)


def test_subjects_of_one_name_are_asked_about(tmp_path):
    convert(dense(tmp_path / "1", ["ann", "bob"]), tmp_path / "a.zarr")
    convert(dense(tmp_path / "2", ["bob"]), tmp_path / "b.zarr")
    source = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    with pytest.raises(SourceError, match=r"a\.zarr, b\.zarr: have a subject bob each"):
        convert(source, tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr").exists()
    with convert(source, tmp_path / "one.zarr", subject="[^/]+$") as store:
        assert store.subjects == ["ann", "bob"]
    with convert(source, tmp_path / "two.zarr", subject=".+") as store:
        assert store.subjects == ["a.zarr/ann", "a.zarr/bob", "b.zarr/bob"]
    dense(tmp_path / "3", ["ann"])
    with pytest.raises(SourceError, match=r"ann\.npz: a store among the sources has a subject ann"):
        convert([tmp_path / "a.zarr", tmp_path / "3"], tmp_path / "c.zarr")


def test_a_store_and_files_and_a_pattern_of_stores(tmp_path):
    convert(dense(tmp_path / "1", ["ann"]), tmp_path / "stores" / "a.zarr")
    convert(dense(tmp_path / "2", ["bob"]), tmp_path / "stores" / "b.zarr")
    dense(tmp_path / "3", ["cid"])
    source = [str(tmp_path / "stores" / "*.zarr"), tmp_path / "3"]
    with convert(source, tmp_path / "c.zarr") as store:
        assert store.subjects == ["cid", "ann", "bob"]
    zarrts.append(tmp_path / "stores" / "a.zarr", tmp_path / "stores" / "b.zarr", progress=False)
    with zarrts.open(tmp_path / "stores" / "a.zarr") as store:
        assert store.subjects == ["ann", "bob"] and store.version == 2
    with convert(tmp_path / "stores" / "a.zarr", tmp_path / "d.zarr") as store:
        assert store.subjects == ["ann", "bob"] and store.version == 1


def test_what_cannot_be_merged_is_said(tmp_path):
    convert(dense(tmp_path / "1", ["ann"]), tmp_path / "a.zarr")
    convert(ragged(tmp_path / "2", ["bob", "cid"]), tmp_path / "b.zarr")
    with pytest.raises(SourceError, match="Nothing was converted"):
        convert([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "c.zarr")
    with pytest.raises(SourceError, match=r"axes= is about files, but a\.zarr"):
        convert(tmp_path / "a.zarr", tmp_path / "c.zarr", axes=("sample", "time", "channel"))
    with pytest.raises(SourceError, match="is source and target"):
        convert(tmp_path / "a.zarr", tmp_path / "a.zarr")
    with pytest.raises(SourceError, match=r"ann\.npz and ann\.npz: the same content"):
        convert(tmp_path / "a.zarr", tmp_path / "copy.zarr").close()
        source = [tmp_path / "a.zarr", tmp_path / "copy.zarr"]
        convert(source, tmp_path / "c.zarr", subject=".+")
    shard = tmp_path / "a.zarr" / "0" / "x" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 255
    shard.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.zarr: .*0/x"):
        convert(tmp_path / "a.zarr", tmp_path / "c.zarr")
    (tmp_path / "a.zarr" / "zarr.json").write_text('{"attributes": {"zarrts": {}}}')
    with pytest.raises(SourceError, match=r"a\.zarr.*is damaged"):
        convert(tmp_path / "a.zarr", tmp_path / "c.zarr")


def test_channels_are_chosen_and_a_bucket_will_do(tmp_path):
    folder = dense(tmp_path / "1", ["ann", "bob"])
    convert(folder, "memory://merging/a.zarr").close()
    convert("memory://merging/a.zarr", "memory://merging/b.zarr", channels=["C4"]).close()
    with zarrts.open("memory://merging/b.zarr") as store:
        assert store.channels == ["C4"]
        x, _ = store.samples.load()
    with np.load(folder / "ann.npz") as file:
        np.testing.assert_array_equal(x[:9], file["x"][..., 1:])


@pytest.mark.slow
def test_workers_in_other_processes_write_the_same(tmp_path):
    convert(dense(tmp_path / "1", ["ann", "bob"]), tmp_path / "a.zarr").close()
    convert(tmp_path / "a.zarr", tmp_path / "b.zarr").close()
    convert(tmp_path / "a.zarr", tmp_path / "c.zarr", scheduler="processes").close()
    contents = [(tmp_path / name / "zarr.json").read_bytes() for name in ("b.zarr", "c.zarr")]
    assert contents[0] == contents[1]
