"""The control plane's methods on gRPC: threads, queues and status codes."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

# Before the import: programs that share our process start others by fork and exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
from google.protobuf.message import DecodeError

from tests.controlplane import authority as authorities
from tests.controlplane import ca, node, session
from tests.controlplane.authority import Authority, Refused
from tests.controlplane.fault import Faults
from tests.controlplane.node import Node
from tests.controlplane.record import Record
from tests.controlplane.registry import UnknownGroup
from tests.controlplane.session import Asked, Form, Session

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
MAX_RECEIVE = 4 << 20  # istiod's own limit of a request

Who = tuple[str, str]


@dataclass(eq=False, slots=True)
class Stream:
    """One open ADS stream. ``queue``: (when it is due, bytes), or the code by which to end."""

    session: Session
    who: Who | None
    node: Node | None = None
    queue: queue.SimpleQueue[tuple[float, bytes] | tuple[str, str]] = field(
        default_factory=queue.SimpleQueue
    )

    def end(self, code: str = "OK", message: str = "") -> None:
        self.queue.put((code, message))


class Plane(Protocol):
    """What the service needs of the plane."""

    faults: Faults
    record: Record
    authority: Authority
    certificate_ttl_s: float

    @property
    def is_secure(self) -> bool: ...
    def certificate(self, port: int) -> bytes: ...
    def begin(self, stream: Stream, node: Node) -> None: ...
    def finish(self, stream: Stream) -> None: ...
    def take(self, stream: Stream, asked: Asked) -> None: ...


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Both forms of ADS, and the CA."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def service(self, details: Any) -> Any:
        for form in Form:
            if details.method == ADS + form.value:
                return grpc.stream_stream_rpc_method_handler(
                    lambda requests, call, form=form: self._serve(form, requests, call)
                )
        if details.method == ca.METHOD:
            return grpc.unary_unary_rpc_method_handler(self._create)
        return None

    def _create(self, data: bytes, call: Any) -> bytes:
        plane = self._plane
        if plane.faults.ca == "refuse":
            call.abort(grpc.StatusCode.PERMISSION_DENIED, plane.faults.refuse_message)
        who = self._admit(call, "csr")
        if who is None:
            call.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        try:
            return ca.create(data, who, plane.authority, plane.faults, plane.certificate_ttl_s)
        except (Refused, DecodeError) as error:
            return call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))  # type: ignore[no-any-return]

    def _admit(self, call: Any, what: str) -> Who | None:
        """Who calls; None where nobody is asked. Ends the call of who must not."""
        plane = self._plane
        metadata = dict(call.invocation_metadata())
        token = str(metadata.get("authorization", "")).removeprefix("Bearer ")
        certificate = plane.certificate(int(call.peer().rpartition(":")[2]))
        who = authorities.identity(certificate) if certificate else None
        refused = "" if who or token else "neither certificate nor token"
        if who is None and token:
            try:
                who = plane.authority.check(token)
            except (Refused, ValueError, KeyError) as error:
                refused = str(error)
        by = "certificate" if certificate else "token" if token else "nothing"
        # The header names alone: secrets have no place in a record.
        plane.record.write(
            what, who=who, by=by, refused=refused, headers=sorted(metadata),
            cluster_id=metadata.get("clusterid", ""),
        )  # fmt: skip
        if plane.faults.refuse:
            code = grpc.StatusCode[plane.faults.refuse]
            call.abort(code, plane.faults.refuse_message)
        if plane.is_secure and who is None:
            call.abort(grpc.StatusCode.UNAUTHENTICATED, f"authentication failure: {refused}")
        return who

    def _serve(self, form: Form, requests: Iterator[bytes], call: Any) -> Iterator[bytes]:
        plane = self._plane
        stream = Stream(Session(form), self._admit(call, "stream"))
        if plane.faults.header_bytes:
            call.send_initial_metadata([("x-bulk", "x" * plane.faults.header_bytes)])
        reader = threading.Thread(target=self._read, args=(stream, requests), daemon=True)
        reader.start()
        begun = time.monotonic()
        try:
            while True:
                item = _next(stream, begun, plane)
                if isinstance(item[1], bytes):
                    time.sleep(max(0, float(item[0]) - time.monotonic()))
                    yield item[1]
                elif item[0] == "OK":
                    return
                else:
                    call.abort(grpc.StatusCode[str(item[0])], item[1])
        finally:
            plane.finish(stream)

    def _read(self, stream: Stream, requests: Iterator[bytes]) -> None:
        try:
            for data in requests:
                self._take(stream, data)
            stream.end()
        except node.Invalid as error:
            stream.end("INVALID_ARGUMENT", str(error))
        except UnknownGroup as error:
            stream.end("FAILED_PRECONDITION", str(error))
        except DecodeError as error:
            stream.end("INTERNAL", str(error))
        except Exception:  # gRPC's way to say that the client is gone has no type of its own
            stream.end()

    def _take(self, stream: Stream, data: bytes) -> None:
        asked, message = session.decode(stream.session.form, data)
        if stream.node is None:
            if message is None:
                raise node.Invalid("missing node information in the first request")
            self._plane.begin(stream, node.decode(message))
        self._plane.take(stream, asked)


def _next(stream: Stream, begun: float, plane: Plane) -> tuple[float, bytes] | tuple[str, str]:
    """The next thing to do. A fault that closes streams counts for those that are open, too."""
    while True:
        age_s = plane.faults.close_after_s
        if age_s and time.monotonic() - begun >= age_s:
            return plane.faults.close_code, "max connection age"
        try:
            return stream.queue.get(timeout=0.1)
        except queue.Empty:
            continue
