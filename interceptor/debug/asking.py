"""Names that were looked up, and what an address is called by whoever connects to it next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from interceptor.debug.dnsanswer import Lookup
from interceptor.debug.observed import Asked
from interceptor.mesh.outcome import AAAA, PTR, SRV, A, type_name

MOST_NAMES = 20_000
MOST_ADDRESSES = 50_000
MOST_A_ADDRESS = 8
"""Names that one address is remembered by, the latest."""
_REMEMBERED = 512
"""Answers that are known again when another device shows them once more."""
_ADDRESSES = (A, AAAA)
_OF_INTEREST = (*_ADDRESSES, SRV)


@dataclass(slots=True)
class _Name:
    by_server: dict[str, int] = field(default_factory=dict)
    empty: int = 0
    failed: int = 0
    addresses: dict[str, None] = field(default_factory=dict)
    aliases: dict[str, None] = field(default_factory=dict)
    types: dict[str, None] = field(default_factory=dict)


class Asking:
    """What was asked so far. ``left_out`` counts names beyond those that are kept."""

    def __init__(self, static: Iterable[tuple[str, str]] = ()) -> None:
        """``static``: (name, address) of /etc/hosts."""
        self.left_out = 0
        self._names: dict[str, _Name] = {}
        self._called: OrderedDict[str, dict[str, None]] = OrderedDict()
        self._static: dict[str, str] = {}
        for name, address in static:
            self._static.setdefault(address, name)
        self._seen: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, lookup: Lookup, server: str, client: tuple[str, int]) -> None:
        """One answer. Names in ``arpa`` and answers that were cut off are passed over."""
        if lookup.cut or lookup.qtype == PTR or self._is_known(lookup, server, client):
            return
        for address in lookup.addresses:
            self._remember(address, lookup.name)
        if lookup.qtype not in _OF_INTEREST:
            return
        row = self._names.get(lookup.name)
        if row is None:
            if len(self._names) >= MOST_NAMES:
                self.left_out += 1
                return
            row = self._names[lookup.name] = _Name()
        row.by_server[server] = row.by_server.get(server, 0) + 1
        row.failed += lookup.rcode != 0
        row.empty += not lookup.addresses and lookup.qtype in _ADDRESSES
        row.addresses |= dict.fromkeys(lookup.addresses)
        row.aliases |= dict.fromkeys(lookup.aliases)
        row.types[type_name(lookup.qtype)] = None

    def names(self, address: str) -> tuple[str, ...]:
        """What was asked for this address, the latest first."""
        return tuple(reversed(self._called.get(address, {})))

    def static(self, address: str) -> str:
        """Its name in /etc/hosts, or none."""
        return self._static.get(address, "")

    def rows(self) -> tuple[Asked, ...]:
        """Every name, those first that were asked most."""
        found = [
            Asked(
                name,
                _count(row.by_server),
                row.empty,
                row.failed,
                tuple(row.addresses),
                tuple(row.aliases),
                tuple(row.by_server),
                tuple(row.types),
            )
            for name, row in self._names.items()
        ]
        return tuple(sorted(found, key=lambda row: (-row.count, row.name)))

    def _remember(self, address: str, name: str) -> None:
        known = self._called.setdefault(address, {})
        known.pop(name, None)
        known[name] = None
        if len(known) > MOST_A_ADDRESS:
            del known[next(iter(known))]
        self._called.move_to_end(address)
        if len(self._called) > MOST_ADDRESSES:
            self._called.popitem(last=False)

    def _is_known(self, lookup: Lookup, server: str, client: tuple[str, int]) -> bool:
        key = (lookup.ident, lookup.name, lookup.qtype, server, client)
        known = key in self._seen
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return known


def _count(by_server: Mapping[str, int]) -> int:
    """Where a resolver of this host is asked, what it asks others is the same question."""
    local = [count for server, count in by_server.items() if ip_address(server).is_loopback]
    return sum(local or by_server.values())
