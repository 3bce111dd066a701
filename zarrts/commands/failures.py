"""Show errors as one message and an exit status, without letters that a terminal lacks."""

import io
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from zarrts.errors import ZarrtsError


def with_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Turn errors on purpose into one message and exit status 1; --debug shows where."""

    @click.option("--debug", is_flag=True, help="Show where in the code an error arose.")
    @wraps(function)
    def wrapper(*args: Any, debug: bool, **options: Any) -> None:
        warnings.showwarning = lambda message, *rest: click.echo(f"Warning: {message}", err=True)
        try:
            function(*args, **options)
        except ZarrtsError as error:
            if debug:
                raise
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            message = str(error)
            if not isinstance(error, ImportError) or "pip install" not in message:
                message = f"{type(error).__name__}: {error} (--debug shows where)"
            click.echo(f"Error: {message}", err=True)
            sys.exit(1)

    return wrapper


def write_any_letter() -> None:
    """Show letters that the output's encoding lacks as escapes: a name must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
