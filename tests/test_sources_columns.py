"""CSV and Parquet files as recordings, and labels from a table, against naive reading."""

import csv
import io
import re

import numpy as np
import pytest
from click.testing import CliRunner
from edf_files import write_edf
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.cli import main
from zarrts.errors import PlanError, SourceError
from zarrts.sources.formats import csv_files

pyarrow = pytest.importorskip("pyarrow", reason="the extra tables is not installed")
from pyarrow import parquet  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_leaks")
START = np.datetime64("2026-03-01T10:00:00", "us")


def dates(n, rate_hz, gaps=()):
    times = np.arange(n) / rate_hz
    for row, seconds in gaps:
        times[row:] += seconds
    return START + np.round(times * 1e6).astype("timedelta64[us]")


def table_of(n, seed=0, nan=0.05, subjects=1):
    """Return columns: time, two of numbers, one of text with line ends in it, and labels."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2)).round(4)
    x[rng.random(x.shape) < nan] = np.nan
    notes = np.array(["", "a,b", 'say "yes"', "two\nlines", "plain"])[rng.integers(0, 5, n)]
    return {
        "when": dates(n, 10),
        "ax": x[:, 0],
        "note": notes,
        "ay": x[:, 1],
        "what": np.array(["sit", "", "walk"])[rng.integers(0, 3, n)],
        "who": np.repeat([f"p{i}" for i in range(subjects)], -(-n // subjects))[:n],
    }


def text_of(value, decimal="."):
    if isinstance(value, float):
        return "" if np.isnan(value) else str(value).replace(".", decimal)
    return str(value)


def write_csv(path, columns, separator=",", decimal=".", end="\r\n", bom=False):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator=end)
    writer.writerow(columns)
    lists = [it.astype(str) if it.dtype.kind == "M" else it for it in columns.values()]
    for row in zip(*(it.tolist() for it in lists), strict=True):
        writer.writerow([text_of(it, decimal) for it in row])
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + stream.getvalue().encode())


def write_parquet(path, columns, group=64):
    table = pyarrow.table(
        {
            name: pyarrow.array(it, from_pandas=True)
            if it.dtype.kind == "f"
            else pyarrow.array(it.tolist() if it.dtype.kind == "U" else it)
            for name, it in columns.items()
        }
    )
    parquet.write_table(table, path, row_group_size=group)


def check(store, *tables):
    """Compare a store with tables, a recording each."""
    x, y = store.samples.load()
    for got, labels, columns in zip(x, y, tables, strict=True):
        expected = np.stack([columns["ax"], columns["ay"]], axis=1).astype(np.float32)
        assert np.array_equal(got, expected, equal_nan=True)
        names = np.array([*store.class_names, ""])[labels]
        assert names.tolist() == columns["what"].tolist()


OPTIONS = {"x": ["ax", "ay"], "y": "what", "time": "when", "progress": False}


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(20, 400),
    seed=st.integers(0, 999),
    kind=st.sampled_from(["csv", "parquet"]),
    block=st.integers(60, 4000),
    form=st.sampled_from([(",", ".", "\n"), (";", ",", "\r\n"), ("\t", ".", "\n")]),
    bom=st.booleans(),
    chunk=st.sampled_from([40, 400, 100_000]),
)
def test_files_of_columns_are_read_as_naive_reading_reads_them(
    tmp_path_factory, n, seed, kind, block, form, bom, chunk
):
    folder = tmp_path_factory.mktemp("columns")
    columns = table_of(n, seed)
    (folder / "data").mkdir()
    if kind == "csv":
        write_csv(folder / "data" / "a.csv", columns, *form, bom=bom)
    else:
        write_parquet(folder / "data" / "a.parquet", columns, group=max(1, block // 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "_BLOCK_BYTES", block)
        with zarrts.convert(
            folder / "data", folder / "s.zarr", chunk=chunk, shard=4 * chunk, **OPTIONS
        ) as store:
            check(store, columns)
            assert (store.rate_hz, store.channels) == (10, ["ax", "ay"])
            assert store.subjects == ["a"]
        assert zarrts.verify(folder / "s.zarr", sources=folder / "data").problems == ()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_runs_of_a_subject_are_recordings_with_gaps_of_their_own(tmp_path, kind):
    columns = table_of(300, subjects=3)
    columns["when"] = np.concatenate([dates(100, 10, [(40, 2.5)])] * 3)
    path = tmp_path / f"all.{kind}"
    (write_csv if kind == "csv" else write_parquet)(path, columns)
    with zarrts.convert(path, tmp_path / "s.zarr", subject="who", **OPTIONS) as store:
        parts = [{k: v[i : i + 100] for k, v in columns.items()} for i in (0, 100, 200)]
        check(store, *parts)
        assert store.subjects == ["p0", "p1", "p2"]
        assert store.catalog.gaps.rows.tolist() == [40, 140, 240]
        assert store.catalog.gaps.seconds.tolist() == [2.5] * 3
    assert zarrts.verify(tmp_path / "s.zarr", sources=path).problems == ()
    shard = next((tmp_path / "s.zarr" / "0" / "x" / "c").rglob("*/0"))
    before = shard.read_bytes()
    shard.write_bytes(before[:-9] + bytes(9))
    zarrts.repair(tmp_path / "s.zarr", path)
    assert shard.read_bytes() == before


def test_numbers_whatever_they_are_saved_as(tmp_path):
    n = 40
    columns = {
        "t": np.arange(n) * 20 + 1_772_359_200_000,  # milliseconds since 1970
        "a": np.arange(n, dtype=np.int16),
        "b": np.arange(n) / 4,
        "flag": np.arange(n) % 2 == 0,
        "age": np.arange(n) / 8,
        "level": np.arange(n) % 3,
    }
    for number, write in enumerate((write_csv, write_parquet)):
        path = tmp_path / f"{number}{'.csv' if number == 0 else '.parquet'}"
        write(path, {k: v for k, v in columns.items() if number or k != "flag"})
        x = ["a", "b", "flag"] if number else ["a", "b"]
        for y, names in (("level", [0, 1, 2]), ("age", None)):
            with zarrts.convert(
                path, tmp_path / f"{number}{y}.zarr", x=x, y=y, time="t", progress=False
            ) as store:
                expected = np.stack([columns[it] for it in x], axis=1).astype(np.float32)
                assert np.array_equal(store.samples.load()[0][0], expected)
                assert store.rate_hz == 50
                assert store.class_names == names
                assert np.array_equal(store.samples.load()[1][0], columns[y])


def test_a_single_column_keeps_its_empty_lines(tmp_path):
    (tmp_path / "a.csv").write_text("v\n1\n\n3\n")
    with zarrts.convert(
        tmp_path / "a.csv", tmp_path / "s.zarr", x=["v"], y=False, rate_hz=1, progress=False
    ) as store:
        assert np.array_equal(store.samples.load()[0][0], [[1], [np.nan], [3]], equal_nan=True)


HEAD = "t,ax,ay,what\n"
ROWS = "0,1,2,a\n1,2,3,b\n2,3,4,a\n"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            HEAD + ROWS + "3,4,x5,a\n",
            {},
            "'x5' in column 'ay', which is not a number; correct it, leave it empty",
        ),
        (HEAD + ROWS, {"x": ["ax", "az"]}, "has no column 'az', which x= names"),
        (HEAD + ROWS, {"y": "wat"}, "has no column 'wat', which y= names"),
        (HEAD + ROWS, {"time": "when"}, "has no column 'when', which time= names"),
        (HEAD + ROWS, {"y": None}, "name the one that is the label with y="),
        (HEAD + ROWS.replace("2,3,4", "1,3,4"), {}, "time stamps: they do not grow from row 1"),
        (HEAD + ROWS.replace("2,3,4", ",3,4"), {}, "time stamps: row 2 has none"),
        (HEAD + ROWS + "3,1,1,a\n3.2,1,1,a\n", {}, "time stamps: they are"),
        (HEAD + ROWS.replace("2,3,4", "now,3,4"), {}, "write times as 2026-03-01"),
        (HEAD + ROWS + "3,4\n", {}, "cannot be read after row 0 .*Expected 4 columns, got 2"),
        (ROWS, {}, "its first line holds numbers|has no column"),
        ("1,2,3\n" + ROWS, {}, "its first line holds numbers"),
        ("a,a,b\n1,2,3\n", {}, "several columns are called 'a'"),
        (HEAD, {}, "has no rows"),
        ("", {}, "its first line is empty"),
        (HEAD + ROWS, {"x": ["ax", "ax"]}, "each has to be named once"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path, content, options, message):
    (tmp_path / "a.csv").write_text(content)
    given = {"x": ["ax", "ay"], "y": "what", "time": "t"} | options
    with pytest.raises((SourceError, PlanError), match=message):
        zarrts.convert(tmp_path / "a.csv", tmp_path / "s.zarr", progress=False, **given)
    assert not (tmp_path / "s.zarr").exists()


def test_files_that_are_no_tables_are_refused_and_utf16_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(SourceError, match="is not a Parquet file, or is damaged"):
        zarrts.convert(tmp_path / "a.parquet", tmp_path / "s.zarr", x=["a"], progress=False)
    with pytest.raises(SourceError, match="name those that are inputs"):
        write_parquet(tmp_path / "a.parquet", table_of(30))
        zarrts.convert(tmp_path / "a.parquet", tmp_path / "s.zarr", progress=False)
    with pytest.raises(SourceError, match="column 'note' holds text, but x= are numbers"):
        zarrts.convert(
            tmp_path / "a.parquet", tmp_path / "s.zarr", x=["note"], y="what", progress=False
        )
    (tmp_path / "b.csv").write_bytes((HEAD + ROWS).encode("utf-16"))
    with pytest.raises(SourceError, match="is UTF-16; save it as UTF-8"):
        zarrts.convert(tmp_path / "b.csv", tmp_path / "s.zarr", x=["ax"], progress=False)


def test_csv_files_beside_others_are_lists_still(tmp_path, monkeypatch):
    write_parquet(tmp_path / "a.parquet", table_of(50))
    (tmp_path / "who.csv").write_text("file,subject\na.parquet,anna\n")
    with zarrts.convert(
        tmp_path, tmp_path / "s.zarr", subject=tmp_path / "who.csv", **OPTIONS
    ) as store:
        assert store.subjects == ["anna"]
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(SourceError, match=re.escape("pip install 'zarrts[tables]'")):
        zarrts.convert(tmp_path / "a.parquet", tmp_path / "t.zarr", **OPTIONS)


# Labels from elsewhere ---------------------------------------------------------------------------

SPANS = [("a", 0.0, 3.0, "sit"), ("a", 5.0, 9.0, "walk"), ("b", 1.0, 2.0, "walk")]


def intervals(form, start_s=0.0):
    """Return a table of SPANS: in seconds or dates, by subject or file, with stops or durations."""
    by, kind, ends = form
    owner = [
        f"data/{it[0]}.csv" if by == "path" else f"{it[0]}{'.csv' * (by == 'file')}" for it in SPANS
    ]
    begin, end = (np.array([it[i] for it in SPANS]) + start_s for i in (1, 2))
    if kind == "dates":
        begin, end = (START + (it * 1e6).astype("timedelta64[us]") for it in (begin, end))
    columns = {"subject" if by == "subject" else "file": owner, "start": begin}
    columns["stop" if ends == "stop" else "duration"] = end if ends == "stop" else end - begin
    return columns | {"label": [it[3] for it in SPANS]}


def naive_labels(n, who, rate_hz=10):
    found = np.full(n, "", "U4")
    for name, start, stop, label in SPANS:
        if name == who:
            found[round(start * rate_hz) : round(stop * rate_hz)] = label
    return found


@pytest.mark.parametrize(
    "form",
    [
        ("subject", "seconds", "stop"),
        ("subject", "dates", "stop"),
        ("file", "seconds", "duration"),
        ("path", "dates", "stop"),
    ],
)
@pytest.mark.parametrize("unlabelled", [None, "background"])
def test_labels_of_a_table_lie_at_their_times(tmp_path, form, unlabelled):
    (tmp_path / "data").mkdir()
    tables = {name: table_of(100, seed, 0) for seed, name in enumerate("ab")}
    for name, columns in tables.items():
        write_csv(tmp_path / "data" / f"{name}.csv", columns)
    labels = intervals(form)
    write_csv(tmp_path / "labels.csv", {k: np.asarray(v) for k, v in labels.items()})
    if form[0] == "path":  # origins are relative to what is given in common
        labels["file"] = [it.removeprefix("data/") for it in labels["file"]]
        write_csv(tmp_path / "labels.csv", {k: np.asarray(v) for k, v in labels.items()})
    options = {k: v for k, v in OPTIONS.items() if k != "y"} | {"unlabelled": unlabelled}
    for number, of_all in enumerate((tmp_path / "labels.csv", labels)):
        with zarrts.convert(
            tmp_path / "data", tmp_path / f"{number}.zarr", labels=of_all, **options
        ) as store:
            for columns, it in zip(tables.items(), store.samples.load()[1], strict=True):
                names = np.array([*store.class_names, ""])[it]
                wanted = naive_labels(100, columns[0]).astype("U10")
                wanted[wanted == ""] = unlabelled or ""
                assert names.tolist() == wanted.tolist()
    with pytest.raises(zarrts.ZarrtsError, match="other sources"):
        write_csv(tmp_path / "labels.csv", {k: np.asarray(v)[:2] for k, v in labels.items()})
        zarrts.convert(
            tmp_path / "data" / "a.csv",
            tmp_path / "0.zarr",
            labels=tmp_path / "labels.csv",
            **options,
        )


@pytest.mark.parametrize("is_file", [True, False])
@pytest.mark.parametrize("by", ["subject", "file"])
def test_stores_whose_labels_are_in_a_table_are_verified_and_repaired(tmp_path, by, is_file):
    (tmp_path / "data").mkdir()
    for seed, name in enumerate("ab"):
        write_csv(tmp_path / "data" / f"{name}.csv", table_of(100, seed, 0))
    names = {"a": "anna", "b": "bert"}
    labels = intervals((by, "dates", "stop"))
    if by == "subject":
        labels["subject"] = [names[it] for it in labels["subject"]]
    given = tmp_path / "labels.csv" if is_file else labels
    write_csv(tmp_path / "labels.csv", {k: np.asarray(v) for k, v in labels.items()})
    options = {k: v for k, v in OPTIONS.items() if k != "y"}
    subject = {f"{name}.csv": whole for name, whole in names.items()}
    store = tmp_path / "s.zarr"
    with zarrts.convert(
        tmp_path / "data", store, labels=given, subject=subject, **options
    ) as converted:
        assert converted.subjects == ["anna", "bert"]
    assert zarrts.verify(store, sources=tmp_path / "data", labels=given).problems == ()
    assert zarrts.verify(store, sources=tmp_path, labels=given).problems == ()
    command = ["--sources", str(tmp_path / "data"), "--labels", str(tmp_path / "labels.csv")]
    shards = [it for it in (store / "0/y").rglob("*") if it.is_file() and it.name != "zarr.json"]
    before = [it.read_bytes() for it in shards]
    for shard in shards:
        shard.write_bytes(b"")
    if is_file:
        found = CliRunner().invoke(main, ["repair", str(store), *command])
        assert found.exit_code == 0 and "is whole" in found.output, found.output
        found = CliRunner().invoke(main, ["verify", str(store), *command])
        assert found.exit_code == 0 and "sources" in found.output, found.output
    else:
        zarrts.repair(store, tmp_path / "data", labels=given)
    assert [it.read_bytes() for it in shards] == before

    with pytest.raises(SourceError, match="are not in its files, but come from a table; give"):
        zarrts.verify(store, sources=tmp_path / "data")
    with pytest.raises(SourceError, match="are not in its files, but come from a table; give"):
        shards[0].write_bytes(b"")
        zarrts.repair(store, tmp_path / "data")
    shards[0].write_bytes(before[0])
    labels["label"] = ["walk" if it == "sit" else "sit" for it in labels["label"]]
    write_csv(tmp_path / "labels.csv", {k: np.asarray(v) for k, v in labels.items()})
    problems = zarrts.verify(store, sources=tmp_path / "data", labels=given).problems
    wanted = "is not the file that was converted" if is_file else "differ"
    assert problems and all(wanted in it.text for it in problems), problems


def test_labels_at_an_address_label_files_that_are_here(tmp_path):
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    from fake_s3 import fake_s3

    write_parquet(tmp_path / "a.parquet", table_of(100, 0, 0))
    labels = {k: np.asarray(v)[:2] for k, v in intervals(("subject", "dates", "stop")).items()}
    write_csv(tmp_path / "labels.csv", labels)
    options = {k: v for k, v in OPTIONS.items() if k != "y"}
    store = tmp_path / "s.zarr"
    with fake_s3() as s3:
        s3.objects["labels.csv"] = (tmp_path / "labels.csv").read_bytes()
        more = {"labels": "s3://lab/labels.csv", "storage_options": s3.options}
        with zarrts.convert(tmp_path / "a.parquet", store, **more, **options) as made:
            found = np.array([*made.class_names, ""])[made.samples.load()[1][0]]
            assert found.tolist() == naive_labels(100, "a").tolist()
        assert zarrts.verify(store, sources=tmp_path / "a.parquet", **more).problems == ()


def test_a_table_of_labels_that_nothing_was_made_of_is_refused(tmp_path):
    write_csv(tmp_path / "a.csv", table_of(100))
    zarrts.convert(tmp_path / "a.csv", tmp_path / "s.zarr", **OPTIONS).close()
    labels = intervals(("subject", "dates", "stop"))
    for call in (zarrts.repair, zarrts.verify):
        with pytest.raises(
            SourceError, match=r"come from its files, not from a table; leave labels="
        ):
            call(tmp_path / "s.zarr", sources=tmp_path / "a.csv", labels=labels)


def test_labels_go_around_gaps_and_to_recordings_and_edf_files(tmp_path):
    x = np.zeros((100, 2), np.float32)
    table = {"subject": ["s"] * 2, "start": [1, 6], "stop": [2.0, 12.0], "label": ["a", "b"]}
    gap = zarrts.Recording("s", x, None, rate_hz=10, gaps=[(50, 3.0)])
    options = {"kind": "ragged", "progress": False}
    with zarrts.convert(gap, tmp_path / "s.zarr", labels=table, **options) as store:
        codes = store.samples.load()[1][0]
        # Row 50 is at 8 s, and row 90 at 12 s.
        assert np.flatnonzero(codes == 0).tolist() == [*range(10, 20)]
        assert np.flatnonzero(codes == 1).tolist() == [*range(50, 90)]
    write_edf(tmp_path / "s.edf", annotations=[(0, 12, "other")])
    with zarrts.convert(tmp_path / "s.edf", tmp_path / "e.zarr", labels=table, **options) as store:
        assert store.class_names == ["a", "b"]
        assert np.flatnonzero(store.samples.load()[1][0] == 0).tolist() == [*range(50, 100)]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"stop": [4.0, 5.0]}, {}, "the annotations 'a' .* and 'b' .* overlap"),
        ({"stop": [4.0, 5.0]}, {"annotations": ["a"]}, ""),
        ({"stop": [1.0, 5.0]}, {}, "line 2 ends where it starts"),
        ({"subject": ["s", "t"]}, {}, "names t, which is no subject here"),
        ({"subject": ["t", "t"]}, {}, "has no line for the subject s; it names t"),
        ({"start": ["now", "3"]}, {}, "write times as 2026-03-01"),
        ({"start": ["", "3"]}, {}, "line 2 has no time in column 'start'|write times"),
        ({"label": None}, {}, "labels need subject or file, start and stop"),
        ({"start": [2000, 3000], "stop": [2001, 3001]}, {}, "none lasts for a while within"),
        (
            {"start": ["2026-03-01 10:00"] * 2, "stop": ["2026-03-01 10:01"] * 2},
            {},
            "gives dates, but it is not known when the recording began",
        ),
        ({}, {"rate_hz": None}, "intervals of time, but the rate is not known; say"),
        ({}, {"y": "what"}, "leave y= and label_every= out"),
        ({}, {"label_every": 5}, "leave y= and label_every= out"),
    ],
)
def test_labels_that_cannot_be_used_are_said(tmp_path, change, options, message):
    table = {"subject": ["s", "s"], "start": [1.0, 3.0], "stop": [2.0, 5.0], "label": ["a", "b"]}
    table = {k: v for k, v in (table | change).items() if v is not None}
    given = zarrts.Recording("s", np.zeros((100, 2), np.float32), None)
    options = {"kind": "ragged", "rate_hz": 10, "labels": table, "progress": False} | options
    if not message:
        with zarrts.convert(given, tmp_path / "s.zarr", **options) as store:
            assert store.class_names == ["a"]
        return
    with pytest.raises(SourceError, match=message):
        zarrts.convert(given, tmp_path / "s.zarr", **options)


def test_the_command_takes_columns_times_and_labels_and_append_adds_more(tmp_path):
    (tmp_path / "data").mkdir()
    tables = {name: table_of(100, seed, 0) for seed, name in enumerate("ab")}
    for name, columns in tables.items():
        write_csv(tmp_path / "data" / f"{name}.csv", columns)
    labels = intervals(("subject", "dates", "stop"))
    write_csv(tmp_path / "labels.csv", {k: np.asarray(v)[:2] for k, v in labels.items()})
    first = [str(tmp_path / "data" / "a.csv"), str(tmp_path / "s.zarr"), "--x", "ax,ay"]
    first += ["--time", "when", "--labels", str(tmp_path / "labels.csv")]
    found = CliRunner().invoke(main, ["convert", *first, "--dry-run"])
    assert found.exit_code == 0, found.output
    assert "a CSV file of 6 columns" in found.output
    found = CliRunner().invoke(main, ["convert", *first])
    assert found.exit_code == 0, found.output
    write_csv(tmp_path / "more.csv", {k: np.asarray(v)[2:] for k, v in labels.items()})
    more = [str(tmp_path / "s.zarr"), str(tmp_path / "data" / "b.csv")]
    found = CliRunner().invoke(main, ["append", *more, "--labels", str(tmp_path / "more.csv")])
    assert found.exit_code == 0, found.output
    with zarrts.open(tmp_path / "s.zarr") as store:
        for name, it in zip("ab", store.samples.load()[1], strict=True):
            assert (
                np.array([*store.class_names, ""])[it].tolist() == naive_labels(100, name).tolist()
            )


def test_networks_predict_and_evaluate_new_tables(tmp_path):
    keras = pytest.importorskip("keras", exc_type=ImportError)
    (tmp_path / "data").mkdir()
    for seed, name in enumerate("ab"):
        write_csv(tmp_path / "data" / f"{name}.csv", table_of(100, seed, 0))
    labels = intervals(("subject", "dates", "stop"))
    options = {k: v for k, v in OPTIONS.items() if k != "y"}
    with zarrts.convert(tmp_path / "data", tmp_path / "s.zarr", labels=labels, **options) as store:
        windows = store.samples.windows(5, 5, label="majority")
        with zarrts.ZarrSequence(windows.labelled(), 8) as seq:
            seq.save_spec(tmp_path / "spec.json")
        known = windows.load()[0]
        inputs = keras.Input((5, 2))
        flat = keras.layers.Flatten()(inputs)
        model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(flat))
        like = tmp_path / "spec.json"
        found = zarrts.predict(model, tmp_path / "data", like=like)
        np.testing.assert_allclose(found.values, model.predict(known, verbose=0), rtol=1e-5)
        one = zarrts.evaluate(model, tmp_path / "data", like=like, labels=labels)
        other = zarrts.evaluate(model, store.samples, like=like)
        assert np.array_equal(one.confusion, other.confusion)
        assert one.confusion.sum() == windows.class_counts.sum()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_class_folders_hold_files_of_columns(tmp_path, suffix):
    series = {}
    for name in ("run/a", "run/b", "walk/c"):
        series[name] = np.random.default_rng(len(series)).normal(size=(20, 3)).round(3)
        path = tmp_path / "in" / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = dict(zip(("ax", "note", "ay"), series[name].T, strict=True))
        if suffix == ".csv":
            lines = [",".join(map(str, row)) for row in series[name].tolist()]
            path.write_text("\n".join(["ax,note,ay", *lines]) + "\n", "utf-8")
        else:
            parquet.write_table(pyarrow.table(columns), path)
    with zarrts.convert(
        tmp_path / "in", tmp_path / "a.zarr", x=["ay", "ax"], folders="classes", progress=False
    ) as store:
        assert (store.class_names, store.channels) == (["run", "walk"], ["ay", "ax"])
        x, y = store.samples.load()
        np.testing.assert_array_equal(
            x, np.stack([series[name][:, [2, 0]] for name in sorted(series)]).astype("f4")
        )
        assert y.tolist() == [0, 0, 1]
    for options, words in (
        ({"x": ["ay"], "time": "ax"}, "say the rate with rate_hz="),
        ({"x": ["ay", "up"]}, "has no column 'up'"),
    ):
        with pytest.raises(zarrts.ZarrtsError, match=words):
            zarrts.convert(tmp_path / "in", tmp_path / "b.zarr", folders="classes", **options)
