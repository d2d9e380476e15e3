"""What would have become of each attempt of a capture: the decisions joined to it. Pure.

Who decides is a `Judge`, made of a configuration and a mesh by the top level. What is told is
an `Event`, as a live agent would tell it, with the capture's numbers beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Protocol

from interceptor.debug import event
from interceptor.debug.attempt import Attempt
from interceptor.debug.event import Event, Kind
from interceptor.mesh.model import Address

PLANE = "replay"


@dataclass(frozen=True, slots=True)
class Fate:
    """What is decided about one attempt.

    ``verdict``: answer, nodata, nxdomain, pass; outbound, inbound, dns, pass. ``answers`` are
    the data of the records, in the mesh's order (an agent rotates them). ``dialled`` is where
    the process would have called instead, since the name that it asked before would have been
    answered otherwise.
    """

    verdict: str
    rule: int = 0
    why: str = ""
    to: str = ""
    name: str = ""
    qtype: str = ""
    rcode: str = ""
    answers: tuple[str, ...] = ()
    host: str = ""
    cluster: str = ""
    endpoints: tuple[str, ...] = ()
    dialled: str = ""

    @property
    def effect(self) -> tuple[object, ...]:
        """What a process or a peer would notice: two fates differ if this does. Which rule it
        was, and in which words, nobody does; nor the order of answers."""
        return (
            *(self.verdict, self.rcode, self.to, self.host, self.cluster, self.dialled),
            *(frozenset(self.answers), frozenset(self.endpoints)),
        )


class Judge(Protocol):
    """One configuration with its mesh, asked what it would do."""

    def query(self, attempt: Attempt) -> Fate:
        """The fate of a query."""
        ...

    def connection(self, attempt: Attempt) -> Fate:
        """The fate of a connection attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """One attempt with its fate. ``again``: how often it was sent again."""

    attempt: Attempt
    again: int
    fate: Fate


def replay(attempts: Sequence[Attempt], again: Sequence[int], judge: Judge) -> Iterator[Replayed]:
    """Each attempt with its fate, in the capture's order."""
    fates: list[Fate] = []
    for attempt, times in zip(attempts, again, strict=True):
        if attempt.is_query:
            fate = judge.query(attempt)
        else:
            fate = _called(attempt, fates[attempt.asked] if attempt.asked >= 0 else None, judge)
        fates.append(fate)
        yield Replayed(attempt, times, fate)


def _called(attempt: Attempt, asked: Fate | None, judge: Judge) -> Fate:
    """A connection's fate, where it would have gone by the answer to the query before it."""
    if asked is None:
        return judge.connection(attempt)
    if asked.verdict == "pass":
        return replace(judge.connection(attempt), name=asked.name)
    told = addresses(asked, attempt.destination.version)
    if not told:
        fate = judge.connection(attempt)
        return replace(fate, name=asked.name, why=f"{fate.why}; {asked.name} would have no address")
    if attempt.destination in told:
        return replace(judge.connection(attempt), name=asked.name)
    fate = judge.connection(replace(attempt, destination=told[0]))
    return replace(fate, name=asked.name, dialled=event.end(str(told[0]), attempt.port))


def addresses(asked: Fate, version: int) -> list[Address]:
    """The addresses of one family that an answer told."""
    if asked.qtype not in ("A", "AAAA", "ANY"):
        return []
    found: list[Address] = []
    for data in asked.answers:
        try:
            address = ip_address(data)
        except ValueError:
            continue  # a CNAME's target
        if address.version == version:
            found.append(address)
    return found


def tell(replayed: Replayed) -> Event:
    """The decision in the words of `trace`."""
    attempt, fate = replayed.attempt, replayed.fate
    return Event(
        time_s=attempt.time_ns / 1e9,
        kind=Kind.DNS if attempt.is_query else Kind.CONNECTION,
        plane=PLANE,
        verdict=fate.verdict,
        protocol=attempt.protocol,
        source=str(attempt.source),
        source_port=attempt.source_port,
        destination=str(attempt.destination),
        port=attempt.port,
        name=fate.name,
        qtype=fate.qtype,
        answers=fate.answers,
        host=fate.host,
        rule=fate.rule,
        why=fate.why,
        to=fate.to,
        uid=attempt.sender.uid,
    )


def encode(replayed: Replayed) -> dict[str, object]:
    """The event's fields, and what only a capture and a rehearsal know."""
    attempt, fate = replayed.attempt, replayed.fate
    return {
        "packet": attempt.number,
        **event.encode(tell(replayed)),
        "again": replayed.again,
        "hook": attempt.hook.value,
        "interface": attempt.interface,
        **_more(fate),
    }


def _more(fate: Fate) -> dict[str, object]:
    return {
        "rcode": fate.rcode,
        "dialled": fate.dialled,
        "cluster": fate.cluster,
        "endpoints": list(fate.endpoints),
    }


def encode_fate(fate: Fate) -> dict[str, object]:
    """One side of a difference."""
    return {
        "verdict": fate.verdict,
        "rule": fate.rule,
        "why": fate.why,
        "to": fate.to,
        "answers": list(fate.answers),
        "host": fate.host,
        **_more(fate),
    }


def render(replayed: Replayed) -> str:
    """One line: packet number, then the event's line, then what is beside it."""
    attempt, fate = replayed.attempt, replayed.fate
    words = [f"{attempt.number:>7}", event.render(tell(replayed)).removesuffix(f"  {PLANE}")]
    if replayed.again:
        words.append(f"sent {replayed.again + 1} times")
    if fate.dialled:
        words.append(f"by its new answer it would call {fate.dialled}")
    if fate.endpoints:
        words.append(f"endpoints {', '.join(fate.endpoints)}")
    return "  ".join(words)


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a whole rehearsal. ``left``: packets that are no attempt, by the reason."""

    packets: int
    attempts: int
    again: int
    verdicts: Counter[str]
    reasons: Counter[str]
    names: Counter[str]
    left: Counter[str]


def summarize(results: Iterable[Replayed], packets: int, left: Counter[str]) -> Summary:
    """``names``: of mesh hosts where one is meant, else as they were asked."""
    verdicts, reasons, names = Counter[str](), Counter[str](), Counter[str]()
    attempts = again = 0
    for each in results:
        attempts, again = attempts + 1, again + each.again
        fate = each.fate
        kind = "query" if each.attempt.is_query else "connection"
        verdicts[f"{kind} {fate.verdict}"] += 1
        reasons[f"rule {fate.rule}: {fate.why}" if fate.rule else fate.why] += 1
        if named := fate.host or fate.name:
            names[named] += 1
    return Summary(packets, attempts, again, verdicts, reasons, names, left)


def encode_summary(summary: Summary) -> dict[str, object]:
    """Counts, the largest first."""
    counts = ("verdicts", "reasons", "names", "left")
    return {
        "packets": summary.packets,
        "attempts": summary.attempts,
        "again": summary.again,
        **{name: dict(getattr(summary, name).most_common()) for name in counts},
    }
