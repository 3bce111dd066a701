"""A check that the store at a place is still the one that was opened."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from zarrts.errors import AccessError, BucketError, StoreError
from zarrts.storage.location import Location
from zarrts.storage.open_files import TOO_MANY, read_within_limit, too_many
from zarrts.storage.store import header_of


class StillThere:
    """Checks that the store in a folder, or at an address, is the one that was opened.

    `_lock` is held by whoever asks a bucket, so that of many threads one does.

    Parameters
    ----------
    root : Location
    write_ids : mapping
        Of each segment, by its name.
    write_id : str
        Of the store.
    """

    def __init__(self, root: Location, write_ids: Mapping[str, str], write_id: str) -> None:
        self._root, self._write_ids = root, dict(write_ids)
        # Asked for often, and to put a path together takes longer than to look a file up.
        self._root_file = root / "zarr.json"
        self._write_id = f'"{write_id}"'.encode()
        self._lock = threading.Lock()
        self._seen: object = None

    def check(self, segment: str) -> None:
        """Raise AccessError if a segment is not what it was.

        Called after a file of it was opened, or an object read: what was there before the store
        was replaced is of the store that was opened.
        """
        if isinstance(self._root, Path):
            self._check(segment)
            return
        with self._lock:
            self._check(segment)

    def _check(self, segment: str) -> None:
        try:
            seen = self._tag()
            if seen == self._seen:
                return
            now = self._found()
        except BucketError:
            raise
        except OSError as error:
            if error.errno in TOO_MANY:
                raise too_many(self._root) from error
            raise self._replaced() from error
        except StoreError as error:
            raise self._replaced() from error
        if now.get(segment) != self._write_ids[segment]:
            raise self._replaced()
        if all(now.get(name) == it for name, it in self._write_ids.items()):
            self._seen = seen

    def _tag(self) -> object:
        """Return what tells one root from another without reading it."""
        if isinstance(self._root_file, Path):
            found = os.stat(self._root_file)
            return found.st_ino, found.st_size, found.st_mtime_ns
        return self._root_file.bucket.version_of(self._root_file.key)

    def _found(self) -> Mapping[str, str]:
        """Return the write id of each segment that is there now."""
        content = read_within_limit(self._root_file)
        # That of a store of a thousand parts takes half a second to parse, and of all parts
        # follows that of the store.
        if self._write_id in content:
            return self._write_ids
        return {it.name: it.write_id for it in header_of(self._root, content).segments}

    def _replaced(self) -> AccessError:
        return AccessError(
            f"{self._root}: the store that was opened is not there any more: it was replaced, "
            "moved or deleted meanwhile. Open it again."
        )
