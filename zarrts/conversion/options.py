"""The options of a conversion, checked where they are made."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.conversion.codecs import CODECS
from zarrts.errors import PlanError
from zarrts.sizes import format_budget

AUTO = "auto"
KINDS = (AUTO, "dense", "ragged")


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The options of a conversion; `zarrts.convert` documents each of them."""

    subject: Any = None
    x: str | None = None
    y: str | tuple[str, ...] | None = None
    kind: str = AUTO
    folders: str = "auto"
    class_names: tuple[str | int, ...] | None = None
    follow_links: bool = False
    axes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    rate_hz: float | None = None
    label_every: int | str | None = None
    dtype: str = "auto"
    memory_bytes: int = 1 << 30
    chunk_bytes: int = 1 << 20
    shard_bytes: int = 64 << 20
    codec: str = "lz4"
    workers: int | None = None
    scheduler: Any = None
    overwrite: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            known = ", ".join(map(repr, KINDS))
            raise PlanError(f"kind={self.kind!r} is unknown; use one of {known}.")
        if self.codec not in (AUTO, *CODECS):
            known = ", ".join((AUTO, *CODECS))
            raise PlanError(f"codec={self.codec!r} is unknown; use one of {known}.")
        _check_number("workers", self.workers, int, 1)
        _check_number("rate_hz", self.rate_hz, float, 0)
        if self.rate_hz == 0 or self.rate_hz == float("inf"):
            raise PlanError(f"rate_hz={self.rate_hz} has to be above 0, and finite.")
        self._check_label_every()
        self._check_names()
        if self.chunk_bytes > self.shard_bytes:
            raise PlanError(
                f"chunk={self.chunk_bytes:,} bytes is more than shard={self.shard_bytes:,}; "
                f"a shard holds whole chunks. Lower chunk, or raise shard to at least "
                f"{format_budget(self.chunk_bytes)}."
            )

    def _check_label_every(self) -> None:
        if self.label_every is not None and self.kind == "dense":
            raise PlanError(
                f"label_every={self.label_every!r} is about rows that follow in time, but "
                "kind='dense' makes each a sample; leave one of them out."
            )

    def _check_names(self) -> None:
        for option, names in (("channels", self.channels), ("class_names", self.class_names)):
            names = names or ()
            are_numbers = option == "class_names" and all(type(name) is int for name in names)
            if not are_numbers and not all(isinstance(name, str) and name for name in names):
                more = ", or of integers" if option == "class_names" else ""
                raise PlanError(f"{option}={list(names)!r} has to be a list of names{more}.")
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            if twice:
                raise PlanError(f"{option}= names {', '.join(twice)} more than once.")


def _check_number(name: str, value: Any, kind: type, least: int) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | np.integer) or (
        kind is float and isinstance(value, float | np.floating)
    )
    if isinstance(value, bool) or not is_number:
        raise PlanError(f"{name}={value!r} has to be a number.")
    if not value >= least:
        raise PlanError(f"{name}={value} has to be at least {least}.")
