"""The back end of nftables: one table, replaced and updated by single transactions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from interceptor.capture import nfttext, ruleset
from interceptor.capture.journal import Journal
from interceptor.capture.nftmatch import Json
from interceptor.capture.plan import Place, Plan, Plane
from interceptor.capture.rule import Network, SetName
from interceptor.capture.section import Section, sections
from interceptor.capture.step import Command, Step
from interceptor.host import command, netlink

FAMILIES = ("inet", "ip", "ip6")
"""Where a table of ours may stand, whatever version put it there."""
FEW_DELETIONS = 4
"""nft 1.0.6 takes 10 ms for each deleted element of 10,000; all of them anew take 0.1 s."""
MANY_ELEMENTS = 50_000
"""nft 1.0.6 reads a set whole to change anything in it: 1.4 s at 100,000 elements for one more,
10 s for others; a table anew takes 0.9 s, at the price of a packet that may find it empty."""
DELETE = ("nft", "delete", "table", "inet", ruleset.TABLE["table"])


class Nftables:
    """``queue``: the kernel has nft_queue; without it another back end queues for us."""

    name = "nftables"

    def __init__(self, journal: Journal, *, queue: bool = True) -> None:
        self._journal = journal
        self._queue = queue
        self._plan: Plan | None = None

    def render(self, plan: Plan) -> tuple[Step, ...]:
        """The one step that makes any host follow the plan; none where there is nothing to do."""
        if not self._sections(plan):
            return ()
        do = transaction(ruleset.render(plan, self._queue))
        undo = Command(DELETE, tolerant=True)
        return (Step("table inet interceptor, in one transaction", do, (undo,)),)

    def text(self, plan: Plan) -> str:
        """The table in nft's own language, for people."""
        return nfttext.text(ruleset.render(plan, self._queue)) if self._sections(plan) else ""

    def expected(self, plan: Plan) -> str:
        """What `observe` gives once the plan is installed."""
        if not self._sections(plan):
            return ""
        commands = ruleset.render(plan, self._queue)
        return _normal(_mapping(item["add"]) for item in commands if "add" in item)

    def observe(self) -> str:
        """Our table, one object a line; empty without one."""
        done = command.run(["nft", "-j", "list", "table", *DELETE[3:]], check=False)
        return _normal(json.loads(done.stdout)["nftables"]) if done else ""

    def apply(self, plan: Plan) -> None:
        """Make the table as the plan wants it, unless it is so already."""
        observed = self.observe()
        if observed != self.expected(plan):
            if not self._sections(plan):
                self.revert()
            elif not observed or len(plan.places) > MANY_ELEMENTS:
                self._journal.take(self.render(plan))
            else:
                self._renew(plan, observed)
        self._plan = plan

    def _renew(self, plan: Plan, observed: str) -> None:
        """Exchange the rules where they stand; a table of another making is replaced."""
        objects = [json.loads(line) for line in observed.splitlines()]
        chains = [item["chain"]["name"] for item in objects if "chain" in item]
        sets = [item["set"]["name"] for item in objects if "set" in item]
        do = transaction(ruleset.renew(plan, self._queue, chains, sets))
        if not command.run(do.argv, do.stdin, check=False):
            self._journal.take(self.render(plan))

    def update(self, places: Iterable[Place]) -> None:
        """Exchange elements of the outbound sets, in one transaction."""
        if self._plan is None:
            raise RuntimeError("update before apply")
        if Plane.TCP not in self._plan.planes:
            return  # no rule here looks into what the mesh changes
        plan = self._plan.exchange(places)
        old, new = set(self._plan.places), set(plan.places)
        if len(new) > MANY_ELEMENTS and old != new:
            do = self.render(plan)[0].do
            command.run(do.argv, do.stdin)
        elif old != new:
            do = transaction(list(_exchange(plan, old, new)))
            command.run(do.argv, do.stdin)
        self._plan = plan

    def revert(self) -> None:
        """Delete our table, whoever put it there, in whatever family."""
        listed = command.run(["nft", "list", "tables"], check=False).stdout.splitlines()
        for family in FAMILIES:
            if f"table {family} {ruleset.TABLE['table']}" in listed:
                command.run(["nft", "delete", "table", family, ruleset.TABLE["table"]])
        self._plan = None

    def events(self) -> int | None:
        """nft's notifications. The descriptor belongs to the caller."""
        return netlink.nftables_events()

    def is_amiss(self) -> bool:
        """Everything is told."""
        return False

    def _sections(self, plan: Plan) -> tuple[Section, ...]:
        return tuple(s for s in sections(plan) if self._queue or not s.is_queue)


def _exchange(plan: Plan, old: set[Network], new: set[Network]) -> Iterator[Json]:
    """Only what differs, unless that takes longer than everything anew; both families at once."""
    for version in plan.families:
        name = f"{SetName.OUTBOUND.value}{version}"
        gone, fresh = _sorted(old - new, version), _sorted(new - old, version)
        if len(gone) <= FEW_DELETIONS:
            yield from ruleset.exchange(name, gone, fresh)
        else:
            elements = map(ruleset.element, plan.networks(SetName.OUTBOUND, version))
            yield from ruleset.refill(name, list(elements))


def _sorted(networks: Iterable[Network], version: int) -> list[Network]:
    here = [network for network in networks if network.version == version]
    return sorted(here, key=lambda network: int(network.network_address))


def transaction(commands: Sequence[Json]) -> Command:
    """Commands as one run of nft. In its own language where its JSON would lose something."""
    if nfttext.needs_text(commands):
        return Command(("nft", "-f", "-"), nfttext.text(commands))
    return Command(("nft", "-j", "-f", "-"), json.dumps({"nftables": list(commands)}) + "\n")


def _normal(objects: Iterable[Mapping[str, object]]) -> str:
    """Table, sets, chains, then rules in their order: without handles, counters and layout."""
    order = ("table", "set", "chain", "rule")
    lines: dict[str, list[str]] = {kind: [] for kind in order}
    for item in objects:
        ((kind, body),) = item.items()
        if kind in lines:
            fields = {key: value for key, value in _mapping(body).items() if key != "handle"}
            if isinstance(elements := fields.get("elem"), list):
                fields["elem"] = sorted(elements, key=str)
            lines[kind].append(json.dumps({kind: _still(fields)}, sort_keys=True))
    rules = _by_chain(lines["rule"])
    found = sorted(set(lines["table"])) + sorted(lines["set"]) + sorted(lines["chain"]) + rules
    return "".join(f"{line}\n" for line in found)


def _by_chain(rules: list[str]) -> list[str]:
    """Sorted by their chain, otherwise in the order in which they stand."""
    return sorted(rules, key=lambda line: str(json.loads(line)["rule"]["chain"]))


def _still(value: object) -> object:
    """A value with counters at zero, and without the level that nft's JSON never shows."""
    if isinstance(value, Mapping):
        if "packets" in value:
            return {"bytes": 0, "packets": 0}
        return {key: _still(item) for key, item in value.items() if key != "level"}
    return [_still(item) for item in value] if isinstance(value, list | tuple) else value


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"nft: an object was expected, not {value!r}")
    return value
