"""Progress bars for terminals, with the time that remains; silent elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_PATIENCE_S = 1.0  # what takes less needs no bar


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


@contextlib.contextmanager
def show_count(
    what: str, total: int | Callable[[], int], wanted: bool = True
) -> Iterator[Callable[[int], None]]:
    """Yield what is to be called with each number of things done, from any thread.

    Nothing is shown of what is done within a second.

    Parameters
    ----------
    what : str
        Stands before the bar, such as "evaluate".
    total : int or callable
        How many things there are to be done; called only where it is shown.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(what, total=total if isinstance(total, int) else total())
    started, done = time.monotonic(), [False]

    def advance(n: int) -> None:
        if not done[0] and time.monotonic() - started > _PATIENCE_S:
            done[0] = True
            progress.start()
        progress.advance(task, n)

    try:
        yield advance
    finally:
        progress.stop()
