"""Routes and policy rules of a plan, all with protocol number 157, by which they are found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

from interceptor.capture.journal import Journal
from interceptor.capture.plan import Plan, Route
from interceptor.capture.rule import Network
from interceptor.capture.step import Command, Step
from interceptor.host import command
from interceptor.host.layout import ALIAS4_NETWORKS, ALIAS6_NETWORK

PROTOCOL = "157"
"""Of no routing daemon in iproute2's rt_protos (numbers above 4 are for anybody to choose)."""


def render(plan: Plan) -> tuple[Step, ...]:
    """The steps that a host without any of them needs."""
    steps = [_route_step(route) for route in plan.routes]
    for route in plan.routes:
        if route.table:
            steps.append(_rule_step(route, plan.steering.tproxy_mark))
    return tuple(steps)


def _route_step(route: Route) -> Step:
    words = [route.kind, str(route.destination), "dev", "lo"]
    if route.source is not None:
        words += ["src", str(route.source)]
    if route.table:
        words += ["table", str(route.table)]
    return _step(route, "route", [*words, "proto", PROTOCOL])


def _rule_step(route: Route, mark: int) -> Step:
    words = ["fwmark", f"{mark:#x}", "lookup", str(route.table), "protocol", PROTOCOL]
    return _step(route, "rule", words)


def _step(route: Route, what: str, words: list[str]) -> Step:
    ip = ("ip", f"-{route.destination.version}", what)
    # Tolerant: a host may have the same route already, or its lo no IPv6.
    undo = Command((*ip, "del", *words), tolerant=True)
    return Step(route.why, Command((*ip, "add", *words), tolerant=True), (undo,))


def aliased(plan: Plan, *, with_vips: bool) -> Plan:
    """The plan with routes for the aliases that the ebpf programs rewrite destinations to.

    They are local, so that nothing of them ever leaves, and have this VM's
    source address, so that the sidecar sees who called. ``with_vips``: another
    back end steers TCP, and needs the routes of the VIP ranges.
    """
    if not plan.planes:
        return plan
    kept = [r for r in plan.routes if with_vips or r.kind != "unicast"]
    why = "captured connections are rewritten to aliases: local, and from this VM's address"
    sources = {address.version: address for address in plan.sources}
    networks: tuple[Network, ...] = (*ALIAS4_NETWORKS, ALIAS6_NETWORK)
    for network in networks:
        source = sources.get(network.version)
        # All of 127/8 is local anyhow; without a source there is nothing to add.
        if network.version in plan.families and (source or network.version == 6):
            kept.append(Route(network, "local", why, source))
    return replace(plan, routes=tuple(kept))


def parse(version: int, routes: str, rules: str) -> tuple[str, ...]:
    """Ours among `ip -json route show table all` and `ip -json rule`, as words of `ip`."""
    found = []
    for entry in _entries(routes):
        found.append(f"-{version} route " + _route_words(version, entry))
    for entry in _entries(rules):
        mark, table = entry.get("fwmark", "0x0"), entry.get("table", "main")
        found.append(f"-{version} rule fwmark {mark} lookup {table} protocol {PROTOCOL}")
    return tuple(sorted(found))


def _entries(text: str) -> list[Mapping[str, object]]:
    entries = json.loads(text or "[]")
    return [entry for entry in entries if str(entry.get("protocol")) == PROTOCOL]


def _route_words(version: int, entry: Mapping[str, object]) -> str:
    """One route as `_route_step` would write it."""
    dst = str(entry["dst"])
    everything = "0.0.0.0/0" if version == 4 else "::/0"
    network = ip_network(everything if dst == "default" else dst)
    kind = str(entry.get("type", "unicast"))
    words = [kind, str(network)]
    if "dev" in entry:
        words += ["dev", str(entry["dev"])]
    if "prefsrc" in entry:
        words += ["src", str(ip_address(str(entry["prefsrc"])))]
    table = str(entry.get("table", "main"))
    if table != ("local" if kind == "local" else "main"):
        words += ["table", table]
    return " ".join([*words, "proto", PROTOCOL])


def observe() -> str:
    """Our routes and rules on the host, one a line. A family that the host lacks has none."""
    lines: list[str] = []
    for version in (4, 6):
        lines += parse(version, *_listings(version))
    return "".join(f"ip {line}\n" for line in lines)


def _listings(version: int) -> tuple[str, str]:
    """Routes and rules of one family, by one run of ip: each is a line of JSON."""
    argv = ["ip", f"-{version}", "-json", "-batch", "-"]
    done = command.run(argv, "route show table all\nrule\n", check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return (lines[0], lines[1]) if done and len(lines) == 2 else ("", "")


def expected(plan: Plan) -> str:
    """What `observe` gives once the plan's routes are in."""
    lines = (_line(step.do.argv) for step in render(plan))
    return "".join(f"ip {line}\n" for line in sorted(lines))


def _line(argv: tuple[str, ...]) -> str:
    return " ".join(word for word in argv[1:] if word != "add")


def apply(plan: Plan, journal: Journal) -> None:
    """Add what is missing, then delete what the plan no longer has.

    A route with another source stands in the way of its successor, which is
    why that replaces it.
    """
    present = set(observe().splitlines())
    missing = [step for step in render(plan) if f"ip {_line(step.do.argv)}" not in present]
    taken = {_destination(line) for line in present}
    for step in missing:
        if _destination(f"ip {_line(step.do.argv)}") in taken:
            argv = tuple("replace" if word == "add" else word for word in step.do.argv)
            step = replace(step, do=replace(step.do, argv=argv))
        journal.take([step])
    _delete(set(observe().splitlines()) - set(expected(plan).splitlines()))


def _destination(line: str) -> str:
    """A route's kind, destination and table: what the kernel has once only; a rule as it is."""
    return re.sub(r" src \S+", "", line) if " route " in line else line


def revert() -> None:
    """Delete every route and rule of ours, rules first."""
    _delete(set(observe().splitlines()))


def _delete(lines: set[str]) -> None:
    for line in sorted(lines, key=lambda text: (" rule " not in text, text)):
        ip, family, what, *words = line.split()
        command.run([ip, family, what, "del", *words], check=False)
