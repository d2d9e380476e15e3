"""Who a client says it is: Envoy's Node, read as istiod reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from google.protobuf import json_format

from interceptor.mesh.model import Address

KINDS = ("sidecar", "router", "waypoint", "ztunnel", "agentgateway")
STRING_BOOLEANS = ("DNS_CAPTURE", "DNS_AUTO_ALLOCATE", "ENABLE_HBONE", "HTTP10")


class Invalid(Exception):
    """istiod would end the stream with InvalidArgument."""


@dataclass(frozen=True, slots=True)
class Node:
    """``view`` is all that its resources depend on."""

    id: str
    name: str
    namespace: str
    addresses: tuple[Address, ...]
    cluster: str = ""
    locality: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def view(self) -> tuple[str, tuple[Address, ...]]:
        return self.namespace, self.addresses

    @property
    def group(self) -> str:
        return str(self.metadata.get("AUTO_REGISTER_GROUP", ""))


def decode(message: object) -> Node:
    """The node of a request. Raises Invalid where istiod refuses it."""
    raw = json_format.MessageToDict(message, preserving_proto_field_name=True)  # type: ignore[arg-type]
    parts = raw.get("id", "").split("~")
    if len(parts) != 4:
        raise Invalid(f"missing parts in the service node {raw.get('id', '')!r}")
    if parts[0] not in KINDS:
        raise Invalid(f"invalid node type {parts[0]!r}")
    metadata = raw.get("metadata", {})
    for key in STRING_BOOLEANS:
        if isinstance(metadata.get(key), bool):
            raise Invalid(f"metadata {key} is a boolean and not a string")
    texts = [text for text in str(metadata.get("INSTANCE_IPS") or parts[1]).split(",") if text]
    if not texts:
        raise Invalid("no address")
    place = raw.get("locality", {})
    return Node(
        raw["id"],
        parts[2].partition(".")[0],
        str(metadata.get("NAMESPACE") or parts[2].partition(".")[2] or "default"),
        tuple(ip_address(text) for text in texts),
        raw.get("cluster", ""),
        "/".join(place.get(key, "") for key in ("region", "zone", "sub_zone")).rstrip("/"),
        metadata,
    )
