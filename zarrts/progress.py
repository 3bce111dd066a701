"""A progress bar in bytes, for terminals; silent elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def show_progress(
    n_bytes: int, n_rows: int, wanted: bool = True
) -> Iterator[Callable[[int], None]]:
    """Yield what is to be called with each number of rows done, from any thread."""
    if not wanted or not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("convert"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("convert", total=n_bytes)
        yield lambda rows: progress.advance(task, n_bytes * rows / n_rows)
