"""The head of `interceptor top`: how the daemon is, a line a part. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from interceptor.debug import reading
from interceptor.debug.top import CountRow, View

MIB = 1 << 20
LABEL = 9  # characters of a line's first word


class Tone(enum.Enum):
    """How a line is meant; what colour that is, the terminal's side decides."""

    PLAIN = "plain"
    TITLE = "title"
    HEAD = "head"
    ALERT = "alert"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text without its end."""

    text: str
    tone: Tone = Tone.PLAIN


def printable(text: str) -> str:
    """Without what would steer a terminal: names are called as others please."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def span(value_s: float | None) -> str:
    """A time in few characters."""
    if value_s is None:
        return "-"
    if value_s < 1e-3:
        return f"{value_s * 1e6:.0f}us"
    if value_s < 1:
        return f"{value_s * 1e3:.3g}ms"
    return f"{value_s:.3g}s" if value_s < 120 else clock(value_s)


def clock(value_s: float) -> str:
    """A long time: ``2d 03:04:05``."""
    minutes, seconds = divmod(int(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d " * bool(days) + f"{hours:02}:{minutes:02}:{seconds:02}"


def render(view: View) -> list[Line]:
    """Some lines; those that have nothing to say are not there."""
    if view.problem:
        return [Line("interceptor", Tone.TITLE), Line(view.problem, Tone.ALERT)]
    found = (
        _title(view),
        _table(view),
        _dns(view),
        _capture(view),
        _drift(view),
        _sidecar(view),
        _identity(view),
        _load(view),
        _neighbours(view),
        _trace(view),
    )
    return [line for line in found if line is not None]


def _line(label: str, words: Sequence[str], *, is_alert: bool = False) -> Line:
    text = printable(", ".join(word for word in words if word))
    return Line(f"{label:<{LABEL}}{text}", Tone.ALERT if is_alert else Tone.PLAIN)


def _title(view: View) -> Line:
    status = view.status
    is_ready = bool(reading.at(status, "ready"))
    state = "ready" if is_ready else f"NOT READY: {reading.text(status, 'why')}"
    words = (
        f"interceptor {reading.text(status, 'version')}",
        state,
        reading.text(status, "backend"),
        f"up {clock(reading.number(status, 'uptime_s'))}",
        f"over {view.span_s:.1f} s",
    )
    return Line(printable("  ".join(words)), Tone.TITLE if is_ready else Tone.ALERT)


def _table(view: View) -> Line:
    table = reading.at(view.status, "table")
    good_age_s, held = reading.number(table, "good_age_s"), reading.number(table, "held")
    problems = len(reading.listed(table, "rejected"))
    age = f"{span(good_age_s)} old" if good_age_s else "right now"
    words = (
        f"{reading.number(table, 'hosts'):.0f} hosts of {reading.text(table, 'source')}",
        f"{age} (from disk)" if reading.text(table, "from") == "disk" else age,
        f"loaded {clock(reading.number(table, 'age_s'))} ago",
        f"{held:.0f} documents held" if held else "",
        f"{problems} problems" if problems else "",
    )
    return _line("table", words, is_alert=bool(problems or held))


def _rate_words(rows: Sequence[CountRow], place: int) -> list[str]:
    """``answer 3.0/s`` of each word there, the planes summed up; quiet ones by their totals."""
    summed: dict[str, tuple[float, float]] = {}
    for row in rows:
        rate, total = summed.get(row.what[place], (0.0, 0.0))
        summed[row.what[place]] = rate + row.rate, total + (row.total or 0.0)
    return [
        f"{word} {rate:.1f}/s" if rate else f"{word} 0/s ({total:.0f})"
        for word, (rate, total) in sorted(summed.items(), key=lambda item: -item[1][0])
    ]


def _planes(rows: Sequence[CountRow]) -> str:
    return "+".join(sorted({row.what[0] for row in rows if row.total}))


def _dns(view: View) -> Line | None:
    dns = reading.at(view.status, "dns")
    if not reading.at(dns, "enabled"):
        return None
    is_alive, restarts = bool(reading.at(dns, "alive")), reading.number(dns, "restarts")
    planes = _planes(view.queries)
    timed = view.answer_p50_s is not None
    words = (
        f"{sum(row.rate for row in view.queries):.1f}/s" + (f" by {planes}" if planes else ""),
        *_rate_words(view.queries, 1)[:4],
        f"worker p50 <{span(view.answer_p50_s)} p99 <{span(view.answer_p99_s)}" if timed else "",
        f"worker {'alive' if is_alive else 'AWAY'}",
        f"restarts {restarts:.0f}" if restarts else "",
        f"dropped {view.dropped:.0f}" if view.dropped else "",
    )
    return _line("dns", words, is_alert=not is_alive)


def _capture(view: View) -> Line:
    capture = reading.at(view.status, "capture")
    if not reading.at(capture, "installed"):
        return _line("capture", ("nothing is installed",), is_alert=True)
    planes = " ".join(map(str, reading.listed(capture, "planes")))
    families = " ".join(f"IPv{family}" for family in reading.listed(capture, "families"))
    return _line("capture", (f"{planes} of {families}", *_rate_words(view.connections, 1)))


def _drift(view: View) -> Line:
    status = view.status
    is_off = bool(reading.at(status, "drift"))
    done, waits = reading.at(status, "reasserted"), reading.at(status, "reassert_waits_s")
    repaired = done if isinstance(done, dict) else {}
    waiting = waits if isinstance(waits, dict) else {}
    age_s, limit_s = (reading.at(status, "lease", key) for key in ("age_s", "limit_s"))
    is_lost = isinstance(age_s, float) and isinstance(limit_s, int | float) and age_s > limit_s
    words = (
        "THE HOST DIFFERS FROM THE PLAN" if is_off else "none",
        "put back: " + " ".join(f"{what} {n}" for what, n in repaired.items()) if repaired else "",
        "waits: " + " ".join(f"{what} {s} s" for what, s in waiting.items()) if waiting else "",
        f"lease {age_s} of {limit_s} s" if limit_s is not None else "",
    )
    return _line("drift", words, is_alert=is_off or is_lost)


def _sidecar(view: View) -> Line | None:
    sidecar = reading.at(view.status, "sidecar")
    mode = reading.text(sidecar, "mode")
    if mode != "managed":
        return _line("sidecar", (mode,)) if mode else None
    state, refused = reading.text(sidecar, "state"), len(reading.listed(sidecar, "refused"))
    restarts, hangs = (reading.number(sidecar, key) for key in ("restarts", "hangs"))
    ack_ms = reading.at(sidecar, "ack_p50_ms")
    words = (
        f"{state} pid {reading.number(sidecar, 'pid'):.0f}",
        f"{sum(row.active for row in view.services)} connections to endpoints",
        f"{refused} REFUSED" if refused else "",
        f"restarts {restarts:.0f}" if restarts else "",
        f"hangs {hangs:.0f}" if hangs else "",
        f"conflicts {len(reading.listed(sidecar, 'conflicts'))}"
        if reading.listed(sidecar, "conflicts")
        else "",
        f"takes a change in {ack_ms} ms" if ack_ms is not None else "",
    )
    return _line("sidecar", words, is_alert=state != "live" or bool(refused))


def _identity(view: View) -> Line | None:
    identity = reading.at(view.status, "identity")
    if not identity:
        return None
    alarms = [str(each) for each in reading.listed(identity, "alarms")]
    remaining_s = reading.at(identity, "remaining_s")
    words = (
        reading.text(identity, "who"),
        f"{span(float(remaining_s))} left" if isinstance(remaining_s, int | float) else "",
        *alarms,
    )
    return _line("identity", words, is_alert=bool(alarms))


def _load(view: View) -> Line | None:
    words = [
        f"{load.name} {load.cores:.2f} cores {load.resident / MIB:.0f} MiB" for load in view.loads
    ]
    restarts = reading.number(view.status, "looked_after", "restarts")
    words.append(f"daemon restarts {restarts:.0f}" if restarts else "")
    return _line("load", words) if view.loads else None


def _neighbours(view: View) -> Line | None:
    found = [str(each) for each in reading.listed(view.status, "neighbours")]
    return _line("beside", ["; ".join(found)]) if found else None


def _trace(view: View) -> Line | None:
    left_out = view.left_out + view.crowded_out
    words = [
        f"{view.seen} decisions seen" if left_out else "",
        f"{left_out} left out: the tables below are a sample" if left_out else "",
        *view.notes,
    ]
    return _line("trace", words) if any(words) else None
