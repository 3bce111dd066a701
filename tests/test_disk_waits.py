"""Reads from a disk are told from those of memory, and from a thread that was stopped."""

import os

import pytest

from zarrts.loading import disk_waits
from zarrts.loading.disk_waits import DiskClock, DiskWaits
from zarrts.system import PositionalFile, count_disk_reads

MIB = 1 << 20


class System:
    """The clock, and the reads that the system has counted; None where it counts none."""

    def __init__(self, monkeypatch, reads):
        self.seconds, self.reads, self.waits = 0.0, reads, DiskWaits()
        monkeypatch.setattr(disk_waits, "count_disk_reads", lambda: self.reads)
        monkeypatch.setattr(disk_waits.time, "perf_counter", lambda: self.seconds)

    def read(self, seconds, reads=0):
        """Read a MiB; return whether that had to wait."""
        clock = DiskClock()
        self.seconds += seconds
        if reads:
            self.reads += reads
        return self.waits.have_come(clock, MIB)


def test_one_read_that_the_system_counts_says_that_files_are_on_a_disk(monkeypatch):
    system = System(monkeypatch, reads=7)
    assert not system.read(0.0004)
    assert system.read(0.0004, reads=8)
    assert not system.read(0.0004)


@pytest.mark.parametrize(("reads", "usual", "slow"), [(7, 0.004, 0.006), (None, 0.0009, 0.0012)])
def test_only_what_is_slow_again_and_again_comes_from_elsewhere(monkeypatch, reads, usual, slow):
    system = System(monkeypatch, reads=reads)
    found = [system.read(it) for it in (slow, slow, usual, slow, slow, slow, slow, usual, slow)]
    assert found == [False] * 5 + [True, True, False, False]


@pytest.mark.skipif(count_disk_reads() is None, reason="this system does not count reads")
def test_the_system_counts_no_read_of_what_is_in_memory(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB))
    with PositionalFile(path) as file:
        clock = DiskClock()
        assert file.read_into(bytearray(MIB), 0) == MIB
        assert not clock.has_read
