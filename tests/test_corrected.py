"""A source that is corrected in place is noticed, whatever its fingerprint says."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrts
from zarrts.conversion import comparison
from zarrts.conversion import run as conversion
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare, prepare_append
from zarrts.errors import PlanError
from zarrts.sources.study import fingerprint

AnyArray = np.ndarray[Any, Any]
SAMPLE = 305  # far from all blocks that a fingerprint looks at


@pytest.fixture(autouse=True)
def few_bytes_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make files of a few kilobytes large ones."""
    monkeypatch.setattr(fingerprint, "BLOCK_BYTES", 64)
    monkeypatch.setattr(fingerprint, "ROW_BLOCK_BYTES", 64)


def inputs(seed: int) -> AnyArray:
    return np.random.default_rng(seed).normal(size=(600, 8, 3)).astype("f4")


def corrected(x: AnyArray) -> AnyArray:
    x = x.copy()
    x[SAMPLE] = 0
    return x


def save_npy(folder: Path, name: str, x: AnyArray, y: AnyArray) -> None:
    np.save(folder / f"{name}_x.npy", x)
    np.save(folder / f"{name}_y.npy", y)


def save_npz(folder: Path, name: str, x: AnyArray, y: AnyArray) -> None:
    # A zip has a crc32 of each array before it and at the end of the file, where fingerprints look:
    # others stand there.
    others = np.zeros(4000)
    np.savez(folder / f"{name}.npz", a=others, x=x, y=y, z=others)


def save_hdf5(folder: Path, name: str, x: AnyArray, y: AnyArray) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file["x"], file["y"] = x, y


def save_objects(folder: Path, name: str, x: AnyArray, y: AnyArray) -> None:
    np.save(folder / f"{name}.npy", {"x": x, "y": y}, allow_pickle=True)  # type: ignore[arg-type]


SAVE = [save_npy, save_npz, save_hdf5, save_objects]
Save = Callable[[Path, str, AnyArray, AnyArray], None]
LABELS = np.arange(600) % 3


@pytest.fixture(params=SAVE)
def save(request: pytest.FixtureRequest) -> Save:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def folder(tmp_path: Path, save: Save) -> Path:
    folder = tmp_path / "subjects"
    folder.mkdir()
    for seed in range(2):
        save(folder, f"s{seed}", inputs(seed), LABELS)
    return folder


def convert(source: Any, target: Path, **options: Any) -> Any:
    sizes = {"chunk": "2KiB", "shard": "32KiB", "progress": False, "workers": 2}
    return zarrts.convert(source, target, **{**sizes, **options})


def x_of(store: Any) -> AnyArray:
    with store:
        return store.samples.load()[0]  # type: ignore[no-any-return]


def tree(root: Path) -> dict[str, bytes]:
    return {
        it.relative_to(root).as_posix(): it.read_bytes() for it in root.rglob("*") if it.is_file()
    }


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Origins of the recordings that are compared as a whole from now on."""
    origins: list[str] = []
    real = comparison.StoredRecording.compare

    def compare(self: Any, recording: Any) -> Any:
        origins.append(recording.origin)
        return real(self, recording)

    monkeypatch.setattr(comparison.StoredRecording, "compare", compare)
    return origins


# Files -----------------------------------------------------------------------------------------


def test_a_file_corrected_in_place_is_refused_by_name_and_replaced_with_overwrite(
    folder: Path, tmp_path: Path, save: Save
) -> None:
    target = tmp_path / "a.zarr"
    with convert(folder, target) as store:
        before = store.header.write_id
    sizes = {it: it.stat().st_size for it in folder.iterdir()}
    seen = prepare(folder, tmp_path / "b.zarr", ConvertOptions()).recordings
    save(folder, "s0", corrected(inputs(0)), LABELS)
    assert {it: it.stat().st_size for it in folder.iterdir()} == sizes
    again = prepare(folder, tmp_path / "b.zarr", ConvertOptions()).recordings
    # Or there would be nothing to be tested.
    assert [it.fingerprint for it in again] == [it.fingerprint for it in seen]
    for _ in range(2):
        with pytest.raises(PlanError, match=r"other sources or options \(s0\S*: changed\).*--over"):
            convert(folder, target)
    with convert(folder, target, overwrite=True) as store:
        assert store.header.write_id != before
        x = x_of(store)
    np.testing.assert_array_equal(x, np.concatenate([corrected(inputs(0)), inputs(1)]))
    np.testing.assert_array_equal(x_of(convert(folder, target)), x)
    assert zarrts.verify(target, deep=True, sources=str(folder)).problems == ()


def test_a_label_corrected_in_place_is_noticed(tmp_path: Path) -> None:
    y = np.random.default_rng(0).normal(size=600)  # numbers, which are not read before
    folder = tmp_path / "subjects"
    folder.mkdir()
    save_npy(folder, "s0", inputs(0), y)
    convert(folder, tmp_path / "a.zarr").close()
    y[SAMPLE] = 0
    save_npy(folder, "s0", inputs(0), y)
    with pytest.raises(PlanError, match=r"s0_x\.npy: changed"):
        convert(folder, tmp_path / "a.zarr")


def test_what_is_only_touched_is_compared_once(
    folder: Path, tmp_path: Path, compared: list[str]
) -> None:
    target = tmp_path / "a.zarr"
    convert(folder, target).close()
    before = tree(target)
    convert(folder, target).close()
    assert compared == []
    first = sorted(folder.iterdir())[0]
    os.utime(first, (1, 1))
    convert(folder, target).close()
    assert len(compared) == 1
    assert compared[0].startswith("s0")
    convert(folder, target).close()
    assert len(compared) == 1
    after = tree(target)
    assert after.pop("manifests/stamps.json") != before.pop("manifests/stamps.json")
    assert after == before


@pytest.mark.parametrize("damage", ["gone", "damaged", "other"])
def test_without_the_stamps_all_is_compared_once(
    folder: Path, tmp_path: Path, compared: list[str], damage: str
) -> None:
    target = tmp_path / "a.zarr"
    convert(folder, target).close()
    stamps = target / "manifests" / "stamps.json"
    written = stamps.read_bytes()
    if damage == "gone":
        stamps.unlink()
    else:
        stamps.write_bytes(b"[1" if damage == "damaged" else b"[1, 2]")
    for _ in range(2):
        convert(folder, target).close()
        assert sorted(it[:2] for it in compared) == ["s0", "s1"]
        assert stamps.read_bytes() == written


def test_a_copy_of_the_study_gives_the_same_bytes_but_for_the_stamps(
    folder: Path, tmp_path: Path, compared: list[str]
) -> None:
    convert(folder, tmp_path / "a.zarr").close()
    copy = shutil.copytree(folder, tmp_path / "copy" / "subjects", copy_function=shutil.copyfile)
    convert(copy, tmp_path / "b.zarr").close()
    one, other = tree(tmp_path / "a.zarr"), tree(tmp_path / "b.zarr")
    assert one.pop("manifests/stamps.json") != other.pop("manifests/stamps.json")
    assert one == other
    assert compared == []
    convert(copy, tmp_path / "a.zarr").close()
    assert len(compared) == 2


def test_a_store_that_nobody_can_write_to_is_compared_each_time(
    folder: Path, tmp_path: Path, compared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.zarr"
    convert(folder, target).close()
    (target / "manifests" / "stamps.json").unlink()

    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(conversion, "_write_stamps", refuse)
    for n_compared in (2, 4):
        convert(folder, target).close()
        assert len(compared) == n_compared


def test_an_appended_file_corrected_in_place_is_named(
    folder: Path, tmp_path: Path, save: Save
) -> None:
    target, more = tmp_path / "a.zarr", tmp_path / "more"
    more.mkdir()
    convert(folder, target).close()
    save(more, "s7", inputs(7), LABELS)
    zarrts.append(target, more, progress=False).close()
    zarrts.append(target, more, progress=False).close()
    save(more, "s7", corrected(inputs(7)), LABELS)
    with pytest.raises(
        PlanError, match=r"holds these already, but s7\S* changed since.*zarrts remove"
    ):
        zarrts.append(target, more, progress=False)
    # As the message says.
    zarrts.remove(target, subject="s7")
    x = x_of(zarrts.append(target, more, progress=False))
    np.testing.assert_array_equal(x[1200:], corrected(inputs(7)))


def test_a_dry_run_reads_nothing_but_says_that_it_holds_them(
    folder: Path, tmp_path: Path, compared: list[str]
) -> None:
    target = tmp_path / "a.zarr"
    convert(folder, target).close()
    (target / "manifests" / "stamps.json").unlink()
    prepared = prepare(folder, target, ConvertOptions(chunk_bytes=2048, shard_bytes=32768))
    assert prepared.is_done
    assert prepared.touched == (0, 1)
    assert compared == []


# Arrays and functions ---------------------------------------------------------------------------


def test_an_array_that_was_changed_is_noticed_each_time(tmp_path: Path) -> None:
    x, target = inputs(0), tmp_path / "a.zarr"
    recording = zarrts.Recording("s0", x, LABELS)
    convert([recording], target).close()
    convert([recording], target).close()
    x[SAMPLE] = 0
    with pytest.raises(PlanError, match=r"recording 1 \(s0\): changed"):
        convert([recording], target)
    np.testing.assert_array_equal(x_of(convert([recording], target, overwrite=True)), x)
    convert([recording], target).close()


def test_functions_are_sampled(tmp_path: Path, compared: list[str]) -> None:
    class Rows:
        shape, dtype = (600, 8, 3), np.dtype("f4")

        def __call__(self, start: int, stop: int) -> AnyArray:
            return inputs(0)[start:stop]

    recording = zarrts.Recording("s0", Rows(), LABELS)
    for _ in range(2):
        convert([recording], tmp_path / "a.zarr").close()
    assert compared == []


def stop_after(n_rows: int) -> Callable[[int], None]:
    done = 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        if done >= n_rows:
            raise KeyboardInterrupt

    return on_rows


def test_an_array_that_was_changed_before_a_conversion_goes_on_is_written_whole(
    tmp_path: Path,
) -> None:
    x, target = inputs(0), tmp_path / "a.zarr"
    recording = zarrts.Recording("s0", x, LABELS)
    options = ConvertOptions(chunk_bytes=2048, shard_bytes=32768, workers=1)
    with pytest.raises(KeyboardInterrupt):
        conversion.run(prepare([recording], target, options), stop_after(500))
    x[SAMPLE] = 0
    np.testing.assert_array_equal(x_of(convert([recording], target)), x)


# Overwriting ------------------------------------------------------------------------------------


def test_overwrite_writes_a_complete_store_anew_and_goes_on_where_it_was_stopped(
    tmp_path: Path,
) -> None:
    folder, target = tmp_path / "subjects", tmp_path / "a.zarr"
    folder.mkdir()
    for seed in range(3):
        save_npy(folder, f"s{seed}", inputs(seed), LABELS)
    with convert(folder, target) as store:
        first = store.header
    sizes = {"chunk_bytes": 2048, "shard_bytes": 32768, "workers": 1}
    prepared = prepare(folder, target, ConvertOptions(**sizes, overwrite=True))
    assert not prepared.is_done
    with pytest.raises(KeyboardInterrupt):
        conversion.run(prepared, stop_after(900))
    assert zarrts.open(target).version == 1
    n_rows: list[int] = []
    again = prepare(folder, target, ConvertOptions(**sizes, overwrite=True))
    conversion.run(again, n_rows.append)
    # What was finished counts at once.
    assert n_rows[0] > 500
    with zarrts.open(target) as store:
        assert store.version == 2
        assert store.header.write_id == first.write_id  # of the same content
        np.testing.assert_array_equal(
            x_of(store), np.concatenate([inputs(seed) for seed in range(3)])
        )
    assert sorted(it.name for it in target.iterdir() if it.is_dir()) == ["1", "manifests"]


def test_the_write_id_covers_the_whole_content(tmp_path: Path) -> None:
    ids = []
    for name, x in (("a", inputs(0)), ("b", inputs(0)), ("c", corrected(inputs(0)))):
        with convert([zarrts.Recording("s0", x, LABELS)], tmp_path / f"{name}.zarr") as store:
            ids.append(store.header.write_id)
    assert ids[0] == ids[1] != ids[2]


def test_prepare_append_finds_what_was_appended(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    convert([zarrts.Recording("s0", inputs(0), LABELS)], target).close()
    new = zarrts.Recording("s1", inputs(1), LABELS)
    zarrts.append(target, new, progress=False).close()
    prepared = prepare_append(new, target, ConvertOptions())
    assert prepared.is_done
    assert prepared.touched == (0,)  # an array has no stamp
