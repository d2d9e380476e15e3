"""Plain servers that say who they are. Run as a script: `server.py http|tcp:NAME:PORT:ADDRESS ...`.

An HTTP answer is JSON: the server's name, its peer, the Host header. A TCP
connection gets one line (name and peer), then its own bytes back.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for headers and body: no delayed ACK between them

    def do_GET(self) -> None:
        body = json.dumps(
            {
                "name": self.server.name,  # type: ignore[attr-defined]
                "peer": self.client_address[0],
                "host": self.headers.get("Host", ""),
                "version": self.request_version,
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Without the look-up of our own name, which takes seconds where no DNS answers."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


class Tcp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        name = self.server.name  # type: ignore[attr-defined]
        self.wfile.write(f"{name} {self.client_address[0]}\n".encode())
        while data := self.request.recv(65536):
            self.request.sendall(data)


def serve(spec: str) -> None:
    kind, name, port, address = spec.split(":", 3)
    base = Server if kind == "http" else socketserver.ThreadingTCPServer
    handler = Http if kind == "http" else Tcp
    family = 10 if ":" in address else 2
    made = type("Made", (base,), {"address_family": family, "allow_reuse_address": True})
    server = made((address, int(port)), handler)
    server.daemon_threads = True
    server.name = name
    threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        serve(argument)
    print("ready", flush=True)
