"""One field of a document at a time: its text to a value, or a note of what is wrong.

A reader notes everything that it finds and goes on, so that one pass over a
document tells all of its problems.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, inet_pton
from sys import intern
from typing import NamedTuple

from interceptor.mesh.model import Address, Labels, Network

MISSING = "(missing)"
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_ONE_LABEL = re.compile(_LABEL)
_LONGEST_NAME = 253  # RFC 1035, as text without the final dot


class Note(NamedTuple):
    """A problem without its place: dotted key, value as written, what is legal."""

    key: str
    value: str
    legal: str


Notes = list[Note]


def label(notes: Notes, key: str, text: str, legal: str = "a DNS label") -> str:
    """A namespace or the name of a Service: one label, lower case."""
    if not _is_label(text):
        wanted = f"{legal}: at most 63 of a-z, 0-9 and -, ending in a letter or digit"
        notes.append(Note(key, repr(text) if text else MISSING, wanted))
    return intern(text)


@lru_cache(maxsize=4096)
def _is_label(text: str) -> bool:
    return _ONE_LABEL.fullmatch(text) is not None


def name(notes: Notes, key: str, text: str) -> str:
    """An object's name: labels with dots between (RFC 1123)."""
    if not _NAME.fullmatch(text) or len(text) > _LONGEST_NAME:
        legal = "a name of a-z, 0-9, - and ., at most 253"
        notes.append(Note(key, repr(text) if text else MISSING, legal))
    return text


def host(notes: Notes, key: str, text: str) -> str:
    """A host that a mesh may have: a DNS name or ``*.suffix``; lower case, no final dot."""
    found = text.lower().removesuffix(".")
    if not _HOST.fullmatch(found) or len(found) > _LONGEST_NAME:
        notes.append(Note(key, repr(text), "a DNS name, or *. and a DNS name"))
    return found


def dns_name(notes: Notes, key: str, text: str, legal: str = "a DNS name") -> str:
    found = text.lower().removesuffix(".")
    if not _NAME.fullmatch(found) or len(found) > _LONGEST_NAME:
        notes.append(Note(key, repr(text) if text else MISSING, legal))
    return found


def _ip(text: str) -> Address | None:
    """The address, read by the C library where it is an IPv4 one: five times as quick."""
    try:
        return IPv4Address(inet_pton(AF_INET, text))
    except (OSError, ValueError):  # ValueError: a NUL within
        pass
    try:
        return ip_address(text)
    except ValueError:
        return None


def address(notes: Notes, key: str, text: str) -> Address | None:
    """An IP address that something can be called by."""
    found = _ip(text)
    if found is None:
        notes.append(Note(key, repr(text) if text else MISSING, "an IP address"))
        return None
    if found.is_unspecified or (isinstance(found, IPv6Address) and found.scope_id):
        notes.append(Note(key, repr(text), "an IP address that can be called"))
    return found


def address_or_network(notes: Notes, key: str, text: str) -> Address | Network | None:
    """An address or CIDR; a CIDR of one address is that address."""
    if "/" not in text:
        return address(notes, key, text)
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        notes.append(Note(key, repr(text), "an IP address, or a CIDR such as 10.1.0.0/16"))
        return None
    return found[0] if found.prefixlen == found.max_prefixlen else found


def network(notes: Notes, key: str, text: str) -> list[Network]:
    """A CIDR, or an address as one; none where it is neither."""
    try:
        return [ip_network(text, strict=False)]
    except ValueError:
        notes.append(Note(key, repr(text), "a CIDR such as 10.1.0.0/16"))
        return []


def endpoint_address(notes: Notes, key: str, text: str, names: bool) -> Address | str | None:
    """Where a workload is: an IP, or a DNS name where ``names``."""
    found = _ip(text)
    if found is not None:
        return found
    if text.startswith("unix:"):
        notes.append(Note(key, repr(text), "an IP address; Unix sockets are not supported"))
    elif not text:
        legal = "an IP address or DNS name; an endpoint known by its network alone is not supported"
        notes.append(Note(key, MISSING, legal))
    elif names:
        return dns_name(notes, key, text, "an IP address or DNS name")
    else:
        legal = "an IP address; a DNS name needs resolution DNS or DNS_ROUND_ROBIN"
        notes.append(Note(key, repr(text), legal))
    return None


def labels(found: Mapping[str, str]) -> Labels:
    """Labels in one order, their texts shared: many workloads bear the same ones."""
    return tuple(sorted((intern(key), intern(value)) for key, value in found.items()))


def unique(notes: Notes, values: Iterable[tuple[str, object]], legal: str) -> None:
    """Notes each (key, value) whose value came before."""
    seen: set[object] = set()
    for key, value in values:
        if value in seen:
            notes.append(Note(key, repr(value), legal))
        seen.add(value)


def visibility(notes: Notes, key: str, values: list[str]) -> tuple[str, ...]:
    """exportTo: ``.`` (own namespace), ``*``, ``~`` (nobody) or namespaces."""
    for index, value in enumerate(values):
        if value not in (".", "*", "~") and not _ONE_LABEL.fullmatch(value):
            notes.append(Note(f"{key}[{index}]", repr(value), "., *, ~ or a namespace"))
    if "*" in values and len(values) > 1:
        notes.append(Note(key, repr(values), "* alone, or others without it"))
    if "~" in values and len(values) > 1:
        notes.append(Note(key, repr(values), "~ alone, or others without it"))
    return tuple(intern(value) for value in values)


def is_visible(export_to: tuple[str, ...], owner: str, viewer: str) -> bool:
    """Whether something of namespace ``owner`` is to be seen from ``viewer``."""
    if not export_to or "*" in export_to:
        return True
    return viewer in export_to or ("." in export_to and owner == viewer)


def is_v4(found: Address | str) -> bool:
    return isinstance(found, IPv4Address)
