"""A host as the answer table keeps it: one short byte string.

A hundred thousand hosts as objects cost several hundred bytes each and make
every full garbage collection walk them. As byte strings they are a quarter of
that, invisible to the collector, and go over a socket as they are. They are
read again only where no ready answer is cached.
"""

from __future__ import annotations

import marshal
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from interceptor.mesh.model import KUBERNETES, Address, AppProtocol, Host, Kind

# Deterministic (no reference flags), so that equal hosts have equal records.
_MARSHAL_VERSION = 2


class Record(NamedTuple):
    """The part of a host that answers need. Addresses are packed, 4 or 16 bytes each.

    A NamedTuple rather than a dataclass: it is what marshal gives back, made in one call.
    ``is_ours`` says that nobody else can know the name (a Kubernetes name), so that having
    no address means NODATA; a host of the wider world without address is left alone.
    ``ports`` holds (name, number, "tcp" or "udp") of named ports. ``members`` holds
    (address, ((port name, number), ...)) of a headless Service's ready endpoints;
    ``endpoints`` every endpoint's address, for PTR.
    """

    v4: bytes
    v6: bytes
    is_ours: bool
    external_name: str
    ports: tuple[tuple[str, int, str], ...]
    members: tuple[tuple[bytes, tuple[tuple[str, int], ...]], ...]
    endpoints: tuple[bytes, ...]
    extra_names: tuple[str, ...]

    @property
    def is_answered(self) -> bool:
        """Whether we speak for this host at all."""
        return bool(self.v4 or self.v6 or self.is_ours or self.external_name)


def encode(host: Host) -> bytes:
    """``host`` as a record."""
    headless = host.kind is Kind.HEADLESS
    record = (
        _packed(host.addresses, 4),
        _packed(host.addresses, 6),
        host.kind in KUBERNETES,
        host.external_name.rstrip(".").lower(),
        tuple(
            (port.name.lower(), port.number, _transport(port.protocol))
            for port in host.ports
            if port.name
        ),
        tuple(
            (
                endpoint.address.packed,
                tuple((name.lower(), number) for name, number in endpoint.ports),
            )
            for endpoint in host.endpoints
            if endpoint.ready and not isinstance(endpoint.address, str)
        )
        if headless
        else (),
        tuple(
            endpoint.address.packed
            for endpoint in host.endpoints
            if not isinstance(endpoint.address, str)
        ),
        host.extra_names,
    )
    return marshal.dumps(record, _MARSHAL_VERSION)


def decode(data: bytes) -> Record:
    """The record that `encode` made; ``data`` comes from ourselves, never from the network."""
    return Record(*marshal.loads(data))


def addresses(packed: bytes, size: int) -> list[str]:
    """Packed addresses of ``size`` 4 or 16 bytes as text."""
    make = IPv4Address if size == 4 else IPv6Address
    return [str(make(packed[at : at + size])) for at in range(0, len(packed), size)]


def _packed(addresses: tuple[Address, ...], version: int) -> bytes:
    return b"".join(
        address.packed for address in dict.fromkeys(addresses) if address.version == version
    )


def _transport(protocol: AppProtocol) -> str:
    return "udp" if protocol is AppProtocol.UDP else "tcp"
