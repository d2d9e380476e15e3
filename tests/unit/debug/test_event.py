"""Events: JSON and back, one line for people."""

from __future__ import annotations

import json
import time
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.debug import event as events
from interceptor.debug.event import Event, Kind

TEXT = st.text(max_size=12)
NUMBER = st.integers(0, 2**31)
EVENTS = st.builds(
    Event,
    time_s=st.floats(0, 4e9),
    kind=st.sampled_from(Kind),
    plane=TEXT,
    verdict=TEXT,
    protocol=TEXT,
    source=TEXT,
    source_port=NUMBER,
    destination=TEXT,
    port=NUMBER,
    name=TEXT,
    qtype=TEXT,
    answers=st.lists(TEXT, max_size=3).map(tuple),
    host=TEXT,
    rule=NUMBER,
    why=TEXT,
    to=TEXT,
    took_s=st.none() | st.floats(0, 1e6),
    uid=st.none() | NUMBER,
    pid=NUMBER,
    comm=TEXT,
    unit=TEXT,
)

QUERY = Event(
    1_700_000_000.25,
    Kind.DNS,
    "nfqueue",
    "answer",
    protocol="udp",
    source="10.0.0.5",
    source_port=40000,
    destination="10.0.0.2",
    port=53,
    name="reviews.bookinfo",
    qtype="A",
    answers=("240.240.3.7",),
    host="reviews.bookinfo.svc.cluster.local",
    why="alias of Service bookinfo/reviews",
    took_s=0.00004,
    pid=7,
    comm="curl",
    unit="shop.service",
)


@given(EVENTS)
def test_an_event_survives_json(event: Event) -> None:
    assert events.decode(json.loads(json.dumps(events.encode(event)))) == event


@given(EVENTS)
def test_a_line_is_one_line_without_control_characters(event: Event) -> None:
    assert events.render(event, UTC).isprintable()


def test_a_query_is_told_in_one_line() -> None:
    assert events.render(QUERY, UTC) == (
        "22:13:20.250  dns  curl[7] shop.service  10.0.0.5:40000 → 10.0.0.2:53/udp  "
        "reviews.bookinfo. A  answer 240.240.3.7  (alias of Service bookinfo/reviews)  "
        "nfqueue  40 µs"
    )


def test_a_connection_is_told_with_its_rule_and_where_it_went() -> None:
    event = Event(
        0.0,
        Kind.CONNECTION,
        "ebpf",
        "outbound",
        protocol="tcp",
        source="fd00::1",
        source_port=4,
        destination="fd00::2",
        port=80,
        host="shop.test",
        rule=7,
        why="VIP of shop",
        to="[::1]:15001",
        took_s=1.5,
        uid=0,
    )
    assert events.render(event, UTC) == (
        "00:00:00.000  connection  uid 0  [fd00::1]:4 → [fd00::2]:80/tcp  shop.test  "
        "outbound → [::1]:15001  rule 7: VIP of shop  ebpf  1.50 s"
    )


def test_an_event_of_which_little_is_known_is_a_line_all_the_same() -> None:
    event = Event(0.0, Kind.DNS, "kernel", "pass")
    assert events.render(event, UTC) == "00:00:00.000  dns  -  pass  kernel"


def test_a_name_cannot_steer_the_terminal() -> None:
    event = Event(0.0, Kind.DNS, "tcp", "pass", name="a\x1b[2J", comm="x\ny", pid=1)
    assert "a\\x1b[2J. " in events.render(event, UTC)
    assert "x\\ny[1]" in events.render(event, UTC)


def test_missing_fields_keep_their_defaults_and_unknown_ones_are_ignored() -> None:
    tree = {"time_s": 1, "kind": "dns", "plane": "tcp", "verdict": "pass", "later": 1}
    assert events.decode(tree) == Event(1, Kind.DNS, "tcp", "pass")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "mail"}, "mail"),
        ({"port": "80"}, "port"),
        ({"pid": True}, "pid"),
        ({"answers": "a"}, "answers"),
        ({"answers": [1]}, "answers"),
        ({"took_s": "1"}, "took_s"),
        ({"why": None}, "why"),
    ],
)
def test_what_is_no_event_is_refused_by_its_field(change: dict[str, object], told: str) -> None:
    tree = events.encode(QUERY) | change
    with pytest.raises(ValueError, match=told):
        events.decode(tree)


def test_an_event_without_its_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="verdict missing"):
        events.decode({"time_s": 1, "kind": "dns", "plane": "tcp"})


def test_a_moment_of_the_steady_clock_has_its_date() -> None:
    assert abs(events.observe_date(time.monotonic() - 5) - (time.time() - 5)) < 1
