"""Write amounts for the page: as time where rows are time steps, else as samples or recordings."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.store import Store

_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_AT_LEAST = 2.0  # of a unit, for it to be chosen
_ALIKE = 0.01


@dataclass(frozen=True)
class Amounts:
    """A unit, and how many rows are one.

    Attributes
    ----------
    unit : str
        "hours", "minutes", "seconds", "time steps", "samples" or "recordings".
    rows : float
        Rows of the store in one of the unit.
    """

    unit: str
    rows: float = 1.0

    @property
    def is_time(self) -> bool:
        """Whether the unit is one of time."""
        return self.unit in dict(_UNITS)

    def of(self, n_rows: Any) -> Any:
        """Return numbers of rows in this unit."""
        return np.asarray(n_rows) / self.rows if self.is_time else np.asarray(n_rows)

    def cell(self, n_rows: float) -> str:
        """Return an amount as a table has it, without the unit."""
        if not self.is_time:
            return f"{int(n_rows):,}"
        value = n_rows / self.rows
        digits = 0 if value >= 1000 else 1 if value >= 10 else 2
        return f"{value:,.{digits}f}" if value == 0 or value >= 0.01 else "<0.01"

    def text(self, n_rows: float) -> str:
        """Return an amount with its unit."""
        shown, unit = self.cell(n_rows), self.unit
        return f"{shown} {unit[:-1] if shown == '1' else unit}"


def amounts_of_rows(store: Store, largest: float) -> Amounts:
    """Return how rows of a store are counted, by the largest amount that will be shown."""
    if not store.is_ragged:
        return Amounts("samples")
    rate_hz = store.header.row_rate_hz
    if not rate_hz:
        return Amounts("time steps")
    seconds = largest / rate_hz
    unit, each = next((it for it in _UNITS if seconds >= _AT_LEAST * it[1]), _UNITS[-1])
    return Amounts(unit, each * rate_hz)


def amounts_of_labels(store: Store, largest: float) -> Amounts:
    """Return how labels are counted: those of rows as time, others as what has one each."""
    if store.header.labels_per == "row":
        return amounts_of_rows(store, largest)
    return Amounts("recordings" if store.is_ragged else "samples")


def label_rows(store: Store) -> int | None:
    """Return how many rows share a label of their own, where the store knows it and rows do."""
    every = {it.options.get("label_every") for it in store.header.segments}
    found = every.pop() if len(every) == 1 else None
    is_known = isinstance(found, int) and found > 1 and store.header.labels_per == "row"
    return found if is_known else None


def duration(store: Store, n_rows: float) -> str:
    """Return a length of time steps as time, in full, or as their number."""
    amounts = amounts_of_rows(store, n_rows)
    return f"{float(amounts.of(n_rows)):,.6g} {amounts.unit}"


def are_alike(values: Any) -> bool:
    """Return whether numbers hardly differ: a chart of them would show bars of one length."""
    values = np.asarray(values)
    return len(values) == 0 or bool(values.max() - values.min() <= _ALIKE * abs(values.max()))


def span_text(amounts: Amounts, values: Any) -> str:
    """Return the least and the most of some numbers of rows, or the one that all are."""
    low, high = amounts.cell(np.min(values)), amounts.cell(np.max(values))
    return amounts.text(np.max(values)) if low == high else f"{low} to {high} {amounts.unit}"


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss; with tenths where it has them."""
    whole, part = divmod(round(seconds * 10), 10)
    shown = f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{shown}.{part}" if part else shown
