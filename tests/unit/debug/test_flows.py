"""Who made a connection is known to those who see its end."""

from __future__ import annotations

from interceptor.debug import flows
from interceptor.debug.flows import Flows
from interceptor.host.process import NOBODY, Process

CURL = Process(7, "curl", "a.service")
SERVER = ("10.0.0.1", 80)


def test_a_connection_is_known_by_both_its_ends() -> None:
    known = Flows()
    known.note(("10.0.0.2", 1), SERVER, CURL)
    assert known.find(("10.0.0.2", 1), SERVER) == CURL
    assert known.find(("10.0.0.2", 2), SERVER) == NOBODY
    assert known.find(("10.0.0.2", 1), ("10.0.0.1", 81)) == NOBODY


def test_the_oldest_are_forgotten() -> None:
    known = Flows()
    for port in range(flows.ROOM + 1):
        known.note(("10.0.0.2", port), SERVER, CURL)
    assert known.find(("10.0.0.2", 0), SERVER) == NOBODY
    assert known.find(("10.0.0.2", flows.ROOM), SERVER) == CURL


def test_nobody_is_not_worth_a_place() -> None:
    known = Flows()
    known.note(("10.0.0.2", 1), SERVER, CURL)
    known.note(("10.0.0.2", 1), SERVER, NOBODY)
    assert known.find(("10.0.0.2", 1), SERVER) == CURL
