"""Functions of users that a store names, and never holds.

A store keeps the path by which a function is imported, and a digest of its source. What a store or
a spec says is data: a module that nobody has imported yet is only imported where its file holds,
under that name, the very source that the store was made with.
"""

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from zarrts.errors import PlanError

_MAIN = "__main__"


@dataclass(frozen=True)
class NamedFunction:
    """A function, and how a store names it.

    Attributes
    ----------
    path : str
        Module and name, such as "lab.steps.despike".
    digest : str
        Of its source; "" where it has none, as functions of NumPy.
    call : callable
    """

    path: str
    digest: str
    call: Callable[..., Any]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedFunction):
            return NotImplemented
        return (self.path, self.digest) == (other.path, other.digest)

    def __hash__(self) -> int:
        return hash((self.path, self.digest))

    @classmethod
    def of(cls, function: Any) -> "NamedFunction":
        """Return a function that is given, or named as "module:name".

        Raises
        ------
        PlanError
            If it is neither.
        """
        if isinstance(function, NamedFunction):
            return function
        if isinstance(function, str):
            function = _named(function)
        if not callable(function):
            raise PlanError(
                f"map: {function!r} has to be a function of (rows, channels), or 'module:name'."
            )
        name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
        if name is None:
            raise PlanError(
                f"map: {function!r} has no name by which a store could keep it; wrap it in a "
                "function, and give what it needs as keywords."
            )
        module = getattr(function, "__module__", None) or type(function).__module__
        return cls(f"{module}.{name}", source_digest(function), function)

    def recorded(self) -> dict[str, str]:
        """Return what a store keeps of it."""
        return {"path": self.path, "sha256": self.digest}

    @classmethod
    def from_recorded(
        cls, recorded: Mapping[str, str], functions: Mapping[str, Any]
    ) -> "NamedFunction":
        """Return the function that a store names.

        Parameters
        ----------
        functions : mapping
            Functions that are given, by their whole path or the last name in it.

        Raises
        ------
        PlanError
            If it is not given and cannot be imported, or is another one than it was.
        """
        path, digest = recorded["path"], recorded["sha256"]
        short = path.rpartition(".")[2]
        given = functions.get(path, functions.get(short))
        if given is not None:
            return cls(path, digest, given)
        found = _imported(path, digest)
        if found is None:
            raise PlanError(
                f"the step map calls {path}, which cannot be imported here, or has changed; give "
                f"the function: functions={{{short!r}: ...}}."
            )
        return cls(path, digest, found)


def source_digest(function: Any) -> str:
    """Return the sha256 of the source of a function, or "" where it has none."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return ""
    return _digest(source)


def _digest(source: str) -> str:
    return hashlib.sha256(textwrap.dedent(source).strip().encode()).hexdigest()


def _named(text: str) -> Any:
    """Return the function that a user names, whose word is enough to import it."""
    module, colon, name = text.partition(":")
    if not colon:
        module, _, name = text.rpartition(".")
    try:
        found = import_module(module) if module else None
    except ImportError as error:
        raise PlanError(f"map: {text!r} cannot be imported ({error}).") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise PlanError(f"map: {text!r} has to name a function of a module, as 'module:name'.")
    return found


def _imported(path: str, digest: str) -> Any:
    """Return the function of a path, if it has the source that it had, else None."""
    parts = path.split(".")
    for n_parts in range(len(parts) - 1, 0, -1):
        module, names = ".".join(parts[:n_parts]), parts[n_parts:]
        if module not in sys.modules:
            if module == _MAIN or not digest or _digest_in_file(module, names) != digest:
                continue
            import_module(module)
        found: Any = sys.modules[module]
        for name in names:
            found = getattr(found, name, None)
        if callable(found) and source_digest(found) == digest:
            return found
    return None


def _digest_in_file(module: str, names: list[str]) -> str | None:
    """Return the digest of a function's source in a module's file, which is not run."""
    places: list[str] | None = None
    found: Path | None = None
    try:
        for n_parts, _ in enumerate(parts := module.split("."), start=1):
            spec = PathFinder.find_spec(".".join(parts[:n_parts]), places)
            if spec is None:
                return None
            places = list(spec.submodule_search_locations or ())
            found = Path(spec.origin) if spec.has_location and spec.origin else None
        if found is None or found.suffix != ".py":
            return None
        text = found.read_text("utf-8")
        body: Any = ast.parse(text).body
    except (OSError, ValueError, SyntaxError, ImportError):
        return None
    node: Any = None
    for name in names:
        kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
        node = next((it for it in body if isinstance(it, kinds) and it.name == name), None)
        if node is None:
            return None
        body = node.body
    first = min([node.lineno, *(it.lineno for it in node.decorator_list)])
    return _digest("\n".join(text.splitlines()[first - 1 : node.end_lineno]))
