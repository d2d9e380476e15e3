"""Checks as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from interceptor.debug.doctor.check import Check, State, count

STYLES = {State.OK: "green", State.NOTE: "cyan", State.WARNING: "yellow", State.FAULT: "bold red"}


def render(checks: Iterable[Check]) -> Table:
    """A line or more each: what was seen, and below it why it matters and its cure."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("", "check", "state", "what was seen"):
        table.add_column(title, no_wrap=title != "what was seen", overflow="fold")
    last = ""
    for check in checks:
        group = "" if check.group == last else check.group.value
        last = check.group
        state = Text(check.state.value, STYLES[check.state])
        table.add_row(group, check.name, state, _said(check))
    return table


def _said(check: Check) -> RenderableType:
    text = Text(f"{check.seen}{_took(check)}")
    for label, line in _more(check):
        text.append(f"\n{label}: ", "dim")
        text.append(line)
    return text


def _more(check: Check) -> Iterator[tuple[str, str]]:
    if check.state is State.OK:
        return
    if check.why:
        yield "why", check.why
    if check.cure:
        yield "cure", check.cure


def text(checks: Iterable[Check]) -> str:
    """The table without colours, for a pipe: no line is broken, none ends in spaces."""
    every = list(checks)
    widths = [
        max((len(part) for part in parts), default=0)
        for parts in zip(*map(_head, every), strict=True)
    ]
    lines: list[str] = []
    for each in every:
        head = "  ".join(map(str.ljust, _head(each), widths))
        lines.append(f"{head}  {each.seen}{_took(each)}".rstrip())
        pad = " " * (len(head) + 2)
        lines += (f"{pad}{label}: {line}" for label, line in _more(each))
    return "\n".join(lines)


def _head(check: Check) -> tuple[str, str, str]:
    return check.group.value, check.name, check.state.value


def _took(check: Check) -> str:
    return f" ({check.took_s * 1000:.0f} ms)" if check.took_s is not None else ""


def sentence(checks: Iterable[Check]) -> str:
    """How it is, in a line."""
    found = count(checks)
    words = [
        f"{number} {state.value}{'' if number == 1 or state is State.OK else 's'}"
        for state, number in found.items()
        if number
    ]
    return ", ".join(words) or "nothing was looked at"
