"""Many events in a few lines: what was asked and called most, how it ended, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from interceptor.debug.event import Event, Kind

KEYS = 10_000  # different ones counted of each sort; about 2 MiB
OTHERS = "(others)"
TOP = 10


class Summary:
    """Counts of what was told. Bounded: names beyond the first KEYS are counted as others."""

    def __init__(self) -> None:
        self.events = self.left_out = 0
        self.counts: dict[str, Counter[str]] = {
            sort: Counter() for sort in ("verdicts", "names", "services", "reasons", "processes")
        }

    def add(self, event: Event) -> None:
        """Count one event under each of its properties that is known."""
        self.events += 1
        who = event.unit or event.comm or (f"pid {event.pid}" if event.pid else "")
        for sort, key in (
            ("verdicts", f"{event.kind.value} {event.verdict}"),
            ("names", f"{event.name} {event.qtype}".rstrip() if event.name else ""),
            ("services", event.host),
            ("reasons", _reason(event)),
            ("processes", who),
        ):
            if key:
                counter = self.counts[sort]
                counter[key if key in counter or len(counter) < KEYS else OTHERS] += 1


def _reason(event: Event) -> str:
    """Without the name, which would make each reason another: those of queries end in it."""
    why = event.why.replace(event.host, "…") if event.host else event.why
    if event.kind is Kind.DNS:
        return why.partition(" (")[0] if event.host else why
    return f"rule {event.rule}: {why}" if event.rule else why


def encode(summary: Summary, top: int = TOP) -> dict[str, object]:
    """As JSON has it: the most frequent first."""
    return {
        "events": summary.events,
        "left_out": summary.left_out,
        **{sort: dict(counter.most_common(top)) for sort, counter in summary.counts.items()},
    }


def render(summary: Summary, top: int = TOP) -> str:
    """Lines for people; sorts of which nothing is known are left out."""
    left_out = f", {summary.left_out} left out" if summary.left_out else ""
    lines = [f"{summary.events} decisions{left_out}"]
    for sort, counter in summary.counts.items():
        lines += _section(sort, counter, top)
    return "\n".join(lines)


def _section(sort: str, counter: Mapping[str, int], top: int) -> list[str]:
    if not counter:
        return []
    found = Counter(counter).most_common(top)
    width = len(str(found[0][1]))
    lines = ["", sort]
    lines += [f"  {count:>{width}}  {_printable(key)}" for key, count in found]
    if len(counter) > top:
        lines.append(f"  and {len(counter) - top} more")
    return lines


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
