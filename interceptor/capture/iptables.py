"""The back end of iptables: nft and legacy variants, with ipset where the host has it.

Legacy tables cannot be unregistered: a table that nobody used before stays
registered, empty, after `revert`. The nft variant's are deleted again, by the
markers that `restore` leaves in what was not there before us.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from interceptor.capture import ipset, restore, xtables
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Place, Plan
from interceptor.capture.rule import SetName
from interceptor.capture.ruleset import set_names
from interceptor.capture.section import sections
from interceptor.capture.step import Command, Step
from interceptor.host import command, netlink, setsize, xtlock

log = logging.getLogger(__name__)

LOCK_S = "10"
"""How long to wait for the lock that legacy programs share (firewalls hold it while they load)."""


class Iptables:
    """One variant, ``nft`` or ``legacy``.

    ``queue_only``: nothing but the queue rules of the DNS plane, for a host
    whose nftables lacks them.
    """

    def __init__(
        self, variant: str, journal: Journal, *, ipset: bool = True, queue_only: bool = False
    ) -> None:
        self.name = f"iptables-{variant}"
        self._variant = variant
        self._journal = journal
        self._ipset = ipset
        self._queue_only = queue_only
        self._plan: Plan | None = None
        self._sizes: tuple[Plan, Mapping[str, int]] | None = None
        self._markers: dict[int, frozenset[tuple[str, str]]] = {}

    def render(self, plan: Plan) -> tuple[Step, ...]:
        """The steps for a host that has nothing of ours."""
        steps = list(ipset.step({}, self._sets(plan)))
        for version in plan.families:
            chains = self._chains(plan, version)
            bases = frozenset[tuple[str, str]]() if self._variant == "nft" else None
            empty = restore.Saved(bases=bases)
            steps += self._steps(restore.install(chains, empty), chains, version)
        return tuple(steps)

    def expected(self, plan: Plan) -> str:
        """What `observe` gives once the plan is installed."""
        listings = [self._listing(version, plan) for version in (4, 6)]
        return "".join(listings) + ipset.listing(self._sets(plan))

    def observe(self) -> str:
        """Our chains and the jumps into them, family by family, then our sets."""
        texts = []
        for version in (4, 6):
            found = restore.observed(self._saved(version, with_bases=False))
            texts.append(f"# {_family(version)}\n{found}" if found else "")
        return "".join(texts) + ipset.listing(ipset.observe())

    def apply(self, plan: Plan) -> None:
        """Sets first, then one restore a family, then the sets that no rule needs any more."""
        sets = self._sets(plan)
        ipset.apply(sets, self._journal)
        for version in (4, 6):
            saved = self._saved(version)
            chains = self._chains(plan, version)
            if restore.observed(saved) != restore.listing(chains) or _misplaced(saved):
                text = restore.install(chains, saved)
                self._journal.take(self._steps(text, chains, version))
        if self._ipset:
            ipset.revert(keep=sets)
        self._plan = plan

    def update(self, places: Iterable[Place]) -> None:
        """Exchange the elements of the sets; without ipset, the rules."""
        if self._plan is None:
            raise RuntimeError("update before apply")
        if self._queue_only or self._plan.shape == ():
            return  # nothing here looks into what the mesh changes
        plan = self._plan.exchange(places)
        if not self._ipset:
            self.apply(plan)
            return
        text = ipset.script(self._sets(self._plan), self._sets(plan))
        if text:
            command.run(["ipset", "restore"], text)
        self._plan = plan

    def revert(self) -> None:
        """Remove our chains, sets and what was created for them, whoever installed it."""
        for version in (4, 6):
            saved = self._saved(version)
            text = restore.remove(saved)
            if text:
                self._remove(version, text)
            # Looked at anew: nft deletes a chain with what others have put into it meanwhile.
            self._sweep(self._saved(version) if text else saved, version)
        self._markers.clear()
        ipset.revert()
        self._plan = None

    def _sweep(self, saved: restore.Saved, version: int) -> None:
        text = restore.sweep(saved, version)
        if text and not command.run(["nft", "-f", "-"], text, check=False):
            command.run(["nft", "-f", "-"], restore.unmark(saved, version), check=False)

    def _remove(self, version: int, text: str) -> None:
        """Lines one by one where the whole is refused: rather a part than nothing."""
        if command.run(self._restore(version), text, check=False):
            return
        log.warning("%s: removed line by line", _family(version))
        for table, line in restore.singly(text):
            command.run(self._restore(version), f"*{table}\n{line}\nCOMMIT\n", check=False)

    def events(self) -> int | None:
        """nft's notifications, which iptables-nft causes too; legacy has but its lock."""
        return netlink.nftables_events() if self._variant == "nft" else xtlock.events()

    def is_amiss(self) -> bool:
        """Of sets nobody tells: as long as they are there with all their elements, they are
        taken for right. That legacy rules are looked at besides is not to be had so cheaply."""
        wanted = self._wanted_sizes()
        sizes = setsize.observe() if wanted else None
        return sizes is not None and not wanted.items() <= sizes.items()

    def _wanted_sizes(self) -> Mapping[str, int]:
        plan = self._plan
        if plan is None:
            return {}
        if self._sizes is None or self._sizes[0] is not plan:
            sizes = {name: len(elements) for name, elements in self._sets(plan).items()}
            self._sizes = (plan, sizes)
        return self._sizes[1]

    def _chains(self, plan: Plan, version: int) -> tuple[xtables.Chain, ...]:
        chains = xtables.render(plan, version, self._ipset)
        if not self._queue_only:
            return chains
        queues = {xtables.PLACES[s][2] for s in sections(plan) if s.is_queue}
        return tuple(chain for chain in chains if chain.name in queues)

    def _sets(self, plan: Plan) -> ipset.Sets:
        if not self._ipset:
            return {}
        here = [s for s in sections(plan) if s.is_queue or not self._queue_only]
        names: tuple[SetName, ...] = set_names(plan, here)
        return ipset.wanted(plan, names)

    def _listing(self, version: int, plan: Plan) -> str:
        found = restore.listing(self._chains(plan, version))
        return f"# {_family(version)}\n{found}" if found else ""

    def _steps(
        self, text: str, chains: tuple[xtables.Chain, ...], version: int
    ) -> tuple[Step, ...]:
        if not text:
            return ()
        tables = sorted({chain.table for chain in chains})
        why = f"{_family(version)} rules: {', '.join(tables) or 'none'}"
        undo = Command(self._restore(version), restore.undo(chains), tolerant=True)
        return (Step(why, Command(self._restore(version), text), (undo,)),)

    def _restore(self, version: int) -> tuple[str, ...]:
        program = f"{_program(version)}-{self._variant}-restore"
        return (program, "--wait", LOCK_S, "--noflush")

    def _saved(self, version: int, *, with_bases: bool = True) -> restore.Saved:
        save = f"{_program(version)}-{self._variant}-save"
        done = command.run([save], check=False)
        if not done:
            return restore.Saved()
        bases = None
        if self._variant == "nft" and with_bases:
            listed = command.run(["nft", "-j", "list", "chains"], check=False)
            bases = restore.parse_bases(listed.stdout, version) if listed else None
        saved = restore.parse(done.stdout, bases)
        saved = replace(saved, once=self._markers.get(version, frozenset()))
        self._markers[version] = saved.markers()
        return saved


def _misplaced(saved: restore.Saved) -> bool:
    """Whether another's rule came to stand before one of our jumps."""
    for table, chains in saved.tables.items():
        jumps = saved.jumps(table)
        for chain in {chain for chain, _ in jumps}:
            ours = [rule for where, rule in jumps if where == chain]
            if list(chains[chain][: len(ours)]) != ours:
                return True
    return False


def _program(version: int) -> str:
    return "iptables" if version == 4 else "ip6tables"


def _family(version: int) -> str:
    return f"IPv{version}"
