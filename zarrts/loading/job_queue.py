"""Choose the next job of a stream from those planned, decoded and gathered so far.

Nothing here reads, waits or locks: whoever calls holds the lock of the stream.
"""

from collections import deque
from collections.abc import Sequence

from zarrts.loading.schedule import Decode, Gather, Job, PlanBatches, Schedule
from zarrts.ordering.order import Order, Piece
from zarrts.reading.memory import PlacedUnit, UnitMemory
from zarrts.reading.read_ahead import PlacesAhead

_PLANNED_PIECES, _PLANNED_SAMPLES = 32, 2048
_ADVISED_AHEAD, _ADVISED_FOR = 24, 64


class JobQueue:
    """The jobs of an epoch, from some batch on, each given out once.

    A piece is given out when all places that it needs are decoded, and none of the slots they are
    in is decoded into before `note_gathered`. Calls are not thread-safe.

    Parameters
    ----------
    schedule : Schedule
        Of that order.
    max_ready : int
        Batches that may be on their way at once.
    decoded_at_once : int
        Most units that one job decodes.
    n_threads : int
        Who take jobs: what can be decoded is shared out among so many.
    ahead : PlacesAhead, optional
        Asks for x, and for y, of what will be decoded next, where the store is remote.
    reads_labels : bool
        Labels are decoded beside x.

    Attributes
    ----------
    consumed : int
        Batches before this one were handed out; the consumer counts.
    """

    def __init__(
        self,
        order: Order,
        schedule: Schedule,
        memory: UnitMemory,
        first_batch: int,
        *,
        max_ready: int,
        decoded_at_once: int = 1,
        n_threads: int = 1,
        ahead: PlacesAhead | None = None,
        reads_labels: bool = False,
    ) -> None:
        self._order, self._schedule, self._memory = order, schedule, memory
        self._max_ready, self._ahead, self._reads_labels = max_ready, ahead, reads_labels
        self._decoded_at_once, self._n_threads = decoded_at_once, n_threads
        self.consumed = first_batch
        self._planned = first_batch  # batches before this one are in `_pending` or beyond
        self._is_planning = False
        self._pending: deque[Gather] = deque()
        self._gathering: list[int] = []  # limit of each piece that is being gathered
        self._limit = 0  # places below may be decoded once nothing is gathered
        self._next_place = -1  # the next to decode; unknown before the first piece
        self._needed = 0  # of the pieces planned, none needs a place from here on
        self._opened = 0  # all places below are decoded
        self._decoded: set[int] = set()  # places at or above `_opened` that are decoded
        self._decoding: dict[int, tuple[int, list[int]]] = {}  # slot: unit, places waiting for it
        self._advised_left = 0  # how many more units to read ahead, because reading was slow

    def take(self) -> Job | None:
        """Return what is most urgent, or None if there is nothing to do just now."""
        if self._can_gather():
            return self._take_gather()
        decode = self._take_decode()
        if decode is not None:
            return decode
        # Units that were there already may be all that the next piece waited for.
        if self._can_gather():
            return self._take_gather()
        return self._take_plan()

    def _can_gather(self) -> bool:
        if not self._pending:
            return False
        piece = self._pending[0].piece
        return piece.high <= self._opened and piece.batch < self.consumed + self._max_ready

    def _take_gather(self) -> Gather:
        gather = self._pending.popleft()
        self._limit = self._limit_of(gather.piece)
        self._gathering.append(self._limit)
        return gather

    def _take_decode(self) -> Decode | None:
        """Take the next units that are not there yet, if the slots that they get are free."""
        limit = self._decode_limit()
        share = (limit - self._next_place) // self._n_threads
        units: list[PlacedUnit] = []
        while len(units) < max(1, min(self._decoded_at_once, share)):
            unit = self._take_unit(limit)
            if unit is None:
                break
            units.append(unit)
        return Decode(tuple(units)) if units else None

    def _decode_limit(self) -> int:
        """Return the first place that may not be decoded yet."""
        if self._gathering:
            limit = min(self._gathering)
        else:
            limit = self._limit_of(self._pending[0].piece) if self._pending else self._limit
        if self._planned < self._order.batching.n_batches:
            return min(limit, self._order.n_places)
        # Of units that stay, an epoch that was resumed may need fewer than there are places.
        return min(limit, self._needed)

    def _take_unit(self, limit: int) -> PlacedUnit | None:
        held = self._memory.held
        while 0 <= self._next_place < limit:
            decode = self._schedule[self._next_place]
            unit, waiting = self._decoding.get(decode.slot, (decode.unit, None))
            if unit != decode.unit:
                return None  # the slot was of a place that nobody needs any more: not for long
            self._next_place += 1
            if waiting is not None:
                waiting.append(decode.place)
            elif held[decode.slot] == decode.unit:
                self._mark_decoded(decode.place)
            else:
                held[decode.slot] = -1
                self._decoding[decode.slot] = decode.unit, [decode.place]
                if self._ahead is not None:
                    self._ask_ahead(self._ahead, decode)
                return decode
        return None

    def _take_plan(self) -> PlanBatches | None:
        batching = self._order.batching
        is_due = self._planned < batching.n_batches and len(self._pending) < _PLANNED_PIECES
        if self._is_planning or not is_due:
            return None
        self._is_planning = True
        # Many at once, because work on short arrays costs as much as on longer ones.
        count = max(1, min(_PLANNED_SAMPLES // batching.batch_size, _PLANNED_PIECES))
        return PlanBatches(self._planned, min(self._planned + count, batching.n_batches))

    def _limit_of(self, piece: Piece) -> int:
        """Return the first place that must not be decoded while a piece is gathered."""
        if self._memory.keeps_all:
            return self._order.n_places
        return piece.low + self._memory.slots if piece.limit is None else piece.limit

    def _ask_ahead(self, ahead: PlacesAhead, decode: PlacedUnit) -> None:
        """Ask a remote store for what will be decoded next; nobody waits for it here."""
        coming = {it: self._schedule[it] for it in ahead.next_places(decode.place, decode.n_chunks)}
        held, labels = self._memory.held, self._memory.labels
        ahead.ask_inputs({at: it for at, it in coming.items() if held[it.slot] != it.unit})
        if self._reads_labels and labels is not None:
            ahead.ask_labels({at: it for at, it in coming.items() if not labels.has(it.unit)})

    def _mark_decoded(self, place: int) -> None:
        self._decoded.add(place)
        if self._ahead is not None:
            self._ahead.forget(place)
        while self._opened in self._decoded:
            self._decoded.remove(self._opened)
            self._opened += 1

    def note_planned(self, job: PlanBatches, gathers: Sequence[Gather]) -> None:
        """Add the pieces of the batches of a plan."""
        if self._next_place < 0:
            self._next_place = self._opened = gathers[0].piece.low
            self._limit = self._limit_of(gathers[0].piece)
        self._needed = max(self._needed, *(it.piece.high for it in gathers))
        self._pending.extend(gathers)
        self._planned = job.stop
        self._is_planning = False

    def note_decoded(self, unit: PlacedUnit, is_slow: bool) -> PlacedUnit | None:
        """Note that a unit is in its slot; return what to have read ahead, if anything.

        Having read ahead what the page cache holds already costs as much as a twentieth of
        decoding it, so it is done only where reading was slow lately.
        """
        self._memory.held[unit.slot] = unit.unit
        for place in self._decoding.pop(unit.slot)[1]:
            self._mark_decoded(place)
        if is_slow:
            self.advise_on()
        if self._advised_left and unit.place + _ADVISED_AHEAD < self._order.n_places:
            self._advised_left -= 1
            return self._schedule[unit.place + _ADVISED_AHEAD]
        return None

    def advise_on(self) -> None:
        """Have units read ahead for some time."""
        if self._ahead is None:
            self._advised_left = _ADVISED_FOR

    def note_gathered(self, job: Gather) -> None:
        """Note that a piece needs its places no more."""
        self._gathering.remove(self._limit_of(job.piece))
