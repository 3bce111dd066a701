"""Files `.ts` of aeon and sktime: cases of equal and unequal lengths, against aeon's own reader."""

import importlib.util
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import zarrts
from zarrts import sources
from zarrts.sources import SourceOptions

HEAD = "# a comment\n@problemName toy\n@timeStamps false\n@missing true\n@univariate {}\n"
BODY = "@equalLength true\n@classLabel true N1 n1\n@data\n"


def line(case, label):
    """Return a case, (time, channel), with the fewest digits that give each value back."""
    channels = [["?" if np.isnan(it) else repr(float(it)) for it in channel] for channel in case.T]
    return ":".join([*map(",".join, channels), label])


def write(folder, cases, labels, name="a.ts", more="@classLabel true N1 n1\n"):
    lines = [line(*pair) for pair in zip(cases, labels, strict=True)]
    text = HEAD.format("false") + f"@equalLength false\n{more}@data\n" + "\n".join(lines) + "\n"
    (folder / name).write_text(text)


def cases(lengths, n_channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, n_channels)) for length in lengths]


def test_cases_of_one_length_are_samples_and_class_names_keep_their_case(tmp_path):
    x = cases([20] * 9)
    x[4][3:6, 1] = np.nan
    write(tmp_path, x, ["N1", "n1", "N1"] * 3)
    with zarrts.convert(tmp_path, tmp_path / "s.zarr", dtype="keep", progress=False) as store:
        assert (store.kind, store.class_names) == ("dense", ["N1", "n1"])
        found, y = store.samples.load()
        np.testing.assert_array_equal(found, np.stack(x))
        assert y.tolist() == [0, 1, 0] * 3
    (it,) = sources.find(tmp_path / "a.ts").recordings
    rng = np.random.default_rng(1)
    for _ in range(30):
        start, stop = sorted(rng.integers(0, 10, 2))
        np.testing.assert_array_equal(it.x.read(int(start), int(stop)), np.array(x)[start:stop])


def test_cases_of_unequal_lengths_are_recordings(tmp_path):
    x = cases([5, 30, 1, 12])
    write(tmp_path, x, ["N1", "n1", "N1", "N1"])
    with zarrts.convert(tmp_path, tmp_path / "s.zarr", dtype="keep", progress=False) as store:
        assert store.kind == "ragged"
        found, y = store.samples.load()
        for one, expected in zip(found, x, strict=True):
            np.testing.assert_array_equal(one, expected)
        assert y.tolist() == [0, 1, 0, 0]


def test_targets_are_numbers_and_a_file_without_labels_has_none(tmp_path):
    x = cases([4, 4])
    write(tmp_path, x, ["1.5", "-2"], more="@targetLabel true\n")
    (it,) = sources.find(tmp_path).recordings
    assert it.y.read(0, 2).tolist() == [1.5, -2]
    text = (tmp_path / "a.ts").read_text().replace(":1.5", "").replace(":-2", "")
    (tmp_path / "a.ts").write_text(text.replace("@targetLabel true", "@targetLabel false"))
    (it,) = sources.find(tmp_path, SourceOptions(y=False)).recordings
    np.testing.assert_array_equal(it.x.read(0, 2), np.stack(x))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@problemName a\n1,2:a\n", "has no line '@data'"),
        (HEAD + BODY, "holds no cases"),
        (HEAD.replace("@timeStamps false", "@timeStamps true") + BODY + "(0,1):a\n", "time stamps"),
        (HEAD + BODY + "1,2:3,4:a\n1,2,3:4,5:a\n", "case 2: has 2 channels of 3, 2 values"),
        (HEAD + BODY + "1,2:3,4:a\n1,2:a\n", "case 2: has 1 channels of 2 values"),
        (HEAD + BODY + "1,2\n", "case 1: has no label"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, said):
    (tmp_path / "a.ts").write_text(text)
    (problem,) = sources.find(tmp_path).problems
    assert problem.startswith("a.ts") and said in problem


def test_what_is_no_number_is_met_when_it_is_read(tmp_path):
    (tmp_path / "a.ts").write_text(HEAD + BODY + "1,2:N1\n3,x:N1\n")
    with pytest.raises(zarrts.ZarrtsError, match=r"a\.ts: a case is not of numbers"):
        zarrts.convert(tmp_path, tmp_path / "s.zarr", progress=False)


def test_other_files_of_that_suffix_are_passed_over(tmp_path):
    write(tmp_path, cases([4, 4]), ["N1", "n1"])
    (tmp_path / "app.ts").write_text("export const a = 1;\n")
    (tmp_path / "video.ts").write_bytes(b"G@\0\x10" * 47)
    found = sources.find(tmp_path)
    assert (found.problems, found.passed_over) == ((), ("app.ts", "video.ts"))


def test_the_index_of_many_cases_is_small(tmp_path):
    line = ",".join(["1.25"] * 5000) + ":N1\n"
    with open(tmp_path / "a.ts", "w") as file:
        file.write(HEAD + BODY)
        for _ in range(2000):
            file.write(line)
    assert (tmp_path / "a.ts").stat().st_size > 45e6
    tracemalloc.start()
    (it,) = sources.find(tmp_path).recordings
    assert it.x.shape == (2000, 5000, 1)
    for start in range(0, 2000, 50):
        it.x.read(start, start + 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


# Against aeon, on the files that it brings


def shipped():
    spec = importlib.util.find_spec("aeon")
    if spec is None or spec.origin is None:
        return []
    return sorted(Path(spec.origin).parent.glob("datasets/data/*/*.ts"))


def series_of(recordings):
    """Return the series of a file: rows of one array, or a recording each."""
    if len(recordings) == 1 and len(recordings[0].x.shape) == 3:
        return [*recordings[0].x.read(0, recordings[0].x.shape[0])]
    return [it.x.read(0, it.x.shape[0]) for it in recordings]


@pytest.mark.skipif(not shipped(), reason="tox -e formats installs aeon")
def test_files_that_aeon_ships_are_as_it_reads_them():
    from aeon.datasets import load_from_ts_file

    n_stamped = 0
    for path in shipped():
        found = sources.find(path)
        if "TimeStamps" in path.name:
            assert "time stamps" in found.problems[0]
            n_stamped += 1
            continue
        x, y = load_from_ts_file(str(path))
        assert found.problems == ()
        its = found.recordings
        mine = [it.T for it in series_of(its)]
        assert len(mine) == len(x)
        for one, expected in zip(mine, x, strict=True):
            np.testing.assert_array_equal(one, expected)
        labels = np.concatenate([it.y.read(0, it.y.shape[0]) for it in its])
        if labels.dtype.kind == "U":
            assert [it.lower() for it in labels] == [str(it) for it in y]
        else:
            np.testing.assert_array_equal(labels, np.asarray(y, float))
    assert n_stamped == 1


@pytest.mark.parametrize("lengths", [[7] * 5, [3, 9, 4]])
def test_what_aeon_writes_is_read(tmp_path, lengths):
    aeon = pytest.importorskip("aeon.datasets", reason="tox -e formats installs aeon")
    x = cases(lengths)
    labels = ["a", "b", "a", "b", "a"][: len(x)]
    given = [it.T for it in x]
    if len({*lengths}) == 1:
        given = np.stack(given)
    aeon.save_to_ts_file(
        given,
        y=np.array(labels),
        label_type="classification",
        path=str(tmp_path),
        problem_name="toy",
    )
    its = sources.find(tmp_path).recordings
    mine = series_of(its)
    for one, expected in zip(mine, x, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-12)
