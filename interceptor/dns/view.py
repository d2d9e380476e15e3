"""One view of the kernel's tables: made whole, then put into force, or looked at.

The inner maps are made as large as a table needs; the outer ones and the
locale have a place for each of two views, and ``MAP_STATE`` says which counts.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from interceptor.dns import entry
from interceptor.dns.suffix import Suffixes, encode_locale
from interceptor.host import bpfmap
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import SPECS, VIEWS, LocaleFlag, Map, State
from interceptor.mesh.directory import Directory

CHUNK = 200  # names or addresses between two turns of the loop: about 1.5 ms
SMALLEST = 1024
FULLNESS = 0.75
PRESENT = b"\1"
_TABLES = (Map.NAMES, Map.WILD, Map.POINTERS)
T = TypeVar("T")


@dataclass(slots=True)
class Table:
    """An inner map of the view in force, and how many elements stand in it."""

    map: BpfMap
    count: int = 0

    @property
    def has_room(self) -> bool:
        return self.count < FULLNESS * self.map.spec.max_entries


class Loading:
    """A table on its way into the view that is not in force."""

    def __init__(self, maps: Mapping[Map, BpfMap], suffixes: Suffixes) -> None:
        self._maps = maps
        self._view = 1 - bpfmap.read_state(maps[Map.STATE], State.VIEW) % VIEWS
        self.suffixes = suffixes
        self.tables: dict[Map, Table] = {}
        self.depths: Counter[int] = Counter()
        self.locale = b""
        self._refused: list[str] = []

    @property
    def problems(self) -> tuple[str, ...]:
        named = self.suffixes.problems
        if not self._refused:
            return named
        count, first = len(self._refused), self._refused[0]
        return (*named, f"{count} names are too long for the kernel and pass, such as {first}")

    async def fill(self, directory: Directory) -> None:
        """Make the inner maps and fill them, with turns for the loop."""
        suffixes = self.suffixes
        names, wild, pointers = directory.sizes()
        # Where the program cannot cut a suffix, a name may have a key for each of its forms.
        keys = 1 if suffixes.is_own_cut and suffixes.is_cluster_cut else 3
        self._make(Map.NAMES, (names + len(suffixes.handed)) * keys)
        self._make(Map.WILD, wild + len(suffixes.handed))
        self._make(Map.POINTERS, pointers)
        for chunk in chunks(entry.names(directory, self.suffixes)):
            self._fill_names(directory, chunk)
            await asyncio.sleep(0)
        for addresses in chunks(directory.pointers()):
            self._put(Map.POINTERS, {entry.pointer_key(one): PRESENT for one in addresses})
            await asyncio.sleep(0)
        self.locale = locale_of(directory, self.suffixes, self.tables, self.depths)

    def _fill_names(self, directory: Directory, names: Iterable[str]) -> None:
        plain: dict[bytes, bytes | None] = {}
        wild: dict[bytes, bytes | None] = {}
        for name in names:
            try:
                if not name.startswith("*."):
                    plain.update(entry.pairs(directory, self.suffixes, name))
                    continue
                key, value = entry.wild_pair(directory, self.suffixes, name[2:])
            except ValueError:
                self._refused.append(name)
                continue
            wild[key] = value
            self.depths[entry.depth(name[2:])] += 1
        self._put(Map.NAMES, plain)
        self._put(Map.WILD, wild)

    def _put(self, number: Map, rows: Mapping[bytes, bytes | None]) -> None:
        there = {key: value for key, value in rows.items() if value is not None}
        if there:
            self.tables[number].map.update_batch(list(there), list(there.values()))
            self.tables[number].count += len(there)

    def _make(self, number: Map, count: int) -> None:
        """An inner map with room for twice as much. Kernels from 5.10 on take inner maps of
        other sizes than the template's (only they are supported)."""
        spec = SPECS[number].inner
        assert spec is not None
        room = max(SMALLEST, 1 << (2 * count - 1).bit_length() if count else 0)
        self.tables[number] = Table(bpfmap.create(replace(spec, max_entries=room)))

    def switch(self) -> None:
        """Put the view into force and the other one out of use. Waits for the kernel.

        A write to a map of maps returns when no program is left that began before it: so the
        new view is whole before it is in force, and the old one's maps are let go only when
        nobody is left who chose it.
        """
        view, former = bpfmap.index(self._view), bpfmap.index(1 - self._view)
        self._maps[Map.LOCALE].update(view, self.locale)
        for number in _TABLES:
            self._maps[number].update(view, bpfmap.index(self.tables[number].map.fd))
        bpfmap.write_state(self._maps[Map.STATE], State.VIEW, self._view)
        bpfmap.write_state(self._maps[Map.STATE], State.HAS_VIEW, 1)
        self._maps[Map.POINTERS].update(view, bpfmap.index(self.tables[Map.POINTERS].map.fd))
        for number in _TABLES:
            self._maps[number].delete(former)

    def close(self) -> None:
        for table in self.tables.values():
            table.map.close()


@dataclass(frozen=True, slots=True)
class View:
    """What is in the kernel now, for tests and for people who look."""

    number: int
    locale: bytes
    names: dict[bytes, bytes]
    wild: dict[bytes, bytes]
    pointers: frozenset[bytes]


def observe(maps: Mapping[Map, BpfMap]) -> View | None:
    """The view in force; None before the first."""
    if not bpfmap.read_state(maps[Map.STATE], State.HAS_VIEW):
        return None
    view = bpfmap.read_state(maps[Map.STATE], State.VIEW)
    found = []
    for number in _TABLES:
        spec = SPECS[number].inner
        place = maps[number].lookup(bpfmap.index(view))
        assert spec is not None
        assert place is not None
        inner = bpfmap.open_id(int.from_bytes(place, sys.byteorder), spec)
        found.append(inner.items())
        inner.close()
    locale = maps[Map.LOCALE].lookup(bpfmap.index(view)) or b""
    return View(view, locale, found[0], found[1], frozenset(found[2]))


def locale_of(
    directory: Directory,
    suffixes: Suffixes,
    tables: Mapping[Map, Table],
    depths: Mapping[int, int],
) -> bytes:
    """The locale of tables that are filled. ``depths``: wildcards by the labels they have."""
    flags = LocaleFlag.HAS_WILD if tables[Map.WILD].count else LocaleFlag(0)
    if tables[Map.POINTERS].count:
        flags |= LocaleFlag.HAS_POINTERS
    mask = sum(1 << depth for depth, count in depths.items() if count)
    return encode_locale(suffixes, directory.locale.ttl_s, flags, mask)


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    walk = iter(items)
    while chunk := list(islice(walk, CHUNK)):
        yield chunk
