"""What an observed VM needs of a mesh: the services it calls, the ports it serves. Pure.

Choices, not documents: `manifest` writes them, `concern` says what stands against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from interceptor.debug import firstword, observed
from interceptor.debug.observed import Call, Observation, Tally
from interceptor.mesh import field as fields

Network = IPv4Network | IPv6Network

DNS_OVER_TLS = 853
NOT_SERVED = (22, 53, 111, 15000, 15001, 15006, 15008, 15020, 15021, 15053, 15090)
"""Administration, name service, and the agent's own: never through the sidecar."""
MANY_IN_ONE = 8
"""Addresses in one /24 (or /64) that are called without names, from which on it is the network
that is captured."""
_WILD = 2  # names below one suffix from which on a wildcard is worth a thought
_SECOND_LEVEL = frozenset(("ac", "co", "com", "edu", "gov", "net", "org"))


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user said. ``exclude``: names (with ``*``) and CIDRs to leave out; ``known``:
    names that the mesh has already, each with why."""

    namespace: str = "default"
    domain: str = "cluster.local"
    app: str = ""
    exclude: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Port:
    """A port with the name and protocol that a mesh gives it. ``heard`` is what was spoken,
    ``sure`` whether that was seen and not guessed by the number."""

    number: int
    name: str
    protocol: str
    heard: str = ""
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """A host that is called by name. ``static``: its name is /etc/hosts'."""

    host: str
    ports: tuple[Port, ...]
    addresses: tuple[str, ...]
    static: bool = False
    count: int = 0
    answered: int = 0
    before: int = 0
    owners: Tally = ()


@dataclass(frozen=True, slots=True)
class Served:
    """A port of this VM that others may call, and who did: (address, connections)."""

    port: Port
    owner: str = ""
    peers: Tally = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything to be written. ``include`` and ``exclude`` are CIDRs."""

    services: tuple[Service, ...] = ()
    served: tuple[Served, ...] = ()
    include: tuple[Network, ...] = ()
    exclude: tuple[Network, ...] = ()
    wildcards: tuple[tuple[str, tuple[str, ...]], ...] = ()


def is_legal(name: str) -> bool:
    """Whether a mesh takes the name for a host."""
    notes: fields.Notes = []
    fields.host(notes, "", name)
    return not notes and "*" not in name


def is_left_out(wish: Wish, call: Call) -> bool:
    """Whether the user wants nothing of a call."""
    for text in wish.exclude:
        try:
            if ip_address(call.address) in ip_network(text, strict=False):
                return True
        except ValueError:
            if call.name and fnmatchcase(call.name, text.lower().rstrip(".")):
                return True
    return False


def wanted(found: Observation, wish: Wish) -> tuple[Call, ...]:
    """The calls that count: TCP, not to this VM, not left out, not to a resolver by TLS."""
    return tuple(
        call
        for call in found.calls
        if call.transport == "tcp"
        and call.port != DNS_OVER_TLS
        and not ip_address(call.address).is_loopback
        and not is_left_out(wish, call)
    )


def build(found: Observation, wish: Wish) -> Draft:
    """The draft."""
    calls = wanted(found, wish)
    services = _services(calls, wish)
    nameless = [call for call in calls if not call.name]
    include = [ip_address(call.address) for call in nameless if call.port != 22]
    apart = [ip_address(call.address) for call in found.calls if call.port == DNS_OVER_TLS]
    apart += [address for address in include if address.is_link_local]
    return Draft(
        services,
        _served(found),
        _networks(address for address in include if address not in apart),
        _networks(apart),
        _wildcards(services),
    )


def port(number: int, heard: Iterable[str], *, answered: bool) -> Port:
    """The port as a mesh should see it. Where the server spoke and nothing was recognised, the
    port's custom is not followed: whoever takes other bytes for HTTP breaks them."""
    seen = sorted(set(filter(None, heard)))
    usual = firstword.of_port(number)
    if len(seen) > 1:
        return Port(number, f"tcp-{number}", "TCP", "/".join(seen))
    if not seen and answered:
        known = usual if usual not in ("http", "tls", "grpc") else ""
        return Port(number, _name(known, number), "TCP", known, sure=False)
    spoken = seen[0] if seen else usual
    protocol = {"http": "HTTP", "grpc": "GRPC", "tls": "TLS"}.get(spoken, "TCP")
    if spoken == "tls" and number in (443, 8443):
        return Port(number, f"https-{number}", "HTTPS", spoken, bool(seen))
    return Port(number, _name(spoken, number), protocol, spoken, bool(seen))


def _name(spoken: str, number: int) -> str:
    """Istio reads the part before the first dash: what is no protocol of its own is TCP."""
    if spoken in ("http", "grpc", "tls"):
        return f"{spoken}-{number}"
    return f"tcp-{spoken}-{number}" if spoken else f"tcp-{number}"


def _services(calls: Iterable[Call], wish: Wish) -> tuple[Service, ...]:
    by_host: dict[str, list[Call]] = {}
    for call in calls:
        if call.name and is_legal(call.name) and call.name not in wish.known:
            by_host.setdefault(call.name, []).append(call)
    built = [_service(host, rows) for host, rows in by_host.items()]
    return tuple(sorted(built, key=lambda one: (-one.count, one.host)))


def _service(host: str, rows: list[Call]) -> Service:
    ports = []
    for number in sorted({row.port for row in rows}):
        same = [row for row in rows if row.port == number]
        answered = any(row.answered for row in same)
        ports.append(port(number, [row.protocol for row in same], answered=answered))
    return Service(
        host,
        tuple(ports),
        observed.join(row.address for row in rows),
        all(row.evidence == "hosts" for row in rows),
        sum(row.count for row in rows),
        sum(row.answered for row in rows),
        sum(row.before for row in rows),
        observed.add(*(row.owners for row in rows)),
    )


def _served(found: Observation) -> tuple[Served, ...]:
    """Ports that listen to more than loopback. Of those that the kernel gave to a program at
    random only the ones that somebody called; where no sockets are known, all of these."""
    heard: dict[int, list[str]] = {}
    peers: dict[int, list[Tally]] = {}
    for visit in found.visits:
        if visit.transport == "tcp":
            heard.setdefault(visit.port, []).append(visit.protocol)
            if visit.peer:
                called = ((visit.peer, visit.count + visit.before),)
                peers.setdefault(visit.port, []).append(called)
    low, high = found.ephemeral
    listening = {
        one.port: one.owner
        for one in found.listening
        if one.transport == "tcp"
        and any(not ip_address(address).is_loopback for address in one.addresses)
        and (one.port in peers or not low <= one.port <= high)
    }
    numbers = sorted((listening if found.live else peers).keys() - set(NOT_SERVED))
    # What nobody was heard to speak is TCP, whatever is the custom: its clients are unknown.
    return tuple(
        Served(
            port(number, heard.get(number, ()), answered=True),
            listening.get(number, ""),
            observed.add(*peers.get(number, ())),
        )
        for number in numbers
    )


def _networks(addresses: Iterable[IPv4Address | IPv6Address]) -> tuple[Network, ...]:
    """CIDRs for single addresses; one for many of a neighbourhood."""
    around: dict[Network, set[Network]] = {}
    for address in addresses:
        wide = ip_network((address, 24 if address.version == 4 else 64), strict=False)
        around.setdefault(wide, set()).add(ip_network(address))
    found: list[Network] = []
    for wide, inner in around.items():
        found += [wide] if len(inner) >= MANY_IN_ONE else inner
    return tuple(sorted(found, key=lambda one: (one.version, one.network_address, one.prefixlen)))


def _wildcards(services: Iterable[Service]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Suffixes that several hosts share, with them: all but the first label, of three at least."""
    below: dict[str, list[str]] = {}
    for service in services:
        parent = service.host.partition(".")[2]
        labels = parent.split(".")
        is_public = len(labels) == 2 and labels[0] in _SECOND_LEVEL and len(labels[1]) == 2
        if len(labels) >= 2 and not is_public:
            below.setdefault(parent, []).append(service.host)
    return tuple(
        (f"*.{parent}", tuple(sorted(hosts)))
        for parent, hosts in sorted(below.items())
        if len(hosts) >= _WILD
    )
