"""Failures of requests to a bucket: whether to try again, and the error to raise.

What obstore raises quotes the request and the answer, where credentials may be; nothing of it is
shown but the status and the provider's code.
"""

import errno
import re
from collections.abc import Mapping
from typing import Any

from zarrts.errors import BucketError

CONDITIONAL_PUT = "conditional PUT"
_RETRIED = {408, 409, 425, 429}
# Of status 400: what came was not what was sent, or came too slowly.
_RETRIED_CODES = ("BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout")
_NEEDS_BUCKET = ("LIST", "PUT", CONDITIONAL_PUT)
_WRITES = ("PUT", CONDITIONAL_PUT, "DELETE")
_NO_CREDENTIALS = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")


class ShortAnswerError(Exception):
    """Fewer bytes came than were promised."""


def refuse_short(content: Any, size: int) -> None:
    """Raise ShortAnswerError unless all bytes of an answer came."""
    if len(content) != size:
        raise ShortAnswerError(f"{len(content):,} of {size:,} bytes came")


class Failure:
    """The cause of a failed request, as far as it may be shown.

    Attributes
    ----------
    is_final : bool
        To try again would be of no use.
    """

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
        self.is_unknown_there = self.status == 501 or isinstance(
            error, exceptions.NotSupportedError
        )
        self.is_final = (
            self.is_denied
            or self.is_missing
            or self.lacks_credentials
            or self.is_unknown_there
            or isinstance(error, exceptions.InvalidPathError)
            or (
                400 <= self.status < 500
                and self.status not in _RETRIED
                and self.code not in _RETRIED_CODES
            )
        )

    def as_error(self, bucket: str, url: str, method: str, tries: str) -> OSError:
        """Return the error to raise; `bucket` and `url` are addresses of bucket and object."""
        shown = method.removeprefix("conditional ")
        # What is below a prefix, and what is new, is missing in no bucket that there is.
        if self.lacks_bucket or (self.is_missing and method in _NEEDS_BUCKET):
            return BucketError(
                errno.ENXIO,
                f"there is no such bucket ({self.words}); make it, or correct the name",
                bucket,
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
            what = "written" if method in _WRITES else "read"
            return BucketError(
                errno.EACCES,
                f"may not be {what} with these credentials: {shown} was answered {self.words}",
                url,
            )
        if self.is_unknown_there and method == CONDITIONAL_PUT:
            return BucketError(
                errno.EOPNOTSUPP,
                f"its server knows no conditional PUT (If-None-Match; {self.words}), by which only "
                "one conversion writes, and a store appears in one step; convert into a folder, "
                "and copy that there",
                bucket,
            )
        return BucketError(errno.EIO, f"{shown} failed after {tries}: {self.words}", url)


def describe_tries(attempts: int, elapsed_s: float) -> str:
    """Return how often, and for how long, something was tried."""
    return f"{attempts} attempts in {elapsed_s:.0f} s" if attempts > 1 else "1 attempt"


def _kind_of(error: Exception, text: str) -> str:
    if isinstance(error, ShortAnswerError):
        return text
    known: Mapping[str, str] = {
        "timed out": "no answer in time",
        "kind: Timeout": "no answer in time",
        "error sending request": "the connection failed",
        "error decoding response body": "the connection broke off",
        "not yet implemented": "not possible there",
    }
    return next((words for part, words in known.items() if part in text), type(error).__name__)
