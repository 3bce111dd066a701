"""Scores against naive loops over single samples; tables, files, folds and pictures of them."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrts
from zarrts.results import Evaluation, Places, Predictions
from zarrts.results.scores import NAMES

CLASSES = ("N1", "R_E&M", "W")


def said_of(rng: np.random.Generator, n: int, n_classes: int = 3) -> tuple[Any, Any]:
    """Return true and predicted classes of some samples, mostly alike."""
    true = rng.integers(0, n_classes, n)
    return true, np.where(rng.random(n) < 0.7, true, rng.integers(0, n_classes, n))


def counted(pairs: Any, n_classes: int = 3) -> np.ndarray[Any, Any]:
    found = np.zeros((n_classes, n_classes), np.int64)
    for true, predicted in zip(*pairs, strict=True):
        found[true, predicted] += 1
    return found


def naive(true: Any, said: Any) -> dict[str, float]:
    """The textbook's formulas, sample by sample."""
    n = len(true)
    agreed = sum(t == s for t, s in zip(true, said, strict=True)) / n
    recalls, f1s, by_chance = [], [], 0.0
    for code in range(3):
        hits = sum(t == s == code for t, s in zip(true, said, strict=True))
        n_true, n_said = sum(t == code for t in true), sum(s == code for s in said)
        if n_true:
            recalls.append(hits / n_true)
        if n_true or n_said:
            p = hits / n_said if n_said else 0.0
            r = hits / n_true if n_true else 0.0
            f1s.append(2 * p * r / (p + r) if p + r else 0.0)
        by_chance += n_true / n * n_said / n
    return {
        "accuracy": agreed,
        "balanced_accuracy": sum(recalls) / len(recalls),
        "macro_f1": sum(f1s) / len(f1s),
        "kappa": (agreed - by_chance) / (1 - by_chance),
    }


@pytest.fixture(scope="module")
def people() -> dict[str, tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    some = {name: said_of(rng, n) for name, n in (("a", 40), ("b", 61), ("c", 25))}
    true, said = said_of(rng, 30, 2)
    some["d"] = (true, np.minimum(said, 1))  # who has two of the classes
    return some


@pytest.fixture(scope="module")
def evaluation(people: dict[str, tuple[Any, Any]]) -> Evaluation:
    confusion = np.stack([counted(pairs) for pairs in people.values()])
    return Evaluation(subjects=tuple(people), class_names=CLASSES, confusion=confusion)


def test_scores_are_those_of_the_textbook(
    people: dict[str, tuple[Any, Any]], evaluation: Evaluation
) -> None:
    true, said = (np.concatenate(it) for it in zip(*people.values(), strict=True))
    for name, value in naive(true, said).items():
        assert getattr(evaluation, name) == pytest.approx(value)
        own = [naive(*pairs)[name] for pairs in people.values()]
        np.testing.assert_allclose(evaluation.by_subject(name), own)
        mean = sum(own) / len(own)
        deviation = (sum((it - mean) ** 2 for it in own) / (len(own) - 1)) ** 0.5
        assert evaluation.mean_and_spread(name) == pytest.approx((mean, deviation))
    for code in range(3):
        hits = np.sum((true == code) & (said == code))
        assert evaluation.class_recall[code] == pytest.approx(hits / np.sum(true == code))
        assert evaluation.class_precision[code] == pytest.approx(hits / np.sum(said == code))
    with pytest.raises(zarrts.SampleError, match="by_subject\\('f2'\\): choose one of accuracy"):
        evaluation.by_subject("f2")


def test_what_is_not_defined_is_nan() -> None:
    nothing = Evaluation(
        subjects=("a",), class_names=CLASSES, confusion=np.zeros((1, 3, 3), np.int64)
    )
    assert all(np.isnan(getattr(nothing, name)) for name in NAMES)
    right = np.zeros((1, 3, 3), np.int64)
    right[0, 1, 1] = 9
    one = Evaluation(subjects=("a",), class_names=CLASSES, confusion=right)
    assert (one.accuracy, one.balanced_accuracy, one.macro_f1) == (1, 1, 1)
    assert np.isnan(one.kappa)
    assert np.isnan(one.precision[0]).tolist() == [True, False, True]
    assert np.isnan(one.mean_and_spread()[1])


def test_folds_are_joined_by_sum_or_as_a_list(
    people: dict[str, tuple[Any, Any]], evaluation: Evaluation
) -> None:
    folds = [
        Evaluation(subjects=(name,), class_names=CLASSES, confusion=counted(pairs)[None])
        for name, pairs in people.items()
    ]
    for found in (sum(folds), Evaluation.joined(folds)):
        assert isinstance(found, Evaluation)
        assert found.subjects == evaluation.subjects
        assert np.array_equal(found.confusion, evaluation.confusion)
        assert found.predictions is None
    twice = folds[0] + folds[0]
    assert twice.subjects == ("a",)
    assert np.array_equal(twice.confusion, 2 * folds[0].confusion)
    other = Evaluation(subjects=("e",), class_names=(1, 2, 3), confusion=folds[0].confusion)
    with pytest.raises(zarrts.SampleError, match=r"the classes \(1, 2, 3\) and \('N1'"):
        Evaluation.joined([*folds, other])
    with pytest.raises(zarrts.SampleError, match="no evaluations"):
        Evaluation.joined([])


def test_tables_hold_the_counts(evaluation: Evaluation) -> None:
    total = evaluation.confusion.sum(axis=0)
    header, *rows = csv.reader(io.StringIO(evaluation.to_csv()))
    assert header[1:] == list(CLASSES)
    assert [row[0] for row in rows] == list(CLASSES)
    assert [[int(it) for it in row[1:]] for row in rows] == total.tolist()
    lines = evaluation.to_latex().splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrr}"
    assert r"R\_E\&M" in lines[2]
    cells = [it.strip() for it in lines[5].removesuffix(r"\\").split("&", 2)[-1].split("&")]
    assert [int(it) for it in cells[:3]] == total[1].tolist()
    assert [float(it) for it in cells[3:]] == pytest.approx(
        [
            total[1, 1] / total[:, 1].sum(),
            total[1, 1] / total[1].sum(),
            2 * total[1, 1] / (total[:, 1].sum() + total[1].sum()),
        ],
        abs=5e-4,
    )


def test_frames_have_a_line_a_subject(
    people: dict[str, tuple[Any, Any]], evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas", exc_type=ImportError)
    frame = evaluation.to_frame()
    assert frame.index.tolist() == [*people, "all"]
    for name, pairs in people.items():
        assert frame.loc[name, "samples"] == len(pairs[0])
        for score, value in naive(*pairs).items():
            assert frame.loc[name, score] == pytest.approx(value)
    assert frame.loc["all", "recall_W"] == evaluation.class_recall[2]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas: .*pip install pandas"):
        evaluation.to_frame()


def made(ids: Any, **options: Any) -> Predictions:
    """Return predictions of windows of 30 s every 30 s, ten in each of two recordings."""
    ids = np.asarray(ids)
    recordings = ids // 10
    values = np.random.default_rng(1).dirichlet(np.ones(3), 20)[ids]
    places = Places(
        subjects=("a", "b"),
        sources=("a.npz", "b.npz"),
        starts=ids % 10 * 300,
        stops=ids % 10 * 300 + 300,
        rate_hz=10.0,
    )
    given: dict[str, Any] = {
        "values": values,
        "sample_ids": ids,
        "recordings": recordings,
        "class_names": CLASSES,
        "places": places,
        "true": ids % 4 - 1,
    }
    return Predictions(**(given | options))


def test_predictions_have_file_and_time() -> None:
    pytest.importorskip("pandas", exc_type=ImportError)
    found = made(np.arange(20))
    frame = found.to_frame()
    assert frame.columns.tolist() == [
        *("sample_id", "recording", "subject", "file", "start", "stop", "start_s", "stop_s"),
        *("true", "predicted", "p_N1", "p_R_E&M", "p_W"),
    ]
    line = frame.iloc[13]
    assert line[:8].tolist() == [13, 1, "b", "b.npz", 900, 1200, 90.0, 120.0]
    assert line["true"] == CLASSES[0]
    assert frame["true"].iloc[0] == ""  # without a label
    assert line["predicted"] == CLASSES[int(found.values[13].argmax())]
    assert line["p_W"] == found.values[13, 2]
    whole = found.merged().to_frame()
    assert whole["file"].tolist() == ["a.npz", "b.npz"]
    assert whole["stop_s"].tolist() == [300.0, 300.0]
    numbers = made([1, 2], class_names=None, true=None, values=np.array([[0.5], [2.5]]))
    assert numbers.to_frame()["value"].tolist() == [0.5, 2.5]
    with pytest.raises(zarrts.SampleError, match=r"shape \(2, 4, 3\), several for each sample"):
        made([1, 2], values=np.zeros((2, 4, 3))).to_frame()


def test_a_single_value_is_the_second_of_two_classes() -> None:
    two = made([3, 4], class_names=("no", "yes"), values=np.array([[0.2], [0.75]]), true=None)
    assert two.probabilities.tolist() == [[0.8, 0.2], [0.25, 0.75]]
    assert two.codes.tolist() == [0, 1]


def test_files_hold_counts_and_predictions(tmp_path: Path, evaluation: Evaluation) -> None:
    evaluation.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == evaluation.to_dict()
    kept = Evaluation(**evaluation.__dict__ | {"predictions": made(np.arange(20))})
    message = r"predictions were kept, which only an \.npz file holds; name it a\.npz"
    with pytest.raises(zarrts.SampleError, match=message):
        kept.save(tmp_path / "a.json")
    for it, name in ((evaluation, "b.npz"), (kept, "c.npz")):
        it.save(tmp_path / name)
        again = Evaluation.load(tmp_path / name)
        assert np.array_equal(again.confusion, it.confusion)
        assert (again.predictions is None) == (it.predictions is None)
    wanted, found = kept.predictions, again.predictions
    assert wanted is not None
    assert found is not None
    assert found.places is not None
    assert found.class_names == CLASSES
    assert found.places.sources == ("a.npz", "b.npz")
    assert found.places.rate_hz == 10
    for name in ("values", "sample_ids", "recordings", "true"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    (tmp_path / "d.npz").write_bytes(b"PK nothing")
    with pytest.raises(zarrts.SampleError, match=r"holds no results that zarrts\.evaluate"):
        Evaluation.load(tmp_path / "d.npz")


def test_predictions_of_folds_are_in_the_order_of_their_ids() -> None:
    def fold(ids: Any) -> Evaluation:
        own = made(ids)
        return Evaluation(
            subjects=("a",),
            class_names=CLASSES,
            confusion=np.ones((1, 3, 3), np.int64),
            predictions=own,
        )

    found = sum([fold(np.arange(10, 20)), fold(np.arange(10))])
    assert isinstance(found, Evaluation)
    assert found.predictions is not None
    every = made(np.arange(20))
    np.testing.assert_array_equal(found.predictions.sample_ids, np.arange(20))
    np.testing.assert_array_equal(found.predictions.values, every.values)
    assert found.predictions.places is not None
    np.testing.assert_array_equal(found.predictions.places.starts, np.arange(20) % 10 * 300)
    with pytest.raises(zarrts.SampleError, match="A sample is in two of the evaluations"):
        _ = fold(np.arange(10)) + fold(np.arange(5))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_confusion_is_drawn(tmp_path: Path, evaluation: Evaluation, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra plot")
    path = tmp_path / f"confusion{suffix}"
    evaluation.draw(path)
    assert path.stat().st_size > 2_000
    with pytest.raises(zarrts.SampleError, match="a picture is"):
        evaluation.draw(tmp_path / "confusion.bmp")
