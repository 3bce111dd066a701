"""Formats of other packages: found by their entry point, read as our own, refused if broken."""

import sys

import numpy as np
import pytest

import zarrts
from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources.formats import registry

TOY = '''
import contextlib

import numpy as np

from zarrts.sources import ByteLayout, Contents, Description, Format, StridedRows
from zarrts.sources.rows.files import opened


@contextlib.contextmanager
def open_toy(file):
    """A line "toy ROWS RATE CHANNEL...", then float32 (rows, channels), then int8 (rows,)."""
    with opened(file.path, file.origin) as (stream, stamp):
        word, n_rows, rate, *channels = stream.readline().decode().split()
        start = stream.tell()
    shape = (int(n_rows), len(channels))
    places = {
        "x": (start, np.dtype("<f4"), shape),
        "y": (start + 4 * shape[0] * shape[1], np.dtype("i1"), shape[:1]),
    }

    def reader(name, role, options):
        offset, dtype, shape = places[name]
        return StridedRows(stamp, offset, ByteLayout(dtype, shape, tuple(range(len(shape)))), name)

    yield Contents(
        names=("x", "y"),
        found="a toy file",
        shape=lambda name: places[name][2],
        summary=lambda name: f"{name} {places[name][2]}",
        reader=reader,
        description=lambda name, options: Description(
            channels=tuple(channels), units=None, rate_hz=float(rate)
        ),
    )


FORMAT = Format(suffixes=(".toy",), open=open_toy)
BAD_SUFFIX = Format(suffixes=("toy",), open=open_toy)
TAKEN = Format(suffixes=(".npz",), open=open_toy)
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return what installs the package toy-format, with an entry point, for one test."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registry.formats.cache_clear()

    def install(entry="zarrts_toy:FORMAT"):
        folder = tmp_path / "site" / "toy_format-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-format\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[zarrts.formats]\ntoy = {entry}\n")
        (tmp_path / "site" / "zarrts_toy.py").write_text(TOY)

    yield install
    registry.formats.cache_clear()
    sys.modules.pop("zarrts_toy", None)


def write_toy(path, n_rows, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n_rows, 2)).astype("<f4"), rng.integers(0, 3, n_rows).astype("i1")
    path.write_bytes(f"toy {n_rows} 50 Fz Cz\n".encode() + x.tobytes() + y.tobytes())
    return x, y


def test_a_format_of_another_package_is_converted_as_our_own(package, tmp_path):
    package()
    (tmp_path / "in").mkdir()
    written = {
        name: write_toy(tmp_path / "in" / f"{name}.toy", 30, i) for i, name in enumerate("ab")
    }
    with zarrts.convert(
        tmp_path / "in", tmp_path / "a.zarr", kind="dense", progress=False
    ) as store:
        assert (store.subjects, store.channels, store.rate_hz) == (["a", "b"], ["Fz", "Cz"], 50)
        x, y = store.samples.load()
        np.testing.assert_array_equal(x, np.concatenate([it[0] for it in written.values()]))
        np.testing.assert_array_equal(y, np.concatenate([it[1] for it in written.values()]))


def test_without_the_package_its_files_are_of_another_kind(package, tmp_path):
    write_toy(tmp_path / "a.toy", 3, 0)
    with pytest.raises(SourceError, match=r"no \.npy or .*: 1 \.toy"):
        sources.find(tmp_path / "*.toy")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("zarrts_toy:GONE", "cannot be loaded (AttributeError: "),
        ("zarrts_gone:FORMAT", "cannot be loaded (ModuleNotFoundError: "),
        ("zarrts_toy:open_toy", "is not a zarrts.sources.Format but function"),
        ("zarrts_toy:BAD_SUFFIX", "has the suffixes ('toy',), which have to be in lower case"),
        ("zarrts_toy:TAKEN", "is for .npz files, which another format reads already"),
    ],
)
def test_a_broken_package_is_named_in_one_error(package, tmp_path, entry, said):
    package(entry)
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3, 1)), y=[0, 1])
    with pytest.raises(SourceError) as caught:
        sources.find(tmp_path / "a.npz")
    assert str(caught.value).startswith("the file format 'toy' of the package toy-format ")
    assert said in str(caught.value) and "uninstall" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "suffixes", "lacking"),
    [
        ("zarrts_toy:FORMAT", (".toy",), ""),
        ("zarrts_toy:TAKEN", (".npz",), ".npz files, which another format reads already"),
        ("zarrts_toy:GONE", (), "cannot be loaded (AttributeError: "),
    ],
)
def test_formats_of_other_packages_are_listed_and_broken_ones_too(
    package, entry, suffixes, lacking
):
    package(entry)
    (added,) = [it for it in registry.readable() if it.package]
    assert (added.name, added.suffixes, added.package) == ("toy", suffixes, "toy-format")
    assert lacking in added.lacking and bool(lacking) == bool(added.lacking)
