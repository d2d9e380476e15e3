"""What is asked and called most, of a stream of events: bounded, and it says what it left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from interceptor.debug import event as events
from interceptor.debug.event import Event, Kind

ROOM = 2000  # different names, services and reasons of one interval, each
TIMED = 256  # times kept of one of them
SIDECAR = "sidecar"  # the plane of events that are a second word on a connection

Reason = tuple[str, str, str]
"""Kind, verdict, why."""


@dataclass(slots=True)
class Entry:
    """One name or service in an interval. ``took_s`` are the first times of it."""

    count: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    callers: Counter[str] = field(default_factory=Counter)
    plane: str = ""
    why: str = ""

    def quantile(self, share: float) -> float | None:
        """Of the times, in seconds; None where none is known."""
        ordered = sorted(self.took_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


@dataclass(slots=True)
class Ranking:
    """One interval. ``left_out`` events were never told to us; ``crowded_out`` had no room."""

    names: dict[str, Entry] = field(default_factory=dict)
    services: dict[str, Entry] = field(default_factory=dict)
    reasons: Counter[Reason] = field(default_factory=Counter)
    seen: int = 0
    left_out: int = 0
    crowded_out: int = 0
    notes: dict[str, None] = field(default_factory=dict)

    def take(self, line: Mapping[str, object]) -> None:
        """One line of the stream: an event, or what was left out, and why. A line that is
        neither is left out, too."""
        if "left_out" in line:
            count, note = line["left_out"], line.get("note")
            self.left_out += count if isinstance(count, int) else 0
            if note:
                self.notes[str(note)] = None
            return
        try:
            found = events.decode(line)
        except ValueError:
            self.left_out += 1
            return
        self.seen += 1
        self._count(found)

    def _count(self, found: Event) -> None:
        if found.plane == SIDECAR:
            self._time(found)
            return
        is_query = found.kind is Kind.DNS
        entries = self.names if is_query else self.services
        key = found.name or "." if is_query else called(found)
        entry = entries.get(key)
        if entry is None:
            if len(entries) >= ROOM:
                self.crowded_out += 1
                return
            entry = entries[key] = Entry()
        entry.count += 1
        entry.verdicts[found.verdict] += 1
        entry.plane, entry.why = found.plane, found.why
        if found.took_s is not None and len(entry.took_s) < TIMED:
            entry.took_s.append(found.took_s)
        if (caller := found.unit or found.comm) and len(entry.callers) < TIMED:
            entry.callers[caller] += 1
        reason = (found.kind.value, found.verdict, found.why)
        if reason in self.reasons or len(self.reasons) < ROOM:
            self.reasons[reason] += 1

    def _time(self, found: Event) -> None:
        """What the sidecar says at its end of a connection that was told at its beginning."""
        entry = self.services.get(called(found))
        if entry is not None and found.took_s is not None and len(entry.took_s) < TIMED:
            entry.took_s.append(found.took_s)


def called(found: Event) -> str:
    """What a connection is for: the mesh's host with its port, or the address."""
    if found.host:
        return f"{found.host}:{found.port}" if found.port else found.host
    return events.end(found.destination, found.port) if found.destination else "?"
