"""The shape of a host, compared with what it was, and with its twin's."""

from __future__ import annotations

import re

from interceptor.lab import snapshot
from interceptor.lab.snapshot import Snapshot
from interceptor.lab.world import Lab

NFT = "nft list ruleset"
RULES = ("save", "nft", "ipset", "ip rule", "ip -6 rule")
"""Titles of what others change as well: the twin has the same of it, and nothing of ours."""
COUNTER = re.compile(r"counter packets \d+ bytes \d+ ")

Tables = dict[str, dict[str, list[str]]]
"""Header of a table → header of a chain, set or the like → its lines."""


def observe(lab: Lab, host: str) -> Snapshot:
    """As lab's snapshots, without counters; the order of routes, addresses and chains only says
    when they were made."""
    found = snapshot.observe(lab, host)
    return {title: _normalise(title, text) for title, text in found.items()}


def _normalise(title: str, text: str) -> str:
    if title == NFT:
        return render(parse(COUNTER.sub("", text)))
    if "route" in title or "addr" in title:
        return "\n".join(sorted(text.splitlines()))
    return text


def parse(text: str) -> Tables:
    """What `nft list ruleset` prints."""
    tables: Tables = {}
    chains: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in filter(str.strip, text.splitlines()):
        depth = len(line) - len(line.lstrip("\t"))
        if depth == 0:
            chains = {} if line == "}" else tables.setdefault(line, {})
        elif depth == 1:
            lines = [] if line == "\t}" else chains.setdefault(line, [])
        else:
            lines.append(line)
    return tables


def render(tables: Tables) -> str:
    """The same in an order of its own."""
    out = []
    for table, chains in sorted(tables.items()):
        out.append(table)
        for chain, lines in sorted(chains.items()):
            out += [chain, *lines]
    return "".join(f"{line}\n" for line in out)


def is_idle(lines: list[str]) -> bool:
    """A base chain without a rule, which lets everything pass."""
    return len(lines) == 1 and lines[0].strip().startswith("type ") and "accept" in lines[0]


def without_idle(twin: str, vm: str) -> str:
    """The twin's rules but for the idle base chains that the VM lacks: made by us as much as by
    the firewall that declared them later, they went with us, and no tool tells."""
    wanted, there = _reparse(twin), _reparse(vm)
    for table, chains in wanted.items():
        for chain in list(chains):
            if is_idle(chains[chain]) and table in there and chain not in there[table]:
                del chains[chain]
    return render(wanted)


def _reparse(rendered: str) -> Tables:
    """`render`'s text, which has no closing brackets."""
    tables: Tables = {}
    chains: dict[str, list[str]] = {}
    for line in rendered.splitlines():
        if not line.startswith("\t"):
            chains = tables.setdefault(line, {})
        elif not line.startswith("\t\t"):
            chains[line] = []
        else:
            chains[list(chains)[-1]].append(line)
    return tables


def left(before: Snapshot, twin: Snapshot, after: Snapshot) -> str:
    """What is different from before, as far as it is ours to change, and from the twin."""
    wanted = {
        title: twin[title] if any(word in title for word in RULES) else text
        for title, text in before.items()
    }
    wanted[NFT] = without_idle(twin[NFT], after[NFT])
    return snapshot.diff(wanted, after)
