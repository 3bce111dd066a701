"""Progress is for people at a terminal, who wait for longer than a second."""

import io
import sys

import pytest

from zarrts import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, patience_s: float) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_PATIENCE_S", patience_s)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    totals = []

    def total() -> int:
        totals.append(200)
        return 200

    with progress.show_count("statistics", total) as on_some:
        for _ in range(4):
            on_some(50)
    assert len(totals) == stream.isatty()  # counting may take time itself
    return stream.getvalue()


def test_terminals_see_what_is_done_and_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal(), -1)  # however coarse the clock is
    assert "statistics" in text
    assert "200/200" in text


def test_files_and_quick_work_get_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO(), 0) == ""
    assert "statistics" not in shown(monkeypatch, Terminal(), 60)


def test_whoever_wants_none_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_PATIENCE_S", 0)
    with progress.show_count("predict", 10, wanted=False) as on_some:
        on_some(10)
    assert stream.getvalue() == ""
