"""Stores that were made of several parts, and what is in them, computed naively."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Study

import zarrts
from zarrts.conversion import run as conversion

# Of samples of shape (6, 3), five are in a chunk and fifteen in a shard.
SMALL: dict[str, Any] = {"chunk": 400, "shard": 1200, "progress": False}
TIGHT, LARGE, SHUFFLES = "3KiB", "1MiB", (True, "global", False)
# Of each part of a study: later ones have some that earlier ones have not.
CLASSES: dict[str, Any] = {
    "text": (["wake", "N2"], ["N1", "wake"], ["REM", "N1"]),
    "int": ([3, 7], [-2, 3], [9, 7]),
    "bool": ([False, True],) * 3,
    "one_hot": [np.eye(4, dtype=np.uint8)[i : i + 2] for i in range(3)],
}
AnyArray = np.ndarray[Any, Any]


def people(
    folder: Path, sizes: dict[str, int], kind: str = "int", part: int = 0, **options: Any
) -> Study:
    """Save one file a subject, of `sizes[subject]` samples each, and return what was saved."""
    rng = np.random.default_rng([part, *folder.name.encode()])
    folder.mkdir(parents=True)
    study = Study(folder, [], [], list(sizes))
    for name, size in sizes.items():
        x = rng.standard_normal((size, *options.get("shape", (6, 3)))) * 100
        study.x.append(x.astype(options.get("dtype", "float32")))
        y = rng.standard_normal(size).astype(np.float32)
        if kind != "float":
            y = np.array(CLASSES[kind][part])[rng.integers(0, 2, size)]
        study.y.append(y)
        np.savez(folder / f"{name}.npz", x=study.x[-1], y=study.y[-1])
    return study


def three(folder: Path, kind: str = "int") -> list[Study]:
    """Return three parts of a study, whose ends fall into the middle of chunks and shards."""
    return [
        people(folder / "0", {"ann": 17, "bea": 4, "cid": 21}, kind, 0),
        people(folder / "1", {"dan": 33, "eve": 8}, kind, 1),
        people(folder / "2", {"fay": 3}, kind, 2),
    ]


def grown(folder: Path, parts: Sequence[Study], **options: Any) -> Path:
    """Convert the first part of a study, append the others, and return the store."""
    path = folder / "a.zarr"
    zarrts.convert(parts[0].folder, path, **SMALL | options).close()
    for part in parts[1:]:
        zarrts.append(path, part.folder, progress=False).close()
    return path


def whole(parts: Sequence[Study], what: str = "all_x") -> AnyArray:
    """Return `all_x`, `all_y` or `subject` of several parts."""
    return np.concatenate([getattr(part, what) for part in parts])


def naive(parts: Sequence[Study], kind: str = "int") -> tuple[AnyArray, AnyArray, list[Any] | None]:
    """Return labels as they are stored, their codes, and the classes; later parts' come last."""
    y = whole(parts, "all_y")
    if kind == "float":
        return y, y, None
    if kind == "one_hot":
        return y, y.argmax(1), [0, 1, 2, 3]
    classes: list[Any] = []
    for part in parts:
        classes += [it for it in sorted(set(part.all_y.tolist())) if it not in classes]
    codes = np.array([classes.index(it) for it in y.tolist()])
    return codes if kind == "text" else y, codes, classes


def files_of(root: Path) -> dict[str, Path]:
    """Return all files; a lock that a killed process left is nobody's."""
    files = (it for it in sorted(root.rglob("*")) if it.is_file() and it.name != "writing.lock")
    return {it.relative_to(root).as_posix(): it for it in files}


def tree(root: Path) -> dict[str, bytes]:
    return {key: it.read_bytes() for key, it in files_of(root).items()}


def times(root: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written again."""
    return {key: (it.stat().st_mtime_ns, it.stat().st_ino) for key, it in files_of(root).items()}


def snapshot(batches: Any) -> list[tuple[AnyArray, ...]]:
    return [(it.x.copy(), it.y.copy(), it.sample_id.copy()) for it in batches]


def assert_same(one: Sequence[Any], other: Sequence[Any]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


def assert_holds(path: Path, parts: Sequence[Study], version: int | None = None) -> None:
    """The store holds exactly these parts, with their labels, which are numbers."""
    with zarrts.open(path, version=version) as store:
        assert_same([store.samples.load()], [(whole(parts), naive(parts)[0])])
        assert store.subjects == [name for it in parts for name in it.names]
        assert store.class_names == naive(parts)[2]
    assert zarrts.verify(path, deep=True).problems == ()


def copy_as_killed(path: Path, copy: Path) -> None:
    """Copy a store, as a kill at this moment leaves it, while threads of it go on writing.

    The journal comes first, as it names a file only once that is there; what gets its last name
    between listing and copying is left out, as if it had not been begun.
    """
    copy.mkdir(parents=True)
    for journal in path.glob("*.journal"):
        shutil.copy2(journal, copy)

    def copy_if_there(source: str, target: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(source, target)

    ignored = shutil.ignore_patterns("*.journal")
    shutil.copytree(path, copy, ignore=ignored, copy_function=copy_if_there, dirs_exist_ok=True)


def run_with(prepared: Any, at: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Append; call `at` with 0, 1, ... at each block of rows, and around publishing."""
    moments = iter(range(1000))

    def around(real: Callable[..., Any], *args: Any, **options: Any) -> Any:
        at(next(moments))
        result = real(*args, **options)
        at(next(moments))
        return result

    for name in ("publish", "sweep"):
        monkeypatch.setattr(conversion, name, partial(around, getattr(conversion, name)))
    conversion.run(prepared, lambda n_rows: at(next(moments)))
