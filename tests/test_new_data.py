"""New data of every form, with the saved network and the saved spec alone, in a new process."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import zarrts

keras = pytest.importorskip("keras", exc_type=ImportError)

from source_kinds import WRITERS  # noqa: E402

from zarrts.keras.sequence import ZarrSequence  # noqa: E402

NAMES = ["sit", "walk"]
MORE = {"method": 0, "version": (1, 0), "protocol": 4}
SCALINGS = ("none", "all", "subject", "sample")
CUTS = ("rows", "windows", "batch", "length", "longest", "buckets", "some buckets")
OPTIONS = {
    "rows": {},
    "windows": {},
    "batch": {"pad": "batch"},
    "length": {"pad": 28, "truncate": "pre", "mask": True},
    "longest": {"pad": "longest", "pad_value": -1.0},
    "buckets": {"pad": "batch", "buckets": [24, 36], "mask": True},
    "some buckets": {"pad": "batch", "buckets": 2},
}
FORMS = (*WRITERS, "recordings", "arrays", "array", "store", "unlabelled store", "table")
TRAINED = (36, 20, 24, 31)  # rows of a series, or samples of a subject
NEW = (33, 12, 27)


def some(sizes, inner, seed):
    """Subjects that differ in mean and spread, and a label for each row."""
    rng = np.random.default_rng(seed)
    x = [(rng.normal(size=(n, *inner)) * (i + 1) + i).astype("f4") for i, n in enumerate(sizes)]
    return x, [np.array(NAMES)[rng.integers(0, 2, n)] for n in sizes]


def cut(kind, x, stride=10):
    """Return the samples of one subject or series."""
    n = len(x)
    if kind == "rows":
        return list(x)
    if kind == "windows":
        return [x[i : i + 10] for i in range(0, n - 9, stride)]
    return [x]


def length_of(kind, n):
    """Return the length to which a series is padded or cut, by what OPTIONS say."""
    ordered = sorted(TRAINED)
    choices = {
        "batch": [n],
        "length": [28],
        "longest": [36],
        "buckets": [24, 36],
        "some buckets": [int(np.quantile(ordered, 0.5, method="higher")), 36],
    }[kind]
    return next((it for it in choices if it >= n), choices[-1])


def padded(kind, sample, scaled):
    """Return one scaled series as the network gets it, and its mask."""
    length = length_of(kind, len(sample))
    kept = scaled[-length:] if OPTIONS[kind].get("truncate") == "pre" else scaled[:length]
    out = np.full((length, sample.shape[1]), OPTIONS[kind].get("pad_value", 0.0), "f4")
    out[: len(kept)] = kept
    return out, np.arange(length) < len(kept)


def moments_of(samples):
    values = np.concatenate([it.reshape(-1, it.shape[-1]) for it in samples]).astype(np.float64)
    return values.mean(axis=0), values.std(axis=0)


def expected(model, kind, scaling, train, new):
    """Return what the network says of new subjects, scaled and cut naively, in their order."""
    every = [it for x in train for it in cut(kind, x, 3)]  # the windows of the training overlap
    found = []
    for x in new:
        for sample in (samples := cut(kind, x)):
            kept = sample
            if kind == "length" and len(sample) > 28:
                kept = sample[-28:]
            of = {"all": every, "subject": samples, "sample": [kept]}.get(scaling)
            mean, std = (0.0, 1.0) if of is None else moments_of(of)
            scaled = ((sample - mean) / std).astype("f4")
            if OPTIONS[kind].get("pad") is None:
                found.append(model(scaled[None], training=False))
                continue
            inputs, mask = padded(kind, sample, scaled)
            has_mask = OPTIONS[kind].get("mask")
            given = [inputs[None], mask[None]] if has_mask else inputs[None]
            found.append(model(given, training=False))
    return np.concatenate([keras.ops.convert_to_numpy(it) for it in found])


def network(shape, *, has_mask):
    keras.utils.set_random_seed(0)
    inputs = [keras.Input(shape)]
    x = keras.layers.Dense(4, activation="tanh")(inputs[0])
    if has_mask:
        inputs.append(keras.Input((shape[0],), dtype="bool"))
        x = keras.layers.GlobalAveragePooling1D()(x, mask=inputs[1])
    else:
        x = keras.layers.GlobalAveragePooling1D()(x)
    outputs = keras.layers.Dense(2, activation="softmax")(x)
    model = keras.Model(inputs if has_mask else inputs[0], outputs)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture(scope="module")
def studied(tmp_path_factory, no_waiting_for_the_disk):
    """A folder with networks, specs and new data of each form, and what is in them."""
    folder = tmp_path_factory.mktemp("new data")
    train, new, models = {}, {}, {}
    for inner, kinds in (((5, 3), CUTS[:1]), ((3,), CUTS[1:])):
        kind = "dense" if inner == (5, 3) else "ragged"
        x, y = some(TRAINED, inner, 1)
        new_x, new_y = some(NEW, inner, 2)
        for is_by_row in (True, False) if kind == "ragged" else (True,):
            name = f"{kind}-{is_by_row}"
            labels = y if is_by_row else [it[0] for it in y]
            new_labels = new_y if is_by_row else [it[0] for it in new_y]
            people = [
                zarrts.Recording(f"t{i}", *it) for i, it in enumerate(zip(x, labels, strict=True))
            ]
            zarrts.convert(people, folder / f"{name}.zarr", kind=kind, progress=False).close()
            write_new(folder, name, kind, new_x, new_labels)
            train[name], new[name] = x, (new_x, new_labels)
        for cut_kind in kinds:
            name = f"{kind}-{cut_kind in ('rows', 'windows')}"
            shape = {"rows": (5, 3), "windows": (10, 3)}.get(cut_kind, (None, 3))
            shape = {"length": (28, 3), "longest": (36, 3)}.get(cut_kind, shape)
            model = network(shape, has_mask="mask" in OPTIONS[cut_kind])
            model.save(folder / f"{cut_kind}.keras")
            models[cut_kind] = model
            with zarrts.open(folder / f"{name}.zarr") as store:
                samples = store.samples
                if cut_kind == "windows":
                    samples = samples.windows(10, stride=3, label="majority")
                for scaling in SCALINGS:
                    stats = {"none": None, "all": samples.stats()}.get(scaling, scaling)
                    options = {**OPTIONS[cut_kind], "stats": stats}
                    with ZarrSequence(samples, 8, memory="1MiB", **options) as seq:
                        seq.save_spec(folder / f"{cut_kind}-{scaling}.json")
    return folder, train, new, models


def write_new(folder, name, kind, x, y):
    """Write new data in every form."""
    numbered = list(enumerate(zip(x, y, strict=True)))
    for form, write in WRITERS.items():
        (folder / name / form).mkdir(parents=True)
        for i, (one, labels) in numbered:
            if form != "dict":
                labels = np.atleast_1d(labels)
            elif np.ndim(labels) == 0 or kind == "ragged":
                continue  # lists of series, which are another shape of study
            write(folder / name / form, f"p{i}", one, labels, MORE)
    lines = ["subject,x,y"]
    for i, (one, labels) in numbered:
        np.save(folder / name / f"x{i}.npy", one)
        np.save(folder / name / f"y{i}.npy", labels)
        np.save(folder / name / f"table{i}.npy", np.atleast_1d(labels))
        lines.append(f"p{i},x{i}.npy,table{i}.npy")
    (folder / name / "table.csv").write_text("\n".join(lines) + "\n")
    for form, labels in (("store", y), ("unlabelled store", [None] * len(x))):
        people = [
            zarrts.Recording(f"p{i}", *it) for i, it in enumerate(zip(x, labels, strict=True))
        ]
        zarrts.convert(people, folder / name / f"{form}.zarr", kind=kind, progress=False).close()


def job_of(kind, scaling, form):
    """Return what a new process is told; None where there is no such form."""
    name = "dense-True" if kind == "rows" else f"ragged-{kind == 'windows'}"
    if form == "dict" and kind != "rows":
        return None
    paths = {"store": "store.zarr", "unlabelled store": "unlabelled store.zarr"}
    return {
        "study": name,
        "kind": kind,
        "scaling": scaling,
        "form": form,
        "model": f"{kind}.keras",
        "spec": f"{kind}-{scaling}.json",
        "path": f"{name}/{paths.get(form, 'table.csv' if form == 'table' else form)}",
        "x": [f"{name}/x{i}.npy" for i in range(len(NEW))],
        "y": [f"{name}/y{i}.npy" for i in range(len(NEW))],
        "is_labelled": form not in ("arrays", "array", "unlabelled store"),
    }


def true_codes(kind, labels, x):
    """Return the naive label of each sample of one subject."""
    if kind == "rows":
        return [NAMES.index(it) for it in labels]
    if kind != "windows":
        return [NAMES.index(labels)]
    is_walk = [(labels[i : i + 10] == "walk").mean() for i in range(0, len(x) - 9, 10)]
    return [int(it > 0.5) for it in is_walk]


def check(studied, jobs):
    folder, train, new, models = studied
    jobs = [it for it in jobs if it is not None]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("new_data_run.py")
    environment = {**os.environ, "PYTHONWARNINGS": "error::UserWarning:zarrts"}
    done = subprocess.run(
        [sys.executable, script, folder], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for number, job in enumerate(jobs):
        x, y = new[job["study"]]
        if job["form"] == "array":
            x, y = x[:1], y[:1]
        wanted = expected(models[job["kind"]], job["kind"], job["scaling"], train[job["study"]], x)
        found = np.load(folder / f"{number}-values.npy")
        # Batches of a store are padded to their longest sample, where no length is given.
        is_alone = job["kind"] != "batch" or "store" not in job["form"]
        is_alone &= "buckets" not in job["kind"] or "store" not in job["form"]
        assert found.shape == wanted.shape, job
        if is_alone:
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4, err_msg=str(job))
        if job["is_labelled"]:
            true = np.concatenate([true_codes(job["kind"], *it) for it in zip(y, x, strict=True)])
            confusion = np.zeros((2, 2), np.int64)
            np.add.at(confusion, (true, found.argmax(axis=1)), 1)
            counted = np.load(folder / f"{number}-confusion.npy")
            np.testing.assert_array_equal(counted, confusion, err_msg=str(job))


def test_new_data_of_each_form_need_the_network_and_the_spec_alone(studied):
    of_forms = [job_of(kind, "all", form) for kind, form in product(("rows", "windows"), FORMS)]
    of_ways = [job_of(kind, scaling, "recordings") for kind, scaling in product(CUTS, SCALINGS)]
    of_stores = [job_of(kind, "subject", "store") for kind in CUTS]
    check(studied, [*of_forms, *of_ways, *of_stores])


@pytest.mark.slow
def test_new_data_of_each_form_in_each_way(studied):
    check(studied, [job_of(*it) for it in product(CUTS, SCALINGS, FORMS)])
