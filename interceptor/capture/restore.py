"""Texts of iptables-restore: from chains to what installs them, and back from iptables-save.

Everything of ours stands in chains whose names start with INTERCEPTOR_; the
only foreign chains that change are the built-in ones, by jumps to ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from interceptor.capture.xtables import PREFIX, Chain, in_order

NEW = f"{PREFIX}NEW_"
"""Empty chains that remember what was not there before us: INTERCEPTOR_NEW_TABLE for the
table, INTERCEPTOR_NEW_OUTPUT for its OUTPUT. iptables-nft shows what it created otherwise."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What iptables-save shows: table, then chain, then the arguments of its rules.

    ``bases`` are the built-in chains that really exist in the kernel, or None
    where that cannot be seen (legacy): iptables-nft-save shows them all.
    ``once`` are the markers (table, name) that stood here before, some of which
    a firewall may have flushed together with our rules.
    """

    tables: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    bases: frozenset[tuple[str, str]] | None = None
    once: frozenset[tuple[str, str]] = frozenset()

    def ours(self, table: str) -> tuple[str, ...]:
        return tuple(name for name in self.tables.get(table, {}) if name.startswith(PREFIX))

    def markers(self) -> frozenset[tuple[str, str]]:
        """(table, name) of every marker, flushed or not."""
        every = ((table, name) for table in self.tables for name in self.ours(table))
        return self.once | {(table, name) for table, name in every if name.startswith(NEW)}

    def jumps(self, table: str) -> tuple[tuple[str, str], ...]:
        """(chain, arguments) of every rule outside of our chains that leads into them."""
        return tuple(
            (chain, rule)
            for chain, found in self.tables.get(table, {}).items()
            if not chain.startswith(PREFIX)
            for rule in found
            if f" -j {PREFIX}" in f" {rule}" or f" -g {PREFIX}" in f" {rule}"
        )


def parse(text: str, bases: frozenset[tuple[str, str]] | None = None) -> Saved:
    """Read iptables-save, packet counters aside."""
    tables: dict[str, dict[str, list[str]]] = {}
    table: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), {})
        elif line.startswith(":"):
            table.setdefault(line[1:].partition(" ")[0], [])
        elif line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            table.setdefault(chain, []).append(rule)
    frozen = {
        name: {chain: tuple(found) for chain, found in chains.items()}
        for name, chains in tables.items()
    }
    return Saved(frozen, bases)


def parse_bases(listing: str, version: int) -> frozenset[tuple[str, str]]:
    """(table, chain) of every base chain of one family in `nft -j list chains`."""
    family = "ip" if version == 4 else "ip6"
    entries = json.loads(listing or "{}").get("nftables", [])
    chains = (entry["chain"] for entry in entries if "chain" in entry)
    return frozenset(
        (chain["table"], chain["name"])
        for chain in chains
        if chain["family"] == family and "hook" in chain
    )


def install(chains: Iterable[Chain], saved: Saved) -> str:
    """The text that makes a host with ``saved`` follow ``chains``; one COMMIT a table."""
    wanted = tuple(chains)
    tables = {chain.table for chain in wanted}
    tables |= {table for table in saved.tables if saved.ours(table)}
    return "".join(_install_table(table, wanted, saved) for table in sorted(tables))


def _install_table(table: str, chains: tuple[Chain, ...], saved: Saved) -> str:
    here = [chain for chain in chains if chain.table == table]
    names = [chain.name for chain in here]
    stale = [n for n in saved.ours(table) if n not in names and not n.startswith(NEW)]
    declared = [*names, *stale, *(_markers(table, here, saved) if here else ())]
    out = [f"*{table}", *(f":{name} - [0:0]" for name in declared)]
    out += [f"-A {chain.name} {rule}" for chain in here for rule in chain.rules]
    out += [f"-D {chain} {rule}" for chain, rule in saved.jumps(table)]
    # Inserted one before the other, so that the first stands first.
    out += [f"-I {chain.hook} 1 {jump}" for chain in here for jump in reversed(chain.jumps)]
    out += [f"-X {name}" for name in stale]
    return "\n".join([*out, "COMMIT"]) + "\n"


def _markers(table: str, chains: Iterable[Chain], saved: Saved) -> list[str]:
    if saved.bases is None:
        return []
    hooks = {chain.hook for chain in chains}
    new = [f"{NEW}{hook}" for hook in sorted(hooks) if (table, hook) not in saved.bases]
    if table not in saved.tables:
        new.insert(0, f"{NEW}TABLE")
    return new + sorted({name for where, name in saved.once if where == table} - set(new))


def remove(saved: Saved) -> str:
    """The text that takes everything of ours out of one family; empty where there is nothing.

    Markers stay until `sweep` where there is one: who is killed before leaves them to the next."""
    out: list[str] = []
    for table in sorted(saved.tables):
        keep = saved.bases is not None
        ours = [n for n in saved.ours(table) if not (keep and n.startswith(NEW))]
        if ours:
            out += [f"*{table}", *(f":{name} - [0:0]" for name in ours)]
            out += [f"-D {chain} {rule}" for chain, rule in saved.jumps(table)]
            out += [*(f"-X {name}" for name in ours), "COMMIT"]
    return "".join(f"{line}\n" for line in out)


def undo(chains: Iterable[Chain]) -> str:
    """The text that takes ``chains`` out of a host where all of them are."""
    tables: dict[str, dict[str, tuple[str, ...]]] = {}
    for chain in chains:
        table = tables.setdefault(chain.table, {})
        table[chain.name] = ()
        table[chain.hook] = table.get(chain.hook, ()) + chain.jumps
    return remove(Saved(tables))


def singly(text: str) -> tuple[tuple[str, str], ...]:
    """(table, line) of a restore text's lines, to be tried each for itself."""
    found: list[tuple[str, str]] = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line != "COMMIT":
            found.append((table, line))
    return tuple(found)


def sweep(saved: Saved, version: int) -> str:
    """What `nft -f` must delete after `remove`, where our markers say that it was not there.

    One transaction, markers included; the kernel refuses it whole where a chain is gone by
    then, and `unmark` is left to do. It does not where rules have come: ask with a fresh ``saved``.
    """
    family = "ip" if version == 4 else "ip6"
    found: list[str] = []
    bases = saved.bases or frozenset()
    for table, chains in sorted(saved.tables.items() if saved.bases is not None else ()):
        marked = {name.removeprefix(NEW) for where, name in saved.markers() if where == table}
        foreign = [name for name in chains if not name.startswith(PREFIX)]
        jumps = saved.jumps(table)
        busy = {name for name in foreign if set(chains[name]) - {r for c, r in jumps if c == name}}
        here = {chain for where, chain in bases if where == table}
        hooks = sorted((marked & here) - busy)
        gone = [*hooks, *(f"{NEW}{name}" for name in sorted(marked) if f"{NEW}{name}" in chains)]
        found += [f"delete chain {family} {table} {name}" for name in gone]
        if "TABLE" in marked and not here - set(hooks) and set(foreign) <= set(BUILT_IN):
            found.append(f"delete table {family} {table}")
    return "".join(f"{line}\n" for line in found)


def unmark(saved: Saved, version: int) -> str:
    """`sweep`, of the markers alone."""
    return "".join(f"{line}\n" for line in sweep(saved, version).splitlines() if f" {NEW}" in line)


BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


def listing(chains: Iterable[Chain]) -> str:
    """Chains as `observe` shows them: what iptables-save would print of ours."""
    out: list[str] = []
    wanted = sorted(chains, key=lambda chain: (chain.table, chain.name))
    for table in sorted({chain.table for chain in wanted}):
        here = [chain for chain in wanted if chain.table == table]
        out.append(f"*{table}")
        for hook in BUILT_IN:
            jumps = [chain for chain in reversed(in_order(here)) if chain.hook == hook]
            out += [f"-A {hook} {jump}" for chain in jumps for jump in chain.jumps]
        out += [f"-A {chain.name} {rule}" for chain in here for rule in chain.rules]
    return "".join(f"{line}\n" for line in out)


def observed(saved: Saved) -> str:
    """What of ours is in ``saved``, in the words of iptables-save, markers left out."""
    out: list[str] = []
    for table in sorted(saved.tables):
        ours = sorted(name for name in saved.ours(table) if not name.startswith(NEW))
        jumps = saved.jumps(table)
        if not ours and not jumps:
            continue
        out.append(f"*{table}")
        for hook in BUILT_IN:
            out += [f"-A {chain} {rule}" for chain, rule in jumps if chain == hook]
        chains = saved.tables[table]
        out += [f"-A {name} {rule}" for name in ours for rule in chains[name]]
    return "".join(f"{line}\n" for line in out)
