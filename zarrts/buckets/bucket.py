"""The objects of one bucket: requests that are tried again until a deadline.

Whatever fails for good is a `BucketError` that names the object, what the server said, and how
often it was asked; never a header, a body or a query, where credentials may be.
"""

import contextlib
import errno
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from zarrts.buckets.addresses import Address, make_client
from zarrts.errors import BucketError

T = TypeVar("T")

DEADLINE_S = 120.0
_FIRST_WAIT_S, _MAX_WAIT_S = 0.1, 5.0
_MAX_THREADS = 32
_PART_BYTES, _PARTS_AT_ONCE, _RETRIES_OF_PART = 8 << 20, 2, 10
_RETRIED = {408, 409, 425, 429}
_NO_CREDENTIALS = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")


class ConflictError(Exception):
    """An object is not as a conditional request expected it."""


class Bucket:
    """A bucket that any number of threads use.

    `_lock` guards the client, the threads and the counters. What is pickled is the address, with
    its options; a copy opens the bucket anew.

    Attributes
    ----------
    n_requests, n_bytes : int
        Attempts so far, and bytes that were received.
    """

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

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """Return an object whole, and the tag by which a conditional request knows it."""

        def call(obstore: Any, client: Any) -> tuple[bytes, str]:
            found = obstore.get(client, key)
            meta = found.meta
            content = bytes(found.bytes())
            _refuse_short(content, meta["size"])
            return content, meta["e_tag"]

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
            _refuse_short(content, stop - start)
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

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._request(
            "PUT",
            key,
            lambda obstore, client: obstore.put(client, key, content, use_multipart=False),
        )

    def put_if(self, key: str, content: bytes, tag: str | None) -> str:
        """Write an object if it is as it was, and return its new tag.

        Raises
        ------
        ConflictError
            If its tag is another; with None, if there is an object already. The answer to a first
            attempt that succeeded may have been lost: compare what is there.
        """
        mode = "create" if tag is None else {"e_tag": tag}

        def call(obstore: Any, client: Any) -> Any:
            return obstore.put(client, key, content, mode=mode, use_multipart=False)

        return str(self._request("PUT", key, call)["e_tag"])

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file of this machine's, in parts if it is large."""
        is_large = path.stat().st_size > _PART_BYTES

        def call(obstore: Any, client: Any) -> None:
            obstore.put(
                client,
                key,
                path,
                use_multipart=is_large,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

        # A part that fails is sent again by itself; not so what is small.
        self._request("PUT", key, call, _RETRIES_OF_PART if is_large else 0)

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
        return self._client(0)

    def _client(self, max_retries: int) -> Any:
        with self._lock:
            self.n_requests += 1
            if max_retries not in self._clients:
                self._clients[max_retries] = make_client(self.address, max_retries)
            return self._clients[max_retries]

    def _request(
        self, method: str, key: str, call: Callable[[Any, Any], T], max_retries: int = 0
    ) -> T:
        started, wait_s, attempts = time.monotonic(), _FIRST_WAIT_S, 0
        stopped = self._stopped
        while True:
            attempts += 1
            client = self._client(max_retries)
            import obstore
            from obstore import exceptions

            try:
                return call(obstore, client)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                raise ConflictError(self.url(key)) from None
            # What obstore raises quotes the request and the answer: nothing of it is handed on.
            except (exceptions.BaseError, OSError, _ShortAnswerError) as error:
                reason = _Reason(error)
                elapsed = time.monotonic() - started
                deadline_s = DEADLINE_S if self._deadline_s is None else self._deadline_s
                if reason.is_final or elapsed + wait_s > deadline_s or stopped.is_set():
                    raise reason.as_error(self, key, method, attempts, elapsed) from None
            stopped.wait(wait_s * random.SystemRandom().uniform(0.5, 1))
            wait_s = min(2 * wait_s, _MAX_WAIT_S)


class _ShortAnswerError(Exception):
    """Fewer bytes came than were promised."""


def _refuse_short(content: Any, size: int) -> None:
    if len(content) != size:
        raise _ShortAnswerError(f"{len(content):,} of {size:,} bytes came")


class _Reason:
    """Why a request failed, as far as it may be shown."""

    def __init__(self, error: Exception) -> None:
        from obstore import exceptions

        text = str(error)
        status = re.search(r"status code: (\d+)( [A-Za-z ]+)?", text)
        code = re.search(r"<Code>(\w+)</Code>", text)
        self.code = code[1] if code else ""
        self.status = int(status[1]) if status else 0
        self.words = f"{status[1]}{status[2] or ''}".strip() if status else _kind_of(error, text)
        if self.code:
            self.words += f" ({self.code})"
        is_denied = isinstance(
            error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError
        )
        self.is_denied = is_denied or self.status in (401, 403)
        self.is_missing = isinstance(error, FileNotFoundError) or self.status == 404
        self.lacks_bucket = self.code in ("NoSuchBucket", "ContainerNotFound", "InvalidBucketName")
        self.lacks_credentials = any(it in text for it in _NO_CREDENTIALS)
        self.is_final = (
            self.is_denied
            or self.is_missing
            or self.lacks_credentials
            or isinstance(error, exceptions.NotSupportedError | exceptions.InvalidPathError)
            or self.status == 501
            or (400 <= self.status < 500 and self.status not in _RETRIED)
        )

    def as_error(
        self, bucket: Bucket, key: str, method: str, attempts: int, elapsed: float
    ) -> OSError:
        url = bucket.url(key)
        if self.lacks_bucket:
            where = bucket.address.url
            return BucketError(
                errno.ENXIO,
                f"there is no such bucket ({self.words}); make it, or correct the name",
                where,
            )
        if self.is_missing:
            return FileNotFoundError(errno.ENOENT, "there is no such object", url)
        if self.lacks_credentials:
            return BucketError(
                errno.EACCES,
                "no credentials were found; give them in the environment or as storage_options, or "
                "anon=True for a public bucket",
                url,
            )
        if self.is_denied:
            what = "written" if method in ("PUT", "DELETE") else "read"
            return BucketError(
                errno.EACCES,
                f"may not be {what} with these credentials: {method} was answered {self.words}",
                url,
            )
        tries = f"{attempts} attempts in {elapsed:.0f} s" if attempts > 1 else "1 attempt"
        return BucketError(errno.EIO, f"{method} failed after {tries}: {self.words}", url)


def _kind_of(error: Exception, text: str) -> str:
    if isinstance(error, _ShortAnswerError):
        return text
    known: Mapping[str, str] = {
        "timed out": "no answer in time",
        "error sending request": "the connection failed",
        "error decoding response body": "the connection broke off",
        "not yet implemented": "not possible there",
    }
    return next((words for part, words in known.items() if part in text), type(error).__name__)
