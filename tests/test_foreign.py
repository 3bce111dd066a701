"""Other programs may add to a store's folder: what is ours is checked, and the rest stays."""

import json
import warnings

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

import zarrts
from zarrts.cli import main


def recordings(names="ab", seed=0):
    rng = np.random.default_rng(seed)
    return [
        zarrts.Recording(name, rng.normal(size=(20, 8, 3)).astype("f4"), np.arange(20) % 2)
        for name in names
    ]


def by_xarray(path):
    xarray = pytest.importorskip("xarray")
    xarray.Dataset({"p": ("sample", np.zeros(40))}).to_zarr(path, group="predictions", mode="a")


def attribute(path):
    zarr.open_group(path, mode="r+").attrs["licence"] = "CC0"


def array(path):
    zarr.create_array(path / "mine", shape=(3,), dtype="f4")[:] = 1


def consolidated(path):
    array(path)
    zarr.consolidate_metadata(path)


def several(path):
    for add in (by_xarray, attribute, consolidated):
        add(path)


def by_hand(path):
    root = json.loads((path / "zarr.json").read_text())
    root["note"] = {"by": "hand"}
    root["attributes"]["a"] = {"zarrts": 1}
    (path / "zarr.json").write_text(json.dumps(root))


WAYS = [by_xarray, attribute, array, consolidated, several, by_hand]


@pytest.fixture(params=WAYS, ids=[it.__name__ for it in WAYS])
def touched(request, tmp_path):
    """A store to which another program added something, and its samples."""
    path = tmp_path / "a.zarr"
    with zarrts.convert(recordings(), path, progress=False) as store:
        samples = store.samples.load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        request.param(path)
    return path, samples, request.param


def same(path, samples):
    with zarrts.open(path) as store:
        return all(
            np.array_equal(one, other)
            for one, other in zip(store.samples.load(), samples, strict=True)
        )


def test_everything_goes_on(touched):
    path, samples, add = touched
    assert same(path, samples)
    found = zarrts.verify(path, deep=True)
    assert found.problems == ()
    assert bool(found.unnamed) == (add is not by_hand or True)
    done = CliRunner().invoke(main, ["verify", str(path)])
    assert done.exit_code == 0 and "is not part of the store." in done.output
    assert CliRunner().invoke(main, ["info", str(path)]).exit_code == 0
    before = {it: it.read_bytes() for it in path.rglob("*") if it.is_file()}
    assert zarrts.repair(path, recordings()).problems == ()
    with zarrts.convert(recordings(), path, progress=False):
        pass  # complete already
    assert before == {it: it.read_bytes() for it in path.rglob("*") if it.is_file()}


def test_an_attribute_is_shown_by_name(tmp_path):
    path = tmp_path / "a.zarr"
    zarrts.convert(recordings(), path, progress=False).close()
    attribute(path)
    assert zarrts.verify(path).unnamed == ("zarr.json: the attribute 'licence'",)


def test_what_was_added_survives_append_and_remove(touched):
    path, _, add = touched
    with zarrts.append(path, recordings("c", 1), progress=False) as store:
        assert store.subjects == ["a", "b", "c"]
    zarrts.remove(path, subject="b")
    with zarrts.open(path) as store:
        assert store.subjects == ["a", "c"]
        assert np.array_equal(store.samples.load()[0][20:], recordings("c", 1)[0].x)
    assert zarrts.verify(path, deep=True).problems == ()
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    if add in (attribute, several):
        assert attributes["licence"] == "CC0"
    if add in (array, consolidated, several):
        assert zarr.open_array(path / "mine", mode="r")[:].tolist() == [1, 1, 1]
    if add in (by_xarray, several):
        assert zarr.open_group(path, mode="r")["predictions/p"].shape == (40,)


@pytest.mark.parametrize("key", ["rate_hz", "version", "y_name"])
def test_what_is_ours_is_still_checked(touched, key):
    path, _, _ = touched
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["zarrts"][key] = 7
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(zarrts.StoreError, match="does not match its checksum"):
        zarrts.open(path)


def test_the_metadata_of_our_arrays_are_still_checked(touched):
    path, _, _ = touched
    root = json.loads((path / "zarr.json").read_text())
    root["consolidated_metadata"]["metadata"]["0/x"]["shape"][0] = 41
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(zarrts.StoreError, match="does not match its checksum"):
        zarrts.open(path)
