"""A page to look at a stream with: a server on the loopback address, and one HTML file.

Written here rather than with a library of user interfaces: one page of two pictures needs none of
their hundreds of megabytes. `/frame` returns the image of any key readout, computed on request.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socket import SHUT_RDWR, socket
from threading import BoundedSemaphore, Lock
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from spikerec.errors import ConfigError, SpikerecError, one_line
from spikerec.inference.ready import Engine, Precision
from spikerec.kinds import checked
from spikerec.models.base import Network
from spikerec.spikes import Ends, SpikeStream
from spikerec.spikes.grey import grey_levels
from spikerec.streaming.concerns import find_concerns
from spikerec.streaming.key_readouts import KeyReadouts
from spikerec.streaming.light import Tone
from spikerec.streaming.pages import assembled
from spikerec.streaming.video import Video

#: Readouts as they are, shown beside the methods.
SPIKES = "spikes"
LOOPBACK = "127.0.0.1"
#: Clients answered at once; a browser opens 6 connections.
MOST_CLIENTS = 16
#: Seconds within which a client must have sent its request, and taken the answer.
PATIENCE_SECONDS = 10


@checked
class Viewer:
    """Images and facts of a stream, as the page of `spikerec view` requests them.

    Attributes:
        is_closing: set to True to make no further image.

    Args:
        stream: to look at.
        networks: methods to look at it by, in eval mode, by name.
        ends: as of `spikerec.reconstruct`.
        estimate_pattern: likewise.
        engine: likewise.
        precision: likewise.
    """

    def __init__(
        self,
        stream: SpikeStream,
        networks: Mapping[str, Network],
        ends: Ends = "reflect",
        *,
        estimate_pattern: bool = True,
        engine: Engine | Literal["auto"] = "torch",
        precision: Precision | Literal["auto"] = "auto",
    ) -> None:
        self.stream = stream
        self.networks = dict(networks)
        self.key_readouts = KeyReadouts.of(stream, list(networks.values()), 1, ends=ends)
        self._videos: dict[str, Video] = {}
        for name, network in networks.items():
            first = next(iter(self._videos.values()), None)
            self._videos[name] = Video(
                stream,
                {name: network},
                self.key_readouts,
                calibration=None if first is None else first.calibration,
                estimate_pattern=estimate_pattern and first is None,
                batch_size=1,  # a page asks for one image at a time
                engine=engine,
                precision=precision,
            )
        self.is_closing = False
        self._lock = Lock()  # one image at a time: a network takes all cores anyway

    @property
    def spread(self) -> float | None:
        """Standard deviation of the estimated pattern that is taken out; None for none."""
        calibration = next(iter(self._videos.values())).calibration
        return None if calibration is None else calibration.spread

    @property
    def engines(self) -> dict[str, Engine]:
        """The engine of each method, by its name."""
        return {name: video.engine for name, video in self._videos.items()}

    @cached_property
    def concerns(self) -> list[str]:
        """Problems of the recording that degrade the pictures (`Video.concerns`)."""
        with self._lock:
            video = next(iter(self._videos.values()))
            return find_concerns(self.stream, self.networks, video.looked_at, video.defects)

    def facts(self) -> dict[str, Any]:
        """Facts about the stream that the page shows."""
        return {
            "name": self.stream.path.name,
            "first": self.key_readouts.first,
            "last": self.key_readouts.stop - 1,
            "height": self.stream.height,
            "width": self.stream.width,
            "rate_hz": self.stream.rate_hz,
            "methods": [*self.networks, SPIKES],
            "concerns": self.concerns,
        }

    @checked
    def frame(self, method: str, key_readout: int, tone: Tone) -> bytes:
        """The image of a key readout as PNG.

        Raises:
            ConfigError: an unknown method, or a key readout that the page does not offer.
        """
        if not self.key_readouts.first <= key_readout < self.key_readouts.stop:
            raise ConfigError(
                f"key_readout must be {self.key_readouts.first} to {self.key_readouts.stop - 1}, "
                f"found {key_readout}."
            )
        if method == SPIKES:
            levels = 255 * self.stream[key_readout]
        elif method in self.networks:
            index = key_readout - self.key_readouts.first
            with self._lock:
                if self.is_closing:
                    raise ConfigError("the viewer is closing.")
                (made,) = self._videos[method].frames(index, index + 1)
            levels = grey_levels(tone(made.images[0].numpy()))
        else:
            raise ConfigError(f"method must be one of {', '.join(self.networks)}, found {method}.")
        buffer = BytesIO()
        Image.fromarray(levels).save(buffer, "PNG")
        return buffer.getvalue()


def serve(viewer: Viewer, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page, on the loopback address alone; `serve_forever` starts it.

    Args:
        viewer: answers what the page asks.
        port: 0 for any that is free.

    Raises:
        ConfigError: the port is taken.
    """
    handler = type("Handler", (_Handler,), {"viewer": viewer})
    try:
        return _Server((LOOPBACK, port), handler)
    except OSError as error:
        raise ConfigError(f"port {port} cannot be used: {error}. Name another --port.") from error


class _Server(ThreadingHTTPServer):
    """Answers a bounded number of clients at once, and waits for none of them for long."""

    #: Connections that the system keeps until they are answered or refused.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self.viewer = handler.viewer  # before the port is taken: where it cannot be, this closes
        super().__init__(address, handler)
        self._free = BoundedSemaphore(MOST_CLIENTS)
        #: Connections that the server waits for, to send or to take, and until when.
        self.awaited: dict[socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer in a thread of its own, if one is free."""
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.settimeout(0)
                with suppress(BlockingIOError):
                    request.recv(1 << 16)  # an answer is lost where the question is not read
                request.send(b"HTTP/1.0 503 Service Unavailable\r\n\r\ntoo many clients at once")
            self.shutdown_request(request)
            return
        self.awaited[request] = time.monotonic() + PATIENCE_SECONDS
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer, and free the place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.awaited.pop(request, None)
            self._free.release()

    def server_close(self) -> None:
        """Close, without the images that clients still wait for."""
        self.viewer.is_closing = True
        super().server_close()

    def service_actions(self) -> None:
        """Close the connections of slow clients; called twice a second."""
        now = time.monotonic()
        for request, until in list(self.awaited.items()):
            if now > until:
                with suppress(OSError):
                    request.shutdown(SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Keep quiet about clients that have gone; print anything else in one line."""
        del request, client_address
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            sys.stderr.write(f"{one_line(error)}\n")


class _Handler(BaseHTTPRequestHandler):
    viewer: Viewer
    server: _Server
    timeout = PATIENCE_SECONDS

    def do_GET(self) -> None:
        self.server.awaited.pop(self.connection, None)  # it has asked; now it waits for us
        # A page of another site must not reach the stream by a name that resolves to this machine.
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in (LOOPBACK, "localhost"):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"only from this machine")
            return
        try:
            url = urlsplit(self.path)
            if url.path == "/":
                page = assembled("spikerec.streaming", "viewer.html").encode()
                self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page)
            elif url.path == "/facts":
                content = json.dumps(self.viewer.facts()).encode()
                self._answer(HTTPStatus.OK, "application/json", content)
            elif url.path == "/frame":
                self._answer(HTTPStatus.OK, "image/png", self._frame(url.query))
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such page")
        except (SpikerecError, KeyError, ValueError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", str(error).encode())
        except (MemoryError, RuntimeError) as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", one_line(error).encode())

    def _frame(self, query: str) -> bytes:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        try:
            method, key_readout = asked["method"], int(asked["key_readout"])
            gain, gamma = float(asked.get("gain", 1)), float(asked.get("gamma", 1))
        except (KeyError, ValueError) as error:
            raise ConfigError(
                "a frame is asked for by method=NAME and key_readout=WHOLE_NUMBER; gain and gamma "
                "are numbers."
            ) from error
        return self.viewer.frame(method, key_readout, Tone(gain=gain, gamma=gamma))

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.server.awaited[self.connection] = time.monotonic() + PATIENCE_SECONDS
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet: a line a frame would bury what matters."""
