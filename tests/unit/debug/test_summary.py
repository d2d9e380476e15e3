"""Many events in a few lines."""

from __future__ import annotations

import pytest

from interceptor.debug import summary
from interceptor.debug.event import Event, Kind
from interceptor.debug.summary import Summary


def query(name: str, host: str = "", verdict: str = "answer", why: str = "") -> Event:
    return Event(0.0, Kind.DNS, "tcp", verdict, name=name, qtype="A", host=host, why=why)


def filled(*events: Event) -> Summary:
    found = Summary()
    for event in events:
        found.add(event)
    return found


def test_the_most_frequent_stands_first() -> None:
    found = filled(query("a"), query("b"), query("b"), query("c", verdict="pass"))
    tree = summary.encode(found, top=2)
    assert tree["events"] == 4
    assert tree["names"] == {"b A": 2, "a A": 1}
    assert tree["verdicts"] == {"dns answer": 3, "dns pass": 1}


def test_reasons_of_one_sort_are_one_reason() -> None:
    found = filled(
        query("a", "a.test", why="host a.test (ServiceEntry x/a)"),
        query("b", "b.test", why="host b.test (ServiceEntry x/b)"),
        Event(0.0, Kind.CONNECTION, "ebpf", "outbound", host="a.test", rule=7, why="VIP of a.test"),
    )
    assert summary.encode(found)["reasons"] == {"host …": 2, "rule 7: VIP of …": 1}


def test_a_process_is_its_unit_or_else_its_name() -> None:
    found = filled(
        Event(0.0, Kind.DNS, "tcp", "pass", pid=1, comm="curl", unit="shop.service"),
        Event(0.0, Kind.DNS, "tcp", "pass", pid=1, comm="curl"),
        Event(0.0, Kind.DNS, "tcp", "pass", pid=1),
        Event(0.0, Kind.DNS, "tcp", "pass"),
    )
    assert summary.encode(found)["processes"] == {"shop.service": 1, "curl": 1, "pid 1": 1}


def test_lines_say_what_was_left_out_of_them() -> None:
    found = filled(*(query(name) for name in "aab"))
    found.left_out = 9
    text = summary.render(found, top=1)
    assert text.splitlines() == [
        "3 decisions, 9 left out",
        "",
        "verdicts",
        "  3  dns answer",
        "",
        "names",
        "  2  a A",
        "  and 1 more",
    ]


def test_a_flood_of_names_is_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "KEYS", 2)
    found = filled(*(query(f"{number % 4}") for number in range(8)))
    assert found.counts["names"] == {"0 A": 2, "1 A": 2, summary.OTHERS: 4}


def test_a_name_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in summary.render(filled(query("\x1b[2J")))
