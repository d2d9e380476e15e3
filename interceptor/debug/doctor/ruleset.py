"""Others' rules as `packet` reads them: from `nft -j list ruleset`, and from iptables-save."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from interceptor.debug.doctor.packet import FINAL, OURS, Chain, Match, Rule, Ruleset

TABLE, PREFIX = "interceptor", "INTERCEPTOR_"
BUILT_IN = {
    "PREROUTING": "prerouting",
    "INPUT": "input",
    "FORWARD": "forward",
    "OUTPUT": "output",
    "POSTROUTING": "postrouting",
}
PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
"""linux/netfilter_ipv4.h, enum nf_ip_hook_priorities; of nat those on the way out and in."""
FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}

Tree = Mapping[str, object]
Sets = Mapping[tuple[str, str], tuple[str, ...]]
"""Table and name of a set of nft → its elements."""


def merge(rulesets: Iterable[Ruleset]) -> Ruleset:
    """All of them as one."""
    return Ruleset({key: chain for each in rulesets for key, chain in each.chains.items()})


# --- nft


def parse_nft(text: str) -> Ruleset:
    """Read `nft -j list ruleset`; our table and those of iptables-nft are left out."""
    items = cast("list[dict[str, Tree]]", json.loads(text or "{}").get("nftables", []))
    chains: dict[tuple[str, str], Chain] = {}
    sets: dict[tuple[str, str], tuple[str, ...]] = {}
    for item in items:
        if (made := item.get("set")) is not None:
            sets[_table(made), str(made["name"])] = tuple(_values(made.get("elem", [])))
        elif (made := item.get("chain")) is not None:
            chain = _chain(made)
            if chain is not None:
                chains[chain.table, chain.name] = chain
        elif (made := item.get("rule")) is not None:
            key = _table(made), str(made["chain"])
            if key in chains:
                more = tuple(_rules(made, sets, key[0]))
                chains[key] = replace(chains[key], rules=(*chains[key].rules, *more))
    foreign = {key[0] for key, chain in chains.items() if _is_of_iptables(chain)}
    return Ruleset({key: chain for key, chain in chains.items() if key[0] not in foreign})


def _table(made: Tree) -> str:
    return f"nft {made['family']} {made['table']}"


def _chain(made: Tree) -> Chain | None:
    versions = FAMILIES.get(str(made["family"]))
    if versions is None or made["table"] == TABLE:
        return None
    return Chain(
        table=_table(made),
        name=str(made["name"]),
        versions=versions,
        hook=str(made.get("hook", "")),
        kind=str(made.get("type", "filter")),
        priority=int(str(made.get("prio", 0))),
        policy=str(made.get("policy", "accept")),
    )


def _is_of_iptables(chain: Chain) -> bool:
    """iptables-nft's tables, whose rules nft does not tell in full."""
    words = chain.table.split()
    return chain.name in BUILT_IN and words[1] in ("ip", "ip6") and words[2] in PRIORITIES


def _rules(made: Tree, sets: Sets, table: str) -> Iterator[Rule]:
    """One rule; one for each element of a verdict map."""
    matches: list[Match] = []
    text = f"{table} {made['chain']} handle {made.get('handle', '?')}"
    for statement in cast("list[Tree]", made.get("expr", [])):
        kind = next(iter(statement))
        body = statement[kind]
        if kind == "match":
            matches += _matches(cast("Tree", body), sets, table)
        elif kind == "vmap":
            yield from _mapped(cast("Tree", body), matches, text)
        elif kind in ("jump", "goto"):
            target = str(cast("Tree", body)["target"])
            yield Rule(tuple(matches), kind, target, text)
        elif kind in FINAL or kind == "return":
            yield Rule(tuple(matches), kind, text=f"{text}: {kind}")


def _mapped(body: Tree, matches: Sequence[Match], text: str) -> Iterator[Rule]:
    data = cast("Tree", body["data"])
    elements = cast("list[list[object]]", data.get("set", []) if isinstance(data, dict) else [])
    before, key = _key(cast("Tree", body["key"]))
    for element, verdict in elements:
        kind = next(iter(cast("Tree", verdict)))
        target = cast("Tree", verdict)[kind]
        name = str(target.get("target", "")) if isinstance(target, dict) else ""
        match = Match(key, tuple(_values(element)))
        yield Rule((*matches, *before, match), kind, name, f"{text}: {kind}")


def _matches(body: Tree, sets: Sets, table: str) -> Iterator[Match]:
    before, key = _key(body["left"])
    yield from before
    operator, right = str(body.get("op", "==")), body["right"]
    if operator not in ("==", "!=", "in"):
        key = "?"
    if isinstance(right, str) and right.startswith("@"):
        values = sets.get((table, right[1:]), ())
        key = key if values else "?"
    else:
        values = tuple(_values(right))
    yield Match(key, values, negated=operator == "!=")


META = {
    "l4proto": "protocol",
    "protocol": "version",
    "nfproto": "version",
    "oifname": "device",
    "iifname": "device",
    "oif": "device",
    "iif": "device",
    "skuid": "uid",
}


def _key(left: object) -> tuple[tuple[Match, ...], str]:
    """What an expression stands for, and what it takes for granted."""
    if not isinstance(left, dict):
        return (), "?"
    if "meta" in left:
        return (), META.get(str(left["meta"].get("key")), "?")
    if "ct" in left:
        key = str(left["ct"].get("key"))
        return (), key if key in ("state", "status") else "?"
    payload = left.get("payload", {})
    protocol, field = str(payload.get("protocol", "")), str(payload.get("field", ""))
    if field in ("dport", "sport"):
        taken = () if protocol == "th" else (Match("protocol", (protocol,)),)
        return taken, field
    if protocol in ("ip", "ip6") and field in ("daddr", "saddr"):
        return (), field
    return (), "?"


def _values(right: object) -> Iterator[str]:
    """Numbers, names, ranges and networks of an expression; what is none of them is left out."""
    if isinstance(right, list):
        for each in right:
            yield from _values(each)
    elif isinstance(right, dict):
        if "set" in right:
            yield from _values(right["set"])
        elif "elem" in right:
            yield from _values(right["elem"].get("val"))
        elif "range" in right:
            first, last = right["range"]
            yield f"{first}-{last}"
        elif "prefix" in right:
            yield f"{right['prefix']['addr']}/{right['prefix']['len']}"
    elif right is not None:
        yield str(right)


# --- iptables

KEYS = {
    **dict.fromkeys(("-p", "--protocol"), "protocol"),
    **dict.fromkeys(("-s", "--source"), "saddr"),
    **dict.fromkeys(("-d", "--destination"), "daddr"),
    **dict.fromkeys(("--dport", "--dports", "--destination-port"), "dport"),
    **dict.fromkeys(("--sport", "--sports", "--source-port"), "sport"),
    **dict.fromkeys(("-o", "--out-interface", "-i", "--in-interface"), "device"),
    **dict.fromkeys(("--ctstate", "--state"), "state"),
    "--uid-owner": "uid",
    "--ctstatus": "status",
}
TARGETS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "REDIRECT": "redirect"} | {
    "DNAT": "dnat",
    "NFQUEUE": "queue",
    "TPROXY": "tproxy",
    "RETURN": "return",
}
GOES_ON = (
    "NFLOG",
    "LOG",
    "MARK",
    "NOTRACK",
    "CONNMARK",
    "CT",
    "TCPMSS",
    "MASQUERADE",
    "SNAT",
    "SET",
)
UNWEIGHED = ("-m", "--match", "--comment", "--tcp-flags")
"""Words whose value says nothing about the packet; ``--tcp-flags`` takes two."""


def parse_save(text: str, program: str) -> Ruleset:
    """Read iptables-save of one program (``iptables``, ``ip6tables``, ``iptables-legacy``, ...)."""
    versions = (6,) if program.startswith("ip6") else (4,)
    chains: dict[tuple[str, str], Chain] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            key = f"{program} {table}", name
            chains[key] = Chain(
                table=key[0],
                name=name,
                versions=versions,
                hook=BUILT_IN.get(name, ""),
                kind=table,
                priority=PRIORITIES.get(table, 0),
                policy=policy.lower() if policy != "-" else "accept",
            )
        elif line.startswith("-A ") and not line.startswith(f"-A {PREFIX}"):
            rule_of, rule = _rule(line, f"{program} {table}")
            key = f"{program} {table}", rule_of
            if key in chains:
                chains[key] = replace(chains[key], rules=(*chains[key].rules, rule))
    return Ruleset(chains)


def _rule(line: str, table: str) -> tuple[str, Rule]:
    words = iter(shlex.split(line)[1:])
    chain, matches, verdict, target, negated = next(words), [], "", "", False
    for word in words:
        if word == "!":
            negated = True
            continue
        if word in ("-j", "-g"):
            name = next(words, "")
            verdict = TARGETS.get(name, "")
            if name.startswith(PREFIX):
                verdict = OURS
            elif not verdict and name not in GOES_ON:
                verdict, target = "jump" if word == "-j" else "goto", name
            break  # what follows is the target's
        if word in UNWEIGHED:
            next(words, "")
            if word == "--tcp-flags":
                next(words, "")
        elif word in KEYS:
            values = tuple(_range(each, KEYS[word]) for each in next(words, "").split(","))
            matches.append(Match(KEYS[word], values, negated))
        elif word.startswith("-"):
            matches.append(Match("?", (word,)))
        negated = False
    return chain, Rule(tuple(matches), verdict, target, f"{table}: {line}")


def _range(text: str, key: str) -> str:
    """Ranges of ports are written with a colon."""
    return text.replace(":", "-") if key.endswith("port") else text
