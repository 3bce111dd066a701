"""A small server that speaks enough of S3 for obstore, with faults on request.

Objects of one part, with their checksum; path style, no signatures. Every answer can be replaced
by a fault.
"""

import base64
import contextlib
import hashlib
import os
import re
import socket
import ssl
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

Fault = Callable[[str, str], str | int | None]
"""From method and key: None, a status, or one of "reset", "cut", "slow", "lost" and "flipped"."""


class FakeS3:
    """One bucket named "lab"; `lock` guards its objects and the counts of requests.

    Attributes
    ----------
    conditions : str
        What becomes of If-None-Match and If-Match: "kept", "refused" (501), or "overlooked"; or the
        name of one of them, which alone is overlooked.
    access_keys : set of str
        By which requests were signed.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.fault: Fault = lambda method, key: None
        self.conditions = "kept"
        self.access_keys: set[str] = set()
        self.slow_s = 0.0
        self.url = ""

    @property
    def options(self) -> dict[str, Any]:
        """The storage options with which it is reached."""
        return {"key": "a key", "secret": "a secret", "endpoint_url": self.url}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    fake: FakeS3

    def log_message(self, *args: object) -> None:
        pass

    def _do(self) -> None:
        path, _, query = self.path.partition("?")
        bucket, _, key = urllib.parse.unquote(path)[1:].partition("/")
        n_bytes = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(n_bytes)
        if len(body) < n_bytes:  # whoever sent it is gone
            self._reset()
            return
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        method = "LIST" if "list-type" in self.query else self.command
        with self.fake.lock:
            self.fake.requests[method] += 1
            signed = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization") or "")
            self.fake.access_keys |= {signed[1]} if signed else set()
            fault = self.fake.fault(method, key or self.query.get("prefix", ""))
        if fault == "reset":
            self._reset()
            return
        if fault == "slow":
            threading.Event().wait(self.fake.slow_s)
        if fault == "flipped" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if isinstance(fault, int):
            self._error(fault, {403: "AccessDenied"}.get(fault, "SlowDown"))
            return
        if bucket != "lab":
            self._error(404, "NoSuchBucket")
            return
        status, head, content = getattr(self, f"_{method.lower()}")(key, body)
        if fault == "lost":
            self._reset()
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **head}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        if fault == "cut":
            self.wfile.flush()
            self._reset()

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _do

    def _reset(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        self.wfile = open(os.devnull, "wb")  # noqa: SIM115 - closed by finish

    def _error(self, status: int, code: str) -> None:
        content = f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    @staticmethod
    def _tag(content: bytes) -> str:
        return f'"{hashlib.md5(content).hexdigest()}"'

    def _get(self, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with self.fake.lock:
            content = self.fake.objects.get(key)
        if content is None:
            return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        head = {"ETag": self._tag(content), "Last-Modified": "Wed, 25 Nov 2026 12:00:00 GMT"}
        match = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if match is None:
            return 200, head, content
        size = len(content)
        start = int(match[1]) if match[1] else max(0, size - int(match[2]))
        stop = min(size, int(match[2]) + 1) if match[1] and match[2] else size
        if start >= size:
            return 416, {}, b""
        return (
            206,
            head | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"},
            content[start:stop],
        )

    def _head(self, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return self._get(key, body)

    def _put(self, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if self.headers.get("x-amz-checksum-sha256") != digest:
            return 400, {}, b"<Error><Code>BadDigest</Code></Error>"
        asked = {name: self.headers.get(name) for name in ("If-None-Match", "If-Match")}
        if self.fake.conditions == "refused" and any(asked.values()):
            return 501, {}, b"<Error><Code>NotImplemented</Code></Error>"
        for name in asked:
            if self.fake.conditions in ("overlooked", name):
                asked[name] = None
        wanted = asked["If-Match"]
        with self.fake.lock:
            there = self.fake.objects.get(key)
            if wanted is not None and there is None:  # as Amazon has it
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
            if (asked["If-None-Match"] == "*" and there is not None) or (
                wanted is not None and self._tag(there or b"") != wanted
            ):
                return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
            self.fake.objects[key] = body
        return 200, {"ETag": self._tag(body)}, b""

    def _delete(self, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with self.fake.lock:
            self.fake.objects.pop(key, None)
        return 204, {}, b""

    def _post(self, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        keys = re.findall(r"<Key>([^<]*)</Key>", body.decode())
        with self.fake.lock:
            for it in keys:
                self.fake.objects.pop(it, None)
        done = "".join(f"<Deleted><Key>{it}</Key></Deleted>" for it in keys)
        return 200, {}, f"<DeleteResult>{done}</DeleteResult>".encode()

    def _list(self, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        prefix = self.query.get("prefix", "")
        with self.fake.lock:
            found = {k: v for k, v in self.fake.objects.items() if k.startswith(prefix)}
        folders, lines = set(), []
        for name, content in sorted(found.items()):
            rest = name[len(prefix) :]
            if "delimiter" in self.query and "/" in rest:
                folders.add(prefix + rest.partition("/")[0] + "/")
                continue
            lines.append(
                f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size>"
                f"<ETag>{escape(self._tag(content))}</ETag>"
                "<LastModified>2026-11-25T12:00:00.000Z</LastModified></Contents>"
            )
        lines += [
            f"<CommonPrefixes><Prefix>{escape(it)}</Prefix></CommonPrefixes>" for it in folders
        ]
        answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(lines)}"
        return 200, {"Content-Type": "application/xml"}, f"{answer}</ListBucketResult>".encode()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *args: object) -> None:
        pass  # whoever hangs up in the middle is part of the tests


@contextlib.contextmanager
def fake_s3(certificate: Path | None = None) -> Iterator[FakeS3]:
    """Serve an empty bucket on this machine; with a certificate (and its key), over https."""
    fake = FakeS3()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    fake.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
