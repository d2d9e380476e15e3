"""Which host does a name mean? The index behind the answer table.

One entry a host, whatever the number of aliases and search domains: short
forms are found by appending what they leave out, search expansions by
stripping the search domain. A hundred thousand hosts with four aliases and
three search domains would otherwise be over a million keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from interceptor.mesh import record
from interceptor.mesh.index import Index
from interceptor.mesh.model import Locale
from interceptor.mesh.name import above, is_within, parents
from interceptor.mesh.record import Record

# A shared address (a gateway's) may belong to thousands of hosts; nobody reads that many.
MAXIMUM_POINTERS = 16


@dataclass(frozen=True, slots=True)
class Match:
    """The host that a name means, and by which way.

    ``host`` is the host as the mesh lists it (``*.suffix`` for a wildcard),
    ``canonical`` the fully qualified name without any ``*``. ``search`` is the
    search domain that was stripped: the name is then answered by a CNAME to
    ``canonical``. Without it the asked name itself owns the records.
    """

    host: str
    canonical: str
    record: Record
    search: str = ""
    alias: str = ""


class Directory:
    """Hosts by name, wildcards by suffix, other names, and addresses back to hosts.

    Every change of one host is one assignment that other threads see whole.
    """

    __slots__ = ("_ends", "_hosts", "_inner", "_others", "_vips", "_wild", "locale")

    def __init__(self, locale: Locale) -> None:
        self.locale = _normal(locale)
        self._hosts: dict[str, bytes] = {}
        self._wild: dict[str, bytes] = {}  # "*.example.com" under "example.com"
        self._others: Index[str] = Index()  # extra names that no rule yields
        self._vips: Index[int] = Index()
        self._ends: Index[int] = Index()
        self._inner: dict[str, int] = {}  # hosts below each inner name of an own zone

    def __len__(self) -> int:
        return len(self._hosts) + len(self._wild)

    def __contains__(self, host: str) -> bool:
        return self._get(host) is not None

    def put(self, host: str, data: bytes) -> None:
        """Add or replace one host."""
        known = self._get(host)
        if known == data:
            return
        if known is not None:
            self._forget(host, record.decode(known))
        entry = record.decode(data)
        self._remember(host, entry)
        if host.startswith("*."):
            self._wild[host[2:]] = data
        else:
            self._hosts[host] = data

    def drop(self, host: str) -> None:
        """Remove one host; an unknown one is nothing to do."""
        known = self._get(host)
        if known is None:
            return
        if host.startswith("*."):
            del self._wild[host[2:]]
        else:
            del self._hosts[host]
        self._forget(host, record.decode(known))

    def release(self) -> None:
        """Empty a directory that nobody asks any more, bit by bit.

        Dropping the last reference would free a million objects in one step of the
        interpreter: tens of milliseconds in which no other thread runs.
        """
        while self._hosts:
            self._hosts.popitem()
        for index in (self._vips, self._ends, self._others):
            index.release()

    def find(self, name: str) -> Match | None:
        """The host that ``name`` means. Exact beats alias beats search domain beats wildcard."""
        match = self._named(name)
        if match is not None:
            return match
        stripped = [
            (search, rest)
            for search in self.locale.search
            if (rest := above(name, search)) is not None
        ]
        for search, rest in stripped:
            match = self._named(rest)
            if match is not None:
                return Match(match.host, match.canonical, match.record, search, match.alias)
        match = self._wildcard(name)
        if match is not None:
            return match
        for search, rest in stripped:
            match = self._wildcard(rest)
            if match is not None:
                return Match(match.host, match.canonical, match.record, search)
        return None

    def target(self, name: str) -> Match | None:
        """The host that a fully qualified ``name`` (a CNAME's target) means: no aliases."""
        data = self._hosts.get(name)
        if data is not None:
            return Match(name, name, record.decode(data))
        return self._wildcard(name)

    def pointed(self, packed: bytes) -> tuple[str, ...]:
        """The hosts that a packed address stands for, sorted; empty for a stranger's.

        Those that are called by it (pods and services before the headless Service that
        lists the same address), else the first of those that it is an endpoint of.
        """
        key = _address_key(packed)
        called = self._vips.members(key)
        own = (name for name in called if not self._is_headless(name))
        return tuple(islice(own, MAXIMUM_POINTERS)) or called[:1] or self._ends.members(key)[:1]

    def pod(self, packed: bytes, service: str) -> str | None:
        """The pod name below ``service`` that has the address, where there is one."""
        names = self._vips.members(_address_key(packed))
        return next((name for name in names if above(name, service) is not None), None)

    def is_inner(self, name: str) -> bool:
        """Whether ``name`` bears nothing itself but stands above a host, in an own zone.

        Such a name exists (RFC 8020): NXDOMAIN for it would let a resolver that minimises
        query names take everything below for absent.
        """
        return name in self._inner

    def at(self, name: str) -> tuple[bytes, bool] | None:
        """The record that stands under exactly ``name`` (``*.suffix``: the wildcard), and
        whether it does so as an extra name. None where it takes a rule to find one."""
        data = self._get(name)
        if data is not None:
            return data, False
        data = self._by_extra_name(name)[1]
        return (data, True) if data is not None else None

    def sizes(self) -> tuple[int, int, int]:
        """How many names, wildcards among them apart, and pointers there are at most."""
        pointers = len(self._vips) + len(self._ends)
        return len(self._hosts) + len(self._others), len(self._wild), pointers

    def names(self) -> Iterator[str]:
        """Everything that `at` knows, each once. Nothing may change meanwhile."""
        yield from self._hosts
        yield from (f"*.{suffix}" for suffix in self._wild)
        yield from (name for name in self._others if name not in self._hosts)

    def pointers(self) -> Iterator[bytes]:
        """Every packed address that `pointed` knows. Nothing may change meanwhile."""
        yield from map(_packed, self._vips)
        yield from (_packed(key) for key in self._ends if key not in self._vips)

    def is_pointed(self, packed: bytes) -> bool:
        """Whether `pointed` knows anything of it."""
        key = _address_key(packed)
        return key in self._vips or key in self._ends

    def _get(self, host: str) -> bytes | None:
        if host.startswith("*."):
            return self._wild.get(host[2:])
        return self._hosts.get(host)

    def _is_headless(self, host: str) -> bool:
        data = self._get(host)
        return data is not None and bool(record.decode(data).members)

    def _named(self, name: str) -> Match | None:
        data = self._hosts.get(name)
        if data is not None:
            return Match(name, name, record.decode(data))
        for host in self._expansions(name):
            data = self._hosts.get(host)
            if data is not None:
                return Match(host, host, record.decode(data), alias=name)
        host, data = self._by_extra_name(name)
        return Match(host, host, record.decode(data), alias=name) if data is not None else None

    def _by_extra_name(self, name: str) -> tuple[str, bytes | None]:
        # Of several the first: whoever reads the same table later has to say the same.
        host = next(iter(self._others.members(name)), "")
        return host, self._hosts.get(host)

    def _expansions(self, name: str) -> Iterator[str]:
        """Kubernetes names that ``name`` may be short for, the likeliest first."""
        domain = self.locale.domain
        dots = name.count(".")
        if dots >= 2 and name.endswith(".svc"):
            yield f"{name}.{domain}"
        if dots >= 1:
            yield f"{name}.svc.{domain}"
        if dots <= 1:
            yield f"{name}.{self.locale.namespace}.svc.{domain}"

    def _wildcard(self, name: str) -> Match | None:
        if not self._wild:
            return None
        for suffix in parents(name):
            data = self._wild.get(suffix)
            if data is not None:
                return Match(f"*.{suffix}", name, record.decode(data))
        return None

    def _remember(self, host: str, entry: Record) -> None:
        if not host.startswith("*."):  # a wildcard has no name of its own to lead back to
            for name in entry.extra_names:
                if name != host and host not in self._expansions(name):
                    self._others.add(name, host)
            for packed in addresses(entry):
                self._vips.add(_address_key(packed), host)
            for packed in entry.endpoints:
                self._ends.add(_address_key(packed), host)
        for name in self._inner_names(host):
            self._inner[name] = self._inner.get(name, 0) + 1

    def _forget(self, host: str, entry: Record) -> None:
        for name in entry.extra_names:
            self._others.discard(name, host)
        for packed in addresses(entry):
            self._vips.discard(_address_key(packed), host)
        for packed in entry.endpoints:
            self._ends.discard(_address_key(packed), host)
        for name in self._inner_names(host):
            left = self._inner[name] - 1
            if left:
                self._inner[name] = left
            else:
                del self._inner[name]

    def _inner_names(self, host: str) -> list[str]:
        return [
            name
            for zone in self.locale.own_zones
            for name in parents(host)
            if is_within(name, zone)
        ]


def _normal(locale: Locale) -> Locale:
    """``locale`` with its names written as the table writes names."""
    return replace(
        locale,
        domain=locale.domain.strip(".").lower(),
        search=tuple(dict.fromkeys(name.strip(".").lower() for name in locale.search)),
        own_zones=tuple(dict.fromkeys(name.strip(".").lower() for name in locale.own_zones)),
        forward_zones=tuple(
            {zone.strip(".").lower(): servers for zone, servers in locale.forward_zones}.items()
        ),
    )


def _address_key(packed: bytes) -> int:
    """An int takes half the memory of the bytes; the leading one keeps the families apart."""
    number = int.from_bytes(packed, "big")
    return number if len(packed) == 4 else number | 1 << 128


def _packed(key: int) -> bytes:
    """The address that `_address_key` was given."""
    return key.to_bytes(4, "big") if key < 1 << 128 else (key ^ 1 << 128).to_bytes(16, "big")


def addresses(entry: Record) -> list[bytes]:
    """A host's own addresses, packed, both families."""
    return _split(entry.v4, 4) + _split(entry.v6, 16)


def _split(packed: bytes, size: int) -> list[bytes]:
    return [packed[at : at + size] for at in range(0, len(packed), size)]
