"""How the host differs from what is wanted, by what was found wrong. Pure."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TELL = 2  # lines of each kind that are told of; the rest is counted
LINE_CHARACTERS = 90


class Cause(enum.Enum):
    """What was found wrong; the values stand in the status and in the metrics.

    ``PROGRAMS`` run elsewhere, or are others; with its pin (``PINS``) a program is gone
    altogether. ``POLICY`` is what the programs decide by.
    """

    RULES = "rules"
    SETS = "sets"
    ROUTES = "routes"
    ROUTING_RULES = "routing_rules"
    PROGRAMS = "programs"
    FILTERS = "filters"
    PINS = "pins"
    POLICY = "policy"


Lines = Mapping[Cause, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Drift:
    """Lines of `observe`, by their cause: those that are missing, and those that should not be.
    A cause with neither has its lines in another order."""

    missing: Lines = field(default_factory=dict)
    foreign: Lines = field(default_factory=dict)

    @property
    def causes(self) -> frozenset[Cause]:
        """Everything that was found wrong, if anything was."""
        return frozenset(self.missing) | frozenset(self.foreign)

    @property
    def is_wording(self) -> bool:
        """Whether it may be that the host's tools print what we installed in other words."""
        if self.causes & {Cause.PROGRAMS, Cause.FILTERS, Cause.PINS, Cause.POLICY}:
            return False
        return _counts(self.missing) == _counts(self.foreign)

    def text(self) -> str:
        """One line for people."""
        return "; ".join(self._tell(cause) for cause in Cause if cause in self.causes)

    def _tell(self, cause: Cause) -> str:
        words = []
        for what, found in (("missing", self.missing), ("not ours", self.foreign)):
            if lines := found.get(cause, ()):
                named = ", ".join(map(_short, lines[:TELL]))
                more = f" and {len(lines) - TELL} more" if len(lines) > TELL else ""
                words.append(f"{what} {named}{more}")
        return f"{cause.value}: {' / '.join(words) or 'in another order'}"


def diff(observed: str, wanted: str) -> Drift:
    """What tells one listing from the other; to be asked only of those that are not equal."""
    there, due = Counter(observed.splitlines()), Counter(wanted.splitlines())
    links = {_link(line) for line in there}
    missing = _grouped((due - there).elements(), links)
    foreign = _grouped((there - due).elements(), links)
    if not missing and not foreign:
        missing = {Cause.RULES: ()}
    return Drift(missing, foreign)


def _counts(lines: Lines) -> dict[Cause, int]:
    return {cause: len(found) for cause, found in lines.items()}


def _grouped(lines: Iterable[str], links: set[str]) -> Lines:
    found: dict[Cause, list[str]] = {}
    for line in lines:
        cause = classify(line)
        if cause is Cause.PROGRAMS and _link(line) not in links:
            cause = Cause.PINS
        found.setdefault(cause, []).append(line)
    return {cause: tuple(group) for cause, group in found.items()}


def _link(line: str) -> str:
    """The program of a link's line, empty for any other."""
    return line.split()[2] if line.startswith("ebpf link ") else ""


def classify(line: str) -> Cause:
    """What a line of some back end's `observe` stands for."""
    words = line.split()
    if words[0] == "ip":
        return Cause.ROUTING_RULES if words[2] == "rule" else Cause.ROUTES
    if words[0] == "ebpf":
        known = {"link": Cause.PROGRAMS, "filter": Cause.FILTERS, "policy": Cause.POLICY}
        return known.get(words[1], Cause.PINS)
    if words[0] in ("set", "add") or line.startswith('{"set"'):
        return Cause.SETS
    return Cause.RULES


def _short(line: str) -> str:
    """A line that can be told: nft's JSON by name and reason, others as far as there is room."""
    if line.startswith("{"):
        ((kind, body),) = json.loads(line).items()
        names = [str(body[key]) for key in ("chain", "name", "comment") if body.get(key)]
        line = " ".join([kind, *names])
    return line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]}..."
