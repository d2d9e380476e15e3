"""One stream of Envoy's secret discovery service, in both its forms, state of the world and delta.

Bytes in, bytes out, no sockets. Nothing is ever taken away: a secret that is not there is one
that Envoy waits for.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import DecodeError

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
NAMES_LIMIT = 256  # that one stream may ask for
NAME_LIMIT = 4096  # characters


class Form(enum.Enum):
    """How the service tells: all that was asked for, or what has changed of it."""

    WHOLE = "StreamSecrets"
    DELTA = "DeltaSecrets"


class SdsError(ValueError):
    """A request that is none of this service."""


@dataclass(frozen=True, slots=True)
class Secret:
    """``body`` is an encoded envoy Secret; ``version`` stands for its content."""

    name: str
    version: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Secrets that Envoy did not take, and why."""

    names: tuple[str, ...]
    reason: str


def build_pair(name: str, key_pem: bytes, chain_pem: bytes) -> Secret:
    """A private key and its certificates."""
    made = secret_pb2.Secret(name=name)
    made.tls_certificate.certificate_chain.inline_bytes = chain_pem
    made.tls_certificate.private_key.inline_bytes = key_pem
    return _secret(made)


def build_roots(name: str, root_pem: bytes) -> Secret:
    """The authorities whose certificates are taken."""
    made = secret_pb2.Secret(name=name)
    made.validation_context.trusted_ca.inline_bytes = root_pem
    return _secret(made)


def _secret(made: secret_pb2.Secret) -> Secret:
    body = made.SerializeToString(deterministic=True)
    return Secret(made.name, blake2b(body, digest_size=8).hexdigest(), body)


class Stream:
    """What one stream wants, and what it has. ``acked`` and ``refusals`` count answers."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.names: set[str] = set()
        self.acked = 0
        self.refused = 0
        self._sent: dict[str, str] = {}
        self._nonce = 0

    def receive(self, data: bytes) -> Refusal | None:
        """Take a request; a refusal where it is one. Raises SdsError, after which the stream is
        to be ended."""
        try:
            if self.form is Form.WHOLE:
                return self._receive_whole(discovery_pb2.DiscoveryRequest.FromString(data))
            return self._receive_delta(discovery_pb2.DeltaDiscoveryRequest.FromString(data))
        except DecodeError as error:
            raise SdsError("not a request of this service") from error

    def _receive_whole(self, request: discovery_pb2.DiscoveryRequest) -> Refusal | None:
        self._check(request.type_url)
        if not request.response_nonce:
            self._sent = {}  # it begins anew, and has nothing
        self.names = set()
        self._ask(request.resource_names)
        return self._answer(request)

    def _receive_delta(self, request: discovery_pb2.DeltaDiscoveryRequest) -> Refusal | None:
        self._check(request.type_url)
        for name in request.resource_names_subscribe:
            self._sent.pop(name, None)
        self.names.difference_update(request.resource_names_unsubscribe)
        self._ask(request.resource_names_subscribe)
        known = request.initial_resource_versions.items()
        self._sent.update((name, version) for name, version in known if name in self.names)
        return self._answer(request)

    def _check(self, type_url: str) -> None:
        if type_url not in ("", TYPE):
            raise SdsError(f"only {TYPE} is served here")

    def _ask(self, names: Iterable[str]) -> None:
        self.names.update(names)
        if len(self.names) > NAMES_LIMIT or any(len(name) > NAME_LIMIT for name in self.names):
            raise SdsError(f"{NAMES_LIMIT} names of {NAME_LIMIT} characters are the limit")

    def _answer(
        self, request: discovery_pb2.DiscoveryRequest | discovery_pb2.DeltaDiscoveryRequest
    ) -> Refusal | None:
        if not request.response_nonce:
            return None
        if not request.HasField("error_detail"):
            self.acked += 1
            return None
        self.refused += 1
        return Refusal(tuple(sorted(self.names)), request.error_detail.message)

    def poll(self, secrets: Mapping[str, Secret]) -> bytes | None:
        """What is to be sent now; None: it has everything that there is."""
        there = {name: secrets[name] for name in sorted(self.names) if name in secrets}
        fresh = [each for name, each in there.items() if self._sent.get(name) != each.version]
        if not fresh:
            return None
        self._nonce += 1
        self._sent.update((each.name, each.version) for each in fresh)
        return self._whole(there) if self.form is Form.WHOLE else self._delta(fresh)

    def _whole(self, there: Mapping[str, Secret]) -> bytes:
        versions = "".join(each.version for each in there.values()).encode()
        response = discovery_pb2.DiscoveryResponse(
            version_info=blake2b(versions, digest_size=8).hexdigest(),
            type_url=TYPE,
            nonce=str(self._nonce),
            resources=[Packed(type_url=TYPE, value=each.body) for each in there.values()],
        )
        data: bytes = response.SerializeToString()
        return data

    def _delta(self, fresh: list[Secret]) -> bytes:
        resources = [
            discovery_pb2.Resource(
                name=each.name,
                version=each.version,
                resource=Packed(type_url=TYPE, value=each.body),
            )
            for each in fresh
        ]
        response = discovery_pb2.DeltaDiscoveryResponse(
            type_url=TYPE, nonce=str(self._nonce), resources=resources
        )
        data: bytes = response.SerializeToString()
        return data
