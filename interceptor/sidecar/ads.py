"""Delta ADS for Envoy over a Unix socket.

What to send and when is `stream`'s business; here are the socket, the bytes
and the counts. Responses are put together from the resources' own bytes:
nothing is parsed or packed again for another Envoy or another reconnect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from interceptor.host import rpcserver
from interceptor.sidecar.resource import Catalogue, Change, Key, Kind, diff
from interceptor.sidecar.served import Refusal, Status
from interceptor.sidecar.stream import Request, Response, Stream, Verdict

log = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"
LATENCIES = 1024  # the last so many are kept
KINDS = {kind.value: kind for kind in Kind}


class Server:
    """Serves one catalogue to any number of Envoys. All methods belong to one event loop."""

    def __init__(self, socket: Path, group: int | None = None) -> None:
        self.socket = socket
        self._group = group
        self._catalogue: Catalogue = {kind: {} for kind in Kind}
        self._links: set[_Link] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._refusals: dict[Key, Refusal] = {}
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES)
        self._server: rpcserver.Server | None = None
        self._settled = asyncio.Event()

    async def open(self) -> None:
        """Listen. The socket is root's and the sidecar's group's; nobody else may connect."""
        methods = {f"/{SERVICE}/{METHOD}": rpcserver.Stream(self._serve)}
        self._server = await rpcserver.serve(self.socket, methods, group=self._group)

    async def close(self) -> None:
        """End every stream. Envoy keeps what it has, and tries again until somebody is here."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    def set(self, catalogue: Catalogue, change: Change | None = None) -> None:
        """Serve ``catalogue`` from now on. ``change`` is how it differs from the one
        before, where the caller knows; without it the two are compared."""
        if change is None:
            change = diff(self._catalogue, catalogue)
        self._catalogue = catalogue
        keys = [resource.key for resource in change.upserted] + list(change.removed)
        for key in keys:
            self._refusals.pop(key, None)
        for link in self._links:
            link.stream.catalogue = catalogue
            link.stream.change(keys)
            link.wake.set()

    def status(self) -> Status:
        """What happened so far."""
        return Status(
            streams=len(self._links),
            is_configured=any(link.stream.is_configured for link in self._links),
            counts=dict(self._counts),
            refusals=tuple(dict.fromkeys(self._refusals.values())),
            latencies_s=tuple(self._latencies_s),
        )

    async def wait_settled(self, timeout_s: float) -> bool:
        """Wait until some Envoy is here and each has taken or refused all there is."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._links or not all(link.stream.is_settled for link in self._links):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        return True

    async def _serve(self, call: rpcserver.Link) -> None:
        link = _Link(Stream(self._catalogue), call)
        self._links.add(link)
        log.info("envoy connected for its configuration")
        reader = asyncio.create_task(self._read(link))
        try:
            while not reader.done():
                await self._write(link)
        finally:
            reader.cancel()
            self._links.discard(link)
            log.info("envoy's configuration stream ended")

    async def _read(self, link: _Link) -> None:
        try:
            while (data := await link.call.receive()) is not None:
                message = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
                if message.type_url in KINDS:
                    verdict = link.stream.receive(decode(message), time.monotonic())
                    if verdict is not None:
                        self._note(verdict)
                link.wake.set()
        except DecodeError as error:
            log.warning("envoy sent what is no request; its stream ends: %s", error)
        finally:
            link.wake.set()

    async def _write(self, link: _Link) -> None:
        """Send what may be sent, then wait for the next reason to look."""
        link.wake.clear()
        for response in link.stream.poll(time.monotonic()):
            self._counts["sent", response.kind.name] += 1
            await link.call.send(b"".join(encode(response)))
        if link.stream.is_settled:
            self._settled.set()
        deadline_s = link.stream.deadline_s()
        wait_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        try:
            async with asyncio.timeout(wait_s):
                await link.wake.wait()
        except TimeoutError:
            pass

    def _note(self, verdict: Verdict) -> None:
        kind = verdict.response.kind
        self._latencies_s.append(verdict.latency_s)
        names = [resource.name for resource in verdict.response.resources]
        for name in names:
            self._refusals.pop((kind, name), None)
        if not verdict.error:
            self._counts["acked", kind.name] += 1
            return
        self._counts["refused", kind.name] += 1
        named = tuple(name for name in names if name in verdict.error)
        refusal = Refusal(kind.name, named or tuple(names), verdict.error)
        for name in refusal.names:
            self._refusals[kind, name] = refusal
        log.warning("envoy refused %s %s: %s", kind.name, ", ".join(refusal.names), verdict.error)


@dataclass(eq=False, slots=True)
class _Link:
    """One Envoy: the state of its stream, and the call that it is made of."""

    stream: Stream
    call: rpcserver.Link
    wake: asyncio.Event = field(default_factory=asyncio.Event)


def decode(message: discovery_pb2.DeltaDiscoveryRequest) -> Request:
    """A request of a known type. A NACK without a message gets one."""
    error = ""
    if message.HasField("error_detail"):
        error = message.error_detail.message or "no reason given"
    return Request(
        KINDS[message.type_url],
        tuple(message.resource_names_subscribe),
        tuple(message.resource_names_unsubscribe),
        dict(message.initial_resource_versions),
        message.response_nonce,
        error,
    )


def encode(response: Response) -> Iterator[bytes]:
    """DeltaDiscoveryResponse as the protobuf encoding has it: messages joined end to end are
    one message, so the envelope and each resource's own bytes are simply strung together."""
    envelope = discovery_pb2.DeltaDiscoveryResponse(
        type_url=response.kind.value, nonce=response.nonce, removed_resources=response.removed
    )
    yield envelope.SerializeToString()
    for resource in response.resources:
        yield _RESOURCES_TAG + _varint(len(resource.body)) + resource.body


# Field 2 (resources), wire type 2 (length-delimited).
_RESOURCES_TAG = bytes([2 << 3 | 2])


def _varint(number: int) -> bytes:
    """Base 128, least significant group first, the top bit set on all but the last."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
