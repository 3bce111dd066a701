"""The options of a conversion, checked where they are made."""

from dataclasses import dataclass
from typing import Any

from zarrts.conversion.codecs import CODECS
from zarrts.errors import PlanError
from zarrts.sizes import format_budget
from zarrts.sources.source_options import SourceOptions, check_number

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(SourceOptions):
    """The options of sources and of their conversion; `zarrts.convert` documents each of them."""

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
        super().__post_init__()
        self.check_names()
        if self.codec not in (AUTO, *CODECS):
            known = ", ".join((AUTO, *CODECS))
            raise PlanError(f"codec={self.codec!r} is unknown; use one of {known}.")
        check_number("workers", self.workers, int, 1)
        if self.chunk_bytes > self.shard_bytes:
            raise PlanError(
                f"chunk={self.chunk_bytes:,} bytes is more than shard={self.shard_bytes:,}; "
                f"a shard holds whole chunks. Lower chunk, or raise shard to at least "
                f"{format_budget(self.chunk_bytes)}."
            )
