"""The control plane, put together: content, clients, pushes, faults."""

from __future__ import annotations

import dataclasses
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interceptor.errors import ConfigError
from tests.controlplane import service, spoil, urls
from tests.controlplane.authority import EXPIRED, FUTURE, Authority, Span
from tests.controlplane.content import Content
from tests.controlplane.fault import NO_FAULTS, Faults, decode
from tests.controlplane.front import Front
from tests.controlplane.node import Node
from tests.controlplane.record import Record
from tests.controlplane.registry import Registry
from tests.controlplane.session import Asked, Verdict

LOOK_S = 0.05
NAMES = ("istiod.istio-system.svc", "istiod.istio-system", "localhost", "127.0.0.1", "::1")
SPANS = {"expired": EXPIRED, "future": FUTURE}


@dataclass(frozen=True, slots=True)
class Setup:
    """How a control plane is run. ``state`` keeps CA, tokens' secret and VIPs.

    ``tls``: by the plane's own CA, for ``names``; or by the files ``cert`` and ``key``, with
    clients' certificates from ``client_root``. ``access_log``: the path that Envoys are told.
    """

    folder: Path
    state: Path
    address: str = "127.0.0.1"
    port: int = 0
    tls: bool = False
    cert: Path | None = None
    key: Path | None = None
    client_root: Path | None = None
    names: tuple[str, ...] = NAMES
    record: Path | None = None
    grace_s: float = 10
    certificate_ttl_s: float = 86400
    access_log: str = ""
    faults: Faults = NO_FAULTS


class Plane:
    """A running control plane. Every method may be called from any thread."""

    def __init__(self, setup: Setup) -> None:
        setup.folder.mkdir(parents=True, exist_ok=True)
        self.setup = setup
        self.faults = setup.faults
        self.certificate_ttl_s = setup.certificate_ttl_s
        self.record = Record(setup.record)
        self.authority = Authority(setup.state)
        self._lock = threading.RLock()
        self._content = Content(setup.folder, setup.state, setup.access_log)
        self._registry = Registry(self._content, self.record, setup.grace_s)
        self._streams: dict[service.Stream, None] = {}
        self._tls_files = Path(tempfile.mkdtemp(prefix="plane-", dir=setup.state))
        self._signature: object = None
        self.look()
        self._grpc = service.grpc.server(
            ThreadPoolExecutor(128),
            handlers=(service.Service(self),),
            options=(
                ("grpc.max_receive_message_length", service.MAX_RECEIVE),
                ("grpc.max_send_message_length", -1),
                ("grpc.http2.min_ping_interval_without_data_ms", 1000),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.so_reuseport", 0),
            ),
        )
        inner = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        self._front = Front(self, setup.address, setup.port, inner)
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def port(self) -> int:
        return self._front.port

    @property
    def address(self) -> str:
        """HOST:PORT."""
        host = self.setup.address
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def close(self) -> None:
        """As a process that is killed: connections are reset."""
        self._is_over.set()
        self._watcher.join(10)
        self._front.close()
        with self._lock:
            for stream in self._streams:
                stream.end()
        self._grpc.stop(0).wait(10)

    # --- on demand

    def spoil(self, **faults: Any) -> None:
        """From now on these faults and no others; none: a good control plane."""
        self.faults = decode(faults)

    def push(self, *, force: bool = True) -> None:
        """Send what has changed; ``force``: everything, whether it has or not."""
        with self._lock:
            for stream in self._streams:
                for url in stream.session.watched:
                    self._answer(stream, url, force=force)

    def close_streams(self, code: str = "OK") -> None:
        with self._lock:
            for stream in self._streams:
                stream.end(code, "closed by the test")

    def cut(self) -> None:
        """Reset every TCP connection."""
        self._front.cut()

    def look(self) -> None:
        """Read the folder if it is not as it was, and push what is new."""
        signature = sorted(
            (str(path), (info := path.stat()).st_mtime_ns, info.st_size, info.st_ino)
            for path in self.setup.folder.rglob("*")
            if path.is_file()
        )
        with self._lock:
            if signature != self._signature:
                try:
                    changed = self._content.read()
                    self._signature = signature
                except (ConfigError, ValueError, OSError) as error:
                    changed = False
                    self.record.write("folder-refused", reason=str(error))
                if changed:
                    self.push(force=False)
            if self._registry.sweep():
                self.push(force=False)

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK_S):
            try:
                self.look()
            except OSError:  # a file went while the folder was listed
                continue

    # --- for the front

    @property
    def is_secure(self) -> bool:
        return self.setup.tls or self.setup.cert is not None

    def tls(self) -> ssl.SSLContext | None:
        """What the next connection is secured by."""
        if not self.is_secure:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2"])
        context.verify_mode = ssl.CERT_OPTIONAL
        if self.setup.cert is not None and not self.faults.certificate:
            context.load_cert_chain(self.setup.cert, self.setup.key)
            context.load_verify_locations(self.setup.client_root or self.setup.cert)
            return context
        context.load_verify_locations(cadata=self.authority.root_pem.decode())
        fault = self.faults.certificate
        authority = Authority(self.setup.state / "other") if fault == "other" else self.authority
        names = ("somebody.else.test",) if fault == "name" else self._names()
        pair = authority.issue(names, SPANS.get(fault, Span()))
        file = self._tls_files / "pair.pem"
        file.write_bytes(pair.key + pair.certificate)
        context.load_cert_chain(file)
        return context

    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.setup.names, self.setup.address)))

    # --- for the service

    def certificate(self, port: int) -> bytes:
        return self._front.certificates.get(port, b"")

    def begin(self, stream: service.Stream, node: Node) -> None:
        with self._lock:
            form = stream.session.form.name.lower()
            self.record.write(
                "node", id=node.id, form=form, cluster=node.cluster, metadata=dict(node.metadata)
            )
            changed = self._registry.connect(node)
            stream.node = node
            self._streams[stream] = None
            if changed:
                self.push(force=False)

    def finish(self, stream: service.Stream) -> None:
        with self._lock:
            if self._streams.pop(stream, 0) is None and stream.node is not None:
                self._registry.disconnect(stream.node)
                self.record.write("stream-ended", node=stream.node.id)

    def take(self, stream: service.Stream, asked: Asked) -> None:
        with self._lock:
            assert stream.node is not None
            verdict = stream.session.receive(asked, is_deaf=self.faults.nonce == "deaf")
            if verdict is Verdict.HEALTH:
                if self._registry.tell_health(stream.node, not asked.error, asked.error):
                    self.push(force=False)
                return
            self.record.write(
                verdict.value, type=urls.short(asked.url), nonce=asked.nonce, error=asked.error,
                version=asked.version, names=list(asked.names[:20]), node=stream.node.id,
            )  # fmt: skip
            if verdict in (Verdict.FIRST, Verdict.MORE):
                self._answer(stream, asked.url)

    def _answer(self, stream: service.Stream, url: str, *, force: bool = False) -> None:
        assert stream.node is not None
        faults = self.faults
        catalogue = self._content.catalogue(stream.node, faults.huge)
        answer = stream.session.answer(url, catalogue, force=force)
        if answer is None:
            return
        due = time.monotonic() + (faults.delay_s if faults.concerns(urls.short(url)) else 0)
        self.record.write(
            "push", type=urls.short(url), nonce=answer.nonce, resources=len(answer.items),
            removed=len(answer.removed), node=stream.node.id,
        )  # fmt: skip
        for message in spoil.encode(stream.session.form, answer, faults):
            stream.queue.put((due, message))


@contextmanager
def running(folder: Path, **more: Any) -> Iterator[Plane]:
    """A control plane in this process, ended with the block; ``more``: of `Setup`.

    Without ``state`` it keeps its CA beside the folder.
    """
    setup = Setup(folder, more.pop("state", folder.parent / f"{folder.name}-state"))
    plane = Plane(dataclasses.replace(setup, **more))
    try:
        yield plane
    finally:
        plane.close()
