"""The objects of one bucket: requests that are tried again until a deadline.

Whatever fails for good is a `BucketError` that names the object, what the server said, and how
often it was asked; never a header, a body or a query, where credentials may be.
"""

import contextlib
import errno
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from zarrts.buckets.addresses import Address, make_client
from zarrts.buckets.failures import (
    CONDITIONAL_PUT,
    Failure,
    ShortAnswerError,
    describe_tries,
    refuse_short,
)
from zarrts.errors import BucketError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

DEADLINE_S = 120.0
FIRST_WAIT_S, MAX_WAIT_S = 0.1, 5.0
_MAX_THREADS = 32
MAX_OBJECT_BYTES = 5 << 30
"""Of one PUT, on S3; other clouds take more."""
_BYTES_A_MINUTE = 16 << 20  # of the slowest network on which an object can still be sent


class ConflictError(Exception):
    """An object is not as a conditional request expected it."""


class Tag(NamedTuple):
    """By what a conditional request knows an object: the version on Google, elsewhere the e_tag.

    Attributes
    ----------
    e_tag, version : str, or None
    """

    e_tag: str | None
    version: str | None


class Bucket:
    """A bucket that any number of threads use.

    `_lock` guards the client, the threads and the counters. What is pickled is the address, with
    its options; a copy opens the bucket anew.

    Attributes
    ----------
    n_requests, n_bytes : int
        Attempts so far, and bytes that were received.
    holds_credentials : bool
        True: it is sent to another process once, and never within a task.
    """

    holds_credentials = True

    def __init__(self, address: Address, deadline_s: float | None = None) -> None:
        self.address = address
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._clients: dict[int, Any] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._stopped = threading.Event()
        self.n_requests = self.n_bytes = 0

    def __repr__(self) -> str:
        return f"<Bucket {self.address.url}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self.address, self._deadline_s)

    def url(self, key: str) -> str:
        """Return the address of an object."""
        return f"{self.address.url}/{key}" if key else self.address.url

    # Reading ---------------------------------------------------------------------------------

    def get(self, key: str) -> bytes:
        """Return an object whole.

        Raises
        ------
        FileNotFoundError
            If there is none.
        BucketError
            If it cannot be read.
        """
        return self.get_tagged(key)[0]

    def get_tagged(self, key: str) -> tuple[bytes, Tag]:
        """Return an object whole, and the tag by which a conditional request knows it."""

        def call(obstore: Any, client: Any) -> tuple[bytes, Tag]:
            found = obstore.get(client, key)
            meta = found.meta
            content = bytes(found.bytes())
            refuse_short(content, meta["size"])
            return content, Tag(meta["e_tag"], meta["version"])

        content, tag = self._request("GET", key, call)
        self._count(len(content))
        return content, tag

    def get_range(self, key: str, start: int, stop: int) -> Any:
        """Return bytes of an object, as a buffer; fewer where it ends before `stop`."""
        found = self._request(
            "GET",
            key,
            lambda obstore, client: obstore.get_range(client, key, start=start, end=stop),
        )
        self._count(len(found))
        return found

    def get_tail(self, key: str, n_bytes: int) -> tuple[Any, int]:
        """Return the last bytes of an object, as a buffer, and its size."""

        def call(obstore: Any, client: Any) -> tuple[Any, int]:
            if self.address.kind == "az":  # which has no suffix ranges
                size = obstore.head(client, key)["size"]
                start = max(0, size - n_bytes)
                return (
                    obstore.get_range(client, key, start=start, end=size) if size else b"",
                    size,
                )
            found = obstore.get(client, key, options={"range": {"suffix": n_bytes}})
            size, (start, stop) = found.meta["size"], found.range
            content = found.bytes()
            refuse_short(content, stop - start)
            return content, size

        content, size = self._request("GET", key, call)
        self._count(len(content))
        return content, size

    def size(self, key: str) -> int:
        """Return the size of an object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        meta = self._request("HEAD", key, lambda obstore, client: obstore.head(client, key))
        return int(meta["size"])

    def version_of(self, key: str) -> tuple[object, ...]:
        """Return what tells an object from others that had its key before or will have it.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        meta = self._request("HEAD", key, lambda obstore, client: obstore.head(client, key))
        return tuple(meta.get(it) for it in ("e_tag", "version", "size", "last_modified"))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the sizes of all objects below a prefix, by key."""

        def call(obstore: Any, client: Any) -> dict[str, int]:
            pages = obstore.list(client, f"{prefix}/" if prefix else None, chunk_size=1000)
            return {it["path"]: it["size"] for page in pages for it in page}

        return self._request("LIST", prefix, call)

    def children(self, prefix: str) -> tuple[Sequence[str], Sequence[str]]:
        """Return the prefixes and the keys that are directly below a prefix."""

        def call(obstore: Any, client: Any) -> tuple[Sequence[str], Sequence[str]]:
            found = obstore.list_with_delimiter(client, f"{prefix}/" if prefix else None)
            folders = [str(it).rstrip("/") for it in found["common_prefixes"]]
            return folders, [it["path"] for it in found["objects"]]

        return self._request("LIST", prefix, call)

    # Writing ---------------------------------------------------------------------------------

    def put(self, key: str, content: Any) -> None:
        """Write an object, from a buffer of bytes.

        It is one request, whatever its size: an upload in parts that is broken off stays in the
        bucket, unseen and paid for, but what is left of one request is nothing.
        """
        self._put(key, content, "overwrite")

    def put_if(self, key: str, content: bytes, tag: Tag | None) -> Tag:
        """Write an object if it is as it was, and return its new tag.

        Raises
        ------
        ConflictError
            If its tag is another; with None, if there is an object already. The answer to a first
            attempt that succeeded may have been lost: compare what is there.
        """
        if tag is None:
            return self._put(key, content, "create")
        return self._put(key, content, {name: it for name, it in tag._asdict().items() if it})

    def _put(self, key: str, content: Any, mode: Any) -> Tag:
        n_bytes = len(content)
        if n_bytes > MAX_OBJECT_BYTES:
            raise BucketError(
                errno.EFBIG,
                f"would hold {n_bytes:,} bytes, and a bucket takes {MAX_OBJECT_BYTES:,} at once; "
                "choose a smaller shard",
                self.url(key),
            )

        def call(obstore: Any, client: Any) -> Any:
            return obstore.put(client, key, content, mode=mode, use_multipart=False)

        n_minutes = max(1, -(-n_bytes // _BYTES_A_MINUTE))
        method = "PUT" if mode == "overwrite" else CONDITIONAL_PUT
        # Doubled: a few clients, each with connections of its own, do for objects of all sizes.
        found = self._request(method, key, call, 1 << (n_minutes - 1).bit_length())
        return Tag(found["e_tag"], found["version"])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there do no harm."""

        def delete(key: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._request("DELETE", key, lambda obstore, client: obstore.delete(client, key))

        self.map(delete, keys)

    # Many at once ----------------------------------------------------------------------------

    def submit(self, function: Callable[..., T], *args: Any) -> "Future[T]":
        """Begin something in one of the threads that wait for the bucket."""
        with self._lock:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="zarrts-request")
            return self._pool.submit(function, *args)

    def map(self, function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        """Call a function of this bucket for each item, many at a time, and wait for all."""
        items = list(items)
        if len(items) < 2:
            return [function(it) for it in items]
        futures = [self.submit(function, it) for it in items]
        try:
            return [it.result() for it in futures]
        finally:
            for it in futures:
                it.cancel()

    def close(self) -> None:
        """End the threads; a later request starts them again."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._stopped.set()
            self._stopped = threading.Event()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    # Once, and again -------------------------------------------------------------------------

    def _count(self, n_bytes: int) -> None:
        with self._lock:
            self.n_bytes += n_bytes

    def client(self) -> Any:
        """Return the client of obstore, for other libraries."""
        return self._client(1)

    def _client(self, n_minutes: int) -> Any:
        with self._lock:
            self.n_requests += 1
            if n_minutes not in self._clients:
                self._clients[n_minutes] = make_client(self.address, n_minutes)
            return self._clients[n_minutes]

    def _request(
        self, method: str, key: str, call: Callable[[Any, Any], T], n_minutes: int = 1
    ) -> T:
        """Send a request until it is answered, each attempt for some minutes."""
        started, wait_s, attempts = time.monotonic(), FIRST_WAIT_S, 0
        stopped = self._stopped
        while True:
            attempts += 1
            client = self._client(n_minutes)
            import obstore
            from obstore import exceptions

            try:
                return call(obstore, client)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                raise ConflictError(self.url(key)) from None
            # What obstore raises quotes the request and the answer: nothing of it is handed on.
            except (exceptions.BaseError, OSError, ShortAnswerError) as error:
                failure = Failure(error)
                elapsed = time.monotonic() - started
                deadline_s = DEADLINE_S if self._deadline_s is None else self._deadline_s
                deadline_s += 60 * (n_minutes - 1)
                if failure.is_final or elapsed + wait_s > deadline_s or stopped.is_set():
                    tries = describe_tries(attempts, elapsed)
                    raise failure.as_error(self.address.url, self.url(key), method, tries) from None
            stopped.wait(wait_s * random.SystemRandom().uniform(0.5, 1))
            wait_s = min(2 * wait_s, MAX_WAIT_S)
