"""Read chunks through zarr-python, of arrays whose codecs only it knows."""

import json
import threading
from typing import Any

from zarrts.buckets.objects import ObjectPath
from zarrts.errors import AccessError, BucketError, ReadError
from zarrts.storage.codecs import refuse_unknown_codecs
from zarrts.storage.location import Location, open_file
from zarrts.storage.segments import ROOT_KEY
from zarrts.storage.still_there import StillThere
from zarrts.types import AnyArray, ArraySpec


class ZarrReader:
    """Reads through zarr-python: slower, and knows more codecs."""

    def __init__(
        self, root: Location, spec: ArraySpec, still_there: StillThere | None = None
    ) -> None:
        self.spec, self._still_there = spec, still_there
        self._path = root / spec.path
        self._array: Any = None
        self._lock = threading.Lock()  # guards the opening of _array

    @property
    def is_direct(self) -> bool:
        """Whether chunks are decoded straight into memory, without zarr-python."""
        return False

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with a chunk; see `ChunkReader`."""
        start = chunk * self.spec.chunk_rows
        stop = min(start + self.spec.chunk_rows, self.spec.shape[0])
        try:
            with self._lock:
                if self._array is None:
                    self._array = self._open()
                array = self._array
            self._check_file(array, start // self.spec.shard_rows)
            out[: stop - start] = array[start:stop]
        except (AccessError, BucketError):
            raise
        except Exception as error:  # other people's codecs raise what they like
            raise ReadError(
                f"{self._path}: rows {start:,} to {stop - 1:,} cannot be read ({error}). "
                "Mend the store with zarrts repair, copy it again, or convert again with "
                "overwrite=True (--overwrite)."
            ) from error

    def _open(self) -> Any:
        import zarr

        path = self._path
        refuse_unknown_codecs(json.loads((path / ROOT_KEY).read_bytes()))
        if not isinstance(path, ObjectPath):
            return zarr.open_array(str(path), mode="r", zarr_format=3)
        from zarr.storage import ObjectStore

        store = ObjectStore(path.bucket.client(), read_only=True)
        return zarr.open_array(store, path=path.key, mode="r", zarr_format=3)

    def _check_file(self, array: Any, number: int) -> None:
        # zarr-python reads a file that is missing or empty as zeros.
        key = array.metadata.encode_chunk_key((number, *(0 for _ in self.spec.row_shape)))
        with open_file(self._path / key) as file:
            if file.size() == 0:
                raise ValueError(f"{key} is empty")
        if self._still_there is not None and not isinstance(self._path, ObjectPath):
            self._still_there.check(self.spec.path.partition("/")[0])

    @property
    def is_remote(self) -> bool:
        """Whether many chunks should be asked for ahead: that cannot be done here."""
        return False

    def will_need(self, chunk: int, n_chunks: int = 1) -> object:
        """Do nothing: zarr-python has no way to read ahead."""
        return None

    def close(self) -> None:
        """Forget the array; a later read opens it again."""
        with self._lock:
            self._array = None
