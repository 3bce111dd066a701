"""Find the arrays in a pickle without unpickling it.

A pickle is a program for a stack machine (opcodes: Lib/pickletools.py), and loading one runs
whatever it names. This machine knows the few opcodes and the few names that NumPy's arrays need
(`ndarray.__reduce__` and `__reduce_ex__`, `dtype.__reduce__`), imports nothing, calls nothing, and
refuses everything else. Arrays stay where they are in the file: only their places are noted.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from zarrts.errors import SourceError
from zarrts.sources.formats.pickle_values import (
    CALLS,
    MEANINGS,
    REMEDY,
    Dtype,
    Name,
    PickledArray,
    Raw,
    fill,
    set_state,
    shown,
)

MAX_OPERATIONS = 3_000_000
"""The memory that a pickle takes grows with its operations, some hundred bytes for each."""

MAX_TEXT_BYTES = 1024
"""Longer text is noted by its place alone; older pickles store arrays as text."""


class _Mark:
    """Start of a tuple, a list or a dictionary on the stack."""


_MARK = _Mark()
_DAMAGE = (
    *(ValueError, TypeError, LookupError, EOFError, OverflowError),
    *(struct.error, AttributeError, MemoryError, RecursionError),
)


def read_pickle(stream: BinaryIO, end: int, where: str) -> Any:
    """Return what a pickle holds; nothing of it is run.

    Parameters
    ----------
    stream : binary file
        At the pickle's first byte.
    end : int
        Where the pickle has to end.
    where : str
        How errors name it.

    Returns
    -------
    PickledArray, Raw, str, int, float, bool, None, or a list, tuple or dict of these.

    Raises
    ------
    SourceError
        If it is damaged, or holds anything that no array needs.
    """
    machine = _Machine(stream, end, where)
    try:
        return machine.run()
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise SourceError(
            f"{where}: its pickle is damaged ({reason}); copy or save the file again."
        ) from error


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, stream: BinaryIO, end: int, where: str) -> None:
        self.stream, self.end, self.where = stream, end, where
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.n_left = MAX_OPERATIONS

    def run(self) -> Any:
        read = self.stream.read
        while True:
            self.count(1)
            code = read(1)
            if code == b".":
                return self._result()
            step = _OPERATIONS.get(code)
            if step is None:
                raise self._refusal(code)
            argument, effect = step
            effect(self, argument(self) if argument is not None else None)

    def count(self, n_operations: int) -> None:
        """Count what is held in memory; SourceError where it is too much."""
        self.n_left -= n_operations
        if self.n_left < 0:
            raise SourceError(
                f"{self.where}: its pickle has more than {MAX_OPERATIONS:,} operations, too many "
                f"small objects to be held in memory; {REMEDY}."
            )

    def _result(self) -> Any:
        if len(self.stack) != 1:
            raise ValueError(f"{len(self.stack)} values are left at its end")
        n_after = self.end - self.stream.tell()
        if n_after:
            raise ValueError(f"{n_after:,} bytes follow it")
        return self.stack.pop()

    def _refusal(self, code: bytes) -> SourceError:
        if not code:
            return SourceError(
                f"{self.where}: ends inside its pickle; copy or save the file again."
            )
        known = pickletools.code2op.get(code.decode("latin-1"))  # type: ignore[attr-defined]
        if known is None:
            return SourceError(
                f"{self.where}: its pickle is damaged (no opcode {code!r}); copy or save the file "
                "again."
            )
        return SourceError(
            f"{self.where}: its pickle uses the opcode {known.name}, which no array needs and "
            f"which could run code; {REMEDY}."
        )

    # Arguments -----------------------------------------------------------------------------

    def number(self, layout: struct.Struct) -> int:
        (value,) = layout.unpack(self.stream.read(layout.size))
        return int(value)

    def place(self, n_bytes: int, *, is_text: bool = False) -> Raw:
        """Return where the next bytes lie, and pass over them."""
        offset = self.stream.tell()
        if n_bytes < 0 or offset + n_bytes > self.end:
            raise ValueError(f"{n_bytes:,} bytes are declared at byte {offset:,} of {self.end:,}")
        self.stream.seek(n_bytes, 1)
        return Raw(offset, n_bytes, is_text)

    def bytes_(self, n_bytes: int) -> bytes:
        content = self.stream.read(n_bytes)
        if len(content) < n_bytes:
            raise EOFError("it ends early")
        return content

    def text(self, n_bytes: int) -> str | Raw:
        if n_bytes <= MAX_TEXT_BYTES:
            return self.bytes_(n_bytes).decode("utf-8")
        return self.place(n_bytes, is_text=True)

    def text_of_python_2(self, n_bytes: int) -> str | Raw:
        if 0 <= n_bytes <= MAX_TEXT_BYTES:
            return self.bytes_(n_bytes).decode("latin-1")
        return self.place(n_bytes)

    def line(self) -> str:
        content = self.stream.readline(MAX_TEXT_BYTES)
        if not content.endswith(b"\n"):
            raise ValueError("a name has no end")
        return content[:-1].decode("utf-8")

    # Stack ---------------------------------------------------------------------------------

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark is taken for a value")
        return value

    def pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    def top(self) -> Any:
        value = self.stack[-1]
        if value is _MARK:
            raise ValueError("a mark is taken for a value")
        return value

    def tuple_of(self, n: int) -> None:
        values = tuple(self.pop() for _ in range(n))
        self.stack.append(values[::-1])

    def named(self, module: Any, name: Any) -> None:
        meaning = None
        if isinstance(module, str) and isinstance(name, str):
            meaning = MEANINGS.get((module, name))
        if meaning is None:
            raise SourceError(
                f"{self.where}: its pickle names {shown(module)} {shown(name)}, which no array "
                f"needs and which could run code; {REMEDY}."
            )
        self.stack.append(meaning)

    def append_all(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise ValueError("something is appended to what is not a list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("an item is set in what is not a dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int):
                raise ValueError("a key is neither text nor a number")
            target[key] = value

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # The calls that arrays need ---------------------------------------------------------------

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise SourceError(
                f"{self.where}: its pickle calls something that no array needs and that could run "
                f"code; {REMEDY}."
            )
        call = CALLS.get(function.meaning)
        if call is None:
            raise ValueError(f"{function.meaning} is called")
        self.stack.append(call(*arguments))

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, PickledArray) and target.dtype is None:
            _, shape, dtype, is_fortran, data = state
            # One list can be the content of many arrays, each of which has a copy.
            self.count(len(data) if isinstance(data, list) else 0)
            fill(target, shape, dtype, data, is_fortran=bool(is_fortran))
        elif isinstance(target, Dtype):
            set_state(target, *state)
        else:
            raise SourceError(
                f"{self.where}: its pickle sets the state of something that is not a new array "
                f"(BUILD), which could run code; {REMEDY}."
            )


_U1, _U2, _U4, _U8 = (struct.Struct(f"<{code}") for code in "BHIQ")
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")

_Step = tuple[Callable[[_Machine], Any] | None, Callable[[_Machine, Any], None]]


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _pass(machine: _Machine, argument: Any) -> None:
    """Do nothing: the protocol and the frames only help a reader."""


def _long(machine: _Machine) -> int:
    return int.from_bytes(machine.bytes_(machine.number(_U1)), "little", signed=True)


def _float(machine: _Machine) -> float:
    (value,) = _F8.unpack(machine.bytes_(_F8.size))
    return float(value)


def _constant(value: Any) -> _Step:
    return None, lambda machine, _: machine.stack.append(value)


def _counted(kind: str, layout: struct.Struct) -> _Step:
    return lambda machine: getattr(machine, kind)(machine.number(layout)), _push


def _steps() -> dict[bytes, _Step]:
    """Return argument and effect of every opcode that is known; the rest is refused."""
    by_name: dict[str, _Step] = {
        "PROTO": (lambda it: it.number(_U1), _pass),
        "FRAME": (lambda it: it.number(_U8), _pass),
        "MARK": _constant(_MARK),
        "NONE": _constant(None),
        "NEWTRUE": _constant(True),
        "NEWFALSE": _constant(False),
        "BININT": (lambda it: it.number(_I4), _push),
        "BININT1": (lambda it: it.number(_U1), _push),
        "BININT2": (lambda it: it.number(_U2), _push),
        "LONG1": (_long, _push),
        "BINFLOAT": (_float, _push),
        "BINSTRING": _counted("text_of_python_2", _I4),
        "SHORT_BINSTRING": _counted("text_of_python_2", _U1),
        "BINUNICODE": _counted("text", _U4),
        "SHORT_BINUNICODE": _counted("text", _U1),
        "BINUNICODE8": _counted("text", _U8),
        "BINBYTES": _counted("place", _U4),
        "SHORT_BINBYTES": _counted("place", _U1),
        "BINBYTES8": _counted("place", _U8),
        "BYTEARRAY8": _counted("place", _U8),
        "EMPTY_TUPLE": _constant(()),
        "TUPLE": (None, lambda it, _: it.stack.append(tuple(it.pop_to_mark()))),
        "TUPLE1": (None, lambda it, _: it.tuple_of(1)),
        "TUPLE2": (None, lambda it, _: it.tuple_of(2)),
        "TUPLE3": (None, lambda it, _: it.tuple_of(3)),
        "EMPTY_LIST": (None, lambda it, _: it.stack.append([])),
        "APPEND": (None, lambda it, _: it.append_all([it.pop()])),
        "APPENDS": (None, lambda it, _: it.append_all(it.pop_to_mark())),
        "EMPTY_DICT": (None, lambda it, _: it.stack.append({})),
        "SETITEM": (None, lambda it, _: it.set_items([it.pop(), it.pop()][::-1])),
        "SETITEMS": (None, lambda it, _: it.set_items(it.pop_to_mark())),
        "BINPUT": (lambda it: it.number(_U1), _Machine.put),
        "LONG_BINPUT": (lambda it: it.number(_U4), _Machine.put),
        "MEMOIZE": (lambda it: len(it.memo), _Machine.put),
        "BINGET": (lambda it: it.number(_U1), _Machine.get),
        "LONG_BINGET": (lambda it: it.number(_U4), _Machine.get),
        "GLOBAL": (lambda it: (it.line(), it.line()), lambda it, names: it.named(*names)),
        "STACK_GLOBAL": (
            lambda it: (it.pop(), it.pop())[::-1],
            lambda it, names: it.named(*names),
        ),
        "REDUCE": (None, lambda it, _: it.reduce()),
        "BUILD": (None, lambda it, _: it.build()),
    }
    known = {it.name: it.code.encode("latin-1") for it in pickletools.opcodes}
    return {known[name]: step for name, step in by_name.items()}


_OPERATIONS = _steps()
