"""Stamps of the sources of a store: sizes, times and inodes, by which a change is suspected.

They lie in a file of their own that no manifest lists, because they differ from machine to
machine while the store of one study is the same to the byte. Nothing but speed depends on it:
where a stamp is not the one that is written here, the whole content is compared.
"""

import json
from collections.abc import Mapping, Sequence

from zarrts.storage.location import Location, replace_file
from zarrts.storage.store import MANIFESTS
from zarrts.types import SourceRecording

STAMPS = f"{MANIFESTS}/stamps.json"

Stamps = Mapping[str, Mapping[str, str]]
"""Stamps by segment and origin."""


def read_stamps(root: Location) -> Stamps:
    """Return the stamps of the sources of a store; none where the file is gone or damaged."""
    try:
        found = json.loads((root / STAMPS).read_bytes())
        return {str(name): dict(stamps) for name, stamps in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_stamps(
    root: Location,
    segment: str,
    recordings: Sequence[SourceRecording],
    others: Sequence[str] = (),
) -> None:
    """Write the stamps of a segment's sources, and keep those of `others`.

    Of a file that the fingerprint covers as a whole, there is none; so small studies have no
    such file.
    """
    before = read_stamps(root)
    stamps = {name: before[name] for name in others if name in before}
    if of_segment := stamps_of(recordings):
        stamps[segment] = of_segment
    _replace(root, before, stamps)


def keep_stamps(root: Location, segments: Sequence[str]) -> None:
    """Delete the stamps of all segments but some."""
    before = read_stamps(root)
    _replace(root, before, {name: before[name] for name in segments if name in before})


def _replace(root: Location, before: Stamps, stamps: Stamps) -> None:
    if stamps == before:
        return
    if stamps:
        replace_file(root / STAMPS, json.dumps(stamps, indent=1, sort_keys=True).encode())
    else:
        (root / STAMPS).unlink()


def stamps_of(recordings: Sequence[SourceRecording]) -> dict[str, str]:
    """Return the stamps of recordings that lie in files and of which samples were seen only."""
    return {it.origin: it.stamp for it in recordings if it.is_sampled and it.paths}


def touched(recordings: Sequence[SourceRecording], stamps: Mapping[str, str]) -> list[int]:
    """Return the recordings that may hold another content under the same fingerprint.

    Arrays in memory have no stamp, and are always among them.
    """
    return [
        number
        for number, it in enumerate(recordings)
        if it.is_sampled and not (it.paths and stamps.get(it.origin) == it.stamp)
    ]
