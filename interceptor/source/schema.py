"""The protobuf messages of a stream to istiod, made from their field numbers.

Of xDS (envoy/service/discovery/v3/discovery.proto, config/core/v3/base.proto) only what we send or
read: Envoy's generated modules have all of it, and cost 18 MB. Istio's own (nds.proto) no package
has. `repeated bytes` where a message is put off: 100,000 entries are not looked into before it is
known which of them are new.
"""

from __future__ import annotations

from collections.abc import MutableMapping, MutableSequence
from functools import cache
from typing import Protocol, cast

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.message import Message

_FIELD = descriptor_pb2.FieldDescriptorProto
_STRING, _BYTES, _INT32 = _FIELD.TYPE_STRING, _FIELD.TYPE_BYTES, _FIELD.TYPE_INT32
_ANY, _STRUCT = ".google.protobuf.Any", ".google.protobuf.Struct"

Kind = int | str
_MESSAGES: dict[str, tuple[tuple[str, int, Kind, bool], ...]] = {
    # name, number, type or message, whether it is repeated
    "Locality": (
        ("region", 1, _STRING, False),
        ("zone", 2, _STRING, False),
        ("sub_zone", 3, _STRING, False),
    ),
    "Node": (
        ("id", 1, _STRING, False),
        ("cluster", 2, _STRING, False),
        ("metadata", 3, _STRUCT, False),
        ("locality", 4, ".istiod.Locality", False),
        ("user_agent_name", 6, _STRING, False),
    ),
    "Status": (("code", 1, _INT32, False), ("message", 2, _STRING, False)),
    "DiscoveryRequest": (
        ("version_info", 1, _STRING, False),
        ("node", 2, ".istiod.Node", False),
        ("type_url", 4, _STRING, False),
        ("response_nonce", 5, _STRING, False),
        ("error_detail", 6, ".istiod.Status", False),
    ),
    "DiscoveryResponse": (
        ("version_info", 1, _STRING, False),
        ("resources", 2, _ANY, True),
        ("type_url", 4, _STRING, False),
        ("nonce", 5, _STRING, False),
    ),
    "DeltaDiscoveryRequest": (
        ("node", 1, ".istiod.Node", False),
        ("type_url", 2, _STRING, False),
        ("response_nonce", 6, _STRING, False),
        ("error_detail", 7, ".istiod.Status", False),
    ),
    "Resource": (("version", 1, _STRING, False), ("resource", 2, _ANY, False)),
    "DeltaDiscoveryResponse": (
        ("system_version_info", 1, _STRING, False),
        ("resources", 2, ".istiod.Resource", True),
        ("type_url", 4, _STRING, False),
        ("nonce", 5, _STRING, False),
    ),
    "NameTable": (("table", 1, _BYTES, True),),
    "NameInfo": (
        ("ips", 1, _STRING, True),
        ("registry", 2, _STRING, False),
        ("shortname", 3, _STRING, False),
        ("namespace", 4, _STRING, False),
        ("alt_hosts", 5, _STRING, True),
    ),
    "NameEntry": (("key", 1, _STRING, False), ("value", 2, ".istiod.NameInfo", False)),
}


class Packed(Protocol):
    """google.protobuf.Any."""

    type_url: str
    value: bytes


class Named(Protocol):
    """Resource of a delta response."""

    version: str
    resource: Packed


class Info(Protocol):
    """NameInfo."""

    ips: MutableSequence[str]
    registry: str
    shortname: str
    namespace: str
    alt_hosts: MutableSequence[str]


class Entry(Protocol):
    """One entry of a name table."""

    key: str
    value: Info


class Table(Protocol):
    """NameTable, its entries unread."""

    table: MutableSequence[bytes]


class Place(Protocol):
    """core.v3.Locality."""

    region: str
    zone: str
    sub_zone: str


class Node(Protocol):
    """core.v3.Node."""

    id: str
    cluster: str
    metadata: struct_pb2.Struct
    locality: Place
    user_agent_name: str


class Status(Protocol):
    """google.rpc.Status."""

    code: int
    message: str


class Request(Protocol):
    """Either form of a discovery request."""

    version_info: str
    node: Node
    type_url: str
    response_nonce: str
    error_detail: Status

    def SerializeToString(self) -> bytes: ...


class WholeResponse(Protocol):
    """DiscoveryResponse."""

    version_info: str
    resources: MutableSequence[Packed]
    type_url: str
    nonce: str


class DeltaResponse(Protocol):
    """DeltaDiscoveryResponse."""

    system_version_info: str
    resources: MutableSequence[Named]
    type_url: str
    nonce: str


@cache
def _classes() -> MutableMapping[str, type[Message]]:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="istiod.proto", package="istiod")
    file.syntax = "proto3"
    for needed in (any_pb2, struct_pb2):
        pool.AddSerializedFile(needed.DESCRIPTOR.serialized_pb)
        file.dependency.append(needed.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for label, number, kind, is_repeated in fields:
            made = message.field.add(name=label, number=number)
            made.label = _FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                made.type, made.type_name = _FIELD.TYPE_MESSAGE, kind
            else:
                made.type = cast("descriptor_pb2.FieldDescriptorProto.Type.ValueType", kind)
    pool.AddSerializedFile(file.SerializeToString())
    found = {name: pool.FindMessageTypeByName(f"istiod.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(each) for name, each in found.items()}


def new_request(*, is_delta: bool) -> Request:
    """An empty request; ``version_info`` is of the state of the world only."""
    return cast(Request, _classes()["DeltaDiscoveryRequest" if is_delta else "DiscoveryRequest"]())


def decode_whole(data: bytes) -> WholeResponse:
    """Raises google.protobuf.message.DecodeError."""
    return cast(WholeResponse, _classes()["DiscoveryResponse"].FromString(data))


def decode_delta(data: bytes) -> DeltaResponse:
    """Raises google.protobuf.message.DecodeError."""
    return cast(DeltaResponse, _classes()["DeltaDiscoveryResponse"].FromString(data))


def decode_table(data: bytes) -> Table:
    """Raises google.protobuf.message.DecodeError."""
    return cast(Table, _classes()["NameTable"].FromString(data))


def decode_entry(data: bytes) -> Entry:
    """Raises google.protobuf.message.DecodeError."""
    return cast(Entry, _classes()["NameEntry"].FromString(data))
