"""Schedules of faults: drawn from a seed, printed, and read back to be replayed. Pure.

A schedule is made for one back end, because what can be removed from a host is
another thing with each. The same seed, back end and count make the same schedule.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """What is done to the host, or to us on it."""

    AGENT_KILL = "agent-kill"
    AGENT_STOP = "agent-stop"
    UPGRADE = "upgrade"
    DAEMON_KILL = "daemon-kill"
    DAEMON_HANG = "daemon-hang"
    WORKER_KILL = "worker-kill"
    WORKER_HANG = "worker-hang"
    SIDECAR_KILL = "sidecar-kill"
    SIDECAR_HANG = "sidecar-hang"
    ENDPOINTS = "endpoints"
    HOST_GONE = "host-gone"
    HOST_MOVED = "host-moved"
    WRONG_DOCUMENT = "wrong-document"
    NO_DOCUMENTS = "no-documents"
    LINK_DOWN = "link-down"
    NO_CARRIER = "no-carrier"
    ADDRESS = "address"
    DEVICE = "device"
    UPLINK = "uplink"
    FLUSH = "flush"
    FIREWALL = "firewall"
    RESOLVER_RESTART = "resolver-restart"
    RESOLV_CONF = "resolv-conf"
    DISK_FULL = "disk-full"
    DESCRIPTORS = "descriptors"
    CLEAN = "clean"


REMOVALS: Mapping[str, Sequence[str]] = {
    "nftables": ("nft-flush", "nft-table", "nft-chain", "nft-set", "route"),
    "iptables": ("nft-flush", "iptables-f", "chain", "ipset", "route"),
    "ebpf": ("nft-flush", "detach", "unpin", "pins", "link", "route"),
}
"""What somebody may take off the host, by back end."""

FIREWALLS = ("nft", "iptables-filter", "iptables-all")


@dataclass(frozen=True, slots=True)
class Shape:
    """How often a kind is drawn, how long it lasts (seconds, from and to), and its variants."""

    weight: int
    shortest_s: float = 0.0
    longest_s: float = 0.0
    variants: Sequence[str] = ("",)


SHAPES: Mapping[Kind, Shape] = {
    # length: until somebody starts it again, as systemd would
    Kind.AGENT_KILL: Shape(8, 0.0, 1.5),
    # variant: agent.on_exit of the one that is started then
    Kind.AGENT_STOP: Shape(6, 0.0, 1.0, ("clean", "keep")),
    Kind.UPGRADE: Shape(4, 0.0, 0.5, ("clean", "keep")),
    Kind.DAEMON_KILL: Shape(5, 0.0, 1.0),
    Kind.DAEMON_HANG: Shape(5, 0.3, 7.0),
    Kind.WORKER_KILL: Shape(6),
    Kind.WORKER_HANG: Shape(5, 0.2, 7.0),
    Kind.SIDECAR_KILL: Shape(5, 0, 0, ("KILL", "SEGV", "TERM")),
    Kind.SIDECAR_HANG: Shape(4, 0.2, 2.0),
    Kind.ENDPOINTS: Shape(8),
    Kind.HOST_GONE: Shape(7, 0.5, 8.0, tuple("01234567")),
    Kind.HOST_MOVED: Shape(8, 0, 0, tuple("01234567")),
    Kind.WRONG_DOCUMENT: Shape(5, 0.3, 5.0, tuple("x01234567")),
    Kind.NO_DOCUMENTS: Shape(2, 0.3, 3.0),
    Kind.LINK_DOWN: Shape(4, 0.05, 1.0),
    Kind.NO_CARRIER: Shape(4, 0.05, 1.0),
    Kind.ADDRESS: Shape(5, 0.2, 6.0, ("4", "6")),
    Kind.DEVICE: Shape(4, 0.2, 6.0, ("dummy", "bridge")),
    Kind.UPLINK: Shape(3, 1.0, 8.0),
    Kind.FLUSH: Shape(10),
    Kind.FIREWALL: Shape(6, 0, 0, FIREWALLS),
    Kind.RESOLVER_RESTART: Shape(3, 0.05, 1.0),
    Kind.RESOLV_CONF: Shape(6, 0, 0, ("rewrite", "swap")),
    Kind.DISK_FULL: Shape(4, 0.5, 4.0),
    Kind.DESCRIPTORS: Shape(3, 0.5, 4.0),
    Kind.CLEAN: Shape(3, 0.0, 0.5, ("kill", "stop")),
}

NEW_LIFE = frozenset({Kind.AGENT_KILL, Kind.AGENT_STOP, Kind.UPGRADE, Kind.DAEMON_KILL, Kind.CLEAN})
"""After these a daemon begins that knows nothing of a fight."""

AGAINST_RULES = frozenset({Kind.FLUSH, Kind.FIREWALL})
FIGHT, FIGHT_S = 3, 62.0
"""So many faults against our rules in so many seconds of one daemon's life are none of a fight,
in which it would back off, as promised too: what comes back, and when, could not be told."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault. ``at_s`` counts from the schedule's beginning; ``length_s`` until it is undone."""

    number: int
    at_s: float
    kind: Kind
    length_s: float = 0.0
    variant: str = ""


def draw(seed: int, backend: str, count: int, pause_s: float = 1.5) -> tuple[Step, ...]:
    """``count`` faults, ``pause_s`` apart on the average; each may overlap with others."""
    chance = random.Random(f"{seed} {backend}")
    kinds = list(SHAPES)
    weights = [SHAPES[kind].weight for kind in kinds]
    steps: list[Step] = []
    fought: list[float] = []
    at_s = 0.0
    while len(steps) < count:
        kind = chance.choices(kinds, weights)[0]
        pause = chance.uniform(0.1, 2 * pause_s - 0.1)
        if kind in AGAINST_RULES:
            fought = [when for when in fought if at_s + pause - when < FIGHT_S]
            if len(fought) >= FIGHT:
                continue
            fought.append(at_s + pause)
        elif kind in NEW_LIFE:
            fought = []
        at_s += pause
        steps.append(_step(len(steps), at_s, kind, backend, chance))
    return tuple(steps)


def _step(number: int, at_s: float, kind: Kind, backend: str, chance: random.Random) -> Step:
    shape = SHAPES[kind]
    variants = REMOVALS[backend] if kind is Kind.FLUSH else shape.variants
    length_s = round(chance.uniform(shape.shortest_s, shape.longest_s), 3)
    return Step(number, round(at_s, 3), kind, length_s, chance.choice(list(variants)))


def encode(steps: Iterable[Step]) -> str:
    """A line a fault: number, seconds, kind, length, variant."""
    lines = (
        f"{one.number} {one.at_s:.3f} {one.kind.value} {one.length_s:.3f} {one.variant}"
        for one in steps
    )
    return "".join(f"{line.strip()}\n" for line in lines)


def decode(text: str) -> tuple[Step, ...]:
    """The inverse of `encode`; lines that begin with # are left out. Raises ValueError."""
    steps = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        number, at_s, kind, length_s, *variant = line.split()
        steps.append(Step(int(number), float(at_s), Kind(kind), float(length_s), " ".join(variant)))
    return tuple(steps)
