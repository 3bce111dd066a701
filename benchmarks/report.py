"""Turn the measurements of `loading.py` into a table and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from measure import MIB, PROPERTIES
from peers import by_key


@dataclass(frozen=True, kw_only=True)
class Row:
    """One loader: rates in samples/s, over the rounds; ratios are medians of each round's."""

    key: str
    title: str
    problem: str | None = None
    first: float = 0.0
    rates: tuple[float, ...] = ()
    is_later: bool = False
    to_ours: float | None = None
    to_memmap: float | None = None
    peak_mib: float | None = None
    noise: tuple[float, ...] | None = None
    note: str = ""

    @property
    def rate(self) -> float:
        """Median of later epochs; of the first, where there was no time for another."""
        return median(self.rates) if self.rates else 0.0


def _rate(epochs: list[dict[str, Any]]) -> float:
    return float(sum(e["samples"] for e in epochs) / sum(e["seconds"] for e in epochs))


def _round_rates(measurement: dict[str, Any]) -> tuple[float, float | None]:
    """Samples/s of the first epoch and of the later ones together."""
    epochs = measurement["epochs"]
    return _rate(epochs[:1]), _rate(epochs[1:]) if len(epochs) > 1 else None


def _noise(rounds: list[dict[str, Any]]) -> tuple[float, ...] | None:
    """Mean over all epochs of all rounds, per property."""
    found = [e["shuffle_noise"] for r in rounds for e in r["epochs"] if e["shuffle_noise"]]
    if not found:
        return None
    return tuple(sum(f[name] for f in found) / len(found) for name in PROPERTIES)


def _row(key: str, rounds: list[dict[str, Any]], missing: list[str]) -> Row:
    peer = by_key(key)
    if missing:
        return Row(key=key, title=peer.title, problem=f"not installed: {', '.join(missing)}")
    good = [r for r in rounds if "error" not in r]
    if not good:
        error = rounds[-1]["error"] if rounds else "not measured"
        return Row(key=key, title=peer.title, problem=error)
    pairs = [_round_rates(r) for r in good]
    later = [b for _, b in pairs if b is not None]
    capped = not all(e["complete"] for r in good for e in r["epochs"])
    note = peer.note + ("; stopped by the clock, rate of what was done" if capped else "")
    return Row(
        key=key,
        title=peer.title,
        first=median(a for a, _ in pairs),
        rates=tuple(later or (a for a, _ in pairs)),
        is_later=bool(later),
        peak_mib=max(r["peak_bytes"] for r in good) / MIB,
        noise=_noise(good),
        note=note,
    )


def _ratio(row: Row, other: Row | None) -> float | None:
    if other is None or not row.rates or not other.rates:
        return None
    return median(a / b for a, b in zip(row.rates, other.rates, strict=False))


def rows(results: dict[str, Any]) -> list[Row]:
    """All loaders, fastest first; those without a figure at the end."""
    found = [
        _row(key, entry["rounds"], entry.get("missing", []))
        for key, entry in results["loaders"].items()
    ]
    of = {row.key: row for row in found}
    found = [
        Row(
            **{
                **row.__dict__,
                "to_ours": _ratio(row, of.get("ours")),
                "to_memmap": _ratio(row, of.get("memmap")),
            }
        )
        for row in found
    ]
    return sorted(found, key=lambda row: -row.rate)


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def table(results: dict[str, Any]) -> str:
    """A Markdown table with the machine and the work above it."""
    machine, work = results["machine"], results["work"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"Python {machine['python']}; {machine['date']}. "
        f"{work['samples']:,} samples of {tuple(work['sample_shape'])} float32, "
        f"{work['subjects']} subjects, batches of {work['batch_size']}, shuffled, warm page cache; "
        f"median of {work['rounds']} rounds.",
        "",
        "| loader | samples/s (min to max) | first epoch | to zarrts | to memmap | peak MiB "
        "| noise: subject, drift, neighbours, class | |",
        "|---|--:|--:|--:|--:|--:|---|---|",
    ]
    for row in rows(results):
        if row.problem:
            lines.append(f"| {row.title} | | | | | | | {row.problem} |")
            continue
        spread = f"{row.rate:,.0f} ({min(row.rates):,.0f} to {max(row.rates):,.0f})"
        noise = "" if row.noise is None else ", ".join(f"{value:.1f}" for value in row.noise)
        lines.append(
            f"| {row.title} | {spread} | {row.first:,.0f} | {_number(row.to_ours)} "
            f"| {_number(row.to_memmap)} | {_number(row.peak_mib, 0)} | {noise} | {row.note} |"
        )
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Bars of samples/s on a logarithmic scale, with memory and the worst shuffle noise."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows(results) if not row.problem][::-1]
    figure, axes = pyplot.subplots(figsize=(10, 1.2 + 0.42 * len(shown)), layout="constrained")
    rates = [row.rate for row in shown]
    spread = (
        [row.rate - min(row.rates) for row in shown],
        [max(row.rates) - row.rate for row in shown],
    )
    colours = ["#d1495b" if row.key.startswith("ours") else "#8d99ae" for row in shown]
    axes.barh([row.title for row in shown], rates, xerr=spread, color=colours, capsize=2)
    for at, row in enumerate(shown):
        worst = "" if row.noise is None else f", noise {max(row.noise):.1f}"
        text = f" {row.rate:,.0f}/s, {row.peak_mib:,.0f} MiB{worst}"
        axes.text(max(row.rates) * 1.05, at, text, va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 2, max(rates) * 30)
    axes.set_xlabel("samples per second (log scale); bars: median, lines: min to max of the rounds")
    axes.set_ylabel("loader")
    machine = results["machine"]
    axes.set_title(
        "Shuffled batches of 128; peak memory above start; noise: worst variance inflation of\n"
        "batch means (1.0: as a full shuffle). Red: zarrts. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}",
        fontsize=9,
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
