"""Two configurations over one capture: what each would do, where they differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from interceptor.debug import event, replay
from interceptor.debug.attempt import Attempt
from interceptor.debug.replay import Fate, Replayed


@dataclass(frozen=True, slots=True)
class Contrast:
    """One attempt, and its fate by the one and by the other."""

    attempt: Attempt
    again: int
    left: Fate
    right: Fate

    @property
    def sides(self) -> tuple[Replayed, Replayed]:
        """The attempt with the one fate, and with the other."""
        attempt, again = self.attempt, self.again
        return Replayed(attempt, again, self.left), Replayed(attempt, again, self.right)

    @property
    def differs(self) -> bool:
        """Whether anybody but us would notice."""
        return self.left.effect != self.right.effect


def contrast(left: Iterable[Replayed], right: Iterable[Replayed]) -> Iterator[Contrast]:
    """The fates of the same attempts, side by side."""
    for one, other in zip(left, right, strict=True):
        yield Contrast(one.attempt, one.again, one.fate, other.fate)


@dataclass(slots=True)
class Group:
    """Attempts that are alike: the same question or destination, with the same two fates.
    ``first`` is the one with the lowest packet number."""

    first: Contrast
    count: int = 1


def group(contrasts: Iterable[Contrast]) -> list[Group]:
    """Contrasts put together, in the order of their first packets."""
    found: dict[tuple[object, ...], Group] = {}
    for each in contrasts:
        attempt = each.attempt
        subject = (attempt.is_query, attempt.hook, attempt.protocol, *_subject(each))
        key = (*subject, each.left, each.right)
        if key in found:
            found[key].count += 1
        else:
            found[key] = Group(each)
    return list(found.values())


def _subject(each: Contrast) -> tuple[object, ...]:
    """What it is about: a name and type, else a destination. Odd queries have only themselves."""
    if each.attempt.is_query and each.left.name:
        return each.left.name, each.left.qtype
    return each.attempt.destination, each.attempt.port


def summarize(contrasts: Iterable[Contrast]) -> dict[str, int]:
    """How often which verdict became which, the most frequent first."""
    counts: Counter[str] = Counter()
    for each in contrasts:
        kind = "query" if each.attempt.is_query else "connection"
        same = "" if each.differs else ", the same"
        counts[f"{kind} {each.left.verdict} → {each.right.verdict}{same}"] += 1
    return dict(counts.most_common())


def encode(each: Contrast) -> dict[str, object]:
    """The attempt, whether it differs, and both fates."""
    told = replay.encode(Replayed(each.attempt, each.again, each.left))
    facts = ("packet", "time_s", "kind", "protocol", "source", "source_port", "destination", "port")
    more = ("name", "qtype", "uid", "again", "hook", "interface")
    return {
        **{name: told[name] for name in (*facts, *more)},
        "differs": each.differs,
        "left": replay.encode_fate(each.left),
        "right": replay.encode_fate(each.right),
    }


def render(groups: Iterable[Group], titles: tuple[str, str]) -> str:
    """A table in plain text: what it is about, then both fates side by side."""
    rows = [("packet", "times", "what", *titles)]
    for each in groups:
        first = each.first
        number, times = str(first.attempt.number), str(each.count)
        rows.append((number, times, about(first), words(first.left), words(first.right)))
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = []
    for row in rows:
        cells = [row[0].rjust(widths[0]), row[1].rjust(widths[1])]
        cells += [cell.ljust(width) for cell, width in zip(row[2:4], widths[2:], strict=True)]
        lines.append("  ".join((*cells, row[4])))
    return "\n".join(lines)


def about(each: Contrast) -> str:
    """``A reviews.bookinfo``, or ``tcp 10.0.0.7:80 (reviews.bookinfo)``."""
    attempt, name = each.attempt, each.left.name
    if attempt.is_query and name:
        return f"{each.left.qtype} {name}"
    arrives = " arriving" if attempt.hook.value == "prerouting" else ""
    told = f" ({name})" if name else ""
    return f"{attempt.protocol} {event.end(str(attempt.destination), attempt.port)}{arrives}{told}"


def words(fate: Fate) -> str:
    """A fate in a few words: verdict, answers or the way, and why."""
    parts = [fate.verdict, *fate.answers]
    if fate.rcode not in ("", "NOERROR", "NXDOMAIN"):
        parts.append(fate.rcode)
    if fate.dialled:
        parts.append(f"(calls {fate.dialled})")
    if fate.cluster or (fate.to and fate.verdict not in ("pass", "answer")):
        parts.append(f"→ {fate.cluster or fate.to}")
    parts += [f"[{', '.join(fate.endpoints)}]"] if fate.endpoints else []
    return f"{' '.join(parts)}: {fate.why}"
