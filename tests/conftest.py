"""Studies made of random numbers, and fixtures that find what a test left open."""

import contextlib
import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loader_threads import no_threads_stay

pytest.register_assert_rewrite("grown_stores")

with contextlib.suppress(ImportError):  # the environments of other readers do without it
    import hypothesis

    # A busy machine is slow: that is no failure of an example, nor of what draws it.
    hypothesis.settings.register_profile(
        "zarrts", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("zarrts")

_PROC = Path("/proc/self/fd")
CLASS_TEXTS = ("wake", "N1", "N2", "REM")


@dataclass(frozen=True)
class Study:
    """A folder with one `.npz` file a subject, and what is in the files.

    Attributes
    ----------
    folder : Path
    x, y : list of array
        Inputs and labels of each subject, as saved.
    names : list of str
        Subjects, in the order of the store ("s00", "s01", ...); the files are `<name>.npz`.
    """

    folder: Path
    x: list[np.ndarray[Any, Any]]
    y: list[np.ndarray[Any, Any]]
    names: list[str]

    @property
    def all_x(self) -> np.ndarray[Any, Any]:
        """Inputs of every subject, one after the other."""
        return np.concatenate(self.x)

    @property
    def all_y(self) -> np.ndarray[Any, Any]:
        """Labels of every subject, one after the other."""
        return np.concatenate(self.y)

    @property
    def subject(self) -> np.ndarray[Any, Any]:
        """Name of the subject of every sample."""
        return np.repeat(np.array(self.names), [len(x) for x in self.x])


def make_study(
    folder: Path,
    *,
    sizes: Sequence[int],
    sample_shape: tuple[int, ...] = (6, 3),
    dtype: str = "float32",
    labels: str = "int",
    seed: int = 0,
) -> Study:
    """Save one file a subject, with `sizes[i]` samples each, and return what was saved.

    Parameters
    ----------
    labels : "int" (-2, 3, 7), "text", "bool", "float" or "one_hot" (4 columns, uint8)
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(folder, [], [], [f"s{i:02d}" for i in range(len(sizes))])
    for name, size in zip(study.names, sizes, strict=True):
        x = (rng.standard_normal((size, *sample_shape)) * 100).astype(dtype)
        codes = rng.integers(0, {"int": 3, "bool": 2}.get(labels, 4), size)
        y = {
            "int": lambda codes=codes: np.array([-2, 3, 7])[codes],
            "text": lambda codes=codes: np.array(CLASS_TEXTS)[codes],
            "bool": lambda codes=codes: codes == 1,
            "float": lambda size=size: rng.standard_normal(size).astype(np.float32),
            "one_hot": lambda codes=codes: np.eye(4, dtype=np.uint8)[codes],
        }[labels]()
        np.savez(folder / f"{name}.npz", x=x, y=y)
        study.x.append(x)
        study.y.append(y)
    return study


@pytest.fixture(name="make_study", scope="session")
def make_study_fixture() -> Callable[..., Study]:
    """The function `make_study`, for tests that ask for it by name."""
    return make_study


def _open_files() -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        try:
            target = os.readlink(entry)
        except OSError:  # the descriptor of this very listing
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            found[target] += 1
    return found


@pytest.fixture(scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Thousands of fsyncs take minutes, and nothing here cuts the power."""
    from zarrts import system
    from zarrts.storage import journal

    with pytest.MonkeyPatch.context() as patch:
        for module in (system, journal):
            patch.setattr(module, "sync_file", lambda fd: None)
        patch.setattr(system, "sync_folder", lambda path: None)
        yield


@pytest.fixture(scope="module")
def no_waiting_for_buckets(no_waiting_for_the_disk: None) -> Iterator[None]:
    """Requests that fail are tried again at once."""
    from zarrts.buckets import bucket

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "FIRST_WAIT_S", 0.001)
        patch.setattr(bucket, "MAX_WAIT_S", 0.004)
        yield


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail if the test left threads of the loader or (on Linux) files open."""
    gc.collect()
    files = _open_files()
    yield
    gc.collect()
    assert no_threads_stay()
    left = _open_files() - files
    assert not left, f"left open: {sorted(left)}"


@pytest.fixture(scope="session")
def first_example() -> None:
    """Let Hypothesis note its generator, whose holder it would not see once that is frozen."""
    with contextlib.suppress(ImportError):
        from hypothesis import find, strategies

        find(strategies.none(), lambda it: it is None)


@pytest.fixture(scope="module", autouse=True)
def small_heap(first_example: None) -> None:
    """Spare `no_leaks`, which collects garbage twice a test, what was there before: Keras, most."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def sequence(no_leaks: None) -> Iterator[Callable[..., Any]]:
    """Make sequences that are closed in the end; then no thread and no file may be left."""
    from keras_models import SMALL

    from zarrts.keras.sequence import ZarrSequence

    made: list[Any] = []

    def make(samples: Any, batch_size: int = 16, memory: Any = SMALL, **options: Any) -> Any:
        made.append(ZarrSequence(samples, batch_size, memory=memory, **options))
        return made[-1]

    yield make
    for seq in made:
        seq.close()
