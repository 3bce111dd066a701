"""Look at recordings: scroll and zoom through hours of many channels, with labels and mistakes.

What is drawn is read from the store; nothing is written, and nothing is loaded from elsewhere.
"""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrts.sizes import parse_size

if TYPE_CHECKING:
    from zarrts.samples import Samples
    from zarrts.store import Store
    from zarrts.view.server import Viewer


def view(
    samples: "Samples | Store",
    results: Any = None,
    *,
    port: int = 0,
    browser: bool = False,
    memory: int | str = "256MiB",
) -> "Viewer":
    """Serve a page on this machine that shows samples; in a notebook, the result is the page.

    Parameters
    ----------
    samples : Samples or Store
        Whose recordings are shown, whole; windows are drawn, where these are windows.
    results : Evaluation, Predictions or path, optional
        What a network said of samples of the same store: `zarrts.evaluate(predictions=True)`, or
        the `.npz` file that it was saved to.
    port : int
        0: any that is free.
    browser : bool
        Open the page in the browser.
    memory : int or str
        That may be taken to keep the least and most of recordings at each zoom.

    Returns
    -------
    Viewer
        With `url` and `close()`.

    Raises
    ------
    SampleError
        If there is nothing to be shown, or the results are of another store.
    """
    from zarrts.store import Store
    from zarrts.view.content import Content
    from zarrts.view.server import Viewer

    chosen = samples.samples if isinstance(samples, Store) else samples
    if isinstance(results, Path):
        results = str(results)
    content = Content(chosen, results, parse_size(memory, "memory"))
    viewer = Viewer(content, port)
    if browser:
        webbrowser.open(viewer.url)
    return viewer


__all__ = ["view"]
