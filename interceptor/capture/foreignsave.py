"""Others' rules of iptables that a packet meets, as iptables-save prints them. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from itertools import pairwise

from interceptor.capture import neighbour, restore
from interceptor.capture.foreign import Foreign
from interceptor.capture.plan import Flow
from interceptor.capture.rule import Hook
from interceptor.capture.xtables import PREFIX

PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0}
"""Of the tables, at either of our hooks (linux/netfilter_ipv4.h)."""
TARGETS = {
    "DROP": "drop",
    "REJECT": "reject",
    "DNAT": "dnat",
    "REDIRECT": "redirect",
    "NFQUEUE": "queue",
    "TPROXY": "tproxy",
}
DEPTH = 8
_PLAIN = ("tcp", "udp", "multiport", "comment", "owner")  # matches that say nothing by themselves
_ENDS = ("ACCEPT", "RETURN")


def parse(text: str, flow: Flow, limit: int, program: str) -> Iterator[Foreign]:
    """Read iptables-save. Of a chain with our jump in it, what stands before that."""
    saved = restore.parse(text)
    hook = "OUTPUT" if flow.hook is Hook.OUTPUT else "PREROUTING"
    for table, priority in PRIORITIES.items():
        chains = saved.tables.get(table, {})
        rules = list(chains.get(hook, ()))
        ours = next((at for at, rule in enumerate(rules) if f"-j {PREFIX}" in rule), None)
        if ours is None and priority >= limit:
            continue
        rules = rules if ours is None else rules[:ours]
        walk = _Walk(f"{program} {table} {hook}", chains, flow)
        yield from walk.rules(rules, sure=True, depth=0)


class _Walk:
    """One packet's way through the rules of a built-in chain."""

    def __init__(self, where: str, chains: Mapping[str, Sequence[str]], flow: Flow) -> None:
        self._where, self._chains, self._flow = where, chains, flow
        self._is_over = False
        self._is_sure = True

    def rules(self, rules: Sequence[str], *, sure: bool, depth: int) -> Iterator[Foreign]:
        for rule in rules:
            if self._is_over or depth > DEPTH:
                return
            words = shlex.split(rule)
            matches, target = matched(words, self._flow), _target(words)
            if matches is False:
                continue
            certain = matches is True and sure and self._is_sure
            if target in TARGETS:
                owner = neighbour.owner(target)
                verdict = TARGETS[target]
                yield Foreign(self._where, rule, verdict, owner, True if certain else None)
                self._is_over = certain
            elif target == "RETURN" and matches:
                return
            elif target in _ENDS:
                self._is_over = certain
                self._is_sure = self._is_sure and certain
            elif target in self._chains and not target.startswith(PREFIX):
                yield from self.rules(self._chains[target], sure=certain, depth=depth + 1)


def _target(words: Sequence[str]) -> str:
    found = (after for word, after in pairwise(words) if word in ("-j", "-g"))
    return next(found, "")


def matched(words: Sequence[str], flow: Flow) -> bool | None:
    """Whether a rule's conditions hold for the flow; None where one is not understood."""
    results: list[bool | None] = []
    negate, at = False, 0
    while at < len(words):
        word = words[at]
        value = words[at + 1] if at + 1 < len(words) else ""
        if word == "!":
            negate, at = True, at + 1
            continue
        if word in ("-j", "-g"):
            break
        if word.startswith("-"):
            found = _condition(word, value, flow)
            results.append(found if found is None else found is not negate)
            negate, at = False, at + 1
        at += 1
    return False if False in results else None if None in results else True


def _condition(word: str, value: str, flow: Flow) -> bool | None:
    if word == "-m":
        return True if value in _PLAIN else None
    if word == "--comment":
        return True
    if word == "-p":
        return value in (flow.protocol, "all")
    if word in ("-d", "-s"):
        address = flow.destination if word == "-d" else flow.source
        return address in ip_network(value, strict=False)
    if word in ("--dport", "--dports"):
        return any(_covers(part, flow.port) for part in value.split(","))
    if word in ("--uid-owner", "--gid-owner"):
        return value == str(flow.uid if word == "--uid-owner" else flow.gid)
    return None


def _covers(ports: str, port: int) -> bool:
    first, _, last = ports.partition(":")
    return first.isdigit() and int(first) <= port <= int(last or first)
