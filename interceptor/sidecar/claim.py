"""Which hosts are reached at which address and port, and who has it where several are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from interceptor.mesh.model import Address, AppProtocol, Host, Kind, Port
from interceptor.sidecar import cluster


class Vip(NamedTuple):
    """An address and port that applications connect to."""

    address: Address
    port: int

    @property
    def name(self) -> str:
        """The listener's name, as Istio writes it."""
        return f"{self.address}_{self.port}"


@dataclass(frozen=True, slots=True)
class Claim:
    """That ``host`` is served at some address and port by its ``port``."""

    host: str
    port: Port


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two hosts want one address and port, and nothing in the connection tells them apart."""

    vip: Vip
    winner: str
    loser: str

    def __str__(self) -> str:
        return (
            f"{self.loser} cannot be reached at {self.vip.address} port {self.vip.port}: "
            f"{self.winner} has it (give one of them another address, or make both ports HTTP)"
        )


def ports(host: Host) -> tuple[Port, ...]:
    """The ports that Envoy serves: the TCP ones."""
    return tuple(port for port in host.ports if port.protocol is not AppProtocol.UDP)


def is_served(host: Host) -> bool:
    """Whether Envoy has anything for this host.

    Not for one without addresses or ports, which passes through; nor for a Pod,
    whose headless service has its address already.
    """
    return (
        bool(host.addresses and ports(host))
        and host.kind not in (Kind.POD, Kind.EXTERNAL_NAME)
        and not (host.is_wildcard and cluster.choose(host) in _BY_NAME)
    )


_BY_NAME = (cluster.Discovery.STRICT_DNS, cluster.Discovery.LOGICAL_DNS)


def choose(host: Host) -> dict[Vip, Claim]:
    """Where a host is reached. Of a headless service: at each endpoint, at the port that
    the host names and at the one where the endpoint listens."""
    claims: dict[Vip, Claim] = {}
    for port in ports(host):
        claim = Claim(host.name, port)
        for address in host.addresses:
            claims.setdefault(Vip(address, port.number), claim)
        if host.kind is Kind.HEADLESS:
            for endpoint in host.endpoints:
                if endpoint.ready and not isinstance(endpoint.address, str):
                    claims.setdefault(Vip(endpoint.address, endpoint.port(port)), claim)
    return claims


def names(host: Host, namespace: str, domain: str) -> list[str]:
    """Every name that a request may bear in its Host header, the full one first.

    A name of the form ``x.ns.svc.<domain>`` has its short forms too, the
    shortest of them only in a VM of its namespace.
    """
    found = [host.name]
    stem, found_domain, rest = host.name.rpartition(f".svc.{domain}")
    if found_domain and not rest and stem.count(".") == 1 and not host.is_wildcard:
        found += [f"{stem}.svc", stem]
        if stem.partition(".")[2] == namespace:
            found.append(stem.partition(".")[0])
    found += [name for name in host.extra_names if name not in found]
    return found


def settle(vip: Vip, claims: Iterable[Claim]) -> tuple[list[Claim], list[Conflict]]:
    """Those who share ``vip``, and those who lose it.

    The first by name decides what is spoken there. HTTP hosts share it, told
    apart by the Host header; anything else belongs to one alone.
    """
    first, *others = sorted(claims, key=lambda claim: claim.host)
    if first.port.protocol.is_http:
        sharing = [first, *(other for other in others if other.port.protocol.is_http)]
    else:
        sharing = [first]
    losers: Sequence[Claim] = [other for other in others if other not in sharing]
    return sharing, [Conflict(vip, first.host, loser.host) for loser in losers]
