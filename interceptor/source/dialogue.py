"""What is said on a stream to istiod about its name table, in both forms of xDS. PURE.

istiod sends the table whole each time, as one resource, under delta xDS too. Each response is
answered once: by its nonce alone (ACK), or with the reason why it is not taken (NACK).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import DecodeError

from interceptor.source import schema
from interceptor.source.nds import TYPE

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
HEALTH = "type.googleapis.com/istio.v1.HealthInformation"
USER_AGENT = "interceptor"
_INVALID, _INTERNAL = 3, 13  # google.rpc.Code

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None


class Form(Enum):
    """Of the two forms of aggregated xDS; the value is the method."""

    DELTA = "DeltaAggregatedResources"
    SOTW = "StreamAggregatedResources"

    @property
    def method(self) -> str:
        """Its full name."""
        return SERVICE + self.value


class NoResponse(ValueError):
    """A message that is none of the protocol: there is nothing to answer to."""


@dataclass(frozen=True, slots=True)
class Node:
    """Who we are. ``locality`` is region, zone and sub-zone."""

    id: str
    cluster: str
    locality: tuple[str, str, str]
    metadata: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class Told:
    """One response. ``table``: a NameTable's bytes, None where there is no resource at all.
    ``problem``: why it cannot be taken, whatever is in it."""

    nonce: str
    version: str
    table: bytes | None
    problem: str = ""


class Dialogue:
    """One stream, from our side: bytes to send, and bytes that were received."""

    def __init__(self, form: Form, node: Node) -> None:
        self.form = form
        self._node = node
        self._version = ""  # that we have taken on this stream

    def begin(self) -> bytes:
        """The first message: who we are, and that we want every name."""
        request = self._request(TYPE)
        request.node.id, request.node.cluster = self._node.id, self._node.cluster
        request.node.metadata.update(dict(self._node.metadata))
        place = request.node.locality
        place.region, place.zone, place.sub_zone = self._node.locality
        request.node.user_agent_name = USER_AGENT
        return request.SerializeToString()

    def receive(self, data: bytes) -> Told | None:
        """None for a response of a type that we never asked for. Raises NoResponse."""
        try:
            return self._delta(data) if self.form is Form.DELTA else self._whole(data)
        except DecodeError as error:
            raise NoResponse(f"a message that is no discovery response: {error}") from error

    def accept(self, told: Told) -> bytes:
        """ACK."""
        self._version = told.version
        return self._answer(told).SerializeToString()

    def refuse(self, told: Told, reason: str) -> bytes:
        """NACK: with the version that stays in force."""
        request = self._answer(told)
        request.error_detail.code, request.error_detail.message = _INVALID, reason
        return request.SerializeToString()

    def health(self, reason: str) -> bytes:
        """Of this VM's workload: ``reason`` why it is not healthy, "" where it is."""
        request = self._request(HEALTH)
        if reason:
            request.error_detail.code, request.error_detail.message = _INTERNAL, reason
        return request.SerializeToString()

    def _request(self, type_url: str) -> schema.Request:
        request = schema.new_request(is_delta=self.form is Form.DELTA)
        request.type_url = type_url
        return request

    def _answer(self, told: Told) -> schema.Request:
        request = self._request(TYPE)
        request.response_nonce = told.nonce
        if self.form is Form.SOTW:
            request.version_info = self._version
        return request

    def _whole(self, data: bytes) -> Told | None:
        response = schema.decode_whole(data)
        if response.type_url != TYPE:
            return None
        return _told(response.nonce, response.version_info, list(response.resources))

    def _delta(self, data: bytes) -> Told | None:
        response = schema.decode_delta(data)
        if response.type_url != TYPE:
            return None
        named = list(response.resources)
        version = response.system_version_info or (named[0].version if named else "")
        return _told(response.nonce, version, [each.resource for each in named])


def _told(nonce: str, version: str, resources: list[schema.Packed]) -> Told:
    if not resources:
        return Told(nonce, version, None)
    for each in resources:
        if each.type_url != TYPE:
            what = each.type_url[:200] or "no type"
            return Told(nonce, version, None, f"a resource of type {what} instead of {TYPE}")
    # Messages joined end to end are one message; istiod sends one.
    values = [each.value for each in resources]
    return Told(nonce, version, values[0] if len(values) == 1 else b"".join(values))
