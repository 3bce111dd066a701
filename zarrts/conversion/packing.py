"""Decide whether inputs are stored as 16-bit counts, from their headers and a trial of each.

The trial is of a few blocks of every recording; `counting` verifies each value that is stored.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from zarrts.conversion.casting import cast_rows
from zarrts.conversion.codecs import WORTH_COMPRESSING, try_blocks
from zarrts.conversion.counting import Counting, UnfitError
from zarrts.conversion.encoding import Encoding
from zarrts.conversion.pack_option import PackOptions
from zarrts.conversion.plan import ShardLayout
from zarrts.conversion.trials import VALUES, from_trials
from zarrts.errors import SourceError
from zarrts.inputs import handed_out
from zarrts.sources import counted_of, readers_of, steps_of, with_readers
from zarrts.storage.packing import COUNTS, Packing
from zarrts.storage.segments import Segment
from zarrts.storage.table import RecordingTable
from zarrts.types import AnyArray, Description, Packed, RowReader, SourceRecording

Shuffle = Literal["shuffle", "bitshuffle"]
_N_BLOCKS = 8  # that codecs are tried on
_WORTH_BITSHUFFLE = 0.8  # of what shuffle leaves: it is decoded several times as slowly


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedInput:
    """The plan to store one input as counts.

    Attributes
    ----------
    counting : Counting
    shuffle : "shuffle" or "bitshuffle"
        What comes before the compression: bitshuffle where it leaves far fewer bytes of the trial.
    recorded : str or float
        What a store that is packed so keeps of the option.
    """

    counting: Counting
    shuffle: Shuffle
    recorded: str | float


@dataclass(frozen=True, kw_only=True, eq=False)
class PackPlan:
    """The plan to store inputs, some of them as counts.

    Attributes
    ----------
    packed : dict of PackedInput
        By name; "" of the only one.
    codec : str
        One of `CODECS`.
    ratio, bytes_per_s : float
        Stored bytes a byte of values, and bytes of values a second, of the trial.
    """

    packed: Mapping[str, PackedInput]
    codec: str
    ratio: float
    bytes_per_s: float

    @property
    def countings(self) -> dict[str, Counting]:
        """The conversion to counts of each input that is packed."""
        return {name: it.counting for name, it in self.packed.items()}

    @property
    def shuffles(self) -> dict[str, str]:
        """The shuffle before the compression, of each input that is packed."""
        return {name: it.shuffle for name, it in self.packed.items()}

    def only(self, names: Collection[str]) -> "PackPlan":
        """Return the plan to store some of these inputs as counts, and the others as values."""
        return replace(self, packed={name: it for name, it in self.packed.items() if name in names})

    @property
    def recorded(self) -> str | float | dict[str, str | float]:
        """The option as a store keeps it: of several inputs, by name."""
        return handed_out({name: it.recorded for name, it in self.packed.items()})


@dataclass(frozen=True)
class _Tried:
    """The result of a codec on some blocks of an input.

    Bytes of their values, of what is stored before it is compressed, and after; and seconds.
    """

    raw: float
    held: int
    stored: float
    seconds: float
    shuffle: Shuffle


def plan_packing(
    recordings: Sequence[SourceRecording],
    layout: ShardLayout,
    options: PackOptions,
    codec: str,
    description: Description,
) -> PackPlan | None:
    """Return how inputs are stored, some of them as counts; None where all are stored as values.

    Parameters
    ----------
    codec : str
        One of `CODECS`, or "auto": lz4, or none where it saves little.

    Raises
    ------
    PlanError
        If the largest error is in a unit that an input is not in, or an input is named that is
        not there.
    """
    options.check_names(layout.channels)
    fixed = {name for name, steps in steps_of(recordings[0].x).items() if not steps}
    of_inputs = {name: _of_input(recordings, name) for name in layout.channels}
    found: dict[str, Counting] = {}
    blocks: dict[str, list[AnyArray]] = {}
    first = 0
    for name, (n_channels, dtype) in layout.channels.items():
        if dtype == VALUES and name not in fixed:
            option, own, counting = options.of_input(name), of_inputs[name], None
            if not option.is_off:
                described = description.of_inputs[name]
                tolerance = option.tolerance(described, n_channels, name)
                counting = _from_headers(own) or from_trials(own, n_channels, tolerance)
            with contextlib.suppress(UnfitError):  # where the trial did not look
                if counting is not None:
                    blocks[name] = _blocks(own, layout.chunk_rows, counting)
                    some = slice(first, first + n_channels)
                    packing = replace(counting.packing, channels=some)
                    found[name] = replace(counting, packing=packing)
        first += n_channels
    if not found:
        return None
    for name, (_, dtype) in layout.channels.items():
        if name not in found:
            blocks[name] = _blocks_of_values(of_inputs[name], layout.chunk_rows, dtype)
    # By size alone, never by a clock: the same sources have to give the same bytes.
    chosen = "lz4" if codec == "auto" else codec
    tried = {name: _tried(it, chosen, is_packed=name in found) for name, it in blocks.items()}
    n_held = sum(it.held for it in tried.values())
    n_stored = sum(it.stored for it in tried.values())
    if codec == "auto" and n_stored > WORTH_COMPRESSING * n_held:
        chosen = "none"
        tried = {name: _tried(it, "none", is_packed=name in found) for name, it in blocks.items()}
    raw = sum(it.raw for it in tried.values())
    return PackPlan(
        packed={
            name: PackedInput(
                counting=it,
                shuffle=tried[name].shuffle,
                recorded=options.of_input(name).recorded,
            )
            for name, it in found.items()
        },
        codec=chosen,
        ratio=sum(it.stored for it in tried.values()) / max(1, raw),
        bytes_per_s=raw / max(sum(it.seconds for it in tried.values()), 1e-9),
    )


def _of_input(recordings: Sequence[SourceRecording], name: str) -> list[SourceRecording]:
    """Return recordings with one of their inputs."""
    return [replace(it, x=readers_of(it.x)[name]) for it in recordings]


def _tried(blocks: Sequence[AnyArray], codec: str, *, is_packed: bool) -> _Tried:
    """Try a codec, with the shuffle that leaves fewest bytes of counts."""
    ways: list[Shuffle] = ["shuffle"]
    if is_packed and codec != "none":
        ways.append("bitshuffle")
    held = sum(it.nbytes for it in blocks)
    raw = held * VALUES.itemsize / COUNTS.itemsize if is_packed else held
    tried = [(*try_blocks(blocks, codec, shuffle=it), it) for it in ways]
    ratio, bytes_per_s, shuffle = tried[0]
    if tried[-1][0] < _WORTH_BITSHUFFLE * ratio:
        ratio, bytes_per_s, shuffle = tried[-1]
    return _Tried(raw, held, ratio * held, held / bytes_per_s, shuffle)


def _from_headers(recordings: Sequence[SourceRecording]) -> Counting | None:
    """Return what the headers say, where all recordings are counts."""
    found = [counted_of(it.x) for it in recordings]
    counted = [it for it in found if it is not None]
    # Where some have a count for NaN, it may be that of a value in others.
    if len(counted) < len(recordings) or len({it.missing for it in counted}) > 1:
        return None
    packing = Packing(
        Packed(VALUES, counted[0].missing, max(it.error for it in counted)),
        np.array([it.gain for it in counted], np.float64),
        np.array([it.offset for it in counted], np.float64),
    )
    return Counting(packing=packing, are_counts=True)


def as_counted(recordings: Sequence[SourceRecording], encoding: Encoding) -> list[SourceRecording]:
    """Return recordings whose inputs are read as counts, where the sources give these."""
    names = [name for name, it in encoding.countings.items() if it.are_counts]
    return [_read_as_counts(it, names) for it in recordings]


def _read_as_counts(recording: SourceRecording, names: Sequence[str]) -> SourceRecording:
    readers = readers_of(recording.x)
    for name in names:
        found = counted_of(readers[name])
        assert found is not None  # or they would not be counts
        readers[name] = found.rows
    return replace(recording, x=with_readers(recording.x, readers))


def encoded_again(
    recordings: Mapping[int, SourceRecording], segment: Segment, table: RecordingTable
) -> tuple[Mapping[int, SourceRecording], Encoding]:
    """Return recordings of a segment, and how they become what they became before."""
    every = [*recordings.values()]
    countings = {}
    for name, packing in table.packing.items():
        # Only of what are counts in the sources, there is none that stands for NaN.
        are_counts = packing.packed.missing is None and all(
            counted_of(readers_of(it.x)[name]) is not None for it in every
        )
        countings[name] = Counting(packing=packing, are_counts=are_counts)
    encoding = Encoding(dtype=segment.x_values.dtype, countings=countings)
    return dict(zip(recordings, as_counted(every, encoding), strict=True)), encoding


# Codecs ----------------------------------------------------------------------------------------


def _some(recordings: Sequence[SourceRecording]) -> list[tuple[int, SourceRecording]]:
    """Return a few of the recordings that have rows, and their numbers."""
    filled = [(number, it) for number, it in enumerate(recordings) if it.x.shape[0]]
    return filled[:: max(1, len(filled) // _N_BLOCKS)][:_N_BLOCKS]


def _blocks(
    recordings: Sequence[SourceRecording], n_rows: int, counting: Counting
) -> list[AnyArray]:
    """Return about a chunk of counts of a few recordings."""
    found = []
    for number, it in _some(recordings):
        counted = counted_of(it.x)
        rows = it.x if counted is None or not counting.are_counts else counted.rows
        counts = counting.counts(_block(rows, n_rows, it.origin), number, it.origin)
        found.append(np.ascontiguousarray(counts))
    return found


def _blocks_of_values(
    recordings: Sequence[SourceRecording], n_rows: int, dtype: np.dtype[Any]
) -> list[AnyArray]:
    """Return about a chunk of values of a few recordings, as they are stored."""
    return [
        np.ascontiguousarray(cast_rows(_block(it.x, n_rows, it.origin), dtype, it.origin))
        for _, it in _some(recordings)
    ]


def _block(rows: RowReader, n_rows: int, origin: str) -> AnyArray:
    """Return about a chunk of rows from the middle of a recording."""
    n_rows = min(n_rows, rows.shape[0])
    # The first rows of a recording are often silence; a stream gives no others cheaply.
    start = 0 if rows.is_sequential else (rows.shape[0] - n_rows) // 2
    try:
        return rows.read(start, start + n_rows)
    except OSError as error:
        raise SourceError(f"{origin}: cannot be read ({error}).") from error
    finally:
        rows.close()
