"""The list of versions in a root: what it says on random lives, and who reads it."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrts
from zarrts.storage import schema, versions
from zarrts.storage.metadata import root_bytes
from zarrts.storage.store import header_of, read_header
from zarrts.storage.versions import Version, entries_of, versions_of

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

Naive = list[tuple[int, list[str], int | None]]


def lived(steps: list[tuple[str, int]]) -> Naive:
    """Return all versions that can be opened after appends, removals and joinings, naively."""
    parts = ["0"]
    alive: Naive = [(1, ["0"], 2)]
    for number, (what, at) in enumerate(steps, 2):
        at, newest = at % len(parts), number
        if what == "append":
            parts = [*parts, str(newest)]
        elif what == "rewrite":  # a subject was removed from it
            parts = [*parts[:at], str(newest), *parts[at + 1 :]]
        elif what == "drop" and len(parts) > 1:
            parts = [*parts[:at], *parts[at + 1 :]]
        elif what == "join":
            parts = [*parts[:at], str(newest)]
        alive = [it for it in alive if {*it[1]} <= {*parts}]
        alive.append((number, parts, None if number % 3 else number))
    return alive


steps = st.lists(
    st.tuples(
        st.sampled_from(["append"] * 12 + ["rewrite", "drop", "join", "nothing"]),
        st.integers(0, 200),
    ),
    max_size=150,
)


@given(steps)
def test_a_list_says_what_was_listed_whatever_the_life_of_a_store(
    steps: list[tuple[str, int]],
) -> None:
    naive = lived(steps)
    every = tuple(Version.of(*it) for it in naive)
    spelled = [{"version": number, "segments": names, "n_classes": n} for number, names, n in naive]
    said = json.loads(json.dumps(entries_of(every)))
    if len(every) <= 64:
        assert said == spelled
    for document in (said, spelled):  # stores of earlier versions spell out any number
        found = versions_of(document)
        assert [(it.version, [*it.segments], it.n_classes) for it in found] == naive
        assert found == every
        assert hash(found) == hash(every)
        assert json.loads(json.dumps(entries_of(found))) == said
        assert pickle.loads(pickle.dumps(found)) == found


def test_many_versions_are_said_and_kept_in_as_much_as_there_are_parts() -> None:
    sizes = []
    for n in (200, 400, 800):
        every = tuple(Version.of(1 + i, map(str, range(1 + i)), 2) for i in range(n))
        said = json.dumps(entries_of(every))
        found = versions_of(json.loads(said))
        sizes.append((len(said) / n, len(pickle.dumps(found)) / n))
        assert len({id(it.names) for it in found}) == 1
    assert max(sizes) < tuple(1.1 * it for it in min(sizes))


def test_versions_are_equal_where_all_they_say_is() -> None:
    one = Version.of(3, ["0", "1"], 2)
    assert one == Version(3, 2, ("0", "1", "4"), 2)
    for other in (Version.of(4, "01", 2), Version.of(3, "01", None), Version.of(3, "02", 2)):
        assert one != other
    assert one != "3"


@pytest.mark.parametrize("shared", [-1, 2])
def test_a_version_that_shares_what_there_is_not_is_refused(shared: int) -> None:
    with pytest.raises(ValueError, match=f"version 2 shares {shared} of 1 segments"):
        versions_of(
            [
                {"version": 1, "shared": 0, "segments": ["0"], "n_classes": 2},
                {"version": 2, "shared": shared, "segments": ["1"], "n_classes": 2},
            ]
        )


# Stores ------------------------------------------------------------------------------------------


def person(number: int) -> zarrts.Recording:
    x = np.random.default_rng(number).standard_normal((2, 3, 1)).astype("f4")
    return zarrts.Recording(f"p{number:03d}", x, np.arange(2) % 2)


def ours(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "zarr.json").read_bytes())["attributes"]["zarrts"]
    return found


def subjects(path: Path, version: int | None = None) -> list[str]:
    with zarrts.open(path, version=version) as store:
        assert len(store.samples.load()[0]) == store.n_samples
        return store.subjects


@pytest.fixture(name="few")
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let four versions be many, or a test would append for a minute."""
    monkeypatch.setattr(versions, "_FEW", 3)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of seven versions, as it is written where these are few."""
    path = tmp_path_factory.mktemp("grown") / "a.zarr"
    zarrts.convert([person(0)], path, progress=False).close()
    for number in range(1, 7):
        zarrts.append(path, person(number), progress=False).close()
    return path


def names(start: int, stop: int) -> list[str]:
    return [f"p{it:03d}" for it in range(start, stop)]


def test_few_versions_are_written_as_ever(grown: Path) -> None:
    said = ours(grown)
    assert said["schema"] == 1
    assert "needs" not in said
    assert said["versions"] == [
        {"version": 1 + it, "segments": [*map(str, range(1 + it))], "n_classes": 2}
        for it in range(7)
    ]


@pytest.mark.usefixtures("few")
def test_a_store_that_spells_out_many_versions_opens_and_grows(grown: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(grown, tmp_path / "a.zarr"))
    assert subjects(path, 3) == names(0, 3)
    zarrts.append(path, person(7), progress=False).close()
    said = ours(path)
    assert (said["schema"], said["needs"]) == (2, ["many versions"])
    assert said["versions"][6:] == [
        {"version": 7, "shared": 6, "segments": ["6"], "n_classes": 2},
        {"version": 8, "shared": 7, "segments": ["7"], "n_classes": 2},
    ]
    for version in range(1, 9):
        assert subjects(path, version) == names(0, version)
    with pytest.raises(zarrts.ZarrtsError, match="no version 9; there is 1, 2, 3, 4, 5, 6, 7, 8"):
        zarrts.open(path, version=9)
    assert zarrts.verify(path, deep=True).problems == ()


@pytest.mark.usefixtures("few")
def test_many_versions_through_the_life_of_a_store(grown: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(grown, tmp_path / "a.zarr"))
    for number in (7, 8):
        zarrts.append(path, person(number), progress=False).close()
    zarrts.remove(path, subject="p005")
    kept = [*names(0, 5), *names(6, 9)]
    assert [it["version"] for it in ours(path)["versions"]] == [1, 2, 3, 4, 5, 10]
    assert ours(path)["versions"][-1]["shared"] == 5
    zarrts.append(path, person(9), progress=False).close()
    expected = {**{it: names(0, it) for it in range(1, 6)}, 10: kept, 11: [*kept, "p009"]}
    for version, known in expected.items():
        assert subjects(path, version) == known
    with pytest.raises(zarrts.ZarrtsError, match="Version 7 is gone: a subject was removed"):
        zarrts.open(path, version=7)
    assert zarrts.verify(path, deep=True).problems == ()
    # As another program would write it, which knows nothing of its layout.
    content = (path / "zarr.json").read_bytes()
    document = json.loads(content)
    assert root_bytes(document) == content
    assert header_of(path, json.dumps(document, indent=2).encode()) == read_header(path)
    (path / "zarr.json").write_text(json.dumps(document, indent=2))
    zarrts.append(path, person(10), progress=False).close()
    assert subjects(path, 11) == expected[11]
    with pytest.raises(zarrts.ZarrtsError, match="ends 7 earlier versions"):
        zarrts.compact(path, progress=False)
    zarrts.compact(path, drop_versions=True, progress=False)
    said = ours(path)
    assert (said["schema"], len(said["versions"])) == (1, 1)
    assert "needs" not in said
    assert subjects(path) == [*expected[11], "p010"]
    assert zarrts.verify(path, deep=True).problems == ()


@pytest.mark.usefixtures("few")
def test_versions_of_zarrts_that_know_few_versions_refuse_the_store(
    grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(grown, tmp_path / "a.zarr"))
    zarrts.append(path, person(7), progress=False).close()
    monkeypatch.setattr(schema, "FEATURES", schema.FEATURES - {"many versions"})
    with pytest.raises(zarrts.ZarrtsError, match=r"needs many versions, .* upgrade zarrts"):
        zarrts.open(path)
    with pytest.raises(zarrts.ZarrtsError, match=r"needs many versions, .* upgrade zarrts"):
        zarrts.append(path, person(8), progress=False)


@pytest.mark.usefixtures("few")
def test_a_store_of_packed_parts_needs_both(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"

    def counted(number: int) -> zarrts.Recording:
        counts = np.random.default_rng(number).integers(-900, 900, (40, 30, 2))
        return zarrts.Recording(f"p{number:03d}", (counts * 0.1).astype("f4"), np.arange(40) % 2)

    zarrts.convert([counted(0)], path, progress=False).close()
    assert ours(path)["needs"] == ["packed"]
    for number in range(1, 5):
        zarrts.append(path, counted(number), progress=False).close()
    assert ours(path)["needs"] == ["many versions", "packed"]
    assert read_header(path).needs == ("packed",)
    zarrts.remove(path, subject="p001")
    assert ours(path)["needs"] == ["packed"]
    zarrts.append(path, counted(5), progress=False).close()
    with zarrts.open(path) as store:
        assert [it.needs for it in store.header.segments] == [("packed",)] * 5
    assert zarrts.verify(path, deep=True).problems == ()
