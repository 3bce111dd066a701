"""Refusals before anything is written: of all that cannot end well at once, with a remedy."""

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_study

import zarrts
from zarrts.conversion import prepare as preparing
from zarrts.errors import PlanError, SourceError, ZarrtsError
from zarrts.storage import shards


def tree(root: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, and the folders as well."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else b"a folder"
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    """Six good files to spoil."""
    make_study(tmp_path / "subjects", sizes=[4, 5, 6, 7, 8, 9])
    return tmp_path / "subjects"


def refusal(source: Any, error: type[ZarrtsError] = SourceError, **options: Any) -> str:
    """Return what a conversion that is refused says; nothing may have been written."""
    folder = Path(source[0] if isinstance(source, list) else source).parent
    before = tree(folder)
    with pytest.raises(error) as caught:
        zarrts.convert(source, folder / "a.zarr", progress=False, **options)
    assert tree(folder) == before
    return str(caught.value)


def problems_of(message: str, n_problems: int) -> list[str]:
    head, *lines = message.split("\n")
    word = "problem" if n_problems == 1 else "problems"
    assert head == f"Nothing was converted. {n_problems} {word}:"
    assert all(line.startswith("  - ") for line in lines)
    assert len(lines) == n_problems
    return [line[4:] for line in lines]


def spoil(folder: Path, name: str, x: Any = None, y: Any = None) -> None:
    with np.load(folder / f"{name}.npz") as good:
        arrays = {"x": good["x"] if x is None else x, "y": good["y"] if y is None else y}
    np.savez(folder / f"{name}.npz", **arrays)


def test_sample_shapes_and_counts_that_differ_are_listed_at_once(subjects: Path) -> None:
    spoil(subjects, "s01", x=np.zeros((5, 3, 6), "f4"))
    spoil(subjects, "s03", x=np.zeros((7, 9, 3), "f4"))
    spoil(subjects, "s04", y=np.zeros(5, int))
    spoil(subjects, "s05", x=np.zeros((0, 6, 3), "f4"), y=np.zeros(0, int))
    said = sorted(problems_of(refusal(subjects), 4))
    assert said == [
        "s01.npz: samples of shape (3, 6), but 3 of 5 files, such as s00.npz, have (6, 3); the "
        "axes seem swapped: save them alike.",
        "s03.npz: samples of shape (9, 3), but 3 of 5 files, such as s00.npz, have (6, 3); cut "
        "or pad all series to one length before saving, or keep their lengths with kind='ragged' "
        "(--kind ragged).",
        "s04.npz: 8 inputs in 'x', but 5 labels in 'y'; each input needs one label.",
        "s05.npz: holds no samples; remove the file.",
    ]


def test_samples_on_another_axis_are_pointed_out(subjects: Path) -> None:
    spoil(subjects, "s02", x=np.zeros((8, 6, 3), "f4"))
    assert problems_of(refusal(subjects), 1)[0].endswith(
        "each input needs one label (its shape is (8, 6, 3): if samples are not on the first "
        "axis, say which is which, for example axes=('time', 'sample', 'channel'))."
    )


def test_labels_that_differ_in_shape_or_kind_are_refused(subjects: Path) -> None:
    spoil(subjects, "s01", y=np.zeros((5, 2), int))
    spoil(subjects, "s02", y=np.array(["a"] * 6))
    assert problems_of(refusal(subjects), 2) == [
        "s01.npz: labels of shape (2,), but 5 of 6 files, such as s00.npz, have (); if these are "
        "one-hot, save y.argmax(axis=1), which are the classes' numbers.",
        "s02.npz: labels that are text, but 5 of 6 files, such as s00.npz, have numbers; save "
        "all of them alike, as text or as numbers.",
    ]


@pytest.mark.parametrize("kind", ["auto", "ragged"])
def test_a_label_for_each_stretch_of_time_is_told_what_to_say(tmp_path: Path, kind: str) -> None:
    recordings = [zarrts.Recording(f"s{n}", np.zeros((30 * n, 2)), [0, 1] * n) for n in (2, 3)]
    with pytest.raises(SourceError) as caught:
        zarrts.convert(recordings, tmp_path / "a.zarr", kind=kind)
    said = str(caught.value)
    assert said.count("that of 15 time steps, say label_every=15 (--label-every 15)") == 2
    store = zarrts.convert(
        recordings, tmp_path / "a.zarr", kind=kind, label_every=15, progress=False
    )
    with store:
        windows = store.samples.windows(15, 15, label="majority")
        assert windows.load_labels().tolist() == [0, 1] * 5


def test_series_whose_axes_seem_swapped_are_told_so(tmp_path: Path) -> None:
    words = r"kind='ragged' \(--kind ragged\), and axes=\('channel', 'time'\) if it is so\."
    with pytest.raises(SourceError, match=words):
        zarrts.convert(zarrts.Recording("s1", np.zeros((2, 50)), [0, 1]), tmp_path / "a.zarr")


def test_damaged_and_dangerous_files_are_listed_at_once(subjects: Path) -> None:
    (subjects / "s00.npz").write_bytes(b"")
    whole = (subjects / "s01.npz").read_bytes()
    (subjects / "s01.npz").write_bytes(whole[: len(whole) // 2])
    spoil(subjects, "s02", x=np.array([{}] * 6, object))
    np.save(subjects / "s07_x.npy", np.zeros((2, 6, 3)))
    said = sorted(problems_of(refusal(subjects), 4))
    assert [it.split(":")[0] for it in said] == ["s00.npz", "s01.npz", "s02.npz", "s07_x.npy"]
    assert "empty" in said[0]
    assert "damaged" in said[1]
    assert "array 'x': holds dict among its values" in said[2]
    assert "np.savez" in said[2]
    assert "s07_y.npy" in said[3]


def test_nothing_readable_says_what_was_seen(tmp_path: Path) -> None:
    folder = tmp_path / "edf"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.docx").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    said = refusal(folder)
    assert "40 .docx" in said
    assert "1 .txt" in said
    assert ".npz" in said


def test_nothing_at_all_is_said_as_well(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no files at all" in refusal(tmp_path / "empty")
    assert "not found" in refusal(tmp_path / "subjcts")


def test_identical_files_are_refused_by_group(subjects: Path) -> None:
    for i, name in enumerate(["s01", "s01", "s02"]):
        (subjects / f"t{'abc'[i]}.npz").write_bytes((subjects / f"{name}.npz").read_bytes())
    said = problems_of(refusal(subjects), 2)
    assert said[0].startswith("s01.npz and ta.npz and tb.npz: the same content under 3 names")
    assert said[1].startswith("s02.npz and tc.npz: the same content under 2 names; remove the")


def test_session_like_names_ask_for_subject(tmp_path: Path) -> None:
    folder = tmp_path / "nights"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for person in ("anna", "bert"):
        for night in (1, 2):
            x = rng.normal(size=(5, 6, 3))
            np.savez(folder / f"{person}_night{night}.npz", x=x, y=np.arange(5))
    (said,) = problems_of(refusal(folder), 1)
    assert said.startswith(
        "anna_night1, anna_night2; bert_night1, bert_night2: these names look like several "
        "sessions of one person, and one person on both sides of a split is a leak."
    )
    assert "subject= (--subject), for example r'^[^_]+'" in said
    each = re.search(r"or (r'.+'), if each file is another person", said)
    assert each
    pattern = ast.literal_eval(each[1])
    with zarrts.convert(folder, tmp_path / "b.zarr", subject=pattern, progress=False) as store:
        assert store.subjects == ["anna_night1", "anna_night2", "bert_night1", "bert_night2"]
    with zarrts.convert(folder, tmp_path / "a.zarr", subject=r"^[^_]+", progress=False) as store:
        assert store.subjects == ["anna", "bert"]


COMPOSED, DECOMPOSED = "Ren\u00e9", "Rene\u0301"
SPELLINGS = [
    ("S01", "s01"),
    (COMPOSED, DECOMPOSED),
    ("s01", "s01 "),
    ("a  b", "A b"),
    ("\u017f1", "S1"),
]


@pytest.mark.parametrize("names", SPELLINGS)
@pytest.mark.parametrize("way", ["files", "recordings", "table", "function", "append"])
def test_names_that_are_written_differently_ask_who_is_who(
    tmp_path: Path, names: tuple[str, str], way: str
) -> None:
    if way == "table" and names[1] == names[0] + " ":
        pytest.skip("the blank ends the cell, and is no part of the name")
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(5, 4, 2)) for _ in range(3)]
    source: Any = tmp_path / "subjects"
    options: dict[str, Any] = {}
    if way in ("recordings", "append"):
        people = ("else", *names)
        source = [zarrts.Recording(it, x[n], np.arange(5)) for n, it in enumerate(people)]
    else:
        files = names if way == "files" else ("one", "two")
        for number, name in enumerate(files):
            # In folders of their own: some file systems take the two names for one.
            (source / str(number)).mkdir(parents=True)
            np.savez(source / str(number) / f"{name}.npz", x=x[number], y=np.arange(5))
        of = {f"{number}/{name}.npz": names[number] for number, name in enumerate(files)}
        if way == "function":
            options["subject"] = of.__getitem__
        elif way == "table":
            table = tmp_path / "who.csv"
            lines = [f'{file},"{name}"' for file, name in of.items()]
            table.write_text("\n".join(["file,subject", *lines]) + "\n", encoding="utf-8")
            options["subject"] = str(table)
    target = tmp_path / "a.zarr"
    if way == "append":
        zarrts.convert(source[:2], target, progress=False).close()
        with pytest.raises(SourceError) as caught:
            zarrts.append(target, source[2:], progress=False)
    else:
        with pytest.raises(SourceError) as caught:
            zarrts.convert(source, target, progress=False, **options)
        assert not target.exists()
    words = "these names of subjects differ only in case, blanks, or how a letter is written"
    assert words in str(caught.value)
    assert all(ascii(name) in str(caught.value) for name in names)


def test_names_that_differ_in_more_are_not_asked_about(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("s1", "s01", "s-1", "s 1", "e\u0301", "e\u0300", "e")
    some = [zarrts.Recording(it, rng.normal(size=(5, 4, 2)), np.arange(5)) for it in names]
    with zarrts.convert(some, tmp_path / "a.zarr", progress=False) as store:
        assert store.subjects == list(names)


def test_two_dimensional_arrays_show_both_readings(tmp_path: Path) -> None:
    make_study(tmp_path / "flat", sizes=[50, 60, 70], sample_shape=(4,))
    said = problems_of(refusal(tmp_path / "flat"), 1)[0]
    assert said.startswith("s00.npz and 2 more: 'x' has shape (50, 4), which can be read in two")
    assert "kind='dense'" in said
    assert "50 samples of 4 values" in said
    assert "kind='ragged'" in said
    assert "50 time steps x 4 channels" in said
    with zarrts.convert(tmp_path / "flat", tmp_path / "a.zarr", kind="dense") as store:
        assert (store.n_samples, store.sample_shape) == (180, (4,))
    with zarrts.convert(tmp_path / "flat", tmp_path / "b.zarr", kind="ragged") as store:
        assert (store.n_samples, store.sample_shape) == (3, (None, 4))
        assert [it.n_rows for it in store.recordings] == [50, 60, 70]


def test_channels_that_do_not_fit_are_named(subjects: Path) -> None:
    said = problems_of(refusal(subjects, channels=["Fz", "Cz"]), 1)
    assert said == [
        "s00.npz and 5 more: 3 channels (the last axis), but channels= names 2 (Fz, Cz); name "
        "each once, or say which axis is which with axes=."
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunk": "2MiB", "shard": "1MiB"}, "chunk=2,097,152 bytes is more than shard=1,048,576"),
        ({"codec": "gzip"}, "codec='gzip' is unknown; use one of auto, lz4, zstd, none"),
        ({"dtype": "float23"}, "dtype='float23' is not a NumPy dtype; use 'float32', for example"),
        ({"dtype": object()}, "is not a NumPy dtype; use 'float32', for example"),
        ({"dtype": "complex64"}, "dtype='complex64' cannot be stored"),
        ({"dtype": "U5"}, "dtype='U5' cannot be stored"),
        ({"kind": "windows"}, "kind='windows' is unknown; use one of 'auto', 'dense', 'ragged'"),
        ({"workers": 0}, "workers=0 has to be at least 1"),
        ({"workers": "2"}, "workers='2' has to be a number"),
        ({"workers": 1.5}, "workers=1.5 has to be a number"),
        ({"rate_hz": 0}, "rate_hz=0 has to be above 0"),
        ({"rate_hz": -5.0}, "rate_hz=-5.0 has to be at least 0"),
        ({"rate_hz": float("nan")}, "rate_hz=nan has to be at least 0"),
        ({"rate_hz": float("inf")}, "rate_hz=inf has to be above 0, and finite"),
        ({"rate_hz": "256"}, "rate_hz='256' has to be a number"),
        ({"channels": "Fz,Cz,Pz"}, "channels='Fz,Cz,Pz' is one text; give a list of names"),
        ({"channels": ["Fz", "Fz", "Cz"]}, "channels= names Fz more than once"),
        ({"channels": [1, 2, 3]}, "channels=[1, 2, 3] has to be a list of names"),
        ({"axes": "sample,time,channel"}, "axes='sample,time,channel' is one text"),
        ({"memory": "much"}, "memory='much' is not a size"),
        ({"chunk": 0}, "chunk=0 has to be at least 1 byte"),
    ],
)
def test_wrong_options_are_named_with_the_value_and_the_remedy(
    subjects: Path, options: dict[str, Any], words: str
) -> None:
    assert words in refusal(subjects, PlanError, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"axes": ["sample", "time"]}, "but axes= names 2"),
        ({"axes": ["time", "channel", "epoch"]}, "sample among them"),
        ({"x": "signals"}, "signals"),
        ({"subject": "("}, "is not a regular expression"),
        ({"subject": "nobody"}, "does not match"),
        ({"subject": 5}, "must be a regular expression"),
    ],
)
def test_wrong_names_are_refused(subjects: Path, options: dict[str, Any], words: str) -> None:
    assert words in refusal(subjects, SourceError, **options)


@pytest.mark.parametrize(
    ("keyword", "ours"),
    [
        ("random_state", "seed="),
        ("compression", "codec="),
        ("chunks", "chunk="),
        ("fs", "rate_hz="),
        ("n_jobs", "workers="),
        ("nonsense", None),
    ],
)
def test_keywords_of_others_are_a_type_error_that_names_ours(
    subjects: Path, keyword: str, ours: str | None
) -> None:
    before = tree(subjects.parent)
    with pytest.raises(TypeError) as caught:
        zarrts.convert(subjects, subjects.parent / "a.zarr", **{keyword: 1})
    said = str(caught.value)
    assert said.startswith(f"convert() has no keyword '{keyword}'")
    assert (f"; use {ours}" in said) if ours else "'nonsense'. It has source, " in said
    assert tree(subjects.parent) == before


def test_memory_that_is_too_small_says_what_is_needed(subjects: Path, tmp_path: Path) -> None:
    said = refusal(subjects, PlanError, memory="1MiB")
    match = re.fullmatch(
        r"memory=1MiB is too little: these files need (\d+)KiB; raise memory to at least that\.",
        said,
    )
    assert match
    refusal(subjects, PlanError, memory=f"{int(match[1]) - 1}KiB")
    zarrts.convert(subjects, tmp_path / "a.zarr", memory=f"{match[1]}KiB", progress=False).close()


def test_no_room_on_the_disk_is_refused(subjects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "free_bytes", lambda path: 1000)
    said = refusal(subjects, PlanError)
    assert re.search(
        r"a\.zarr: the store needs about \d\.\d kB, but 1\.0 kB are free; make room or choose "
        "another disk",
        said,
    )


def test_values_beyond_the_dtype_are_found_while_writing(subjects: Path) -> None:
    x = np.ones((9, 6, 3))
    x[-1, 0, 0] = 1e39
    spoil(subjects, "s05", x=x)
    said = refusal(subjects, dtype="float32", chunk=100, shard=200)
    assert said.startswith("s05.npz: holds values beyond the range of float32 (up to 3.4e+38)")
    assert "dtype='keep'" in said


def test_fractions_are_no_integers(subjects: Path) -> None:
    assert re.match(
        r"s00\.npz: the value -?\d+\.\d+ is not representable as int16; "
        r"choose another dtype, such as float32\.",
        refusal(subjects, dtype="int16"),
    )


def test_file_that_changes_meanwhile_is_refused(subjects: Path, tmp_path: Path) -> None:
    from zarrts.conversion.options import ConvertOptions
    from zarrts.conversion.prepare import prepare
    from zarrts.conversion.run import run

    prepared = prepare(subjects, tmp_path / "a.zarr", ConvertOptions(chunk_bytes=100))
    spoil(subjects, "s03", y=np.full(7, 12345))
    with pytest.raises(SourceError, match=r"s03\.npz: the file changed while it was in use"):
        run(prepared)
    assert not (tmp_path / "a.zarr").exists()


class Broken:
    """An array whose file is gone."""

    shape, dtype = (9, 6, 3), np.dtype("f4")

    def __init__(self) -> None:
        self.reads = 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.reads += 1
        if self.reads > 4:
            raise OSError(5, "Input/output error")
        return np.zeros((rows.stop - rows.start, 6, 3), "f4")


def test_array_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = [zarrts.Recording("anna", Broken(), np.arange(9))]
    with pytest.raises(SourceError, match=r"recording 1 \(anna\): cannot be read .*Input/output"):
        zarrts.convert(source, tmp_path / "a.zarr", chunk=100, progress=False)
    assert not (tmp_path / "a.zarr").exists()


# A disk that fills up ------------------------------------------------------------------------


@pytest.mark.parametrize("n_shards", [0, 2])  # of the three of a part
@pytest.mark.parametrize(
    ("number", "words"), [(28, "the disk is full"), (13, r"cannot be written \(no luck\)")]
)
def test_disk_that_cannot_be_written_is_one_clear_line(
    subjects: Path, monkeypatch: pytest.MonkeyPatch, n_shards: int, number: int, words: str
) -> None:
    calls = iter(range(n_shards))
    real = shards.ShardWriter.commit

    def commit(writer: shards.ShardWriter) -> shards.WrittenShard:
        if next(calls, None) is None:
            raise OSError(number, "no luck")
        return real(writer)

    monkeypatch.setattr(shards.ShardWriter, "commit", commit)
    said = refusal(subjects, PlanError, chunk=200, shard=400)
    assert re.search(rf"a\.zarr: {words}", said)
    assert "\n" not in said


@pytest.mark.parametrize("limit", [60_000, 300, 10])
def test_limit_of_file_sizes_leaves_nothing(tmp_path: Path, limit: int) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limits")
    assert resource
    study = make_study(tmp_path / "subjects", sizes=[2000])
    before = tree(tmp_path)
    code = """
        import resource, sys
        import zarrts
        source, target, limit = sys.argv[1:]
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
        try:
            zarrts.convert(source, target, progress=False)
        except zarrts.PlanError as error:
            print(error)
    """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(code),
            study.folder,
            tmp_path / "a.zarr",
            str(limit),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == (
        f"{tmp_path / 'a.zarr'}: the disk is full; what was written has been removed. Make room "
        "or choose another disk.\n"
    )
    assert done.stderr == ""
    assert tree(tmp_path) == before


def test_error_of_an_option_comes_before_the_sources_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    spy: Callable[..., Any] = lambda *args, **keywords: found.append(args)  # noqa: E731
    monkeypatch.setattr(preparing.sources, "find", spy)
    with pytest.raises(PlanError, match="codec"):
        zarrts.convert(tmp_path, tmp_path / "a.zarr", codec="gzip")
    assert not found
