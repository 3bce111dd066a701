"""The table of subjects that `zarrts info` prints."""

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table

_MAX_SUBJECTS = 40
_MAX_LETTERS = 24
_WIDTH = 10_000


def _shortened(name: str) -> str:
    return (
        name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def print_subjects(summary: Mapping[str, Any]) -> None:
    """Print how many samples, and of each class, every subject has; see `summarize`."""
    table = Table(box=None, pad_edge=False)
    table.add_column("subject")
    table.add_column("samples", justify="right")
    classes, counts = summary["class_names"] or [], summary["class_counts"]
    for name in classes[:_MAX_SUBJECTS]:
        table.add_column(_shortened(str(name)), justify="right")
    for subject, n_samples in list(summary["subjects"].items())[:_MAX_SUBJECTS]:
        own = counts[subject][:_MAX_SUBJECTS] if counts else []
        table.add_row(_shortened(subject), f"{n_samples:,}", *(f"{n:,}" for n in own))
    # Names are no markup; and where the table is too wide, lines that wrap still hold it all.
    console = Console(markup=False, emoji=False, highlight=False, width=_WIDTH)
    console.print(table)
    hidden = len(summary["subjects"]) - _MAX_SUBJECTS
    if hidden > 0:
        click.echo(f"and {hidden:,} more subjects; all with --json")
