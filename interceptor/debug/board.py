"""The lines of `interceptor top` for a terminal of some size, and what its keys do. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from interceptor.debug import boardhead
from interceptor.debug.boardhead import Line, Tone, printable, span
from interceptor.debug.top import CountRow, NameRow, ServiceRow, View

Row = TypeVar("Row", NameRow, ServiceRow, CountRow)

WIDTH = 80  # of a terminal that does not say
KEYS = "q quit  r rate  l latency  n name  c calls  / filter  p pause"
SHARES = (0.45, 0.35, 0.2)  # of the lines that there are: names, services, reasons


class Sort(enum.Enum):
    """By what rows are ordered; the values are the keys."""

    RATE = "r"
    LATENCY = "l"
    NAME = "n"


@dataclass(frozen=True, slots=True)
class Screen:
    """What the user has chosen. ``wanted``: a part of what rows have to be called. ``by_caller``:
    connections as processes make them, instead of services as the sidecar counts them."""

    order: Sort = Sort.RATE
    by_caller: bool = False
    wanted: str = ""
    is_typing: bool = False
    is_paused: bool = False
    is_over: bool = False


def press(screen: Screen, key: str) -> Screen:
    """The screen after one key."""
    if screen.is_typing:
        return _type(screen, key)
    if key in ("q", "\x03", "\x04"):
        return replace(screen, is_over=True)
    if key in ("p", " "):
        return replace(screen, is_paused=not screen.is_paused)
    if key == "c":
        return replace(screen, by_caller=not screen.by_caller)
    if key == "/":
        return replace(screen, is_typing=True, wanted="")
    if key == "\x1b":
        return replace(screen, wanted="")
    if key in (each.value for each in Sort):
        return replace(screen, order=Sort(key))
    return screen


def _type(screen: Screen, key: str) -> Screen:
    if key in ("\r", "\n"):
        return replace(screen, is_typing=False)
    if key in ("\x1b", "\x03"):
        return replace(screen, is_typing=False, wanted="")
    if key in ("\x7f", "\b"):
        return replace(screen, wanted=screen.wanted[:-1])
    return replace(screen, wanted=screen.wanted + key) if key.isprintable() else screen


def render(view: View, screen: Screen, width: int, height: int) -> list[Line]:
    """As many lines as fit; the last one tells of the keys."""
    head = boardhead.render(view)
    room = max(3, height - len(head) - 1)
    lines = [*head, *_tables(view, screen, width, room)][: height - 1]
    lines += [Line("")] * (height - 1 - len(lines))
    return [_cut(line, width) for line in (*lines, _foot(screen))]


def render_plain(view: View, screen: Screen, rows: int) -> list[Line]:
    """Everything, for a pipe: at most so many rows of each table, no line cut."""
    out = boardhead.render(view)
    for head, body in _every(view, screen):
        if body:
            out += [Line(""), head, *body[:rows]]
            if len(body) > rows:
                out.append(Line(f"... and {len(body) - rows} more"))
    return out


def _foot(screen: Screen) -> Line:
    if screen.is_typing:
        return Line(f"filter: {screen.wanted}_  (Enter: keep, Esc: none)", Tone.KEYS)
    told = [f"by {screen.order.name.lower()}"]
    if screen.wanted:
        told.append(f"filter {screen.wanted!r}")
    if screen.is_paused:
        told.append("PAUSED")
    return Line(f"[{', '.join(told)}]  {KEYS}", Tone.KEYS)


def _cut(line: Line, width: int) -> Line:
    text = line.text if len(line.text) <= width else f"{line.text[: width - 1]}…"
    return Line(text, line.tone)


def _tables(view: View, screen: Screen, width: int, room: int) -> Iterable[Line]:
    """The tables that have rows, each with its share of the lines; what one does not need is
    the others'."""
    there = [
        (head, body, share)
        for (head, body), share in zip(_sections(view, screen, width), SHARES, strict=True)
        if body
    ]
    left, weight = room, sum(share for _, _, share in there)
    for position, (head, body, share) in enumerate(there):
        later = sum(len(other) + 1 for _, other, _ in there[position + 1 :])
        mine = max(int(left * share / weight), left - later, 2)
        shown = body[: mine - 1]
        yield head
        yield from shown
        left, weight = left - len(shown) - 1, weight - share


def _sections(view: View, screen: Screen, width: int) -> list[tuple[Line, list[Line]]]:
    """Names, services or calls, reasons: the head of the table, and its rows. ``width`` 0: any."""
    by_caller = screen.by_caller or not view.services
    return [
        _names("NAME", _chosen(view.names, screen, lambda row: row.name), width),
        _called(view, screen, width)
        if by_caller
        else _services(_chosen(view.services, screen, lambda row: row.name), width),
        _reasons(_chosen(view.reasons, screen, lambda row: " ".join(row.what)), width),
    ]


def _every(view: View, screen: Screen) -> list[tuple[Line, list[Line]]]:
    """All tables, of any width."""
    names, services, reasons = _sections(view, replace(screen, by_caller=False), 0)
    called = [_called(view, screen, 0)] if view.services else []
    return [names, services, *called, reasons]


def _called(view: View, screen: Screen, width: int) -> tuple[Line, list[Line]]:
    return _names("CALLED", _chosen(view.calls, screen, lambda row: row.name), width)


def _chosen(rows: Sequence[Row], screen: Screen, name: Callable[[Row], str]) -> list[Row]:
    """Those that are wanted, in the order that is wanted; they come by their rates."""
    wanted = screen.wanted.lower()
    found = [row for row in rows if wanted in name(row).lower()]
    if screen.order is Sort.NAME:
        found.sort(key=name)
    elif screen.order is Sort.LATENCY:
        found.sort(key=lambda row: -(getattr(row, "p99_s", None) or 0.0))
    return found


def _field(text: str, width: int, rest: int, least: int) -> str:
    """The first column: what the others leave of the width, cut in the middle."""
    room = max(least, width - rest) if width else max(least, len(text))
    text = printable(text)
    if len(text) > room:
        text = f"{text[: room // 2]}…{text[len(text) - (room - room // 2 - 1) :]}"
    return text.ljust(room)


def _names(what: str, rows: Sequence[NameRow], width: int) -> tuple[Line, list[Line]]:
    widest = max((len(row.name) for row in rows), default=0)
    first = min(width - 41, max(widest, 12)) if width else max(widest, 12)

    def line(name: str, *others: str) -> str:
        return f"{_field(name, first, 0, first)} {'{:>7} {:>7} {:>7}  {}'.format(*others)}"

    body = [
        Line(
            line(row.name, _rate(row.rate), span(row.p50_s), span(row.p99_s), _fate(row)),
            Tone.PLAIN,
        )
        for row in rows
    ]
    return Line(line(what, "/S", "P50", "P99", "FATE, PLANE"), Tone.HEAD), body


def _fate(row: NameRow) -> str:
    words = " ".join(
        verdict if len(row.verdicts) == 1 else f"{verdict}:{count}"
        for verdict, count in row.verdicts.items()
    )
    callers = f" by {', '.join(row.callers)}" if row.callers else ""
    return printable(f"{words}, {row.plane}{callers}")


def _services(rows: Sequence[ServiceRow], width: int) -> tuple[Line, list[Line]]:
    widest = max((len(row.name) for row in rows), default=0)
    first = min(width - 54, max(widest, 12)) if width else max(widest, 12)

    def line(name: str, *others: str) -> str:
        form = "{:>7} {:>7} {:>6} {:>6} {:>6} {:>7} {:>7}"
        return f"{_field(name, first, 0, first)} {form.format(*others)}"

    body = [
        Line(
            line(
                row.name,
                _rate(row.requests),
                _rate(row.connections),
                str(row.active),
                _rate(row.failed),
                _rate(row.errors),
                _whole_ms(row.p50_s),
                _whole_ms(row.p99_s),
            ),
            Tone.ALERT if row.failed or row.errors else Tone.PLAIN,
        )
        for row in rows
    ]
    heads = ("REQ/S", "CONN/S", "OPEN", "FAIL/S", "5XX/S", "P50", "P99")
    return Line(line("SERVICE", *heads), Tone.HEAD), body


def _whole_ms(value_s: float | None) -> str:
    """Envoy counts whole milliseconds."""
    return "<1ms" if value_s == 0 else span(value_s)


def _reasons(rows: Sequence[CountRow], width: int) -> tuple[Line, list[Line]]:
    del width  # the reason is the last column, and cut with the line
    body = [
        Line(f"{_rate(row.rate):>8}  {row.what[0]:<10} {row.what[1]:<9} {printable(row.what[2])}")
        for row in rows
    ]
    return Line(f"{'/S':>8}  {'KIND':<10} {'VERDICT':<9} WHY", Tone.HEAD), body


def _rate(value: float) -> str:
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"
