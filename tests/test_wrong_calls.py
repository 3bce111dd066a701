"""docs/errors.md holds: the most likely wrong calls end with the message that it quotes."""

import errno
import http.server
import re
import runpy
import shutil
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edf_files import write_raw_edf
from faulty_files import FAULTY
from test_readme import ERRORS, prepared, save, stop_after

import zarrts
from zarrts.conversion import run as conversion
from zarrts.labels.losses import check_loss, count_outputs
from zarrts.sources.formats import registry
from zarrts.storage.open_files import too_many

PAGE = (Path(__file__).parents[1] / "docs" / "errors.md").read_text(encoding="utf-8")
STAGES = np.array(["N1", "REM", "W"])
Place = SimpleNamespace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A folder with a study of 4 subjects, and stores of other kinds."""
    tmp = tmp_path_factory.mktemp("wrong")
    rng = np.random.default_rng(0)

    def series(name: str, labels: Any, *shape: int) -> zarrts.Recording:
        return zarrts.Recording(name, rng.normal(size=shape).astype("f4"), labels)

    def store(name: str, recordings: Any, **options: Any) -> zarrts.Store:
        return zarrts.convert(recordings, tmp / f"{name}.zarr", progress=False, **options)

    stages = STAGES[np.arange(9) % 3]
    files = {f"s{i:02}": (rng.normal(size=(9, 8, 2)).astype("f4"), stages) for i in range(1, 5)}
    subjects = save(tmp / "subjects", **files)
    gap = series("a", np.arange(9) / 7, 9, 8, 2)
    gap.x[4, 3, 1] = np.nan
    endless = series("a", np.arange(9) / 7, 9, 8, 2)
    endless.x[4, 3, 1] = np.inf
    ages = [series(name, np.arange(9) % 3 * 20, 9, 8, 2) for name in "ab"]
    return Place(
        tmp=tmp,
        subjects=subjects,
        study=store("study", subjects),
        two=store("two", ages),
        gappy=store("gappy", gap),
        unlabelled=store("unlabelled", [series("a", None, 9, 8, 2)]),
        endless=store("endless", endless),
        wide=store("wide", [series("a", np.arange(9) / 7, 9, 8, 3)]),
        ragged=store("ragged", [series("a", "W", 30, 2), series("b", "R", 50, 2)]),
        rows=store("rows", series("a", STAGES[np.arange(60) % 3], 60, 2), kind="ragged"),
    )


def without(module: str, act: Callable[[], Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
        act()


def hdf5(it: Place) -> None:
    folder = it.tmp / "hdf5"
    folder.mkdir()
    (folder / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    without("h5py", lambda: convert(it, folder))


def convert(it: Place, source: Any = None, target: Any = None, **options: Any) -> None:
    source = it.subjects if source is None else source
    zarrts.convert(source, target or it.tmp / "never.zarr", progress=False, **options)


def table(it: Place) -> None:
    path = it.tmp / "who.csv"
    path.write_text("file,subjekt\ns01.npz,anna\n")
    convert(it, subject=path)


def no_right_to_write(it: Place) -> None:
    folder = save(it.tmp / "locked", s01=(np.zeros((9, 8, 2)), np.arange(9) % 2))
    refused = PermissionError(errno.EACCES, "Permission denied")
    conversion.run(prepared(folder), stop_after(0, refused))


def no_right_to_read(it: Place) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        zarrts.open(it.study.path)


def from_web(it: Place, name: str) -> None:
    """Convert from a web server that knows no ranges."""
    pytest.importorskip("obstore", reason="the extra cloud is not installed")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(it.subjects))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            convert(it, f"http://127.0.0.1:{server.server_port}/{name}")
        finally:
            server.shutdown()
            thread.join()


def open_files(it: Place) -> None:
    (it.tmp / "my night").mkdir()
    (it.tmp / "my night" / "a.edf").write_bytes(b"")
    zarrts.open(it.tmp / "my night")


def sequence(it: Place, samples: Any = None, *more: Any, **options: Any) -> Any:
    pytest.importorskip("keras", exc_type=ImportError)
    return zarrts.ZarrSequence(it.study if samples is None else samples, *more, **options)


def fit(
    it: Place,
    loss: Any,
    n_outputs: int = 3,
    samples: Any = None,
    class_weight: Any = None,
    **options: Any,
) -> None:
    keras = pytest.importorskip("keras", exc_type=ImportError)
    seq = sequence(it, samples, **options)
    layers = [keras.layers.Input((8, 2)), keras.layers.Flatten(), keras.layers.Dense(n_outputs)]
    model = keras.Sequential(layers)
    model.compile("sgd", loss, run_eagerly=True)
    with seq:
        model.fit(seq, class_weight=class_weight, verbose=0)


def fit_samples(it: Place) -> None:
    keras = pytest.importorskip("keras", exc_type=ImportError)
    model = keras.Sequential([keras.layers.Flatten()])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(it.study.samples, verbose=0)


def predict_shuffled(it: Place) -> None:
    keras = pytest.importorskip("keras", exc_type=ImportError)
    model = keras.Sequential([keras.layers.Flatten()])
    model.compile(run_eagerly=True)
    with sequence(it) as seq:
        model.predict(seq, verbose=0)


def broken_format(it: Place) -> None:
    folder = it.tmp / "site" / "toy_format-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-format\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[zarrts.formats]\ntoy = not_there:FORMAT\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder.parent))
        registry.formats.cache_clear()
        try:
            convert(it)
        finally:
            registry.formats.cache_clear()


def described(name: str, **said: Any) -> zarrts.Recording:
    """Return a recording of two columns that says something of them."""
    x = np.random.default_rng(len(str(said))).normal(size=(60, 2)).astype("f4")
    return zarrts.Recording(name, x, STAGES[np.arange(60) % 3], **said)


def unlike(it: Place, first: dict[str, Any], second: dict[str, Any], **options: Any) -> None:
    convert(it, [described("a", **first), described("b", **second)], kind="ragged", **options)


def fed(it: Place, name: str, **said: Any) -> None:
    """Predict a store by what was trained on another one."""
    known = {"channels": ["C3", "C4"], "units": "uV", "rate_hz": 10}
    options: dict[str, Any] = {"kind": "ragged", "progress": False}
    stores = [
        zarrts.convert(described("a", **some), it.tmp / f"{name}{i}.zarr", **options)
        for i, some in enumerate((known, said))
    ]
    trained, new = (store.samples.windows(10, stride=10, label="last") for store in stores)
    model = SimpleNamespace(predict_on_batch=lambda x: x.mean(axis=1))
    with sequence(it, trained, batch_size=2) as seq:
        zarrts.predict(model, new, like=seq, progress=False)


def lines(it: Place, name: str, text: str, y: str = "stages.csv", offset: str = "") -> None:
    """Convert a table of one line, whose labels are a CSV file of `text`."""
    folder = it.tmp / name
    folder.mkdir()
    np.savez(folder / "a.npz", x=np.zeros((60, 2), "f4"), y=np.arange(60) % 2)
    (folder / "stages.csv").write_text(text)
    (folder / "t.csv").write_text(f"subject,x,y,offset\na,a.npz::x,{y},{offset}\n")
    convert(it, folder / "t.csv", kind="ragged")


def two_hypnograms(it: Place) -> None:
    folder = it.tmp / "hypnograms"
    signals = [("C3", np.arange(40), 10, (-32768, 32767), (-32768, 32767))]
    write_raw_edf(folder / "a-PSG.edf", signals, ())
    for name in ("a-Hypnogram", "a-Stages"):
        write_raw_edf(folder / f"{name}.edf", [], [("+0", "4", name)])
    convert(it, folder)


def repair_without_a_manifest(it: Place) -> None:
    convert(it, target=it.tmp / "spoilt.zarr")
    (manifest,) = (it.tmp / "spoilt.zarr" / "manifests").iterdir()
    manifest.write_bytes(b"{}")
    zarrts.repair(it.tmp / "spoilt.zarr", sources=it.subjects)


# What README.md lists as well is raised by its tests.
def raise_of(error: Exception) -> None:  # which test_open_files.py meets
    raise error


def left_out(it: Place) -> None:
    broken = it.tmp / "broken.zarr"
    shutil.copytree(it.study.path, broken)
    for file in broken.glob("0/x/c/**/0"):
        if file.is_file():
            file.write_bytes(b"\0" * file.stat().st_size)
    with warnings.catch_warnings(), zarrts.open(broken) as store:
        warnings.filterwarnings("ignore", message=".*Left out of every epoch")
        list(store.samples.batches(4, on_error="skip"))


def copy_of_store(it: Place) -> Path:
    return Path(shutil.copytree(it.study.path, it.tmp / "copy.zarr", dirs_exist_ok=True))


WRONG: dict[str, Callable[[Place], Any]] = {
    "ZarrSequence needs Keras and a backend": lambda it: without(
        "keras", lambda: runpy.run_path(str(Path(zarrts.__file__).with_name("backend.py")))
    ),
    "HDF5 files are read with h5py, which is not installed": hdf5,
    "the file format 'toy' of the package toy-format": broken_format,
    "This cannot be repaired": repair_without_a_manifest,
    "pack='yes' is unknown": lambda it: convert(it, pack="yes"),
    "is not a step; there are": lambda it: convert(it, steps=["filtre 1 40"]),
    "its rate is not known; say it with rate_hz=": lambda it: convert(it, steps=["filter 1 4"]),
    "has to be below half of the rate": lambda it: unlike(
        it, {"rate_hz": 10}, {"rate_hz": 10}, steps=["filter 1 9"]
    ),
    "has no channel": lambda it: unlike(
        it, {"channels": ["C3", "C4"]}, {"channels": ["C4", "EEG C3"]}, steps=["pick C3"]
    ),
    "so that none can be picked": lambda it: convert(it, steps=["pick C3"]),
    "are about sources, which a study has found": lambda it: convert(
        it, zarrts.scan(it.subjects), kind="dense", rate_hz=9
    ),
    "a step takes it whole": lambda it: convert(
        it, described("a"), kind="ragged", memory="1KiB", steps=[("map", abs, {"whole": True})]
    ),
    "it has to return as many rows": lambda it: convert(
        it, described("a"), kind="ragged", steps=[("map", lambda rows: rows[1:])]
    ),
    "clean: masks time steps of series": lambda it: convert(it, steps=["clean"]),
    "not found:": lambda it: convert(it, it.tmp / "subjcts"),
    "Choose a new folder for the store": lambda it: convert(it, it.study.path, it.tmp / "subjects"),
    "have a subject s01 each": lambda it: convert(it, [it.study.path, copy_of_store(it)]),
    "a source must be a path, a zarrts.Recording": lambda it: convert(it, np.zeros((9, 8, 2))),
    "every file needs a subject": lambda it: convert(it, subject=r"p\d+"),
    "cannot be listed over http": lambda it: from_web(it, ""),
    "the server sends files only whole": lambda it: from_web(it, "s01.npz"),
    "is no place for a store": lambda it: convert(it, target="ftp://lab/study.zarr"),
    "storage_options are for addresses": lambda it: convert(it, storage_options={"key": "a"}),
    "If -1 stands for a label that is missing": lambda it: check_loss(
        SparseCategoricalCrossentropy(), "int", [-1, 0, 1], 2
    ),
    "of which some have several 1 or none": lambda it: check_loss(
        "categorical_crossentropy", "int", [0, 1], 5, 5
    ),
    "time steps, say label_every=": lambda it: convert(
        it, zarrts.Recording("s01", np.zeros((60, 2)), [0, 1, 0])
    ),
    "model= has to be a Keras model": lambda it: zarrts.predict(it.study, it.subjects, like=None),
    "has no array 'dta', which x= names": lambda it: convert(it, x="dta"),
    "its first line has the columns": table,
    "Hz, but": lambda it: unlike(it, {"rate_hz": 10}, {"rate_hz": 20}),
    "rate_hz= says": lambda it: unlike(it, {"rate_hz": 10}, {}, rate_hz=20),
    "their names have to be the same in all files": lambda it: unlike(
        it, {"channels": ["C3", "C4"]}, {"channels": ["C3", "Cz"]}
    ),
    "channels= names": lambda it: unlike(it, {"channels": ["C3", "C4"]}, {}, channels=["A", "B"]),
    "channels (a, b, c), but its rows have": lambda it: unlike(it, {"channels": list("abc")}, {}),
    "no factor between them is known": lambda it: unlike(it, {"units": "uV"}, {"units": "degC"}),
    "but units= says": lambda it: unlike(it, {"units": "uV"}, {}, units="degC"),
    "units= names 3, but there are 2 channels": lambda it: unlike(it, {}, {}, units=["uV"] * 3),
    "override= names rate_hz, but rate_hz= is not given": lambda it: unlike(
        it, {}, {}, override=["rate_hz"]
    ),
    "could belong to": two_hypnograms,
    "but labels need label, and onset and duration": lambda it: lines(it, "columns", "a,b\n1,2\n"),
    "the rate of x is not known; say rate_hz=": lambda it: lines(
        it, "seconds", "onset,duration,label\n0,1,W\n"
    ),
    "offset= is for labels with times": lambda it: lines(it, "offset", "", "a.npz::y", "3"),
    "but the network was trained with": lambda it: fed(
        it, "rate", channels=["C3", "C4"], units="uV", rate_hz=20
    ),
    "predict puts that in order": lambda it: fed(
        it, "order", channels=["C4", "C3"], units="uV", rate_hz=10
    ),
    "taken to be as the network was trained with": lambda it: fed(it, "unsaid"),
    "are none of class_names=": lambda it: convert(it, class_names=["N1", "RME", "W"]),
    "convert() has no keyword 'chunks'; use chunk=": lambda it: convert(it, chunks=(9, 8, 2)),
    "cannot be written (Permission denied)": no_right_to_write,
    "needs obstore: python -m pip install 'zarrts[cloud]'": lambda it: without(
        "obstore", lambda: zarrts.open("s3://lab/study.zarr")
    ),
    "an address holds no credentials": lambda it: zarrts.open("s3://key:secret@lab/study.zarr"),
    "Check the spelling, or make a store": lambda it: zarrts.open(it.tmp / "stuy.zarr"),
    "you have no permission to read it": no_right_to_read,
    "zarrts.open takes the path of a store": lambda it: zarrts.open(it.study),
    "A Store has no 'split', but its samples have": lambda it: it.study.split(test=1),
    "No subject named": lambda it: it.study.samples.select(subjects=["s1"]),
    "No class named": lambda it: it.study.samples.select(classes=["rem"]),
    "select() has no keyword 'subject'; use subjects=": lambda it: it.study.samples.select(
        subject="s01"
    ),
    "leaves none to train on": lambda it: it.two.samples.split(val=1, test=1),
    "the number of folds has to lie between": lambda it: next(it.study.samples.folds(10)),
    "split() has no keyword 'random_state'; use seed=": lambda it: it.study.samples.split(
        test=1, random_state=42
    ),
    "would be in two parts": lambda it: it.study.samples.split(val=["s01"], test=["s01"]),
    "use batches(), or raise memory": lambda it: it.study.samples.load(memory="1kB"),
    "windows() has no keyword 'step'; use stride=": lambda it: it.ragged.samples.windows(9, step=3),
    "lower length": lambda it: it.ragged.samples.windows(60),
    "windows that follow each other are all among": lambda it: (
        (windows := it.rows.samples.windows(5, 5, label="last"))
        .select(ids=windows.ids[::2])
        .sequences(2)
    ),
    "overlap by more than half": lambda it: it.rows.samples.windows(5, label="last").sequences(2),
    "which is not a label here": lambda it: it.rows.samples.windows(
        5, label=lambda rows: rows[:, 0] + 5
    ).load_labels(),
    "it has to return a label for each": lambda it: it.rows.samples.windows(
        5, label=lambda rows: rows[0]
    ).load_labels(),
    "min_labelled=50 has to be a share": lambda it: it.rows.samples.windows(5, min_labelled=50),
    "transform returned": lambda it: next(
        it.study.samples.batches(4, transform=lambda batch, rng: replace(batch, x={"a": batch.x}))
    ),
    "windows() cuts recordings whose rows follow in time": lambda it: it.study.samples.windows(4),
    "ZarrSequence reads a store, not ndarray": lambda it: sequence(it, np.zeros((9, 8, 2))),
    "has a label: give label_mode=None": lambda it: sequence(it, it.unlabelled),
    "has no labels, so that nothing can be right or wrong": lambda it: zarrts.evaluate(
        SimpleNamespace(predict_on_batch=None), it.unlabelled, like=sequence(it).spec
    ),
    "are left out of epoch": left_out,
    "y=False says that there are no labels": lambda it: convert(it, y=False, label_every=3),
    "has no labels, but those of others": lambda it: convert(
        it,
        [
            zarrts.Recording("a", np.zeros((9, 4, 2)), None),
            zarrts.Recording("b", np.ones((9, 4, 2)), np.arange(9)),
        ],
    ),
    "has as many files open as it may": lambda it: raise_of(too_many(it.tmp)),
    "A split is 2 parts": lambda it: sequence(it, it.study.samples.split(test=1)),
    "Unrecognized data type": fit_samples,
    "ZarrSequence() has no keyword 'class_mode'; use label_mode=": lambda it: sequence(
        it, class_mode="categorical"
    ),
    "wants each label as a row with one 1": lambda it: fit(it, "categorical_crossentropy"),
    "wants each label as one number": lambda it: fit(
        it, "sparse_categorical_crossentropy", label_mode="categorical"
    ),
    "wants 0 or 1 for each output": lambda it: fit(it, "binary_crossentropy", 1),
    "its last layer has to be Dense(3": lambda it: fit(it, "sparse_categorical_crossentropy", 2),
    "the positions of the labels": lambda it: fit(it, "mse", 1, it.two),
    "label_mode='binary' needs two classes": lambda it: sequence(it, label_mode="binary"),
    "needs classes, but these labels are numbers": lambda it: sequence(
        it, it.wide, label_mode="categorical"
    ),
    "stats are of 3 channels": lambda it: sequence(it, stats=it.wide.samples.stats()),
    "x is NaN in channel": lambda it: sequence(it, it.gappy),
    "x is infinite in channel": lambda it: sequence(it, it.endless, stats="sample"),
    "scale='zscore' is unknown": lambda it: it.study.samples.stats().as_layer("zscore"),
    "scale='minmax' needs numbers": lambda it: sequence(it, scale="minmax"),
    "predict() sees a shuffled sequence": predict_shuffled,
    "convert both with the same classes": lambda it: sequence(it).like(it.two),
    "class_weight has the keys": lambda it: fit(
        it, "sparse_categorical_crossentropy", class_weight={"REM": 2.0}
    ),
    "are for fit(class_weight=...)": lambda it: sequence(it, sample_weight={0: 2.0}),
    **{message: fault.act for message, fault in FAULTY.items()},
}


# These need a server, a kill or another process: the test that raises each quotes this of it.
RAISED_IN = {
    "say how many of each are a second": "test_inputs.py",
    "say how many labels are for a second": "test_inputs.py",
    "its inputs are not equally long": "test_inputs.py",
    "the shortest time that is a whole number of steps of each input": "test_inputs.py",
    "all recordings need the same inputs": "test_inputs.py",
    "its inputs have not as many samples each": "test_inputs.py",
    "is one list, but there are several inputs": "test_inputs.py",
    "steps= names": "test_inputs_steps.py",
    "which does not change in time": "test_inputs_steps.py",
    "its mask could be that of the steps of": "test_inputs_steps.py",
    "is not the dtype of numbers": "test_steps.py",
    "is about rows before the steps of": "test_inputs_merging.py",
    "its store was made with other steps": "test_inputs_merging.py",
    "were made with other steps than each other": "test_inputs_merging.py",
    "is stored as values instead": "test_inputs_packed.py",
    "of which no whole number is in a row": "test_inputs_evaluate.py",
    "labels in a row of its inputs, but the network": "test_inputs_evaluate.py",
    "labels in a row, but the network was trained with": "test_inputs_evaluate.py",
    "is missing within a row of": "test_inputs_steps.py",
    "counts rows, but each input has rows of its own": "test_inputs.py",
    "is not a whole number of steps of each input": "test_inputs.py",
    "is about the rows of one input": "test_inputs.py",
    "values of one input are the target": "test_inputs.py",
    "The inputs of the network are": "test_inputs_keras.py",
    "The network has one input": "test_inputs_keras.py",
    "but the inputs are": "test_inputs.py",
    "say which of them is changed": "test_inputs_keras.py",
    "the transform changes labels or samples": "test_inputs_keras.py",
    "and so as it is": "test_pack_conversion.py",
    "and is as large as with pack=False": "test_pack_conversion.py",
    "is an error in kg, but there are channels in": "test_pack_conversion.py",
    "but hr has channels in": "test_inputs_packed.py",
    "pack= names": "test_inputs_packed.py",
    "none of those that 16-bit counts can stand for here": "test_pack_conversion.py",
    "recordings of this store have several gains or offsets for one channel": (
        "test_stored_counts.py"
    ),
    "hands out 16-bit counts, which": "test_stored_counts.py",
    "The network was trained on 16-bit counts": "test_stored_counts.py",
    "stores other counts than the network was trained on": "test_stored_counts.py",
    "does not fit into 32 bits": "test_keras.py",
    "A batch of shape": "test_keras_fit.py",
    "runs on NumPy:": "test_loops.py",
    "require: the compiled library is not there": "test_loops.py",
    "'yes' is unknown; use 0, 1 or require": "test_loops.py",
    "holds only counts": "test_view.py",
    "are of other recordings": "test_view.py",
    "predictions were kept": "test_results.py",
    "A sample is in two of the evaluations": "test_results.py",
    "several for each sample": "test_results.py",
    "needs pandas": "test_results.py",
    "holds these already, but": "test_corrected.py",
    "these names of subjects differ only in case, blanks": "test_conversion_refusals.py",
    "of a store of these sources: since it was made": "test_remedies.py",
    "each sample of the store has": "test_remedies.py",
    "gets its credentials by": "test_connections.py",
    "gives no credentials by": "test_connections.py",
    "obstore cannot make use of": "test_connections.py",
    "knows no conditional PUT": "test_buckets.py",
    "has not come to its end": "test_remove.py",
    "is not part of the store.": "test_remove.py",
    "of an earlier version": "test_remove.py",
    "being changed by somebody else": "test_remove.py",
    "which is not installed; pip install": "test_sources_mne.py",
    "needs Java, and there is no program java": "test_sources_actipy.py",
    "reads files of this machine only": "test_sources_mne.py",
    "MNE cannot read it": "test_sources_mne.py",
    "otherwise by themselves than": "test_sources_mne.py",
    "several rates (10 and 100 samples in a record)": "test_sources_mne.py",
    "it was recorded at": "test_sources_mne.py",
    "its signals have several rates": "test_sources_wfdb.py",
    "no time in common that is a whole row": "test_inputs_times.py",
    "which start at other times": "test_inputs_times.py",
    "say when labels start, with": "test_inputs_times.py",
    "was interrupted, so that it cannot be aligned": "test_inputs_times.py",
    "its inputs have times of their own, but its rows are": "test_inputs_times.py",
    "files, such as": "test_inputs_sources.py",
    "of this recording, by name, there is no file of": "test_inputs_sources.py",
    "by its name; give those files that are meant": "test_inputs_sources.py",
    "by its name, which x= names; there are": "test_inputs_sources.py",
    "but each input of a recording is one file": "test_inputs_sources.py",
    "the column of labels, act, is in": "test_inputs_sources.py",
    "name several subjects, a, b": "test_inputs_sources.py",
    "something is missing between its labels": "test_inputs_sources.py",
    "but this is a file of signals": "test_inputs_sources.py",
    "each input has a name, and is the name of an array, or a list": "test_inputs_sources.py",
    "in a file of arrays an input is one of them": "test_inputs_sources.py",
    "several annotation files beside it": "test_sources_wfdb.py",
    "how many samples": "test_sources_wfdb.py",
    "@timeStamps true": "test_sources_ts.py",
    "never on at the same time": "test_sources_empatica.py",
    "has no table of events": "test_sources_bids.py",
    "has no column participant_id": "test_sources_bids.py",
    "group='city' is unknown": "test_sources_bids.py",
    "changed since it was scanned": "test_study.py",
    "which cannot be imported here, or has changed": "test_study_new_data.py",
    "needs SciPy": "test_study.py",
    "follow no fixed rate": "test_gaps.py",
    "do not grow from row": "test_gaps.py",
    "write times as 2026-03-01": "test_gaps.py",
    "before which something is missing, or of pairs": "test_gaps.py",
    "in time, but its rows are samples": "test_gaps.py",
    "but the one before ends at": "test_gaps.py",
    "after= is lacking": "test_events.py",
    "needs a length, such as": "test_events.py",
    "leave no row of a window": "test_events.py",
    "give no window": "test_events.py",
    "gives no window": "test_events.py",
    "needs a column file or subject": "test_events.py",
    "events need onset": "test_events.py",
    "has to be a table: the path of a CSV file": "test_events.py",
    "at the same row": "test_events.py",
    "each event needs one": "test_events.py",
    "at='annotations' takes the rows at which a label": "test_events.py",
    "say label='majority' too": "test_events.py",
    "say where these are in the new data": "test_events.py",
    "is not among the sources given": "test_verify.py",
    "which is not a number; correct it, leave it empty": "test_sources_columns.py",
    "has no column": "test_sources_columns.py",
    "name the one that is the label with y=": "test_sources_columns.py",
    "name those that are inputs": "test_sources_columns.py",
    "its first line holds numbers": "test_sources_columns.py",
    "is UTF-16; save it as UTF-8": "test_sources_columns.py",
    "pip install 'zarrts[tables]'": "test_sources_columns.py",
    "is not a Parquet file, or is damaged": "test_sources_columns.py",
    "has no line for the subject": "test_sources_columns.py",
    "which is no subject here": "test_sources_columns.py",
    "ends where it starts": "test_sources_columns.py",
    "gives dates, but it is not known when": "test_sources_columns.py",
    "but the rate is not known; say": "test_sources_columns.py",
    "leave y= and label_every= out": "test_sources_columns.py",
    "are not in its files, but come from a table": "test_sources_columns.py",
    "come from its files, not from a table": "test_sources_columns.py",
    "leaves none of": "test_masks.py",
    "have no window without NaN or masked rows": "test_masks.py",
    "all hold NaN or masked rows": "test_masks.py",
    "a mask is True": "test_masks.py",
    "joining 3 parts ends 2 earlier versions": "test_compact.py",
    "joining its parts needs about": "test_compact.py",
    "something else of part": "test_many_parts.py",
    "balance= keeps 31MiB": "test_memory_options.py",
    "marks time steps, but its rows are samples": "test_masks.py",
}
OF_PIP = ["requires a different Python"]


@pytest.mark.parametrize("message", RAISED_IN)
def test_what_needs_more_than_a_call_is_raised_in_its_test(message: str) -> None:
    text = (Path(__file__).parent / RAISED_IN[message]).read_text("utf-8")
    assert message.removesuffix(" by").removeprefix("is ") in text


def shown() -> list[str]:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return [re.findall(r"`([^`]+)`", row.split(" | ")[0])[0] for row in rows]


def test_page_lists_these_messages_and_those_of_the_readme() -> None:
    assert len(WRONG) >= 30
    assert sorted(shown()) == sorted([*WRONG, *ERRORS, *RAISED_IN, *OF_PIP])


@pytest.mark.parametrize("message", WRONG)
def test_wrong_call_says_what_the_page_quotes(place: Place, message: str) -> None:
    expected = (zarrts.ZarrtsError, TypeError, AttributeError, ImportError, ValueError, UserWarning)
    with pytest.raises(expected) as error:
        WRONG[message](place)
    assert message in str(error.value)
    assert not (place.tmp / "never.zarr").exists()


@pytest.mark.parametrize("message", FAULTY)
def test_remedy_for_a_file_or_store_is_one(place: Place, tmp_path: Path, message: str) -> None:
    FAULTY[message].remedy(place, tmp_path)


@pytest.mark.parametrize(
    ("act", "meant"),
    [
        (lambda it: it.study.samples.select(subjects=["S1"]), "s01"),
        (lambda it: it.study.samples.split(test=["s1"]), "s01"),
        (lambda it: it.study.samples.select(classes=["rem"]), "REM"),
        (lambda it: zarrts.remove(it.study.path, subject="s04 "), "s04"),
        (lambda it: convert(it, x="dta"), "data"),
        (lambda it: convert(it, rate_hx=64), "rate_hz"),
        (lambda it: convert(it, class_names=["N1", "RME", "W"]), "RME"),
        (lambda it: it.study.sampels, "samples"),
        (table, "subjekt"),
    ],
)
def test_typing_error_names_what_was_meant(
    place: Place, act: Callable[[Place], Any], meant: str
) -> None:
    with pytest.raises((zarrts.ZarrtsError, TypeError, AttributeError)) as error:
        act(place)
    assert f"Did you mean {meant!r}?" in str(error.value)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda it: convert(it, random_state=1), "use seed= where something is drawn"),
        (lambda it: it.study.samples.split(train=2), "what they leave trains"),
        (lambda it: it.study.samples.split(0.2), "write split(test=0.2), or split(val=0.2)."),
        (lambda it: it.study.samples.select(["s01"]), "write select(subjects=['s01']), or"),
        (lambda it: it.study.samples.batches(9, colour="red"), "It has batch_size, shuffle"),
        (lambda it: zarrts.open(it.study.path, mode="r"), "open() has no keyword 'mode'"),
        (lambda it: zarrts.verify(it.study), "not by Store; store.path is that of one"),
        (lambda it: zarrts.append(it.study, it.subjects), "not by Store; store.path is that"),
        (lambda it: convert(it, target=5), "not by int"),
        (lambda it: it.two.samples.select(classes=["20"]), "Did you mean 20?"),
        (lambda it: it.study.samples.X, "Use samples.load(), which gives (X, y) in memory"),
        (lambda it: it.study.samples.labels, "Use samples.load_labels()"),
        (lambda it: it.study.samples.clas_names, "Did you mean 'class_names'?"),
        (lambda it: zarrts.open("s3://lab/a", storage_options="key"), "has to be a dict, such as"),
        (lambda it: open_files(it), 'Convert them first: zarrts convert "'),
        (lambda it: it.study.nothing_like_it, "A Store has no 'nothing_like_it'."),
        (lambda it: it.study.samples.split(test=1, stratify=[0, 1]), "stratify is a list"),
        (lambda it: it.study.samples.batches("32"), "batch_size='32' has to be a whole number"),
        (lambda it: it.study.samples.batches(9, seed=0.5), "seed=0.5 has to be a whole number"),
        (lambda it: it.study.samples.batches(9, dtype="flot"), "dtype='flot' is not a NumPy dtype"),
        (lambda it: it.study.samples.batches(9, transform="flip"), "'flip' is not a function"),
        (lambda it: it.study.samples.batches(None), "batch_size=None has to be a whole number"),
        (lambda it: it.study.samples.batches(True), "batch_size=True has to be a whole number"),
        (lambda it: it.study.samples.batches(9, seed=None), "seed=None has to be a whole number"),
        (lambda it: it.study.samples.batches(9, memory="lots"), "memory='lots' is not a size"),
        (lambda it: it.study.samples.load(memory="lots"), "memory='lots' is not a size"),
        (lambda it: it.study.samples.batches(9, dtype="U3"), "is not one of numbers"),
        (lambda it: it.study.samples.batches(9, epoch=-1), "epoch=-1 has to be a whole number of"),
        (lambda it: it.study.samples.batches(9, epoch=1.5), "epoch=1.5 has to be a whole number"),
        (lambda it: sequence(it).to_tf_dataset(-1), "epoch=-1 has to be a whole number of 0"),
        (lambda it: setattr(sequence(it), "epoch", -1), "epoch=-1 has to be a whole number of 0"),
        (lambda it: sequence(it)[0:2], "only a single batch; loop over the sequence"),
        (lambda it: it.study.samples.batches(9, stats=np.zeros(2)), "stats=array([0., 0.]) is unk"),
        (lambda it: it.study.samples.split(test=np.bool_(True)), "a count of subjects"),
        (lambda it: it.ragged.samples.batches(2, pad="batch", pad_value="x"), "be a number"),
    ],
)
def test_wrong_value_or_keyword_says_what_is_right(
    place: Place, act: Callable[[Place], Any], words: str
) -> None:
    with pytest.raises((zarrts.ZarrtsError, TypeError, AttributeError)) as error:
        act(place)
    assert words in str(error.value)


@pytest.mark.parametrize("half", [np.float32(0.5), np.float16(0.5), np.array(0.5), 0.5])
def test_numbers_of_numpy_mean_what_those_of_python_mean(place: Place, half: Any) -> None:
    samples = place.study.samples
    assert samples.split(test=half)[1].subjects == samples.split(test=0.5)[1].subjects
    merged = samples.labelled(missing=np.array("W")).class_names
    assert merged == samples.labelled(missing="W").class_names == ["N1", "REM"]
    two = place.two.samples
    assert two.labelled(missing=np.int64(20)).class_names == [0, 40]


def test_a_split_is_saved_into_a_folder_that_is_not_there_yet(place: Place) -> None:
    split = place.study.samples.split(test=1)
    split.save(place.tmp / "new" / "folder" / "split.json")
    found = place.study.load_split(place.tmp / "new" / "folder" / "split.json")
    assert found[1].subjects == split[1].subjects


def test_sizes_that_mean_nothing_are_errors_of_both_kinds(place: Place) -> None:
    for kind in (ValueError, zarrts.SampleError, zarrts.ZarrtsError):
        with pytest.raises(kind, match="memory='lots' is not a size"):
            place.study.samples.batches(4, memory="lots")


def test_recordings_of_unequal_lengths_are_measured_in_time_steps(place: Place) -> None:
    from zarrts.commands.bench import measure_store

    found = measure_store(str(place.ragged.path), seconds=0.1)
    assert [it.samples_per_s > 0 for it in found.rates] == [True] * len(found.rates)
    assert "time steps/s" in found.as_text()


class BinaryCrossentropy:
    """As Keras' object of this name."""


class SparseCategoricalCrossentropy:
    """As Keras' object of this name."""

    def __init__(self, ignore_class: Any = None) -> None:
        self.ignore_class = ignore_class

    def get_config(self) -> dict[str, Any]:
        return {"from_logits": False, "ignore_class": self.ignore_class}


def own_loss(y_true: Any, y_pred: Any) -> Any:
    """As users write them."""


@pytest.mark.parametrize(
    ("loss", "mode", "names", "n_outputs"),
    [
        ("sparse_categorical_crossentropy", "int", ["a", "b", "c"], 3),
        ("sparse_categorical_crossentropy", "int", ["a", "b", "c"], None),
        ("categorical_crossentropy", "categorical", ["a", "b", "c"], 3),
        ("binary_crossentropy", "categorical", ["a", "b", "c"], 3),  # each class yes or no
        ("binary_crossentropy", "binary", ["a", "b"], 1),
        (BinaryCrossentropy(), "int", ["a", "b"], 1),
        (SparseCategoricalCrossentropy(), "int", [-1, 0, 1], 3),  # such as falling and rising
        (SparseCategoricalCrossentropy(ignore_class=1), "int", [0, 1, 2], 3),
        (SparseCategoricalCrossentropy(), "raw", [0, 1, 2], 3),
        ("mse", "raw", None, 1),
        ("mse", "int", [0, 1, 2], 1),  # positions are the labels
        ("mse", "categorical", ["a", "b"], 2),
        (own_loss, "int", ["a", "b", "c"], 1),
        ({"a": "mse"}, {"a": "int"}, None, None),
        (None, "int", ["a"], 1),
    ],
)
def test_loss_that_fits_is_not_refused(loss: Any, mode: Any, names: Any, n_outputs: Any) -> None:
    check_loss(loss, mode, names, n_outputs)


@pytest.mark.parametrize(
    ("ignored", "mode", "names", "n_outputs", "message"),
    [
        (None, "int", [-1, 0, 1], 2, r"Dense\(3, .* If -1 stands for .*labelled\(missing=-1"),
        (
            None,
            "raw",
            [-1, 0, 1],
            2,
            r"'raw' gives -1 as well; use label_mode='int'. If -1 st",
        ),
        (-1, "int", [-1, 0, 1], 3, r"label -1, .* where the class -1 is 0; leave ignore_class"),
        (9, "int", [0, 4, 9], 3, r"the class 9 is 2; .* on samples.labelled\(missing=9\)"),
    ],
)
def test_labels_that_stand_for_none_are_no_class_of_a_loss(
    ignored: Any, mode: Any, names: Any, n_outputs: Any, message: str
) -> None:
    with pytest.raises(zarrts.SampleError, match=message):
        check_loss(SparseCategoricalCrossentropy(ignore_class=ignored), mode, names, n_outputs)


def test_losses_are_known_by_object_and_function() -> None:
    with pytest.raises(zarrts.SampleError, match=r"0 or 1 for each output.*of 0 to 2"):
        check_loss(BinaryCrossentropy(), "int", ["a", "b", "c"], 1)
    with pytest.warns(UserWarning, match=r"positions of the labels \(W, R\).*compile with"):
        check_loss("MSE", "int", ["W", "R"], 1)
    assert count_outputs(object()) is None
    assert count_outputs(SimpleNamespace(output_shape=[(None, 3), (None, 2)])) is None
    assert count_outputs(SimpleNamespace(output_shape=(None, None))) is None
    assert count_outputs(SimpleNamespace(output_shape=(None, 10, 3))) == 3
