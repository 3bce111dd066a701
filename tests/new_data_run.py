"""Predict and evaluate new data in a process that has a saved network and a saved spec alone."""

import functools
import json
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

import zarrts


def source_of(folder: Path, job: dict) -> object:
    """Return what is given to predict: a path, recordings, or arrays."""
    form = job["form"]
    if form in ("recordings", "arrays", "array"):
        x = [np.load(folder / name) for name in job["x"]]
        if form == "array":
            return x[0]
        if form == "arrays":
            return x
        y = [np.load(folder / name) for name in job["y"]]
        names = [f"p{i}" for i in range(len(x))]
        return [zarrts.Recording(*each) for each in zip(names, x, y, strict=True)]
    return str(folder / job["path"])


loaded = functools.cache(keras.models.load_model)  # or each job would compile one anew


def do(folder: Path, number: int, job: dict) -> None:
    """Predict, and evaluate where there are labels."""
    model = loaded(folder / job["model"])
    spec, source = str(folder / job["spec"]), source_of(folder, job)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is cut off")
        np.save(folder / f"{number}-values.npy", zarrts.predict(model, source, like=spec).values)
        if job["is_labelled"]:
            counted = zarrts.evaluate(model, source, like=spec)
            np.save(folder / f"{number}-confusion.npy", counted.confusion.sum(axis=0))


def main() -> None:
    """Do what a list of jobs says, and write what came out beside it."""
    folder = Path(sys.argv[1])
    problems = []
    for number, job in enumerate(json.loads((folder / "jobs.json").read_text())):
        try:
            do(folder, number, job)
        except zarrts.ZarrtsError as error:
            problems.append(f"{job['kind']}, {job['scaling']}, {job['form']}: {error}")
    sys.exit("\n".join(problems) or None)


if __name__ == "__main__":
    main()
