"""Others' rules of nft that a packet meets: walked as the kernel does, as far as they are plain.

Pure. A condition that is not understood makes its rule one of which nobody can say, and so
all that stand behind an `accept` with such a one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import cast

from interceptor.capture import neighbour, nfttext, restore
from interceptor.capture.foreign import TAKES, Foreign
from interceptor.capture.plan import Flow
from interceptor.capture.rule import Hook
from interceptor.capture.ruleset import TABLE

Json = Mapping[str, object]

DEPTH = 8  # jumps that are followed: nft itself allows 16


def parse(text: str, flow: Flow, limit: int) -> Iterator[Foreign]:
    """Read `nft -j list ruleset`. Chains of iptables-nft are left to `parse_saved`."""
    chains: dict[tuple[str, str, str], list[Json]] = {}
    bases: list[Json] = []
    for item in json.loads(text or "{}").get("nftables", ()):
        if "chain" in item:
            bases.append(item["chain"])
        elif "rule" in item:
            rule = item["rule"]
            chains.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
    for base in bases:
        if _is_before(base, flow, limit):
            yield from _walk_base(base, chains, flow)


def _is_before(base: Json, flow: Flow, limit: int) -> bool:
    family, table = base.get("family"), base.get("table")
    hook = "output" if flow.hook is Hook.OUTPUT else "prerouting"
    if base.get("hook") not in ((hook, "postrouting") if limit > 0 else (hook,)):
        return False
    if family not in ("inet", "ip" if flow.destination.version == 4 else "ip6"):
        return False
    is_of_iptables = family != "inet" and base.get("name") in restore.BUILT_IN
    return table != TABLE["table"] and not is_of_iptables and _priority(base) < limit


def _priority(base: Json) -> int:
    found = base.get("prio")
    return found if isinstance(found, int) else 0


def _walk_base(
    base: Json, chains: Mapping[tuple[str, str, str], list[Json]], flow: Flow
) -> Iterator[Foreign]:
    family, table, name = (str(base[key]) for key in ("family", "table", "name"))
    where = f"nft {family} {table} {name}, {base['hook']} priority {_priority(base)}"
    walk = _Walk(where, neighbour.owner(table, name), chains, flow)
    yield from walk.chain((family, table, name), True, 0)
    if base.get("policy") == "drop" and not walk.is_over:
        matches = True if walk.is_sure else None
        yield Foreign(where, "policy drop", "drop", walk.owner, matches)


class _Walk:
    """One packet's way through the rules of a base chain."""

    def __init__(
        self,
        where: str,
        owner: str,
        chains: Mapping[tuple[str, str, str], list[Json]],
        flow: Flow,
    ) -> None:
        self._where, self.owner, self._chains, self._flow = where, owner, chains, flow
        self.is_over = False  # the packet has met a verdict for certain
        self.is_sure = True  # nothing before could have decided otherwise

    def chain(self, place: tuple[str, str, str], sure: bool, depth: int) -> Iterator[Foreign]:
        for rule in self._chains.get(place, ()):
            if self.is_over or depth > DEPTH:
                return
            expressions = cast("Sequence[Json]", rule.get("expr", ()))
            matches = _all(_matches(each, self._flow) for each in expressions)
            if matches is False:
                continue
            verdict = _verdict(expressions)
            certain = matches is True and sure and self.is_sure
            if verdict in ("jump", "goto"):
                target = next(each[verdict] for each in expressions if verdict in each)
                name = str(cast("Json", target)["target"])
                yield from self.chain((*place[:2], name), certain, depth + 1)
            elif verdict == "return" and matches:
                return
            elif verdict in TAKES:
                text = _words(expressions)
                yield Foreign(self._where, text, verdict, self.owner, True if certain else None)
                self.is_over = certain
            elif verdict == "accept":
                self.is_over = certain
                self.is_sure = self.is_sure and certain


def _verdict(expressions: Sequence[Json]) -> str:
    wanted = (*TAKES, "accept", "return", "jump", "goto")
    return next((name for each in expressions for name in each if name in wanted), "")


def _all(found: Iterator[bool | None]) -> bool | None:
    every = tuple(found)
    return False if False in every else None if None in every else True


STATEMENTS = ("counter", "log", "comment", "limit", *TAKES, "accept", "return", "jump", "goto")


def _matches(expression: Json, flow: Flow) -> bool | None:
    if any(name in STATEMENTS for name in expression):
        return True
    match = expression.get("match")
    if not isinstance(match, Mapping) or match.get("op") not in ("==", "!=", "in"):
        return None
    value = _value(match.get("left"), flow)
    found = None if value is None else _holds(match.get("right"), value)
    if found is None:
        return None
    return found is not (match["op"] == "!=")


def _value(left: object, flow: Flow) -> str | None:
    """What the packet has there, as text; None for what nobody here knows."""
    if not isinstance(left, Mapping):
        return None
    if isinstance(payload := left.get("payload"), Mapping):
        key = f"{payload.get('protocol')} {payload.get('field')}"
    elif isinstance(meta := left.get("meta"), Mapping):
        key = f"meta {meta.get('key')}"
    else:
        return None
    family = "ip" if flow.destination.version == 4 else "ip6"
    known: dict[str, object] = {
        f"{family} daddr": flow.destination,
        f"{family} saddr": flow.source,
        f"{flow.protocol} dport": flow.port,
        "th dport": flow.port,
        "ip protocol": flow.protocol,
        "meta l4proto": flow.protocol,
        "meta nfproto": f"ipv{flow.destination.version}",
        "meta skuid": flow.uid,
        "meta skgid": flow.gid,
    }
    foreign = ("udp dport" if flow.protocol == "tcp" else "tcp dport", "ip6 daddr", "ip daddr")
    if key in known:
        value = known[key]
        return None if value is None else str(value)
    return "" if key in foreign else None


def _holds(right: object, value: str) -> bool | None:
    if isinstance(right, list):
        found = tuple(_holds(each, value) for each in right)
        return True if True in found else None if None in found else False
    if isinstance(right, Mapping):
        if isinstance(inner := right.get("set"), list):
            return _holds(inner, value)
        if isinstance(prefix := right.get("prefix"), Mapping):
            return _within(f"{prefix['addr']}/{prefix['len']}", value)
        if isinstance(ends := right.get("range"), list) and value.isdigit():
            return int(ends[0]) <= int(value) <= int(ends[1])
        return None
    if isinstance(right, str) and right.startswith("@"):
        return None
    return str(right) == value


def _within(network: str, value: str) -> bool:
    try:
        return ip_address(value) in ip_network(network, strict=False)
    except ValueError:
        return False


def _words(expressions: Sequence[Json]) -> str:
    """A rule for people, as near to nft's own language as we speak it."""
    return " ".join(filter(None, map(_word, expressions)))


def _word(expression: Json) -> str:
    if "counter" in expression:
        return ""
    ((kind, body),) = expression.items()
    try:
        return nfttext.statement(expression)
    except (ValueError, KeyError, TypeError):
        return kind if not isinstance(body, Mapping) else f"{kind} {_fields(body)}"


def _fields(body: Json) -> str:
    return " ".join(f"{key} {value}" for key, value in body.items())
