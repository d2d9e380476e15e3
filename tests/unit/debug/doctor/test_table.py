"""Checks as people read them."""

from __future__ import annotations

from rich.console import Console

from interceptor.debug.doctor import table
from interceptor.debug.doctor.check import Check, Group, State

CHECKS = (
    Check(Group.KERNEL, "kernel", State.OK, "Linux", "not told", "not told"),
    Check(Group.PORTS, "port 15001", State.FAULT, "taken", "it is", "end it"),
    Check(Group.SELF_TEST, "steering", State.OK, "10.0.0.1", took_s=0.0123),
)
TEXT = """\
kernel     kernel      ok     Linux
ports      port 15001  fault  taken
                              why: it is
                              cure: end it
self-test  steering    ok     10.0.0.1 (12 ms)"""


def test_a_pipe_gets_a_line_each_and_why_only_where_something_is_wrong() -> None:
    assert table.text(CHECKS) == TEXT


def test_a_terminal_s_table_says_the_same() -> None:
    console = Console(width=100, color_system=None)
    with console.capture() as caught:
        console.print(table.render(CHECKS))
    words = caught.get().split()
    assert [word for word in TEXT.split() if word not in words] == []
    assert "not told" not in caught.get()


def test_the_last_line_counts() -> None:
    assert table.sentence(CHECKS) == "2 ok, 1 fault"
    assert table.sentence([*CHECKS, CHECKS[1]]) == "2 ok, 2 faults"
    assert table.sentence([]) == "nothing was looked at"
