"""See every chunk that is read, by itself or with others in one call."""

from zarrts.reading import memory
from zarrts.storage.chunks import DirectReader


def tell_of_reads(monkeypatch, tell):
    """Call `tell(path of the array, chunk)` before a chunk is read from a local store."""
    read_one, read_first = DirectReader.read_into, memory.read_first

    def telling_of_one(self, chunk, out):
        tell(self.spec.path, chunk)
        read_one(self, chunk, out)

    def telling_of_each(wanted):
        for reader, chunk, _ in wanted:
            tell(reader.spec.path, chunk)
        return read_first(wanted)

    monkeypatch.setattr(DirectReader, "read_into", telling_of_one)
    monkeypatch.setattr(memory, "read_first", telling_of_each)


def note_reads(monkeypatch):
    """Return a list that (path of the array, chunk) is added to before a chunk is read."""
    read = []
    tell_of_reads(monkeypatch, lambda *of_chunk: read.append(of_chunk))
    return read
