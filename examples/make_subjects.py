"""Make a study of synthetic subjects, of any size, in constant memory.

    python examples/make_subjects.py subjects/ --subjects 13 --gb 24
    python examples/make_subjects.py small/ --subjects 5 --samples 2000 --kind npy-pairs

The signals look like those of an amplifier: integer counts times a scale, as float32, with an
electrode offset for every channel of every subject, slow drift, noise, and a rhythm whose
frequency depends on the class. A small network that frees each sample of its offset learns the
classes, on subjects that it has never seen too. Blosc (lz4, shuffle) makes the files about 1.3
times smaller, as with real data.

One file per subject (`s01.npz` with `data` and `labels`, or `s01_x.npy` and `s01_y.npy`), of
unequal lengths. The same options always give the same bytes.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

STAGES = ("W", "N1", "N2", "N3", "R")
COUNTS_TO_MICROVOLT = np.float32(0.0488)
BLOCK_BYTES = 4 << 20
NOISE_COUNTS = 1 << 22
N_PHASES = 16
BOUT_SAMPLES = 24  # mean number of neighbouring samples of one class

Kind = Literal["npz", "npy-pairs"]
Labels = Literal["text", "int"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The properties that every sample of the study has in common."""

    time: int = 128
    channels: int = 32
    classes: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.time, self.channels, self.classes) < 1:
            raise ValueError(f"time, channels and classes must be at least 1, got {self}")

    @property
    def sample_bytes(self) -> int:
        """Size of one sample, as float32."""
        return 4 * self.time * self.channels


class Signals:
    """The parts that are made once and mixed for every block: noise and rhythms, in counts."""

    def __init__(self, recipe: Recipe) -> None:
        rng = np.random.default_rng([recipe.seed, 0])
        n_noise = max(NOISE_COUNTS, 4 * recipe.time * recipe.channels)
        noise = rng.standard_normal(n_noise, dtype=np.float32)
        self.noise: NDArray[np.float32] = np.rint(noise * 400)
        self.rhythms = _rhythms(recipe)
        self.amplitude = rng.uniform(150, 450, recipe.channels).astype(np.float32)
        self.recipe = recipe


def _rhythms(recipe: Recipe) -> NDArray[np.float32]:
    """One sine per class and phase: shape (classes, N_PHASES, time)."""
    cycles = 2.0 + 3.0 * np.arange(recipe.classes)[:, None, None]
    phase = np.arange(N_PHASES)[None, :, None] / N_PHASES
    at = np.arange(recipe.time)[None, None, :] / recipe.time
    return np.sin(2 * np.pi * (cycles * at + phase)).astype(np.float32)


def _lengths(n_samples: int, subjects: int, seed: int) -> list[int]:
    """Unequal numbers of samples that sum to `n_samples`, each at least 1."""
    if not 1 <= subjects <= n_samples:
        raise ValueError(f"{n_samples:,} samples cannot be shared by {subjects:,} subjects")
    share = np.random.default_rng([seed, 1]).uniform(0.6, 1.4, subjects)
    edges = np.rint(np.cumsum(share) / share.sum() * (n_samples - subjects)).astype(int)
    return [1 + int(n) for n in np.diff(edges, prepend=0)]


def _label_codes(n: int, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    """Classes in bouts, as sleep stages or activities come."""
    n_bouts = 2 + 2 * n // BOUT_SAMPLES
    length = rng.geometric(1 / BOUT_SAMPLES, n_bouts)
    while length.sum() < n:
        length = np.concatenate([length, rng.geometric(1 / BOUT_SAMPLES, n_bouts)])
    return np.repeat(rng.integers(0, recipe.classes, len(length)), length)[:n]


def _label_names(codes: NDArray[np.int64], recipe: Recipe, labels: Labels) -> NDArray[np.generic]:
    if labels == "int":
        return codes
    wide = STAGES if recipe.classes <= len(STAGES) else [f"c{k}" for k in range(recipe.classes)]
    return np.array(wide)[codes]


def _blocks(
    codes: NDArray[np.int64], signals: Signals, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """The samples of one subject, a few MiB at a time; each block reuses the memory of the last."""
    recipe = signals.recipe
    shape = (max(1, BLOCK_BYTES // recipe.sample_bytes), recipe.time, recipe.channels)
    counts = np.empty(shape, np.float32)
    # An electrode's offset is large against the signal, so sign and exponent hardly change.
    sign = rng.choice([-1.0, 1.0], recipe.channels)
    offset = sign * rng.uniform(4000, 16000, recipe.channels)
    gain = np.float32(rng.uniform(0.8, 1.25))
    drift = 0.0
    for start in range(0, len(codes), shape[0]):
        code = codes[start : start + shape[0]]
        block = counts[: len(code)]
        first = rng.integers(0, len(signals.noise) - block.size)
        block.reshape(-1)[:] = signals.noise[first : first + block.size]
        phase = rng.integers(0, N_PHASES, len(code))
        walk = drift + np.cumsum(rng.normal(0, 5, len(code)))
        drift = 0.99 * float(walk[-1])
        level = (walk[:, None] + offset).astype(np.float32)
        for i, sample in enumerate(block):
            sample += np.outer(signals.rhythms[code[i], phase[i]], signals.amplitude)
            sample += level[i]
        np.rint(block, out=block)
        np.multiply(block, COUNTS_TO_MICROVOLT * gain, out=block)
        yield block


def _npy_header(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bytes:
    out = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue()


def _write(file: BinaryIO, shape: tuple[int, ...], blocks: Iterator[NDArray[np.generic]]) -> None:
    for i, block in enumerate(blocks):
        if i == 0:
            file.write(_npy_header(shape, block.dtype))
        file.write(memoryview(np.ascontiguousarray(block).reshape(-1).view(np.uint8)))


def _write_npz(
    path: Path, members: dict[str, Callable[[BinaryIO], None]], compressed: bool
) -> None:
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, write in members.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # its fixed date keeps the bytes the same
            entry.compress_type = method
            with archive.open(entry, "w", force_zip64=True) as file:
                write(file)  # type: ignore[arg-type]


def _make_one(
    out: Path, index: int, n: int, signals: Signals, kind: Kind, labels: Labels, compressed: bool
) -> list[Path]:
    recipe = signals.recipe
    rng = np.random.default_rng([recipe.seed, 2, index])
    codes = _label_codes(n, recipe, rng)
    names = _label_names(codes, recipe, labels)
    shape = (n, recipe.time, recipe.channels)

    def write_x(file: BinaryIO) -> None:
        _write(file, shape, _blocks(codes, signals, rng))

    def write_y(file: BinaryIO) -> None:
        _write(file, names.shape, iter([names]))

    stem = f"s{index + 1:02d}"
    if kind == "npz":
        path = out / f"{stem}.npz"
        _write_npz(path, {"data": write_x, "labels": write_y}, compressed)
        return [path]
    paths = [out / f"{stem}_x.npy", out / f"{stem}_y.npy"]
    for path, write in zip(paths, (write_x, write_y), strict=True):
        with path.open("wb") as file:
            write(file)
    return paths


def make_subjects(
    out: str | Path,
    *,
    subjects: int = 13,
    gb: float | None = None,
    samples: int | None = None,
    kind: Kind = "npz",
    labels: Labels = "text",
    compressed: bool = False,
    time: int = 128,
    channels: int = 32,
    classes: int = 5,
    seed: int = 0,
) -> list[Path]:
    """Write the files of `subjects` people into the folder `out` and return their paths.

    The size is either `gb` (10⁹ bytes of float32 in all) or `samples` (in all); the default is
    1 GB. Each sample has shape (time, channels).
    """
    if gb is not None and samples is not None:
        raise ValueError("give the size as gb or as samples, not both")
    if compressed and kind != "npz":
        raise ValueError("compressed=True is for kind='npz'")
    recipe = Recipe(time=time, channels=channels, classes=classes, seed=seed)
    gb = 1.0 if gb is None else gb
    n_samples = samples if samples is not None else round(gb * 1e9 / recipe.sample_bytes)
    lengths = _lengths(n_samples, subjects, seed)
    signals = Signals(recipe)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        path
        for index, n in enumerate(lengths)
        for path in _make_one(folder, index, n, signals, kind, labels, compressed)
    ]


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "out", nargs="?", type=Path, default=Path("subjects"), help="folder to write into"
    )
    parser.add_argument("--subjects", type=int, default=13)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--gb", type=float, help="size of all files, in 10^9 bytes (default 1)")
    size.add_argument("--samples", type=int, help="number of samples in all files")
    parser.add_argument("--kind", choices=("npz", "npy-pairs"), default="npz")
    parser.add_argument("--labels", choices=("text", "int"), default="text")
    parser.add_argument("--compressed", action="store_true", help="compress the npz files")
    parser.add_argument("--time", type=int, default=128, help="time steps of a sample")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    paths = make_subjects(**vars(parser.parse_args()))
    total = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files, {total / 1e9:.3g} GB, in {paths[0].parent}")


if __name__ == "__main__":
    main()
