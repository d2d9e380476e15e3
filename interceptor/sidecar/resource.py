"""One xDS resource as bytes, its version the hash of its content.

Bytes are kept, not messages: a parsed listener costs about ten times its wire
size, and Envoy may ask for all of them at any reconnect.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from google.protobuf.message import Message

VERSION_BYTES = 8


class Kind(enum.Enum):
    """The resource types that we serve; the values are their xDS type URLs."""

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"


Key = tuple[Kind, str]
Catalogue = Mapping[Kind, Mapping[str, "Resource"]]


@dataclass(frozen=True, slots=True)
class Resource:
    """``body`` is an encoded envoy.service.discovery.v3.Resource, ready for the wire."""

    kind: Kind
    name: str
    version: str
    body: bytes

    @property
    def key(self) -> Key:
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Change:
    """Which resources to set and which to remove."""

    upserted: tuple[Resource, ...] = ()
    removed: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.upserted or self.removed)


def pack(message: Message) -> any_pb2.Any:
    """The message in an Any. Maps inside it are ordered, so equal content is equal bytes."""
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    return packed


def encode(kind: Kind, name: str, message: Message) -> Resource:
    """``message`` as a resource; equal messages have equal versions, in any process."""
    packed = pack(message)
    version = blake2b(packed.value, digest_size=VERSION_BYTES).hexdigest()
    wrapped = discovery_pb2.Resource(name=name, version=version, resource=packed)
    return Resource(kind, name, version, wrapped.SerializeToString(deterministic=True))


def decode(resource: Resource) -> any_pb2.Any:
    """The packed message of a resource, for people and for tests."""
    wrapped: any_pb2.Any = discovery_pb2.Resource.FromString(resource.body).resource
    return wrapped


def diff(old: Catalogue, new: Catalogue) -> Change:
    """The change that turns ``old`` into ``new``."""
    upserted: list[Resource] = []
    removed: list[Key] = []
    for kind in Kind:
        before, after = old.get(kind, {}), new.get(kind, {})
        for name, resource in after.items():
            was = before.get(name)
            if was is not resource and (was is None or was.version != resource.version):
                upserted.append(resource)
        removed += [(kind, name) for name in before if name not in after]
    return Change(tuple(upserted), tuple(removed))
