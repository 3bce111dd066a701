"""The threads of loaders, as tests look for them."""

import threading

_SOON_S = 30


def loader_threads() -> list[threading.Thread]:
    """Return those that run."""
    return [it for it in threading.enumerate() if it.name == "zarrts-loader"]


def no_threads_stay() -> bool:
    """Return whether those that run are of streams that were dropped, and so end soon."""
    threads = loader_threads()
    for thread in threads:
        thread.join(_SOON_S)
    return not any(it.is_alive() for it in threads)
