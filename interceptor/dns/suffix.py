"""The suffixes of a locale as the kernel's program knows them (``MAP_LOCALE``).

Names that end in the own namespace or the cluster's domain are kept without
that end, so that one entry serves every short form. A suffix has room for
SUFFIX_SIZE bytes, and there are ZONES and SEARCHES of two sorts. What finds no
place there is never answered wrongly: `Suffixes` says which names it concerns,
and `entry` gives them to the worker or lets them pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from interceptor.host.layout import (
    LOCALE_HEAD,
    MARK_CLUSTER,
    MARK_OWN,
    MARK_ROOT,
    SEARCHES,
    SUFFIX,
    SUFFIX_SIZE,
    SUFFIXES,
    ZONES,
    LocaleFlag,
    Suffix,
)
from interceptor.mesh.model import Locale
from interceptor.mesh.name import above, is_within

_LENGTHS = [bytes((length,)) for length in range(64)]


def wire(name: str) -> bytes:
    """``name`` in wire format without the root's zero. ValueError where DNS cannot bear it."""
    if not name.isascii():
        raise ValueError(f"{name!r}: not ASCII")
    out = b""
    for label in name.encode().split(b"."):
        size = len(label)
        if not 0 < size < 64:
            raise ValueError(f"{name!r}: labels have 1 to 63 bytes")
        out += _LENGTHS[size] + label
    return out


@dataclass(frozen=True, slots=True)
class Suffixes:
    """One locale's suffixes.

    ``fields`` are in wire format with the root, by index of layout.Suffix; empty ones are
    not in use. ``own`` and ``cluster`` are the texts that are cut off with a mark in their
    place, ``is_own_cut`` and ``is_cluster_cut`` whether the program does the same.
    ``lost_zones`` and ``lost_searches`` have no field; ``is_domain_lost``: nor has the
    cluster's domain. ``problems`` says so in words. Names in ``forwarded`` zones are the
    worker's, who sends them on; ``searches`` are all search domains.
    """

    fields: tuple[bytes, ...]
    own: str = ""
    cluster: str = ""
    is_own_cut: bool = False
    is_cluster_cut: bool = False
    is_domain_lost: bool = False
    lost_zones: tuple[str, ...] = ()
    lost_searches: tuple[str, ...] = ()
    forwarded: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=(), compare=False)

    @property
    def handed(self) -> tuple[str, ...]:
        """Zones of which every name that no host bears is for the worker."""
        return (*self.lost_zones, *(zone for zone in self.forwarded if zone not in self.lost_zones))

    def is_forwarded(self, name: str) -> bool:
        """Whether ``name``, a short form of it, or one of them with a search domain behind, may be
        in a forward zone."""
        if not self.forwarded:
            return False
        ends = (name, *self.searches)
        has_forms = bool(self.cluster) and above(name, self.cluster) is not None
        return has_forms or any(is_within(end, zone) for zone in self.forwarded for end in ends)

    def cuts(self, name: str) -> Iterator[tuple[str, int]]:
        """(what is left of ``name``, mark): every key under which it may be looked up."""
        if self.own and (rest := above(name, self.own)) is not None:
            yield rest, MARK_OWN
            if self.is_own_cut:
                return
        if self.cluster and (rest := above(name, self.cluster)) is not None:
            yield rest, MARK_CLUSTER
            if self.is_cluster_cut:
                return
        yield name, MARK_ROOT

    def is_doubtful(self, name: str) -> bool:
        """Whether the program would give ``name``, or a short form of it, a wrong SOA."""
        if self.is_domain_lost:
            return True
        if not self.lost_zones:
            return False
        forms = [name]
        if self.cluster and (rest := above(name, self.cluster)) is not None:
            forms += [rest, f"{rest}.svc"]
        if self.own and (rest := above(name, self.own)) is not None:
            forms.append(rest)
        return any(is_within(form, zone) for form in forms for zone in self.lost_zones)

    def is_doubtful_below(self, suffix: str) -> bool:
        """Whether the program would answer wrongly for some name that ends in ``.suffix``."""
        return self.is_domain_lost or any(
            is_within(suffix, lost) or is_within(lost, suffix)
            for lost in (*self.lost_zones, *self.lost_searches)
        )


def choose(locale: Locale) -> Suffixes:
    """The suffixes of a locale whose names are written as a Directory's are."""
    domain, namespace = locale.domain, locale.namespace
    cluster = f"svc.{domain}" if domain else ""
    own = f"{namespace}.{cluster}" if namespace and cluster else ""
    fields = [b""] * SUFFIXES
    for place, name in (
        (Suffix.OWN, own),
        (Suffix.CLUSTER, cluster),
        (Suffix.OWN_SHORT, f"{namespace}.svc" if own else ""),
        (Suffix.CLUSTER_SHORT, "svc" if cluster else ""),
        (Suffix.NAMESPACE, namespace if own else ""),
        (Suffix.DOMAIN, domain),
    ):
        fields[place] = _fitting(name)
    # Any order would do for names in one zone only; of nested zones the longest counts.
    zones = sorted(locale.own_zones, key=len, reverse=True)
    lost_zones = _place(fields, Suffix.ZONES, ZONES, zones)
    lost_searches = _place(fields, Suffix.SEARCH, SEARCHES, locale.search)
    is_domain_lost = bool(domain) and not fields[Suffix.DOMAIN]
    return Suffixes(
        tuple(fields),
        own,
        cluster,
        bool(fields[Suffix.OWN]),
        bool(fields[Suffix.CLUSTER]),
        is_domain_lost,
        lost_zones,
        lost_searches,
        tuple(zone for zone, _ in locale.forward_zones),
        locale.search,
        tuple(_problems(is_domain_lost, domain, lost_zones, lost_searches)),
    )


def encode_locale(suffixes: Suffixes, ttl_s: int, flags: LocaleFlag, depths: int) -> bytes:
    """One value of ``MAP_LOCALE``. Of ``flags`` those of zones and searches are added here."""
    if suffixes.fields[Suffix.ZONES]:
        flags |= LocaleFlag.HAS_ZONES
    if suffixes.fields[Suffix.SEARCH]:
        flags |= LocaleFlag.HAS_SEARCH
    rows = (
        SUFFIX.pack(value.rjust(SUFFIX_SIZE, b"\0"), len(value), 0) for value in suffixes.fields
    )
    return LOCALE_HEAD.pack(ttl_s, flags, depths) + b"".join(rows)


def _fitting(name: str) -> bytes:
    """The field of one suffix; empty where there is none, or no room."""
    if not name:
        return b""
    try:
        value = wire(name) + b"\0"
    except ValueError:
        return b""
    return value if len(value) <= SUFFIX_SIZE else b""


def _place(fields: list[bytes], first: Suffix, room: int, names: Sequence[str]) -> tuple[str, ...]:
    """Fill the fields from ``first`` on. Returns the names that found none."""
    lost: list[str] = []
    taken = 0
    for name in names:
        value = _fitting(name)
        if value and taken < room:
            fields[first + taken] = value
            taken += 1
        else:
            lost.append(name)
    return tuple(lost)


def _problems(
    is_domain_lost: bool, domain: str, zones: Sequence[str], searches: Sequence[str]
) -> Iterator[str]:
    if is_domain_lost:
        yield f"domain {domain}: longer than {SUFFIX_SIZE} bytes: the worker answers every name"
    for zone in zones:
        yield (
            f"own zone {zone}: more than {ZONES}, or longer than {SUFFIX_SIZE} bytes: "
            "the worker answers its names"
        )
    for search in searches:
        yield (
            f"search domain {search}: more than {SEARCHES}, or longer than {SUFFIX_SIZE} bytes: "
            "mesh names with it behind them pass"
        )
