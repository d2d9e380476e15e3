"""The capture plan: what to intercept, as ordered rules that are data.

`build` derives the plan from the configuration, the host's facts and the mesh's
addresses. The same `Rule` values are interpreted by ``scope.decide`` for one
flow and rendered by each back end, so that there is one semantics (design §5).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from interceptor.mesh.model import Address


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


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan has to know of the host. Probed by ``host``; tests make it up.

    ``own_addresses``: every address of a non-loopback interface. ``servers``:
    resolv.conf's. ``has_ipv6``: whether the host has IPv6 at all.
    ``route_source4/6``: the address that this VM uses towards others, None
    without one. ``routed4/6``: whether a route covers the VIP range already.
    """

    own_addresses: tuple[Address, ...] = ()
    servers: tuple[Address, ...] = ()
    has_ipv6: bool = True
    route_source4: Address | None = None
    route_source6: Address | None = None
    routed4: bool = True
    routed6: bool = True


@dataclass(frozen=True, slots=True)
class Flow:
    """The first packet of one flow. ``interface`` is where it leaves (OUTPUT) or
    arrives (PREROUTING); ``uid``, ``gid``, ``cgroup`` are its socket's, None where
    it has none (PREROUTING)."""

    hook: Hook
    protocol: str  # "tcp" or "udp"
    source: Address
    destination: Address
    port: int
    interface: str = "eth0"
    uid: int | None = None
    gid: int | None = None
    cgroup: str = ""
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` is the number in design §5 (1 to 9); ``why`` is a sentence for people."""

    verdict: Verdict
    rule: int
    why: str
