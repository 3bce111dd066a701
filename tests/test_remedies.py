"""Remedies that messages name, tried on the states that they are named for."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Study
from grown_stores import people, tree

import zarrts
from zarrts.cli import main
from zarrts.conversion import run as conversion
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare
from zarrts.errors import PlanError, SourceError, StoreError, ZarrtsError
from zarrts.storage.metadata import root_bytes

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

SMALL: dict[str, Any] = {"chunk": 400, "shard": 1200, "progress": False, "workers": 2}
DAMAGE = ["zarr.json", "manifests/1.json", "0/table/mean/c/0/0", "0/x/c/0/0/0", "0/checksum/x/c/0"]
OVERWRITE = "convert again with overwrite=True"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return people(tmp_path_factory.mktemp("remedies") / "0", {"ann": 17, "bea": 4})


@pytest.fixture(scope="module")
def made(study: Study) -> Path:
    target = study.folder.parent / "a.zarr"
    zarrts.convert(study.folder, target, **SMALL).close()
    return target


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "study.zarr")


def flip(file: Path, at: float = 0.5) -> None:
    content = bytearray(file.read_bytes())
    content[int(at * (len(content) - 1))] ^= 0xFF
    file.write_bytes(content)


def assert_whole(path: Path, study: Study) -> None:
    assert zarrts.verify(path, deep=True, sources=str(study.folder)).problems == ()
    assert zarrts.verify(path).unnamed == ()
    with zarrts.open(path) as store:
        np.testing.assert_array_equal(store.samples.load()[0], np.concatenate(study.x))


# A store that is damaged -------------------------------------------------------------------------


@pytest.mark.parametrize("key", DAMAGE)
def test_overwrite_writes_a_damaged_store_anew(path: Path, study: Study, key: str) -> None:
    flip(path / key)
    zarrts.convert(study.folder, path, overwrite=True, **SMALL).close()
    assert_whole(path, study)


@pytest.mark.parametrize("key", DAMAGE)
def test_what_repair_cannot_mend_is_mended_as_its_message_says(
    path: Path, study: Study, key: str
) -> None:
    flip(path / key)
    try:
        zarrts.repair(path, str(study.folder))
    except StoreError as error:
        assert OVERWRITE in str(error)
        assert str(error).count(OVERWRITE) == 1
        zarrts.convert(study.folder, path, overwrite=True, **SMALL).close()
    assert_whole(path, study)


@pytest.mark.parametrize("at", [0.01, 0.2, 0.4, 0.6, 0.8, 0.99])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_a_root_that_does_not_open_is_replaced_and_never_called_complete(
    path: Path, study: Study, at: float, how: str
) -> None:
    root = path / "zarr.json"
    if how == "flipped":
        flip(root, at)
    else:
        root.write_bytes(root.read_bytes()[: int(at * root.stat().st_size) if how == "cut" else 0])
    before = tree(path)
    with pytest.raises(StoreError):
        zarrts.open(path)
    said = CliRunner().invoke(main, ["convert", str(study.folder), str(path), "--chunk", "400"])
    assert said.exit_code == 1
    assert "complete" not in said.output
    assert tree(path) == before
    zarrts.convert(study.folder, path, overwrite=True, **SMALL).close()
    assert_whole(path, study)
    with zarrts.open(path) as store:
        assert store.version == 2  # one that nobody has open


def test_a_table_that_is_damaged_is_never_called_complete(path: Path, study: Study) -> None:
    flip(path / "0/table/mean/c/0/0")
    with pytest.raises(StoreError, match=OVERWRITE):
        zarrts.convert(study.folder, path, **SMALL)
    zarrts.convert(study.folder, path, overwrite=True, **SMALL).close()
    assert_whole(path, study)


def test_overwriting_a_damaged_store_goes_on_where_it_was_stopped(path: Path, study: Study) -> None:
    flip(path / "zarr.json")
    options = ConvertOptions(chunk_bytes=400, shard_bytes=1200, workers=1, overwrite=True)
    n_rows: list[int] = []

    def stop(count: int) -> None:
        n_rows.append(count)
        if sum(n_rows) > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversion.run(prepare(str(study.folder), path, options), stop)
    del n_rows[:]
    conversion.run(prepare(str(study.folder), path, options), n_rows.append)
    assert n_rows[0] in (6, 15)  # one of the two shards, which was finished
    assert_whole(path, study)


def test_what_is_not_ours_or_newer_is_not_replaced(path: Path, study: Study) -> None:
    other = path.parent / "other.zarr"
    other.mkdir()
    (other / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"')
    with pytest.raises(PlanError, match="It is not replaced; choose another name"):
        zarrts.convert(study.folder, other, overwrite=True, **SMALL)
    document = json.loads((path / "zarr.json").read_bytes())
    document["attributes"]["zarrts"]["schema"] = 99
    (path / "zarr.json").write_bytes(root_bytes(document))
    before = tree(path)
    with pytest.raises(PlanError, match=r"schema 99.*upgrade zarrts.*It is not replaced"):
        zarrts.convert(study.folder, path, overwrite=True, **SMALL)
    assert tree(path) == before


# A store that has grown or shrunk ---------------------------------------------------------------


def refusal(study: Study, path: Path) -> str:
    before = tree(path)
    with pytest.raises(PlanError) as caught:
        zarrts.convert(study.folder, path, **SMALL)
    assert tree(path) == before
    return str(caught.value)


def test_after_an_append_the_same_line_says_what_was_added_and_to_open_it(
    path: Path, study: Study, tmp_path: Path
) -> None:
    more = people(tmp_path / "1", {"cid": 9}, part=1)
    zarrts.append(path, more.folder, progress=False).close()
    said = refusal(study, path)
    assert re.search(
        r"is version 2 of a store of these sources: since it was made, cid\.npz appended\. Open it",
        said,
    )
    assert "overwrite" not in said
    opened = re.search(r"zarrts\.open\('(.*)'\)", said)
    assert opened is not None
    with zarrts.open(opened[1]) as store:
        assert store.subjects == ["ann", "bea", "cid"]


def test_after_a_removal_the_same_line_brings_nobody_back(path: Path, study: Study) -> None:
    zarrts.remove(path, subject="bea")
    said = refusal(study, path)
    assert "is version 2 of a store of these sources: since it was made, a subject removed." in said
    assert "overwrite" not in said


def test_after_both_the_same_line_says_both(path: Path, study: Study, tmp_path: Path) -> None:
    more = people(tmp_path / "1", dict.fromkeys("cdefg", 2), part=1)
    zarrts.append(path, more.folder, progress=False).close()
    zarrts.remove(path, subject="ann")
    said = refusal(study, path)
    assert "c.npz, d.npz, e.npz and 2 more appended and a subject removed. Open it" in said


def test_other_sources_and_options_are_still_told_apart(
    path: Path, study: Study, tmp_path: Path
) -> None:
    more = people(tmp_path / "1", {"cid": 9}, part=1)
    zarrts.append(path, more.folder, progress=False).close()
    assert "cid.npz: no longer there" not in refusal(study, path)
    other = people(tmp_path / "2", {"ann": 5})
    assert "ann.npz: changed" in refusal(other, path)
    with pytest.raises(PlanError, match=r"rate_hz was None and is 100\.0"):
        zarrts.convert(study.folder, path, rate_hz=100, **SMALL)


def test_one_trial_of_another_length_is_named_with_both_lengths(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def save(name: str, lengths: list[int]) -> Path:
        x = [rng.normal(size=(n, 2)).astype("f4") for n in lengths]
        path = tmp_path / f"{name}.npy"
        np.save(path, {"X": x, "y": np.arange(len(x)) % 3}, allow_pickle=True)  # type: ignore[arg-type]
        return path

    target = tmp_path / "a.zarr"
    zarrts.convert([str(save(f"s{n}", [384] * 6)) for n in range(2)], target, **SMALL).close()
    with pytest.raises(SourceError) as caught:
        zarrts.append(target, save("s2", [384, 384, 383, 384]), progress=False)
    assert "1 problem" in str(caught.value)
    assert re.search(
        r"s2\.npy\[2\]: a series of shape \(383, 2\), but each sample of the store has \(384, 2\)",
        str(caught.value),
    )
    with pytest.raises(ZarrtsError, match="is ragged, but the store is dense"):
        zarrts.append(target, save("s3", [300, 301]), progress=False)
