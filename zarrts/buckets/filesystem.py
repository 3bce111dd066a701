"""Source files at addresses for which obstore has no answer, such as sftp:// and hf://: fsspec.

They are only read: nothing there can replace an object if it is as it was, which is how a store
is published.
"""

import contextlib
import errno
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zarrts.buckets import bucket
from zarrts.buckets.failures import describe_tries
from zarrts.buckets.remote_file import Blocks, Entry
from zarrts.errors import BucketError, PlanError

T = TypeVar("T")

_FINAL = (NotImplementedError, TypeError, ValueError, AttributeError, ImportError)
# Of ftplib and paramiko: to try again could lock an account.
_DENIED = ("error_perm", "AuthenticationException", "BadAuthenticationType", "BadHostKeyException")
# The names that file systems have for it, the surest first.
_TAGS = ("ETag", "etag", "e_tag", "sha256", "sha", "checksum", "md5", "blob_id", "mtime")
_MORE_TAGS = ("modified", "modify", "last_modified", "LastModified", "last_commit", "created")


class FileSystem:
    """See `Remote`. `_lock` guards the file system, of which most serve one request at a time.

    Attributes
    ----------
    url_of_root : str
        Scheme and host.
    holds_credentials : bool
        See `Bucket`.
    """

    can_list = True
    has_content_tags = False
    holds_credentials = True

    def __init__(self, url_of_root: str, options: Mapping[str, Any]) -> None:
        self.url_of_root, self._options = url_of_root, dict(options)
        self.blocks = Blocks()
        self._lock = threading.Lock()
        self._made: Any = None
        self._is_down = False

    def __repr__(self) -> str:
        return f"<FileSystem {self.url_of_root}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FileSystem, (self.url_of_root, self._options)

    def url(self, key: str) -> str:
        """See `Remote`."""
        return f"{self.url_of_root}/{key}" if key else self.url_of_root

    def entry(self, key: str) -> Entry:
        """See `Remote`."""
        found = self._again("info", key, lambda fs, path: fs.info(path))
        if found.get("type") == "directory":
            raise FileNotFoundError(errno.ENOENT, "is a folder", self.url(key))
        return _entry(key, found)

    def entries(self, prefix: str) -> list[Entry]:
        """See `Remote`."""

        def call(fs: Any, path: str) -> list[Entry]:
            top, start = path.rstrip("/"), f"{prefix}/" if prefix else ""
            with contextlib.suppress(FileNotFoundError):
                fs.invalidate_cache()
                names = [name for name in fs.find(path) if name.rstrip("/") != top]
                # Lists describe files otherwise than `info` does, which is asked again later.
                return [
                    _entry(start + name.removeprefix(top).lstrip("/"), fs.info(name))
                    for name in names
                ]
            return []

        return self._again("list", prefix, call)

    def fetch(self, key: str, start: int, stop: int) -> tuple[Any, Entry]:
        """See `Remote`."""

        def call(fs: Any, path: str) -> tuple[Any, Entry]:
            content = fs.cat_file(path, start=start, end=stop)
            fs.invalidate_cache()
            return content, _entry(key, fs.info(path))

        return self._again("read", key, call)

    def _again(self, what: str, key: str, call: Callable[[Any, str], T]) -> T:
        started, wait_s, attempts = time.monotonic(), bucket.FIRST_WAIT_S, 0
        while True:
            attempts += 1
            try:
                with self._lock:
                    fs = self._file_system()
                    found = call(fs, fs._strip_protocol(f"{self.url_of_root}/{key}"))
            # Each file system raises errors of its own; their texts may hold credentials.
            except Exception as error:
                refusal = self._refusal(error, key)
                if refusal is not None:
                    raise refusal from None
                elapsed = time.monotonic() - started
                deadline_s = 0.0 if self._is_down else bucket.DEADLINE_S
                if isinstance(error, _FINAL) or elapsed + wait_s > deadline_s:
                    self._is_down = not isinstance(error, _FINAL)
                    tries = describe_tries(attempts, elapsed)
                    raise BucketError(
                        errno.EIO,
                        f"{what} failed after {tries}: {type(error).__name__}; check the address "
                        "and the storage_options, or try again",
                        self.url(key),
                    ) from None
                with self._lock:
                    self._made = None  # and its connection, which may be broken
            else:
                self._is_down = False
                return found
            threading.Event().wait(wait_s * random.SystemRandom().uniform(0.5, 1))
            wait_s = min(2 * wait_s, bucket.MAX_WAIT_S)

    def _refusal(self, error: Exception, key: str) -> OSError | None:
        """Return the error to raise where a file is not there or may not be read, else None."""
        url = self.url(key)
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(errno.ENOENT, "there is no such file", url)
        if isinstance(error, PermissionError):
            return BucketError(errno.EACCES, "may not be read with these credentials", url)
        if type(error).__name__ in _DENIED:
            return BucketError(
                errno.EACCES,
                "may not be read with these credentials; check the storage_options",
                url,
            )
        return None

    def _file_system(self) -> Any:
        if self._made is None:
            from fsspec.core import url_to_fs

            self._made = url_to_fs(
                self.url_of_root + "/", skip_instance_cache=True, **self._options
            )[0]
        return self._made


def check_scheme(scheme: str) -> None:
    """Raise PlanError unless fsspec knows a scheme and has what it needs for it."""
    try:
        import fsspec
    except ImportError as error:
        raise PlanError(
            f"{scheme}:// is read with fsspec: python -m pip install 'zarrts[cloud]'"
        ) from error
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        raise PlanError(
            f"{scheme}:// is unknown; source files are read from s3://, gs://, az://, http(s):// "
            "and what fsspec knows, such as sftp://, ftp:// and hf://."
        ) from error
    except ImportError as error:
        raise PlanError(f"{scheme}:// needs another package: {error}.") from error


def _entry(key: str, found: Mapping[str, Any]) -> Entry:
    known = (str(found[name]) for name in (*_TAGS, *_MORE_TAGS) if found.get(name))
    return Entry(key, int(found["size"] or 0), next(known, ""))
