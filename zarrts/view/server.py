"""The page over HTTP on this machine: a random token in the address, nothing but reading.

Only `GET` of known files and of the page's questions is answered, and only where the address has
the token and the request names this machine as its host, so that other programs' pages, and other
people's, get nothing.
"""

import json
import re
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from zarrts.errors import SampleError, ZarrtsError
from zarrts.view.content import Content, as_dict

_ADDRESS = "127.0.0.1"
_PATH = re.compile(r"/([A-Za-z0-9_-]{16,64})/([A-Za-z0-9./-]{0,64})")
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "view.js": ("view.js", "text/javascript; charset=utf-8"),
    "canvas.js": ("canvas.js", "text/javascript; charset=utf-8"),
    "view.css": ("view.css", "text/css; charset=utf-8"),
    "uPlot.iife.min.js": ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "uPlot.min.css": ("uPlot.min.css", "text/css; charset=utf-8"),
    "uPlot.LICENSE": ("uPlot.LICENSE", "text/plain; charset=utf-8"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_MAX_CHANNELS = 32
_IDLE_S = 60.0


class _RefusedError(Exception):
    """A request that is not answered, with the status that says why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Viewer:
    """The page, served until it is closed; in a notebook, the page itself.

    Attributes
    ----------
    url : str
        Address of the page, with its token.
    """

    def __init__(self, content: Content, port: int = 0) -> None:
        self._content = content
        self._token = secrets.token_urlsafe(24)
        self._server = _Server((_ADDRESS, port), content, self._token)
        self.url = f"http://{_ADDRESS}:{self._server.server_port}/{self._token}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="zarrts-view", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Serve until `close`, or Ctrl-C."""
        # Without a timeout, Windows would not notice Ctrl-C.
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Stop serving, and let go of what was read; twice does no harm."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._content.close()

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<zarrts view at {self.url}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the page."""
        return (
            f'<iframe src="{self.url}" width="100%" height="720" '
            'style="border: 1px solid #8884" title="zarrts view"></iframe>'
        )


class _Server(ThreadingHTTPServer):
    """Holds what its handlers need; connections end with the server."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], content: Content, token: str) -> None:
        super().__init__(address, _Handler)
        self.content, self.token = content, token
        self.hosts = {f"{name}:{self.server_port}" for name in (_ADDRESS, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that went away."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request after the other of a connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "zarrts", ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answer, or refuse."""
        try:
            self._answer()
        except _RefusedError as refused:
            self._send_json({"error": str(refused)}, refused.status)
        except (SampleError, ValueError) as error:
            self._send_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        except ConnectionError:
            raise  # the browser went away
        except Exception as error:  # of whatever kind, the page has to say it
            reason = str(error) if isinstance(error, ZarrtsError) else repr(error)
            self._send_json({"error": reason}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _answer(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "this is not the host that was asked for")
        address = urlsplit(self.path)
        match = _PATH.fullmatch(address.path)
        if match is None or not secrets.compare_digest(match[1], self.server.token):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, "the token in the address is missing or wrong"
            )
        name = match[2]
        if name in _FILES:
            file, kind = _FILES[name]
            self._send((files("zarrts.view") / "static" / file).read_bytes(), kind)
            return
        given = {key: values[-1] for key, values in parse_qs(address.query).items()}
        if name == "api/signals":
            self._send_signals(given)
            return
        self._send_json(self._answer_of(name, given))

    def _answer_of(self, name: str, given: dict[str, str]) -> dict[str, Any] | None:
        content = self.server.content
        if name == "api/store":
            return content.describe()
        if name == "api/recording":
            return content.recording(_integer(given, "recording"))
        if name == "api/labels":
            return content.labels(*_range(given))
        if name == "api/jump":
            return self._jump(given)
        raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")

    def _jump(self, given: dict[str, str]) -> dict[str, Any] | None:
        return as_dict(
            self.server.content.jump(
                given.get("kind", ""),
                _integer(given, "recording"),
                _integer(given, "at"),
                code=_integer(given, "code", -1),
                place=_integer(given, "place", -1),
                back=given.get("back") == "1",
            )
        )

    def _send_signals(self, given: dict[str, str]) -> None:
        """Send float32: of each channel the least of all bins, then of each the most."""
        number, start, stop, width = _range(given)
        found = self.server.content.signals(number, start, stop, width)
        chosen = list(range(min(found.low.shape[1], _MAX_CHANNELS)))
        if "channels" in given:
            chosen = [int(it) for it in given["channels"].split(",")]
            if not all(0 <= it < found.low.shape[1] for it in chosen):
                raise SampleError(f"channels: there are {found.low.shape[1]}, from 0 on.")
        values = np.stack([found.low[:, chosen].T, found.high[:, chosen].T])
        about = {
            "start": found.start,
            "bin_steps": found.bin_steps,
            "n_bins": len(found.low),
            "channels": chosen,
            "ready": round(found.ready, 4),
        }
        body = np.ascontiguousarray(values, "<f4").tobytes()
        self._send(body, "application/octet-stream", about=json.dumps(about))

    # Sending -----------------------------------------------------------------------------

    def _send_json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(value).encode()
        self._send(body, "application/json; charset=utf-8", status=status)

    def _send(
        self, body: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK, about: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        if about:
            self.send_header("X-About", about)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing: addresses hold the token."""


def _integer(given: dict[str, str], name: str, default: int | None = None) -> int:
    if name not in given and default is not None:
        return default
    try:
        return int(given[name])
    except (KeyError, ValueError) as error:
        raise SampleError(f"{name} has to be a whole number.") from error


def _range(given: dict[str, str]) -> tuple[int, int, int, int]:
    number, start, stop, width = (
        _integer(given, name) for name in ("recording", "start", "stop", "width")
    )
    return number, start, stop, width
