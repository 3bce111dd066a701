"""Libraries that read files of other kinds, and that not everybody installs."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from types import ModuleType

from zarrts.errors import SourceError
from zarrts.sources.rows.files import SourceFile

_MAX_REASON = 200


def needed(module: str, extra: str, what: str, where: str) -> ModuleType:
    """Import an optional package; SourceError, which names the extra, if it is not installed."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library of the system is not there
        raise SourceError(
            f"{where}: {what} are read with {module}, which is not installed; "
            f"pip install 'zarrts[{extra}]'."
        ) from error


@contextlib.contextmanager
def as_source_error(where: str, library: str) -> Iterator[None]:
    """Turn whatever a library raises into a SourceError."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if len(reason) > _MAX_REASON:
            reason = f"{reason[:_MAX_REASON]} ..."
        raise SourceError(
            f"{where}: {library} cannot read it ({type(error).__name__}: {reason}); copy or save "
            "it again."
        ) from error


@contextlib.contextmanager
def opening(where: str, library: str) -> Iterator[None]:
    """As `as_source_error`, without the warnings of a library; for headers, in one thread.

    Filters of warnings belong to the process: what reads rows in threads must not touch them.
    """
    with warnings.catch_warnings(), as_source_error(where, library):
        warnings.simplefilter("ignore")
        yield


def local_path(file: SourceFile, library: str) -> str:
    """Return the path of a file of this machine; SourceError if it is at an address."""
    if not isinstance(file.path, str):
        raise SourceError(
            f"{file.origin}: is at an address, and {library} reads files of this machine only; "
            "copy its folder here first."
        )
    return file.path
