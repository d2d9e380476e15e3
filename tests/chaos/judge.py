"""What the load has seen, held against what may happen. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos import client, mesh
from tests.chaos.mesh import History
from tests.chaos.record import LOST, Record, What
from tests.chaos.window import Effect, Ledger

FLIGHT_S = 0.3
"""A query or packet that was sent so long before a fault may still have been on its way."""
FRESH_S = 2.0
"""A change of the mesh is answered within this."""
DNS = {What.OTHER_UDP, What.OTHER_TCP, What.MESH_UDP, What.MESH_TCP}
LOSSES = {
    What.OTHER_UDP: (Effect.LOSE, Effect.LOSE_QUEUED),
    What.OTHER_TCP: (Effect.LOSE, Effect.LOSE_QUEUED, Effect.LOSE_TCP),
    What.MESH_UDP: (Effect.LOSE, Effect.LOSE_QUEUED, Effect.PASS_UDP),
    What.MESH_TCP: (Effect.LOSE, Effect.LOSE_QUEUED, Effect.LOSE_TCP, Effect.PASS_TCP),
}
"""By which effects a single query may be lost. Where a mesh name may pass, one may be lost."""
PASSED = "3"  # NXDOMAIN: we say it of no name of this mesh, the lab's resolver of all of them


@dataclass
class Tally:
    """What was made and what was lost."""

    made: Counter[str] = field(default_factory=Counter)
    queries: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)  # single queries, by why they may be
    allowed: Counter[str] = field(default_factory=Counter)  # by effect and cause
    slowest_s: dict[str, float] = field(default_factory=dict)  # from the fault to the last effect
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # everything else that may not be
    last_s: float = 0.0
    gap_s: float = 0.0  # longest time without a right answer for a name of others
    gap_at_s: float = 0.0


class Judge:
    """One host's records. What is found stands in ``tally``."""

    def __init__(self, ledger: Ledger, history: History) -> None:
        self._ledger, self._history = ledger, history
        self.tally = Tally()

    def hear(self, record: Record) -> None:
        """One record, once all that was done at its time is known."""
        tally = self.tally
        if record.what is What.STALL:
            return
        tally.made[record.what.value] += 1
        tally.queries[record.what.value] += max(1, len(record.tries))
        if record.what in DNS:
            is_lost_by_us = self._tries(record)
            if record.got == LOST:
                self._lost(record, is_lost_by_us)
            elif record.what in (What.OTHER_UDP, What.OTHER_TCP):
                self._other(record)
            else:
                self._mesh(record)
        elif record.what is What.HTTP:
            self._http(record)
        elif record.what in (What.DIRECT, What.SSH):
            self._direct(record)
        elif record.what is What.INBOUND:
            self._inbound(record)
        else:
            self._kept(record)

    def _lost(self, record: Record, is_lost_by_us: bool) -> None:
        """A whole lookup: only where each of its queries would have been lost without us."""
        if is_lost_by_us:
            self._break(record, "no query of this lookup was answered")
        else:
            self.tally.lost[f"{record.what.value}, whole lookups, LOSE"] += 1

    def _tries(self, record: Record) -> bool:
        """Every query but the last went without an answer. Whether one of them by our doing."""
        is_lost_by_us = False
        times = (*record.tries, record.ended_s) if record.got == LOST else record.tries
        is_tcp = record.what in (What.OTHER_TCP, What.MESH_TCP)
        for sent_s, next_s in pairwise(times):
            end_s = next_s if is_tcp else sent_s + FLIGHT_S
            for effect in LOSSES[record.what]:
                if trouble := self._ledger.allows(effect, sent_s, end_s):
                    self.tally.lost[f"{record.what.value}, {effect.name}: {trouble.cause}"] += 1
                    is_lost_by_us |= effect is not Effect.LOSE
                    break
            else:
                is_lost_by_us = True
                self.tally.lost[f"{record.what.value}, UNEXPLAINED"] += 1
                self._break(record, f"the query at {sent_s:.3f} was not answered")
        return is_lost_by_us

    def _other(self, record: Record) -> None:
        tally = self.tally
        if record.got != mesh.OTHERS[record.asked]:
            self._wrong(record, mesh.OTHERS[record.asked])
        elif record.what is What.OTHER_UDP:
            if tally.last_s and record.ended_s - tally.last_s > tally.gap_s:
                tally.gap_s, tally.gap_at_s = record.ended_s - tally.last_s, tally.last_s
            tally.last_s = max(tally.last_s, record.ended_s)

    def _mesh(self, record: Record) -> None:
        asked, began_s = record.asked, record.tries[0]
        if asked in mesh.VIPS:
            legal = {f"0 {mesh.VIPS[asked]}".strip()}
        else:
            late = lambda when_s: self._ledger.settle(when_s, FRESH_S)  # noqa: E731
            legal = self._history.legal(asked, began_s, record.ended_s, late)
        if record.got in legal or (record.got == PASSED and "pass" in legal):
            return
        if record.got != PASSED:
            self._wrong(record, " | ".join(sorted(legal)))
            return
        effect = Effect.PASS_UDP if record.what is What.MESH_UDP else Effect.PASS_TCP
        self._expect(record, effect, record.tries[-1] - FLIGHT_S, "passed")

    def _http(self, record: Record) -> None:
        if record.got.startswith("200 "):
            late = lambda when_s: self._ledger.settle(when_s, FRESH_S)  # noqa: E731
            legal = {"reviews-v1"}
            if record.asked == mesh.POOL_VIP:
                legal = self._history.backends(record.sent_s, record.ended_s, late)
            if record.got[4:] not in legal:
                self._wrong(record, " | ".join(sorted(legal)))
        else:
            self._expect(record, Effect.CALL, record.sent_s, "failed")

    def _direct(self, record: Record) -> None:
        if record.got.startswith("between"):
            self._wrong(record, "nobody between")
        elif record.got != "direct":
            self._expect(record, Effect.DIRECT, record.sent_s, "failed")

    def _inbound(self, record: Record) -> None:
        if not record.got.startswith("between"):
            self._expect(record, Effect.CALL, record.sent_s, "failed or passed by the sidecar")

    def _kept(self, record: Record) -> None:
        if record.got == "open":
            return
        effect, from_s = Effect.BREAK, record.ended_s - FLIGHT_S
        if record.got.startswith("TimeoutError"):
            from_s = record.ended_s - client.SILENCE_S - FLIGHT_S
        if not record.count:
            effect, from_s = Effect.CALL, record.sent_s
        if record.what is What.STREAM:
            self._expect(record, effect, from_s, "broke" if record.count else "failed")
        else:
            self._break(record, "a connection that is none of ours broke")

    def _expect(self, record: Record, effect: Effect, from_s: float, how: str) -> None:
        """Something happened that an effect of a fault may be."""
        trouble = self._ledger.allows(effect, from_s, record.ended_s)
        if trouble is None:
            self._break(record, f"{how}, and no fault allows it")
            return
        key = f"{record.what.value} {how}: {trouble.cause}"
        if from_s > trouble.end_s + trouble.after_s[effect]:
            key += ", while the agent was away"
        self.tally.allowed[key] += 1
        delay_s = max(0.0, from_s - trouble.begin_s)
        self.tally.slowest_s[key] = max(self.tally.slowest_s.get(key, 0.0), delay_s)

    def _wrong(self, record: Record, legal: str) -> None:
        self.tally.wrong.append(f"{describe(record)}; legal: {legal}")

    def _break(self, record: Record, why: str) -> None:
        self.tally.broken.append(f"{describe(record)}; {why}")


def describe(record: Record) -> str:
    """A record for people."""
    return (
        f"{record.sent_s:.3f} to {record.ended_s:.3f} {record.what.value} {record.asked}: "
        f"{record.got} ({record.count} lines, tries {[round(each, 3) for each in record.tries]})"
    )
