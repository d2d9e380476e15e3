"""Matches and statements of nft's JSON, spelled as nft prints them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interceptor.capture.rule import (
    Cgroup,
    Condition,
    Destination,
    DestinationLocal,
    DestinationSet,
    Interface,
    Mark,
    Network,
    Owner,
    Port,
    Source,
)

Json = Mapping[str, object]

COUNTER: Json = {"counter": {"packets": 0, "bytes": 0}}
ACCEPT: Json = {"accept": None}


def payload(protocol: str, name: str) -> Json:
    return {"payload": {"protocol": protocol, "field": name}}


FLAGS: Json = {"&": [payload("tcp", "flags"), ["fin", "syn", "rst", "ack"]]}


def equal(left: Json, right: object) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def differ(left: Json, right: object) -> Json:
    return {"match": {"op": "!=", "left": left, "right": right}}


def mark(value: int) -> Json:
    return {"mangle": {"key": {"meta": {"key": "mark"}}, "value": value}}


CONNECTION_MARK: Json = {"ct": {"key": "mark"}}


NEW: Json = {
    "match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"},
}


def keep(value: int) -> Json:
    """The connection takes a mark."""
    return {"mangle": {"key": CONNECTION_MARK, "value": value}}


def redirect(port: int) -> Sequence[Json]:
    """To loopback (output) or the address of the link (prerouting), at ``port``."""
    protocol = equal({"meta": {"key": "l4proto"}}, "tcp")
    return [protocol, COUNTER, {"redirect": {"port": port}}]


def tproxy(version: int, port: int, value: int) -> Sequence[Json]:
    """To a transparent listener, the addresses as they are."""
    family, address = ("ip", "127.0.0.1") if version == 4 else ("ip6", "::1")
    to: Json = {"tproxy": {"family": family, "addr": address, "port": port}}
    protocol = equal({"meta": {"key": "l4proto"}}, "tcp")
    return [protocol, COUNTER, to, mark(value), ACCEPT]


@dataclass(frozen=True, slots=True)
class Where:
    """What the place decides: family (0: both), hook, cgroups that exist, where cgroup2 is."""

    version: int
    outgoing: bool
    cgroups: frozenset[str] = frozenset()
    cgroup_mount: str = "/sys/fs/cgroup"


def alternatives(condition: Condition, where: Where) -> Sequence[Json]:
    """Matches of which one has to hold; none at all where the condition never can.

    A negated owner is the business of ``ruleset``, since nft's `!=` does not
    hold for a packet that has no owner.
    """
    ip = "ip" if where.version == 4 else "ip6"
    match condition:
        case Interface(names):
            key = "oifname" if where.outgoing else "iifname"
            return [_compare({"meta": {"key": key}}, sorted(names), False)]
        case Source(networks, negate):
            return [_compare(payload(ip, "saddr"), [_prefix(n) for n in networks], negate)]
        case Destination(networks, negate):
            return [_compare(payload(ip, "daddr"), [_prefix(n) for n in networks], negate)]
        case DestinationSet(name):
            return [equal(payload(ip, "daddr"), f"@{name.value}{where.version}")]
        case DestinationLocal(negate):
            return [_compare({"fib": {"result": "type", "flags": ["daddr"]}}, ["local"], negate)]
        case Port(ports, negate):
            return [_compare(payload("th", "dport"), sorted(ports), negate)]
        case Owner(kind, ids, _):
            return [_compare({"meta": {"key": f"sk{kind.value}"}}, sorted(ids), False)]
        case Cgroup(paths, _):
            below = (path.strip("/") for path in paths)
            return [_cgroup(path, where) for path in below if path in where.cgroups]
        case Mark(value):
            return [equal({"meta": {"key": "mark"}}, value)]


def _compare(left: Json, values: Sequence[object], negate: bool) -> Json:
    right = values[0] if len(values) == 1 else {"set": list(values)}
    return differ(left, right) if negate else equal(left, right)


def _prefix(network: Network) -> object:
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def _cgroup(path: str, where: Where) -> Json:
    """``level`` is not in nft's JSON, which would drop it: such a table is given as text."""
    level = path.count("/") + 1
    below = where.cgroup_mount.removeprefix("/sys/fs/cgroup").strip("/")
    full = f"{below}/{path}" if below else path
    return equal({"socket": {"key": "cgroupv2", "level": level}}, full)
