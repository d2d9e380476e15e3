"""Named sets of the iptables back end, changed in place while rules look into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from interceptor.capture.argument import set_name
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Plan
from interceptor.capture.rule import Network, SetName
from interceptor.capture.step import Command, Step
from interceptor.host import command

PREFIX = "interceptor_"
MAXIMUM = 1_048_576
"""Elements of one set. ipset's own default, 65536, is less than a large mesh has."""

Sets = Mapping[str, frozenset[Network]]


def wanted(plan: Plan, names: Iterable[SetName]) -> Sets:
    """Every set of a plan with its elements."""
    return {
        set_name(name, version): frozenset(plan.networks(name, version))
        for name in names
        for version in plan.families
    }


def parse(text: str) -> Sets:
    """Our sets in the output of `ipset save`."""
    found: dict[str, set[Network]] = {}
    for line in text.splitlines():
        verb, name, *rest = line.split()
        if not name.startswith(PREFIX):
            continue
        elements = found.setdefault(name, set())
        if verb == "add":
            elements.add(ip_network(rest[0]))
    return {name: frozenset(elements) for name, elements in found.items()}


def script(old: Sets, new: Sets) -> str:
    """The text of `ipset restore` that makes ``old`` into ``new``.

    Sets that are wanted no more stay, since rules may look into them yet. What
    is added comes first, so that no address is uncovered meanwhile.
    """
    out: list[str] = []
    for name, elements in new.items():
        if name not in old:
            family = "inet6" if name.endswith("6") else "inet"
            out.append(f"create {name} hash:net family {family} maxelem {MAXIMUM} -exist")
        before = old.get(name, frozenset())
        out += [f"add {name} {element} -exist" for element in _sorted(elements - before)]
        out += [f"del {name} {element} -exist" for element in _sorted(before - elements)]
    return "".join(f"{line}\n" for line in out)


def _sorted(elements: Iterable[Network]) -> list[Network]:
    return sorted(elements, key=lambda network: (int(network.network_address), network.prefixlen))


def step(old: Sets, new: Sets) -> tuple[Step, ...]:
    """`script` as a step; none where nothing changes."""
    text = script(old, new)
    if not text:
        return ()
    undo = tuple(
        Command(("ipset", "destroy", name), tolerant=True) for name in new if name not in old
    )
    return (Step("networks to look up", Command(("ipset", "restore"), text), undo),)


def listing(sets: Sets) -> str:
    """Sets with their elements, one a line, sorted."""
    lines: list[str] = []
    for name in sorted(sets):
        lines.append(f"set {name}")
        lines += [f"add {name} {element}" for element in _sorted(sets[name])]
    return "".join(f"{line}\n" for line in lines)


def observe() -> Sets:
    """Our sets on the host; none without ipset."""
    names = command.run(["ipset", "list", "-n"], check=False).stdout.split()
    ours = [name for name in names if name.startswith(PREFIX)]
    texts = (command.run(["ipset", "save", name], check=False).stdout for name in ours)
    return parse("".join(texts))


def apply(new: Sets, journal: Journal) -> None:
    """Create what is missing and change the elements, before rules that look into them."""
    journal.take(step(observe(), new))


def revert(keep: Iterable[str] = ()) -> None:
    """Destroy our sets but those to keep, after the rules that looked into them are gone."""
    kept = set(keep)
    names = command.run(["ipset", "list", "-n"], check=False).stdout.split()
    for name in names:
        if name.startswith(PREFIX) and name not in kept:
            command.run(["ipset", "destroy", name], check=False)
