"""The parts that all streams of a loader share, and the jobs that one stream has."""

from collections.abc import Sequence
from dataclasses import dataclass

from zarrts.loading.job_queue import JobQueue
from zarrts.loading.postprocessing import PostProcessing
from zarrts.loading.schedule import Schedule
from zarrts.ordering.order import Order
from zarrts.reading.memory import BatchMemory, UnitMemory
from zarrts.reading.read_ahead import PlacesAhead
from zarrts.reading.sample_reader import SampleReader

_MOST_UNITS, _BYTES_AT_ONCE = 8, 2 << 20  # that a job decodes: as long as some batches take


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The parts that all streams of a loader share.

    Attributes
    ----------
    memory : UnitMemory
        Of open units.
    batches : sequence of BatchMemory
        Of batches, for each input.
    max_ready : int
        Batches that may be on their way at once.
    fetched_bytes : int
        What of a remote store may be asked for ahead.
    skips_damage : bool
        Samples that cannot be read are left out, with a warning.
    """

    reader: SampleReader
    memory: UnitMemory
    batches: Sequence[BatchMemory]
    finish: PostProcessing
    n_threads: int
    max_ready: int
    fetched_bytes: int = 0
    skips_damage: bool = False

    def queue(self, order: Order, schedule: Schedule, first_batch: int) -> JobQueue:
        """Return the jobs of an epoch."""
        readers, ahead = self.reader.readers, None
        if readers.is_remote:
            every = (*(it.held for it in self.reader.inputs_read), readers.y)
            ahead = PlacesAhead(every, order.n_places, self.fetched_bytes)
        return JobQueue(
            order,
            schedule,
            self.memory,
            first_batch,
            max_ready=self.max_ready,
            decoded_at_once=self._decoded_at_once,
            n_threads=self.n_threads,
            ahead=ahead,
            reads_labels=self.finish.target is not None,
        )

    @property
    def _decoded_at_once(self) -> int:
        if not self.memory.reads_at_once:
            return 1
        return max(1, min(_MOST_UNITS, _BYTES_AT_ONCE // self.reader.unit_bytes))
