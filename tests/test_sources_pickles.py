"""Hostile pickles: nothing in them runs, and none takes more time or memory than its size."""

import io
import os
import pickle
import pickletools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts import sources
from zarrts.errors import SourceError
from zarrts.sources.formats.pickle_machine import read_pickle

MARKER = "zarrts-was-here"


class Reduced:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def touch(folder):
    return ("touch" if os.name != "nt" else "type nul >") + f" {folder / MARKER}"


def wrapped(payload, header="()"):
    """Return the bytes of an .npy file of one object."""
    text = f"{{'descr': '|O', 'fortran_order': False, 'shape': {header}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + payload


def attacks(folder):
    """Yield a name and a pickle; loading any of them would run code, or try to."""
    command = touch(folder).encode()
    short = bytes([len(command)])
    for protocol in range(2, 6):
        for name, value in (
            ("system", Reduced(os.system, touch(folder))),
            ("eval", Reduced(eval, f"open({str(folder / MARKER)!r}, 'w')")),
            ("nested", {"X": [np.zeros(3), Reduced(os.system, touch(folder))]}),
            ("in an array", np.array([Reduced(os.system, touch(folder))], dtype=object)),
            ("as a state", Reduced(np.zeros(2).__reduce__()[0], np.ndarray, (0,), b"b", state={})),
            ("getattr", Reduced(getattr, os, "system") if protocol > 3 else Path("x")),
        ):
            try:
                yield f"{name} {protocol}", pickle.dumps(value, protocol)
            except (TypeError, pickle.PicklingError, AttributeError):
                continue
    named = b"cos\nsystem\n"
    yield "GLOBAL REDUCE", named + b"X" + len(command).to_bytes(4, "little") + command + b"\x85R."
    yield "INST", b"(S'" + command + b"'\nios\nsystem\n."
    yield "OBJ", b"(" + named + b"U" + short + command + b"o."
    yield "NEWOBJ", b"\x80\x02" + named + b"U" + short + command + b"\x85\x81."
    yield "NEWOBJ_EX", b"\x80\x04" + named + b"\x8c" + short + command + b"\x85}\x92."
    yield "BUILD", named + b"}X\x08\x00\x00\x00__dict__}sb."
    yield "BUILD with a state", named + b"N}\x86b."
    for number, code in ((b"\x01", b"\x82"), (b"\x01\0", b"\x83"), (b"\x01\0\0\0", b"\x84")):
        yield f"EXT {code!r}", b"\x80\x02" + code + number + b")R."
    yield "PERSID", b"Pos.system\n."
    yield "BINPERSID", b"U\x09os.systemQ."
    yield "STACK_GLOBAL", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + short + command + b"\x85R."
    yield "a name through the memo", b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93."
    yield "a module in an array's place", b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\ntR."
    yield "a dotted name", b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93."
    yield (
        "scalar of an object",
        (b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02O8tRU\x01atR."),
    )
    yield "buffers out of band", b"\x80\x05\x97."
    yield "frozenset", b"\x80\x04(\x91."
    yield (
        "a pickle in a pickle",
        (b"cpickle\nloads\nC" + bytes([len(named) + 1]) + named + b"." + b"\x85R."),
    )
    yield "codecs with another encoding", b"c_codecs\nencode\n(U\x01aU\x05rot13tR."


def test_no_attack_runs_and_each_is_refused_by_name(tmp_path):
    made = dict(attacks(tmp_path))
    assert len(made) > 30
    for name, payload in made.items():
        (tmp_path / "a.npy").write_bytes(wrapped(payload))
        found = sources.find(tmp_path / "a.npy")
        assert found.recordings == (), name
        (problem,) = found.problems
        assert problem.startswith("a.npy: ") and problem.endswith("."), name
        assert not (tmp_path / MARKER).exists(), name


def test_the_attacks_would_run_where_pickles_are_loaded(tmp_path):
    payload = dict(attacks(tmp_path))["GLOBAL REDUCE"]
    pickle.loads(payload)
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"cos\nsystem\n.", "names 'os' 'system'"),
        (b"(ios\nsystem\n.", "the opcode INST"),
        (b"Pid\n.", "the opcode PERSID"),
        (b"\x80\x02\x82\x01.", "the opcode EXT1"),
        (b"\x80\x02)\x81.", "the opcode NEWOBJ"),
        (b"]Nb.", "sets the state of something"),
        (b"\xfe.", "no opcode"),
        (b"(", "ends inside its pickle"),
        (b"N.N.", "2 bytes follow it"),
    ],
)
def test_what_was_refused_is_said_with_a_remedy(payload, says):
    with pytest.raises(SourceError) as caught:
        read_pickle(io.BytesIO(payload), len(payload), "f")
    assert says in str(caught.value)
    assert "np.savez" in str(caught.value) or "again" in str(caught.value)


def u4(number):
    return number.to_bytes(4, "little")


LAUGHS = (
    b"(]q\x00Na"
    + b"".join(
        b"]r" + u4(level) + b"(" + (b"j" + u4(level - 1)) * 10 + b"e" for level in range(1, 30)
    )
    + b"t"
)
DTYPE_O = b"cnumpy\ndtype\n(U\x02O8tR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
BOMBS = {
    "a nest of lists as a name": b"\x80\x04" + LAUGHS + LAUGHS + b"\x93.",
    "a nest of lists as an encoding": b"c_codecs\nencode\nU\x01a" + LAUGHS + b"\x86R.",
    "a nest of lists": LAUGHS + b".",
    "text of 4 GB": b"X\xff\xff\xff\xffabc.",
    "bytes of 8 EiB": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "a long line": b"c" + b"a" * 100_000 + b"\n.",
    "a memo of 4 billion": b"Nr\xff\xff\xff\xff.",
    "a deep nest": b"(" * 200_000 + b"t" * 200_000 + b".",
    "one list in many arrays": (
        b"]("
        + b"N" * 100_000
        + b"eq\x00"
        + DTYPE_O
        + b"q\x01("
        + (ARRAY + b"(K\x01J\xa0\x86\x01\x00\x85h\x01\x89h\x00tb") * 400
        + b"t."
    ),
    "one list in many places": (
        b"}(U\x01z]("
        + b"K\x01" * 100_000
        + b"eq\x00"
        + b"".join(b"U\x04" + f"{i:04}".encode() + b"h\x00" for i in range(400))
        + b"u."
    ),
    "long labels": (
        b"}(U\x01y](X\xe8\x03\x00\x00"
        + b"a" * 1000
        + b"q\x00"
        + b"h\x00" * 100_000
        + b"eq\x01U\x01xh\x01u."
    ),
    "a shape of huge numbers": ARRAY
    + b"(K\x01("
    + (b"\x8a\xff" + b"\x7f" * 255) * 200
    + b"t"
    + DTYPE_O
    + b"\x89]tb.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_takes_more_memory_or_time_than_its_size(tmp_path, name):
    in_array = ARRAY + b"(K\x01)" + DTYPE_O + b"\x89](" + BOMBS[name][:-1] + b"etb."
    (tmp_path / "a.npy").write_bytes(wrapped(in_array))
    tracemalloc.start()
    found = sources.find(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.recordings == ()
    assert len(found.problems) == 1 and len(found.problems[0]) < 2000
    assert peak < 150_000_000


OPCODES = st.sampled_from([it.code.encode("latin-1") for it in pickletools.opcodes])
GOOD = pickle.dumps(np.array([np.zeros(3), np.array(["a"])], dtype=object), 4)


@settings(deadline=None, max_examples=400)
@given(
    parts=st.lists(OPCODES | st.binary(max_size=4), max_size=30),
    at=st.integers(0, len(GOOD)),
)
def test_any_opcodes_give_values_or_a_source_error(parts, at):
    for payload in (b"".join(parts) + b".", GOOD[:at] + b"".join(parts) + GOOD[at:]):
        try:
            read_pickle(io.BytesIO(payload), len(payload), "f")
        except SourceError as error:
            assert str(error).startswith("f: ")
