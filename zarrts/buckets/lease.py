"""A lease on a prefix of a bucket: an object that its only writer renews.

No clocks are compared: a lease has run out if it was not renewed for `LEASE_S` seconds while
somebody who wants it looks on.
"""

import contextlib
import json
import os
import platform
import threading
import time
import uuid

from zarrts.buckets.bucket import Bucket, ConflictError, Tag
from zarrts.buckets.objects import ObjectPath
from zarrts.errors import BucketError, PlanError

LEASE_S = 30.0
_TRIES = 3
_NO_TAG = Tag('"no object has this"', None)


class Lease:
    """A lease of a prefix; a thread renews it until it is released.

    `_lock` guards the tag and the time of the last renewal.

    Raises
    ------
    PlanError
        If somebody else renews theirs.
    BucketError
        If nobody may write there.
    """

    def __init__(self, path: ObjectPath) -> None:
        self._root, self._key = path.parent, path.key
        # With a deadline of its own: an answer that comes after the lease has run out is no use.
        self._bucket = Bucket(path.bucket.address, deadline_s=LEASE_S / 3)
        self._writer = {
            "writer": uuid.uuid4().hex,
            "host": platform.node(),
            "process": os.getpid(),
        }
        self._n_renewed = 0
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._renewed_at = time.monotonic()
        self._tag = self._acquire()
        try:
            self._check_that_conditions_count()
        except BaseException:
            self._give_back()
            raise
        self._thread = threading.Thread(target=self._renew, name="zarrts-lease", daemon=True)
        self._thread.start()

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have it by now."""
        with self._lock:
            return time.monotonic() - self._renewed_at < LEASE_S

    def check(self) -> None:
        """Raise PlanError if somebody else may be writing by now."""
        if not self.is_held:
            raise PlanError(
                f"{self._root}: this conversion could not be heard of for {LEASE_S:.0f} s, so that "
                "another one may be writing there; give the same command again."
            )

    def release(self) -> None:
        """End the thread, and let others write at once."""
        self._is_over.set()
        self._thread.join()
        self._give_back()

    def _give_back(self) -> None:
        with contextlib.suppress(OSError):  # which only means that others wait until it runs out
            if self._bucket.get(self._key) == self._content():
                self._bucket.delete([self._key])
        self._bucket.close()

    def _content(self) -> bytes:
        return json.dumps(self._writer | {"renewed": self._n_renewed}).encode()

    def _acquire(self) -> Tag:
        for _ in range(_TRIES):
            try:
                return self._put(None)
            except ConflictError:
                tag = self._wait_for_end()
            if tag is not None:
                try:
                    return self._put(tag)
                except ConflictError:
                    break
        raise self._busy()

    def _check_that_conditions_count(self) -> None:
        """Raise PlanError if the server writes what it must not: some pass over conditions.

        What is written then is what is there already.
        """
        if self._bucket.address.kind != "s3":
            return
        for header, tag in (("If-None-Match", None), ("If-Match", _NO_TAG)):
            try:
                self._bucket.put_if(self._key, self._content(), tag)
            except ConflictError:
                continue
            raise PlanError(
                f"{self._root}: this server passes over {header}, by which only one conversion "
                "writes, and a store appears in one step; convert into a folder, and copy that "
                "there."
            )

    def _wait_for_end(self) -> Tag | None:
        """Return the tag of a lease that has run out, or None if it was released.

        Raises
        ------
        PlanError
            If it was renewed meanwhile.
        """
        first, started = None, time.monotonic()
        while True:
            try:
                content, tag = self._bucket.get_tagged(self._key)
            except FileNotFoundError:
                return None
            if not content:  # the lock of a folder, copied with it: nobody renews that
                return tag
            first = first or tag
            if tag != first:
                raise self._busy()
            if time.monotonic() - started > LEASE_S:
                return tag
            self._is_over.wait(LEASE_S / 20)

    def _busy(self) -> PlanError:
        other = "another conversion"
        with contextlib.suppress(OSError, ValueError, LookupError):
            found = json.loads(self._bucket.get(self._key))
            other += f" (process {found['process']} on {found['host']})"
        return PlanError(
            f"{self._root}: {other} is writing to it; wait until it ends, or choose another name."
        )

    def _put(self, tag: Tag | None) -> Tag:
        """Write the lease if it is as it was; the answer to an earlier attempt may be lost."""
        started = time.monotonic()
        try:
            new = self._bucket.put_if(self._key, self._content(), tag)
        except ConflictError:
            try:
                found, new = self._bucket.get_tagged(self._key)
            except FileNotFoundError:
                raise ConflictError(self._key) from None
            if found != self._content():
                raise
        with self._lock:
            self._renewed_at = started
        return new

    def _renew(self) -> None:
        while not self._is_over.wait(LEASE_S / 4):
            self._n_renewed += 1
            try:
                self._tag = self._put(self._tag)
            except ConflictError:  # somebody has taken it: it is lost at once
                with self._lock:
                    self._renewed_at -= LEASE_S
                return
            except BucketError:
                # Which of the two contents is there, nobody knows: the next attempt finds out.
                with contextlib.suppress(OSError):
                    found, tag = self._bucket.get_tagged(self._key)
                    if json.loads(found).get("writer") == self._writer["writer"]:
                        self._tag = tag
