"""The work that all loaders are measured on: its source files, made once, and how to read them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT / "examples"))
sys.path.append(str(_ROOT))  # this copy of zarrts, where none is installed

from make_subjects import make_subjects  # noqa: E402

N_SAMPLES, N_SUBJECTS = 48_126, 13
BLOCK_SAMPLES = 512

__all__ = ["N_SAMPLES", "N_SUBJECTS", "Batch", "Source", "make_source", "make_subjects"]

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Source:
    """A folder of pairs `s01_x.npy`, `s01_y.npy`; the label of a sample is its id.

    Ids count through the files in order, so that the order in which a loader yields the samples
    can be read from the labels.
    """

    folder: Path

    @property
    def lengths(self) -> list[int]:
        """Samples of each subject."""
        return [len(np.load(path, mmap_mode="r")) for path in self._paths("x")]

    @property
    def n_samples(self) -> int:
        return sum(self.lengths)

    def subjects(self) -> Iterator[tuple[int, Iterator[Batch]]]:
        """Number of samples and blocks of each subject."""
        for n, x, y in zip(self.lengths, self._paths("x"), self._paths("y"), strict=True):
            yield n, _read_blocks(x, y)

    def blocks(self) -> Iterator[Batch]:
        """All samples in order, a few MiB at a time; no block spans two subjects."""
        for _, blocks in self.subjects():
            yield from blocks

    def _paths(self, part: str) -> list[Path]:
        return sorted(self.folder.glob(f"s*_{part}.npy"))


def _read_blocks(x_path: Path, y_path: Path) -> Iterator[Batch]:
    x, y = np.load(x_path, mmap_mode="r"), np.load(y_path)
    for start in range(0, len(y), BLOCK_SAMPLES):
        yield np.array(x[start : start + BLOCK_SAMPLES]), y[start : start + BLOCK_SAMPLES]


def make_source(folder: Path, n_samples: int, n_subjects: int, data: str = "int16grid") -> Source:
    """Write the source files into `folder`, with ids as labels.

    Values are 16-bit counts times a gain, as recorders save them; of "float32", each sample is
    multiplied by a number of its own, so that they lie on no grid.
    """
    make_subjects(folder, subjects=n_subjects, samples=n_samples, kind="npy-pairs", labels="int")
    first = 0
    for path in sorted(folder.glob("s*_y.npy")):
        n = len(np.load(path))
        np.save(path, np.arange(first, first + n, dtype=np.int64))
        if data == "float32":
            _leave_the_grid(path.with_name(path.name.replace("_y", "_x")), seed=first)
        first += n
    return Source(folder)


def _leave_the_grid(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.lib.format.open_memmap(path, "r+")
    for start in range(0, len(x), BLOCK_SAMPLES):
        some = x[start : start + BLOCK_SAMPLES]
        some *= rng.uniform(0.9, 1.1, (len(some), *(1 for _ in some.shape[1:]))).astype(x.dtype)
    x.flush()
