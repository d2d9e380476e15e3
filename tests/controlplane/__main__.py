"""`python -m tests.controlplane`: prints ``ready PORT``, and takes orders on a Unix socket.

An order is one line of JSON, and so is its reply: ``{"do": "spoil", "table": ...}``. See ORDERS.
"""

from __future__ import annotations

import argparse
import json
import signal
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.controlplane import fault
from tests.controlplane.plane import NAMES, Plane, Setup


def _token(plane: Plane, **more: Any) -> str:
    return plane.authority.token(**more)


ORDERS: dict[str, Callable[..., object]] = {
    "spoil": Plane.spoil,  # the fields of fault.Faults; none: good again
    "push": Plane.push,  # force: bool
    "close": Plane.close_streams,  # code
    "cut": Plane.cut,
    "token": _token,  # namespace, account, ttl_s
    "lines": lambda plane, what="", **like: plane.record.lines(what, **like),
}


def execute(plane: Plane, line: bytes) -> dict[str, object]:
    """Do as an order says; ``{"result": ...}`` or ``{"error": ...}``."""
    try:
        order = json.loads(line)
        return {"result": ORDERS[order.pop("do")](plane, **order)}
    except (ValueError, KeyError, TypeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


class _Orders(socketserver.StreamRequestHandler):
    plane: Plane

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(json.dumps(execute(self.plane, line), default=str).encode() + b"\n")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane", description=__doc__)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="mesh documents, names.json, resources/*.json")
    add("--listen", required=True, metavar="ADDRESS:PORT")
    add("--state", type=Path, help="keeps CA, tokens' secret and VIPs; FOLDER-state")
    add("--tls", action="store_true", help="by the control plane's own CA")
    add("--names", default=",".join(NAMES), help="of its certificate")
    add("--tls-cert", type=Path)
    add("--tls-key", type=Path)
    add("--client-root", type=Path)
    add("--record", type=Path, help="JSON lines of all that it is told")
    add("--control", type=Path, help="Unix socket for orders")
    add("--write", type=Path, help="folder to put root-cert.pem and istio-token in")
    add("--bearer", default="default:default", help="NAMESPACE:ACCOUNT of that token")
    add("--grace-s", type=float, default=10, help="until who is gone is unregistered")
    add("--certificate-ttl-s", type=float, default=86400)
    add("--access-log", default="", help="path that Envoys write theirs to")
    add("--faults", default="{}", help="JSON")
    return parser.parse_args(argv)


def setup(options: argparse.Namespace) -> Setup:
    address, _, port = options.listen.rpartition(":")
    folder = options.folder.absolute()
    return Setup(
        folder,
        options.state or folder.with_name(f"{folder.name}-state"),
        address.strip("[]"),
        int(port),
        options.tls,
        options.tls_cert,
        options.tls_key,
        options.client_root,
        tuple(options.names.split(",")),
        options.record,
        options.grace_s,
        options.certificate_ttl_s,
        options.access_log,
        fault.decode(json.loads(options.faults)),
    )


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = parse()
    plane = Plane(setup(options))
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "root-cert.pem").write_bytes(plane.authority.root_pem)
        token = options.write / "istio-token"
        token.touch(0o600)
        token.write_text(plane.authority.token(*options.bearer.split(":")))
    if options.control:
        options.control.unlink(missing_ok=True)
        handler = type("Orders", (_Orders,), {"plane": plane})
        server = socketserver.ThreadingUnixStreamServer(str(options.control), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    print(f"ready {plane.port}", flush=True)
    over.wait()
    plane.close()


if __name__ == "__main__":
    main()
