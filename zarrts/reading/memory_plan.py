"""The shares of a memory budget: what units and batches may take of it, and what that costs."""

from dataclasses import dataclass

from zarrts.errors import SampleError
from zarrts.indexing.units import ChunkUnits
from zarrts.ordering.order import UNITS_PER_PART, filled_units
from zarrts.sizes import format_budget

_SHARE_OF_UNITS = 0.8  # of the budget; the rest is for batches on their way
_MAX_AHEAD, _MAX_STEPS, _MAX_READY = 16, 8, 16
_MIN_SLOTS, _FEW_SLOTS = 3, 24
_CHUNKS_PER_HEAD = 10  # of a unit, for each that is read with it: a tenth more than has to be
_OVERHEAD_BYTES = 32 << 20
_FEW_BYTES = 8 << 20
_SHARE_OF_LABELS, _MAX_LABEL_BYTES = 1 / 32, 16 << 20


@dataclass(frozen=True)
class MemoryPlan:
    """The shares of a memory budget.

    They depend on the budget and the size of a unit alone; and, where a batch takes more than a
    tenth of the budget or a chunk a large part of it, on the sizes of these.

    Attributes
    ----------
    slots : int
        Units that fit into the memory of open units.
    span : int
        Units that a step of the order draws from.
    max_steps : int
        Steps that are gathered at once.
    batch_bytes : int
        What is left for batches on their way.
    label_bytes : int
        Of that, what may be taken to keep the labels of all units.
    """

    slots: int
    span: int
    max_steps: int
    batch_bytes: int
    label_bytes: int

    @staticmethod
    def of(memory_bytes: int, unit_bytes: int, reserved_bytes: int = 0) -> "MemoryPlan":
        """Share out a budget.

        Parameters
        ----------
        reserved_bytes : int
            What units may not take of the budget, where that is more than a fifth of it, and more
            than a few MiB: the batch that is made, the one that was handed out before it, and what
            a thread works with.

        Raises
        ------
        SampleError
            If it does not hold three units.

        Examples
        --------
        Of 128 MiB, four fifths hold open units of 1 MiB; some of them are read ahead, and the
        span is what is left:

        >>> plan = MemoryPlan.of(128 << 20, 1 << 20)
        >>> plan.slots, plan.span, plan.max_steps
        (102, 84, 6)
        """
        of_units = int(memory_bytes * _SHARE_OF_UNITS)
        if reserved_bytes <= _FEW_BYTES:
            reserved_bytes = 0
        of_units = min(of_units, memory_bytes - reserved_bytes)
        slots = of_units // unit_bytes
        if slots < _MIN_SLOTS:
            needed = max(
                int(_MIN_SLOTS * unit_bytes / _SHARE_OF_UNITS) + 1,
                _MIN_SLOTS * unit_bytes + reserved_bytes,
            )
            kept = ""
            if reserved_bytes > memory_bytes * (1 - _SHARE_OF_UNITS):
                kept = f" and needs {format_budget(reserved_bytes)} beside {_MIN_SLOTS} of them"
            raise SampleError(
                f"memory={format_budget(memory_bytes)} is too little for this store, which is "
                f"read in pieces of {format_budget(unit_bytes)}{kept}; raise memory to at least "
                f"{format_budget(needed)}."
            )
        ahead = max(1, min(_MAX_AHEAD, slots // 8))
        max_steps = max(1, min(_MAX_STEPS, slots // 16))
        return MemoryPlan(
            slots=slots,
            span=max(2, (slots - ahead - max_steps + 1) // 2 * 2),
            max_steps=max_steps,
            batch_bytes=memory_bytes - slots * unit_bytes,
            label_bytes=min(int(memory_bytes * _SHARE_OF_LABELS), _MAX_LABEL_BYTES),
        )

    @staticmethod
    def run(memory_bytes: int, units: ChunkUnits, row_bytes: int) -> int:
        """Return of how many consecutive chunks a unit should be.

        What follows a unit is read with it, for the samples that end there. In a random order
        that is read again with the unit that it belongs to, and costs less the longer units are;
        but so few of them fit into memory that samples are mixed badly.
        """
        return _run(memory_bytes, units.head_chunks, units.chunk_rows * row_bytes)

    @property
    def fetched_bytes(self) -> int:
        """Bytes of a remote store that may be asked for ahead, of those left for batches."""
        return self.batch_bytes // 3

    def count_ready(self, batch_bytes: int, is_remote: bool = False, thread_bytes: int = 0) -> int:
        """Return how many batches may be on their way at once, beside one that was handed out.

        Parameters
        ----------
        thread_bytes : int
            Memory that a thread works with.

        Raises
        ------
        SampleError
            If not even one fits into what the budget leaves for batches.
        """
        ready = self.batch_bytes // max(1, batch_bytes)
        if ready < 1:
            needed = format_budget(int(batch_bytes / (1 - _SHARE_OF_UNITS)) + 1)
            raise SampleError(
                f"One batch takes {format_budget(batch_bytes)}, but the memory budget leaves "
                f"{format_budget(self.batch_bytes)} for batches; raise memory to at least "
                f"{needed}, or lower batch_size."
            )
        # Buffers of the threads and the order take room as well.
        overhead = min(_OVERHEAD_BYTES, self.batch_bytes // 2)
        spare = self.batch_bytes - max(overhead, batch_bytes + thread_bytes)
        spare -= self.fetched_bytes if is_remote else 0
        return max(1, min(spare // max(1, batch_bytes), _MAX_READY))

    def count_threads(self, n_ready: int, batch_bytes: int, thread_bytes: int) -> int:
        """Return how many threads may work at once beside batches, at least 1; see `count_ready`.

        Some are let pass where all that they work with is a few MiB.
        """
        left = self.batch_bytes - (n_ready + 1) * batch_bytes
        return max(1, max(left, _FEW_BYTES) // max(1, thread_bytes))


def window_amplification(memory_bytes: int, chunk_bytes: int) -> float:
    """Return bytes decoded over bytes of the rows, of windows in a random order.

    Windows are of at most one row more than a chunk has, and more than fit into memory.
    """
    return 1 + 1 / _run(memory_bytes, 1, chunk_bytes)


def amplification(units: ChunkUnits) -> float:
    """Return bytes decoded over bytes used, at least 1, of one pass over the selected samples.

    Chunks are decoded whole: a selection that takes single samples of many pays for the others.
    Rows that are in several samples are used once.
    """
    if len(units.selection) == 0:
        return 1.0
    filled = filled_units(units)
    decoded = 0
    for start in range(0, len(filled), UNITS_PER_PART):
        some = filled[start : start + UNITS_PER_PART].astype("int64")
        decoded += int(units.rows_read(some).sum())
    return decoded / units.index.count_rows(units.selection.starts, units.selection.stops)


def _run(memory_bytes: int, head_chunks: int, chunk_bytes: int) -> int:
    wanted = max(1, _CHUNKS_PER_HEAD * head_chunks)
    held = int(memory_bytes * _SHARE_OF_UNITS) // (_FEW_SLOTS * chunk_bytes)
    return max(1, min(wanted, held - head_chunks))
