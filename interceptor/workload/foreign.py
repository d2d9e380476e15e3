"""Somebody else's SDS, such as SPIRE's: what it gives, for `status`, alarms and other programs.

Envoy asks it by itself; what it gives to us may be another workload's, for it looks at who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.workload import credential
from interceptor.workload.credential import Credential

METHOD = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
NAMES = ("default", "ROOTCA")
READY_S = 5.0


class Held:
    """What has come so far, put together from secrets."""

    def __init__(self) -> None:
        self._key = self._chain = self._roots = b""

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """The acknowledgement of a response, and whether it has changed anything. Raises
        InterceptorError for what is none."""
        from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
        from envoy.service.discovery.v3 import discovery_pb2
        from google.protobuf.message import DecodeError

        before = (self._key, self._chain, self._roots)
        try:
            response = discovery_pb2.DiscoveryResponse.FromString(data)
            for packed in response.resources:
                self._keep(secret_pb2.Secret.FromString(packed.value))
        except DecodeError as error:
            raise InterceptorError("what it sends are no secrets") from error
        request = discovery_pb2.DiscoveryRequest(
            type_url=TYPE,
            resource_names=NAMES,
            version_info=response.version_info,
            response_nonce=response.nonce,
        )
        return request.SerializeToString(), before != (self._key, self._chain, self._roots)

    def _keep(self, secret: object) -> None:
        from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

        assert isinstance(secret, secret_pb2.Secret)
        if secret.HasField("tls_certificate"):
            self._key = secret.tls_certificate.private_key.inline_bytes
            self._chain = secret.tls_certificate.certificate_chain.inline_bytes
        elif secret.HasField("validation_context"):
            self._roots = secret.validation_context.trusted_ca.inline_bytes

    def build(self, now_s: float) -> Credential | None:
        """Raises InterceptorError where the parts do not fit together; None: one is not there."""
        if not (self._key and self._chain and self._roots):
            return None
        made = Credential(self._key, self._chain, self._roots, now_s)
        credential.check(made)
        return made


async def follow(path: Path, clock: Callable[[], float]) -> AsyncIterator[Credential]:
    """Each credential that it gives, until the stream ends. Raises InterceptorError."""
    from envoy.service.discovery.v3 import discovery_pb2

    from interceptor.host import rpc

    channel = rpc.open_channel(f"unix:{path}")
    try:
        await channel.ready(READY_S)
        call, held = channel.stream(METHOD), Held()
        first = discovery_pb2.DiscoveryRequest(type_url=TYPE, resource_names=NAMES)
        first.node.id = "interceptor"
        await call.send(first.SerializeToString())
        while (data := await call.receive()) is not None:
            answer, is_new = held.take(data)
            await call.send(answer)
            made = await asyncio.to_thread(held.build, clock()) if is_new else None
            if made is not None:
                yield made
        raise InterceptorError(f"{path}: the stream of secrets has ended")
    finally:
        await channel.close()
