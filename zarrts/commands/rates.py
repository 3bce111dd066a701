"""The results of a benchmark of a store, as text, as a bar and for programs."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

_BLOCKS, _ASCII = "\u2588\u2593\u2592\u2591", "#=-."
_STYLES = ("blue", "yellow", "green", "magenta")


@dataclass(frozen=True)
class Rate:
    """The rate of one stage by itself.

    Attributes
    ----------
    stage : str
    samples_per_s : float
    bytes_per_s : float
        Of x as it is in memory, whatever the stage moves.
    waited : float, or None
        Share of the time for which the consumer waited for a batch.
    """

    stage: str
    samples_per_s: float
    bytes_per_s: float
    waited: float | None = None


@dataclass(frozen=True)
class BenchReport:
    """The rates of all stages, and what follows from them.

    `unit` is what is counted: samples, or time steps where samples are of unequal lengths.
    `backend` is the Keras and the backend of `fit`, where that was measured.
    """

    store: str
    way: str
    n_threads: int
    rates: tuple[Rate, ...]
    verdict: str
    is_remote: bool = False
    loops: str = ""
    unit: str = "samples"
    backend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the report for programs."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the report for people."""
        lines = [f"{self.store}: read {self.way}, {self.n_threads} threads; loops {self.loops}"]
        if self.backend:
            lines.append(f"fit: {self.backend}")
        for rate in self.rates:
            waited = "" if rate.waited is None else f"   waited {rate.waited:4.0%}"
            lines.append(
                f"{rate.stage:22}{rate.samples_per_s:12,.0f} {self.unit}/s"
                f"{rate.bytes_per_s / 1e9:8.2f} GB/s{waited}"
            )
        return "\n".join(lines)

    def parts(self) -> dict[str, float]:
        """Return how long each stage takes for a sample, in seconds, by itself.

        Stages run side by side, so that the longest, and not the sum, says how fast training is.
        """
        seconds = {it.stage: 1 / it.samples_per_s for it in self.rates if it.samples_per_s}
        both = seconds.get("read and decode", 0.0)
        read = seconds.get("read (compressed)")
        source = "network" if self.is_remote else "disk"
        parts = {f"{source} and decode": both}
        if read is not None:
            parts = {source: min(read, both), "decode": max(0.0, both - read)}
        parts["gather"] = seconds.get("gather (from memory)", 0.0)
        if "fit, arrays in RAM" in seconds:
            parts["model"] = seconds["fit, arrays in RAM"]
        return parts

    def as_bar(self, width: int = 60, letters: str = _BLOCKS) -> Text:
        """Return one bar of what each stage takes, and below it which is which."""
        parts = self.parts()
        total = sum(parts.values()) or 1.0
        bar, names = Text("time      "), Text(" " * 10)
        done = drawn = 0.0
        for (name, seconds), letter, style in zip(parts.items(), letters, _STYLES, strict=False):
            done += seconds
            until = round(done / total * width)
            bar.append(letter * int(until - drawn), style)
            drawn = until
            names.append(letter, style)
            names.append(f" {name} {seconds / total:.0%}  ")
        return Text("\n").join([bar, names])


def show(report: BenchReport, console: Console) -> None:
    """Print the rates, one bar of where time goes, and one sentence of what limits it."""
    letters = _BLOCKS
    try:
        letters.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        letters = _ASCII
    console.print(report.as_text(), soft_wrap=True)
    console.print(report.as_bar(letters=letters), soft_wrap=True)
    console.print(report.verdict, soft_wrap=True)
