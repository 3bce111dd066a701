"""The provenance of a segment, and its write id.

The provenance is known before anything is written: a digest of options, labels and samples of the
sources. By it a conversion recognises what an earlier run began or finished. The write id covers
the whole content, and is known once all of it is written.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zarrts import sources
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.plan import ShardLayout
from zarrts.labels.counting import LabelCounter
from zarrts.lists import listed
from zarrts.storage.journal import Provenance
from zarrts.storage.shards import WrittenShard
from zarrts.storage.store import StoreHeader
from zarrts.types import SourceRecording

_LABEL_BLOCK_BYTES = 1 << 20
_SIZES = ("samples in a chunk", "samples in a shard")
_MAX_NAMED = 3


def count_labels(recording: SourceRecording) -> tuple[LabelCounter, str]:
    """Return the labels of a recording, and a digest of those that had to be read."""
    # A fingerprint samples large files, and would not see that a few labels were corrected.
    digest = hashlib.blake2b(digest_size=16)
    reader, has_steps = recording.y, recording.label_steps > 1
    counter = LabelCounter(reader.dtype, reader.shape[2:] if has_steps else reader.shape[1:])
    if reader.dtype.kind == "f" and not counter.is_one_hot:
        return counter, digest.hexdigest()
    row_bytes = max(1, int(np.prod(reader.shape[1:], dtype=np.int64)) * reader.dtype.itemsize)
    step = max(1, _LABEL_BLOCK_BYTES // row_bytes)
    for start in range(0, reader.shape[0], step):
        if counter.can_stop:
            break
        block = reader.read(start, min(start + step, reader.shape[0]))
        if has_steps:  # of which each has a label
            block = block.reshape(-1, *block.shape[2:])
        counter.add(block)
        digest.update(block.tobytes())
    reader.close()
    return counter, digest.hexdigest()


def provenance_of(
    recordings: Sequence[SourceRecording],
    label_digests: Sequence[str],
    layout: ShardLayout,
    options: ConvertOptions,
    base: StoreHeader | None,
    pack: str | float | Mapping[str, str | float] | None = None,
) -> Provenance:
    """Return what a segment of some recordings is made from.

    Parameters
    ----------
    label_digests : sequence of str
        Of each recording, from `count_labels`.
    base : StoreHeader, or None
        The store that the segment is added to.
    pack : str or float, or a mapping of these, optional
        How x is packed, where it is.
    """
    chosen = options.recorded() | {
        "dtype": dtype_name(layout.dtype),
        "codec": options.codec,
        "samples in a chunk": layout.chunk_rows,
        "samples in a shard": layout.shard_rows,
    }
    if pack is not None:
        chosen["pack"] = pack
    if recordings[0].labels_per != "sample":
        chosen |= {"kind": "ragged", "labels per": recordings[0].labels_per}
    if every := next(filter(None, (sources.every_of(it.y) for it in recordings)), None):
        # In rows: the same, however it was said. Steps change their number.
        chosen["label_every"] = options.label_every if options.steps else every
    found = [
        [it.subject, it.origin, it.fingerprint, it.x_name, it.y_name, list(it.x.shape), digest]
        for it, digest in zip(recordings, label_digests, strict=True)
    ]
    groups = [dict(it.groups) for it in recordings]
    said = [groups] if any(groups) else []
    known = base and base.labels.class_names  # new names get the codes after these
    content = json.dumps([chosen, found, known, *said], sort_keys=True).encode()
    return Provenance(
        digest=hashlib.sha256(content).hexdigest()[:32],
        options=chosen,
        sources={it.origin: f"{it.subject} {it.fingerprint}" for it in recordings},
    )


def changes_since(header: StoreHeader, then: Provenance, now: Provenance) -> str:
    """Return in words what became of a store since it was made of sources; "" if it was not."""
    both = then.sources.keys() & now.sources.keys()
    is_changed = any(then.sources[it] != now.sources[it] for it in both)
    is_removed = any("a subject was removed" in it.why for it in header.gone)
    is_grown = len(header.segments) > 1 or any("joined their parts" in it.why for it in header.gone)
    # Sizes are no more than what there was at first.
    options = [it for it in now.options if not (is_grown and it in _SIZES)]
    if not both or is_changed or any(then.options.get(it) != now.options[it] for it in options):
        return ""
    added = sorted(then.sources.keys() - now.sources.keys())
    if (now.sources.keys() - both and not is_removed) or (added and not is_grown):
        return ""
    words = [f"{listed(added, _MAX_NAMED)} appended"] if added else []
    if not added and is_grown:
        words.append("some of them appended")
    words += ["a subject removed"] if is_removed else []
    return f"since it was made, {' and '.join(words)}" if words else ""


def dtype_name(dtype: np.dtype[Any]) -> str | dict[str, str]:
    """Return the name of a dtype; of records, that of each field."""
    if dtype.names is None:
        return dtype.name
    return {name: dtype[name].base.name for name in dtype.names}


def write_id_of(provenance: Provenance, segment: str, written: Iterable[WrittenShard]) -> str:
    """Return the digest of a segment's provenance and of the checksums of all of its chunks.

    The name of the segment plays no part: what is written anew from the same has the same id.
    """
    digest = hashlib.sha256(provenance.digest.encode())
    for shard in written:
        checksums = " ".join(map(str, shard.chunk_checksums))
        digest.update(f"\n{shard.key.removeprefix(segment)} {checksums}".encode())
    return digest.hexdigest()[:32]
