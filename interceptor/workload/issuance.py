"""What is said to a certificate authority and by it: the messages of Istio's
istio.v1.auth.IstioCertificateService.

Their descriptors are made here, in a pool of their own, for no package has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.message import DecodeError, Message

from interceptor.workload.certificate import CertificateError

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
PACKAGE = "istio.v1.auth"
_FIELD = descriptor_pb2.FieldDescriptorProto


@dataclass(frozen=True, slots=True)
class Order:
    """IstioCertificateRequest. ``csr`` is PEM, ``ttl_s`` the lifetime that is asked for."""

    csr: bytes
    ttl_s: int
    metadata: Mapping[str, str]


class _Request(Protocol):
    csr: str
    validity_duration: int
    metadata: struct_pb2.Struct

    def SerializeToString(self) -> bytes: ...


class _Response(Protocol):
    cert_chain: list[str]

    def SerializeToString(self) -> bytes: ...


@cache
def _classes() -> tuple[type[Message], type[Message]]:
    """Request and response."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="ca.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    one, many = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, label=one, type=_FIELD.TYPE_STRING)
    request.field.add(name="validity_duration", number=3, label=one, type=_FIELD.TYPE_INT64)
    struct = ".google.protobuf.Struct"
    request.field.add(
        name="metadata", number=4, label=one, type=_FIELD.TYPE_MESSAGE, type_name=struct
    )
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, label=many, type=_FIELD.TYPE_STRING)
    pool.AddSerializedFile(file.SerializeToString())
    names = (f"{PACKAGE}.{each.name}" for each in file.message_type)
    made = [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]
    return made[0], made[1]


def encode_request(order: Order) -> bytes:
    """As the authority reads it."""
    made = cast(_Request, _classes()[0]())
    made.csr = order.csr.decode("ascii")
    made.validity_duration = order.ttl_s
    for key, value in sorted(order.metadata.items()):
        made.metadata.fields[key].string_value = value
    return made.SerializeToString()


def decode_request(data: bytes) -> Order:
    """As a client sent it; of the metadata only what is text. Raises CertificateError."""
    try:
        found = cast(_Request, _classes()[0].FromString(data))
    except DecodeError as error:
        raise CertificateError(f"not an IstioCertificateRequest: {error}") from error
    fields = found.metadata.fields.items()
    texts = {key: value.string_value for key, value in fields if value.HasField("string_value")}
    return Order(found.csr.encode(), found.validity_duration, texts)


def encode_response(chain: Sequence[bytes]) -> bytes:
    """A leaf, what is between, and the root last; each in PEM."""
    made = cast(_Response, _classes()[1]())
    made.cert_chain.extend(each.decode("ascii") for each in chain)
    return made.SerializeToString()


def decode_response(data: bytes) -> tuple[bytes, ...]:
    """The texts of the chain, the last being the root or several. Raises CertificateError."""
    try:
        found = cast(_Response, _classes()[1].FromString(data))
    except DecodeError as error:
        raise CertificateError(f"the answer is no IstioCertificateResponse: {error}") from error
    return tuple(each.encode() for each in found.cert_chain)
