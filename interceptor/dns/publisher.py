"""The publisher: what the mesh answers, in the maps from which the kernel's program answers.

There are two views. A whole table is written to the one that is not in force,
in maps of its own that are made as large as it needs, and then one number says
that it is: no query sees half a table, and a new worker needs nothing of what
the old one left. A change of some hosts is written to the view in force, as
differences.

One task at a time may use a publisher. It gives the loop its turn every CHUNK
names; what waits for the kernel's other processors is done in a thread.
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from interceptor.dns import entry, view
from interceptor.dns.entry import Touched
from interceptor.dns.suffix import Suffixes, choose
from interceptor.dns.view import CHUNK, PRESENT, Loading, Table, chunks
from interceptor.host import bpfmap
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import Map, State
from interceptor.mesh.directory import Directory


class Publisher:
    """Writes one Directory's answers. ``maps`` stay their owner's."""

    def __init__(self, maps: Mapping[Map, BpfMap]) -> None:
        self._maps = maps
        self._tables: dict[Map, Table] = {}
        self._suffixes = Suffixes(())
        self._depths: Counter[int] = Counter()
        self._locale = b""
        self.problems: tuple[str, ...] = ()
        """What the kernel leaves to others, of the last table that was loaded."""
        self.loads = self.writes = 0

    async def load(self, directory: Directory) -> None:
        """Put a whole table into force. OSError where the kernel has no memory for it; then
        the old one stays."""
        fresh = Loading(self._maps, choose(directory.locale))
        with ExitStack() as undo:
            undo.callback(fresh.close)
            await fresh.fill(directory)
            await asyncio.to_thread(fresh.switch)
            undo.pop_all()
        self.close()
        self._tables, self._suffixes, self._depths = fresh.tables, fresh.suffixes, fresh.depths
        self._locale, self.problems = fresh.locale, fresh.problems
        self.loads += 1

    async def apply(self, directory: Directory, touched: Touched) -> None:
        """Follow changes that the directory has gone through. A table that has become too
        small for it is loaded anew, larger. Nothing to do before the first table."""
        if not self._tables:
            return
        try:
            with self._writing():
                await self._follow(directory, touched)
        except OSError as error:
            if error.errno != errno.E2BIG:
                raise
            return await self.load(directory)
        if not all(table.has_room for table in self._tables.values()):
            await self.load(directory)

    async def _follow(self, directory: Directory, touched: Touched) -> None:
        for names in chunks(touched.names):
            self._apply_names(directory, names)
            if len(names) == CHUNK:
                await asyncio.sleep(0)
        for addresses in chunks(touched.addresses):
            self._apply_addresses(directory, addresses)
            if len(addresses) == CHUNK:
                await asyncio.sleep(0)
        self._apply_locale(directory)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """While it lasts, and where it began or ended meanwhile, the program looks twice for
        what it does not find: it may have missed an element that was being replaced."""
        states = self._maps[Map.STATE]
        odd = bpfmap.read_state(states, State.WRITES) | 1
        bpfmap.write_state(states, State.WRITES, odd)
        try:
            yield
        finally:
            bpfmap.write_state(states, State.WRITES, odd + 1)

    def close(self) -> None:
        """Give back the inner maps; the kernel goes on with them."""
        for table in self._tables.values():
            table.map.close()
        self._tables = {}

    def _apply_names(self, directory: Directory, names: Iterable[str]) -> None:
        for name in names:
            # What is too long for the maps is so for the program, too: it lets it pass.
            with suppress(ValueError):
                if name.startswith("*."):
                    pair = entry.wild_pair(directory, self._suffixes, name[2:])
                    self._depths[entry.depth(name[2:])] += self._write(Map.WILD, *pair)
                else:
                    for pair in entry.pairs(directory, self._suffixes, name):
                        self._write(Map.NAMES, *pair)

    def _apply_addresses(self, directory: Directory, addresses: Iterable[bytes]) -> None:
        for packed in addresses:
            value = PRESENT if directory.is_pointed(packed) else None
            self._write(Map.POINTERS, entry.pointer_key(packed), value)

    def _write(self, number: Map, key: bytes, value: bytes | None) -> int:
        """By how much the table has grown. What is as it should be is left alone: a program
        may miss an element for an instant while it is replaced."""
        table = self._tables[number]
        there = table.map.lookup(key)
        if there == value:
            return 0
        self.writes += 1
        if value is None:
            table.map.delete(key)
            grown = -1
        else:
            table.map.update(key, value)
            grown = there is None
        table.count += grown
        return grown

    def _apply_locale(self, directory: Directory) -> None:
        """After the elements: a program that looks for them too early finds none, as before."""
        wanted = view.locale_of(directory, self._suffixes, self._tables, self._depths)
        if wanted != self._locale:
            number = bpfmap.read_state(self._maps[Map.STATE], State.VIEW)
            self._maps[Map.LOCALE].update(bpfmap.index(number), wanted)
            self._locale = wanted
