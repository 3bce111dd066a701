"""The files of a bucket, or of a web server, as sources."""

import errno
from collections.abc import Mapping
from typing import Any

from zarrts.buckets.addresses import Address
from zarrts.buckets.bucket import Bucket
from zarrts.buckets.remote_file import Blocks, Entry
from zarrts.errors import BucketError

# ETags there are digests of content; elsewhere they can be counters or times.
_CONTENT_TAGS = ("s3", "gs")
_SO_BEFORE = ", as others did before it until the deadline"


class SourceBucket(Bucket):
    """See `Remote`.

    After a request that failed until the deadline, the next ones fail at the first attempt, until
    one succeeds: or a study of many files would wait as long for each.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.blocks = Blocks()
        self.can_list = address.kind != "http"
        self.has_content_tags = address.kind in _CONTENT_TAGS

    def __reduce__(self) -> tuple[Any, ...]:
        return SourceBucket, (self.address,)

    def entry(self, key: str) -> Entry:
        """See `Remote`."""
        return _entry(
            self._patiently("HEAD", key, lambda obstore, client: obstore.head(client, key)), key
        )

    def entries(self, prefix: str) -> list[Entry]:
        """See `Remote`."""

        def call(obstore: Any, client: Any) -> list[Entry]:
            pages = obstore.list(client, f"{prefix}/" if prefix else None, chunk_size=1000)
            return [_entry(it, it["path"]) for page in pages for it in page]

        found: list[Entry] = self._patiently("LIST", prefix, call)
        return found

    def fetch(self, key: str, start: int, stop: int) -> tuple[Any, Entry]:
        """See `Remote`."""

        def call(obstore: Any, client: Any) -> tuple[Any, Entry]:
            from obstore import exceptions

            try:
                found = obstore.get(client, key, options={"range": (start, stop)})
            except exceptions.NotSupportedError:
                raise _NoRangesError from None
            return found.bytes(), _entry(found.meta, key)

        try:
            content, entry = self._patiently("GET", key, call)
        except _NoRangesError:
            raise BucketError(
                errno.EOPNOTSUPP,
                "the server sends files only whole; copy the file to a folder first",
                self.url(key),
            ) from None
        self._count(len(content))
        return content, entry

    def _patiently(self, method: str, key: str, call: Any) -> Any:
        try:
            found = self._request(method, key, call)
        except BucketError as error:
            if error.errno != errno.EIO:
                raise
            before = self._deadline_s == 0.0
            self._deadline_s = 0.0
            words = f"{error.strerror}{_SO_BEFORE if before else ''}"
            raise BucketError(errno.EIO, words, error.filename) from None
        self._deadline_s = None
        return found


class _NoRangesError(Exception):
    """A server does not send parts of files."""


def _entry(meta: Mapping[str, Any], key: str) -> Entry:
    # A list and an answer quote the tag differently in places.
    tag = (meta["e_tag"] or "").removeprefix("W/").strip('"')
    return Entry(key, int(meta["size"]), tag or f"{meta['last_modified']:%Y-%m-%dT%H:%M:%S}")
