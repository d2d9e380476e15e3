"""The vocabulary of rules: conditions on a flow, and the verdict of one ordered rule.

A condition with several values holds when any of them does, a negated one when
none does. A rule holds when all of its conditions do.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network


class Hook(enum.Enum):
    """Where a packet is met: leaving a local process, or arriving from a link."""

    OUTPUT = "output"
    PREROUTING = "prerouting"


class Verdict(enum.Enum):
    """The fate of a flow. The values are what ``explain --json`` prints."""

    PASS = "pass"
    DNS = "dns"
    OUTBOUND = "outbound"
    INBOUND = "inbound"


class SetName(enum.Enum):
    """Named sets of destinations, which change while their rules stay."""

    OUTBOUND = "outbound"
    DNS = "dns"


class OwnerKind(enum.Enum):
    """Which id of the owner of a socket."""

    UID = "uid"
    GID = "gid"


@dataclass(frozen=True, slots=True)
class Interface:
    """The link that a packet leaves by (OUTPUT) or came from (PREROUTING)."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    networks: tuple[Network, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    networks: tuple[Network, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class DestinationSet:
    """The destination is in a named set of its address family."""

    name: SetName


@dataclass(frozen=True, slots=True)
class DestinationLocal:
    """The destination is an address of this host, loopback among them (the kernel's own word)."""

    negate: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """The destination port."""

    ports: tuple[int, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """The socket was opened by one of these users or groups. Negated, no owner at all matches."""

    kind: OwnerKind
    ids: tuple[int, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The socket was opened in one of these cgroup2 subtrees (paths below the mount)."""

    paths: tuple[str, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    value: int


Condition = (
    Interface
    | Source
    | Destination
    | DestinationSet
    | DestinationLocal
    | Port
    | Owner
    | Cgroup
    | Mark
)


@dataclass(frozen=True, slots=True)
class Rule:
    """``number`` is that of design §5 (1 to 9); ``protocol`` is tcp, udp, or empty for both.

    ``why`` is a sentence of at most 120 characters: it becomes the comment of
    the installed rule, and nft takes no longer one.
    """

    number: int
    hook: Hook
    verdict: Verdict
    why: str
    conditions: tuple[Condition, ...] = ()
    protocol: str = ""


def narrowed(conditions: tuple[Condition, ...], version: int) -> tuple[Condition, ...] | None:
    """The conditions as one address family sees them; None where they can never hold there."""
    kept: list[Condition] = []
    for condition in conditions:
        if isinstance(condition, Source | Destination):
            networks = tuple(n for n in condition.networks if n.version == version)
            if networks:
                kept.append(type(condition)(networks, condition.negate))
            elif not condition.negate:
                return None
        else:
            kept.append(condition)
    return tuple(kept)


def describe(rule: Rule) -> str:
    """One rule for people: ``output tcp interface lo, port not 53 -> pass``."""
    words = [_words(condition) for condition in rule.conditions] or ["anything else"]
    protocol = rule.protocol or "tcp+udp"
    return f"{rule.hook.value} {protocol}: {', '.join(words)} -> {rule.verdict.value}"


def _words(condition: Condition) -> str:
    """One condition for people."""
    match condition:
        case Interface(names):
            return f"interface {' '.join(names)}"
        case Source(networks, negate):
            return f"source {_list(networks, negate)}"
        case Destination(networks, negate):
            return f"destination {_list(networks, negate)}"
        case DestinationSet(name):
            return f"destination in set {name.value}"
        case DestinationLocal(negate):
            return "destination elsewhere" if negate else "destination on this host"
        case Port(ports, negate):
            return f"port {_list(ports, negate)}"
        case Owner(kind, ids, negate):
            return f"{kind.value} {_list(ids, negate)}"
        case Cgroup(paths, negate):
            return f"cgroup {_list(paths, negate)}"
        case Mark(value):
            return f"mark {value:#x}"


def _list(values: tuple[object, ...], negate: bool) -> str:
    return ("not " if negate else "") + " ".join(map(str, values))
