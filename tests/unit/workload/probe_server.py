"""Servers that probes meet: each is real, on a loopback port of its own."""

from __future__ import annotations

import http.server
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


class Pages(http.server.BaseHTTPRequestHandler):
    """``/status/N`` answers N; ``/to/URL`` redirects there; ``/loop`` to itself; ``/echo`` wants
    the header X-Probe. ``seen`` are the requests."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers)))
        what, _, rest = self.path.partition("?")[0].lstrip("/").partition("/")
        if what == "to":
            return self._say(302, location=rest)
        if what == "loop":
            return self._say(302, location="/loop")
        if what == "echo":
            return self._say(200 if self.headers.get("X-Probe") == "yes" else 400)
        if what == "bare":
            return self._say(302)
        return self._say(int(rest) if what == "status" else 200)

    def _say(self, status: int, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *words: Any) -> None: ...


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[Any]]]:
    """A web server: its port, and the requests that it has seen."""
    seen: list[Any] = []
    handler = type("Seeing", (Pages,), {"seen": seen})
    server = http.server.ThreadingHTTPServer((HOST, 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def saying(data: bytes, *, closes: bool = True) -> Iterator[int]:
    """A server that says ``data`` to everybody, unasked, and closes or hangs."""
    with socket.create_server((HOST, 0)) as listening:
        kept: list[socket.socket] = []

        def body() -> None:
            while True:
                try:
                    opened, _ = listening.accept()
                except OSError:
                    return
                opened.settimeout(10)
                if data:
                    opened.recv(4096)
                    opened.sendall(data)
                if closes:
                    opened.shutdown(socket.SHUT_WR)
                kept.append(opened)

        thread = threading.Thread(target=body)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for opened in kept:
                opened.close()


def unused_port() -> int:
    """Where nobody listens."""
    with socket.create_server((HOST, 0)) as one:
        port: int = one.getsockname()[1]
    return port


def weak_context(folder: Path) -> ssl.SSLContext:
    """A certificate of nobody, for another name, with a short key: made by openssl."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=other"),
            *("-days", "1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    return context
