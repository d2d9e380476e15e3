"""What little is read of xDS messages that go through us as they are. Pure, without protobuf.

Only the outermost fields are walked, from length to length, so that a response of 100 MB costs
what its count of resources costs. Field numbers: envoy/service/discovery/v3/discovery.proto,
google/rpc/status.proto. Bytes that are no such message give empty values: they are carried all
the same, and it is their reader's to complain.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

WORDS = {
    "ClusterLoadAssignment": "ENDPOINT",
    "RouteConfiguration": "ROUTE",
    "ScopedRouteConfiguration": "SCOPED_ROUTE",
    "TypedExtensionConfig": "EXTENSION",
}
"""Message of a type URL → what we call it, where that is not the message's own name."""

_LENGTH, _VARINT, _FIXED64, _FIXED32 = 2, 0, 1, 5  # wire types
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_NO_REASON = "no reason given"


class Form(enum.Enum):
    """The two forms of xDS; the values are the methods of AggregatedDiscoveryService."""

    DELTA = "DeltaAggregatedResources"
    SOTW = "StreamAggregatedResources"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: ``nonce`` is of the response that it answers, ``error`` why that is refused."""

    type_url: str = ""
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A response. Its resources stay where they are until `names` is asked."""

    type_url: str = ""
    nonce: str = ""


# Form → the numbers of type URL, nonce, error_detail; the same of type URL and nonce.
_REQUEST = {Form.DELTA: (2, 6, 7), Form.SOTW: (4, 5, 6)}
_RESPONSE = {Form.DELTA: (4, 5), Form.SOTW: (4, 5)}
_RESOURCES = 2  # of a response, in both forms
_REMOVED = 6  # names, DeltaDiscoveryResponse
_STATUS_MESSAGE = 2
_RESOURCE_NAME, _RESOURCE_BODY = 3, 2  # of Resource, the delta form's wrapper
_ANY_VALUE = 2
_OWN_NAME = 1  # of every resource type: `name`, or `cluster_name` of endpoints


def decode_request(form: Form, message: bytes) -> Asked:
    """The head of a DeltaDiscoveryRequest or DiscoveryRequest. A NACK without a reason gets one."""
    url, nonce, error = _REQUEST[form]
    found = _texts(message, (url, nonce))
    reason = ""
    for number, value in _fields(message):
        if number == error:
            reason = _texts(value, (_STATUS_MESSAGE,)).get(_STATUS_MESSAGE) or _NO_REASON
    return Asked(found.get(url, ""), found.get(nonce, ""), reason)


def decode_response(form: Form, message: bytes) -> Told:
    """The head of a DeltaDiscoveryResponse or DiscoveryResponse."""
    url, nonce = _RESPONSE[form]
    found = _texts(message, (url, nonce))
    return Told(found.get(url, ""), found.get(nonce, ""))


def names(form: Form, message: bytes) -> tuple[str, ...]:
    """The names of a response's resources, in their order."""
    found = []
    for number, value in _fields(message):
        if number == _RESOURCES:
            found.append(_name(form, value))
    return tuple(found)


def removed(message: bytes) -> tuple[str, ...]:
    """The names that a DeltaDiscoveryResponse removes."""
    return tuple(_text(value) for number, value in _fields(message) if number == _REMOVED)


def kind(type_url: str) -> str:
    """A type URL in a word: CLUSTER, LISTENER, ENDPOINT, ROUTE, SECRET, ..."""
    last = type_url.rpartition(".")[2]
    return WORDS.get(last, last.upper()) or "UNKNOWN"


def _name(form: Form, resource: memoryview) -> str:
    if form is Form.DELTA:
        named = _texts(resource, (_RESOURCE_NAME,)).get(_RESOURCE_NAME)
        if named:
            return named
        resource = _bytes(resource, _RESOURCE_BODY)
    return _texts(_bytes(resource, _ANY_VALUE), (_OWN_NAME,)).get(_OWN_NAME, "")


def _bytes(message: memoryview, number: int) -> memoryview:
    return next((value for at, value in _fields(message) if at == number), memoryview(b""))


def _texts(message: bytes | memoryview, numbers: tuple[int, ...]) -> dict[int, str]:
    """The text fields of these numbers, the last of each, as protobuf has it."""
    return {at: _text(value) for at, value in _fields(message) if at in numbers}


def _text(value: memoryview) -> str:
    return bytes(value).decode(errors="replace")


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each length-delimited field; ends where the bytes are not protobuf's."""
    view, at, end = memoryview(message), 0, len(message)
    while at < end:
        tag, at = _varint(view, at)
        wire = tag & 7
        if not tag >> 3:  # no field has number 0; walking on would take a second for each MB
            return
        if wire == _LENGTH:
            size, at = _varint(view, at)
            if at + size > end:
                return
            yield tag >> 3, view[at : at + size]
            at += size
        elif wire == _VARINT:
            _, at = _varint(view, at)
        elif wire in _WIDTHS:
            at += _WIDTHS[wire]
        else:
            return


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number, least significant seven bits first, and where it ends; the end of all where it
    is cut short or has more than ten bytes."""
    value = shift = 0
    for offset in range(at, min(at + 10, len(view))):
        byte = view[offset]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset + 1
        shift += 7
    return 0, len(view)
