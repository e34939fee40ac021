"""A host on this machine that keeps files, and misbehaves where a test asks it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Answers a request in place of the host.
Behaviour = Callable[[BaseHTTPRequestHandler, bytes], None]


@dataclass
class Host:
    """A running host.

    Attributes:
        url: its address, without a slash at the end.
        files: path (with its slash) → content.
        behaviours: path → what answers in place of the plain way.
        asked: (path, Range header or None) of every request so far.
        etag: of every file; None for none.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    etag: str | None = '"one"'


@contextmanager
def serve_files() -> Iterator[Host]:
    """Serve files until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host.asked.append((self.path, self.headers.get("Range")))
            self.close_connection = True
            content = host.files.get(self.path)
            if self.path in host.behaviours:
                host.behaviours[self.path](self, content or b"")
            elif content is None:
                self.send_error(404)
            else:
                answer(self, content, host.etag)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host = Host(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(
    request: BaseHTTPRequestHandler,
    content: bytes,
    etag: str | None = None,
    sent: int | None = None,
    **headers: str,
) -> None:
    """Answer as a host that knows ranges; end the connection after `sent` bytes of the body."""
    start = 0
    wanted = request.headers.get("Range")
    if wanted and request.headers.get("If-Range", etag) == etag:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    if start > len(content):
        request.send_error(416)
        return
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if etag:
        request.send_header("ETag", etag)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(content) - start))
    request.end_headers()
    body = content[start:]
    request.wfile.write(body if sent is None else body[:sent])


def cut_after(sent: int, times: int = 1, etag: str | None = '"one"') -> Behaviour:
    """End the connection after so many bytes of the body, that many times."""
    left = [times]

    def behave(request: BaseHTTPRequestHandler, content: bytes) -> None:
        left[0] -= 1
        answer(request, content, etag, sent if left[0] >= 0 else None)

    return behave


def redirect_to(url: str) -> Behaviour:
    """Send whoever asks to another address."""

    def behave(request: BaseHTTPRequestHandler, _: bytes) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.send_header("Connection", "close")  # as the handler does
        request.send_header("Content-Length", "0")
        request.end_headers()

    return behave


def endless(request: BaseHTTPRequestHandler, _: bytes) -> None:
    """Send bytes without stating how many, for as long as someone reads."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(bytes(1 << 16))
    except OSError:
        pass


def silent(_request: BaseHTTPRequestHandler, _content: bytes) -> None:
    """Take the request and say nothing for a second."""
    time.sleep(1)


def drip(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send a byte now and then."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    try:
        for byte in content:
            request.wfile.write(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        pass
