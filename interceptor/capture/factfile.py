"""The facts of one host as a file, for decisions to be gone through on another machine. Pure.

Only what decides is kept: numbers of cgroups and devices mean nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from interceptor.capture.plan import Facts
from interceptor.errors import ConfigError, Problem
from interceptor.mesh.model import Address

BACKENDS = ("", "ebpf", "nftables", "iptables")


@dataclass(frozen=True, slots=True)
class Saved:
    """Facts for a plan, and resolv.conf's search list for names. ``dns_backend`` is the one that
    the host takes where it may choose; empty: nobody knows."""

    facts: Facts
    search: tuple[str, ...] = ()
    dns_backend: str = ""


def encode(saved: Saved) -> dict[str, object]:
    """As JSON has it."""
    facts = saved.facts
    return {
        "own_addresses": [str(address) for address in facts.own_addresses],
        "servers": [str(address) for address in facts.servers],
        "search": list(saved.search),
        "has_ipv6": facts.has_ipv6,
        "route_source4": _text(facts.route_source4),
        "route_source6": _text(facts.route_source6),
        "routed4": facts.routed4,
        "routed6": facts.routed6,
        "dns_backend": saved.dns_backend,
    }


def decode(tree: object, where: str) -> Saved:
    """What `encode` gave, by itself or under the key ``facts``. Keys that are missing are as
    on a host with nothing special; others are left out. Raises ConfigError with each problem."""
    if isinstance(tree, Mapping) and isinstance(tree.get("facts"), Mapping):
        tree = tree["facts"]
    if not isinstance(tree, Mapping) or "own_addresses" not in tree:
        legal = "what `interceptor plan --facts` prints: an object with own_addresses"
        raise ConfigError([Problem(where, "(document)", type(tree).__name__, legal)])
    reader = _Reader(tree, where)
    facts = Facts(
        own_addresses=reader.addresses("own_addresses"),
        servers=reader.addresses("servers"),
        has_ipv6=reader.flag("has_ipv6"),
        route_source4=reader.address("route_source4"),
        route_source6=reader.address("route_source6"),
        routed4=reader.flag("routed4"),
        routed6=reader.flag("routed6"),
    )
    search = tuple(text.strip(".").lower() for text in reader.texts("search"))
    backend = reader.choice("dns_backend", BACKENDS)
    if reader.problems:
        raise ConfigError(reader.problems)
    return Saved(facts, search, backend)


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)


class _Reader:
    """Values of one object, and everything that is wrong with them."""

    def __init__(self, tree: Mapping[object, object], where: str) -> None:
        self.problems: list[Problem] = []
        self._tree = tree
        self._where = where

    def flag(self, key: str) -> bool:
        value = self._tree.get(key, True)
        if not isinstance(value, bool):
            self._blame(key, value, "true or false")
        return bool(value)

    def choice(self, key: str, legal: tuple[str, ...]) -> str:
        value = self._tree.get(key, "")
        if value not in legal:
            self._blame(key, value, ", ".join(filter(None, legal)) + ", or empty")
            return ""
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._tree.get(key, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self._blame(key, value, "a list of texts")
        return ()

    def addresses(self, key: str) -> tuple[Address, ...]:
        found = (self._address(key, text) for text in self.texts(key))
        return tuple(address for address in found if address is not None)

    def address(self, key: str) -> Address | None:
        value = self._tree.get(key)
        return None if value is None else self._address(key, value)

    def _address(self, key: str, value: object) -> Address | None:
        try:
            return ip_address(str(value))
        except ValueError:
            self._blame(key, value, "an IP address")
            return None

    def _blame(self, key: str, value: object, legal: str) -> None:
        self.problems.append(Problem(self._where, key, str(value), legal))
