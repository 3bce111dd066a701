"""The table of formats that `zarrts formats` prints."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from zarrts.sources.formats.registry import Readable, readable

_WIDTH = 10_000


def as_documents() -> list[dict[str, Any]]:
    """Return all formats as plain values of JSON."""
    return [asdict(it) | {"suffixes": list(it.suffixes)} for it in readable()]


def print_formats() -> None:
    """Print a line for each format: its name, files, and what is lacking."""
    table = Table(box=None, pad_edge=False)
    for column in ("format", "files", "read here"):
        table.add_column(column)
    for it in readable():
        table.add_row(it.name, " ".join(it.suffixes), _words(it))
    # Names are no markup; and where the table is too wide, lines that wrap still hold it all.
    Console(markup=False, emoji=False, highlight=False, width=_WIDTH).print(table)


def _words(it: Readable) -> str:
    by = f" (by {it.package})" if it.package else ""
    return f"{it.lacking or 'yes'}{by}"
