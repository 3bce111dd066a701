"""Tell whether what is read comes from a disk, or from memory that the system keeps files in."""

import time

from zarrts.system import count_disk_reads

# Of x, in one thread. Slower means that a disk is waited for, where the system does not say so; or
# else that files come over a network, of which it does not say so either.
_WARM_BYTES_PER_S, _NETWORK_BYTES_PER_S = 1e9, 2e8
_SLOW_IN_A_ROW = 3  # a thread may once be stopped for another one's sake


class DiskClock:
    """The reads and the time of the thread that made it, since then."""

    def __init__(self) -> None:
        self._n_reads, self._started = count_disk_reads(), time.perf_counter()

    @property
    def has_read(self) -> bool:
        """Whether a disk of this machine was asked; False where the system does not say."""
        return count_disk_reads() != self._n_reads

    def is_slow(self, n_bytes: int) -> bool:
        """Return whether so many bytes of x took longer than from memory."""
        usual = _WARM_BYTES_PER_S if self._n_reads is None else _NETWORK_BYTES_PER_S
        return time.perf_counter() - self._started > n_bytes / usual


class DiskWaits:
    """Whether reading had to wait lately; threads share it, and may miss a read of another."""

    def __init__(self) -> None:
        self._n_slow = 0

    def have_come(self, clock: DiskClock, n_bytes: int) -> bool:
        """Return whether a disk or a network was waited for, by a thread that read `n_bytes` of x.

        Parameters
        ----------
        clock : DiskClock
            Made by the thread before it read.
        """
        if clock.has_read:
            return True
        self._n_slow = self._n_slow + 1 if clock.is_slow(n_bytes) else 0
        return self._n_slow >= _SLOW_IN_A_ROW
