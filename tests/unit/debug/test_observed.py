"""Observations as values: in JSON and back, and added up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.debug import observed
from interceptor.debug.observed import Asked, Call, Listening, Observation, Visit
from interceptor.errors import ConfigError

TEXT = st.text("abcxyz.-0189:", max_size=12)
COUNT = st.integers(0, 1000)
TALLY = st.dictionaries(TEXT, COUNT, max_size=3).map(lambda d: tuple(sorted(d.items())))
TEXTS = st.lists(TEXT, max_size=3, unique=True).map(tuple)
CALLS = st.builds(
    Call,
    address=TEXT,
    port=st.integers(1, 65535),
    name=TEXT,
    count=COUNT,
    before=COUNT,
    said=TEXTS,
    owners=TALLY,
)
OBSERVATIONS = st.builds(
    Observation,
    host=TEXT,
    seconds=st.floats(0, 1e6),
    asked=st.lists(st.builds(Asked, TEXT, COUNT, COUNT), max_size=3).map(tuple),
    calls=st.lists(CALLS, max_size=4).map(tuple),
    listening=st.lists(st.builds(Listening, st.integers(1, 9)), max_size=3).map(tuple),
    visits=st.lists(st.builds(Visit, st.integers(1, 9), TEXT), max_size=3).map(tuple),
    forwarded=TALLY,
)


@settings(max_examples=60, deadline=None)
@given(OBSERVATIONS)
def test_what_is_written_is_read_again(found: Observation) -> None:
    assert observed.decode(observed.encode(found), "state") == found


@pytest.mark.parametrize("text", [b"", b"[]", b'{"calls": [{"port": "x"}]}', b"\xff"])
def test_a_file_that_is_none_is_told_by_its_place(text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"state\.json.*interceptor observe"):
        observed.decode(text, "state.json")


def test_the_same_call_on_two_days_is_one_that_was_made_more_often() -> None:
    one = Call("192.0.2.1", 80, name="a.example", evidence="dns", count=2, owners=(("cron", 2),))
    other = Call(
        "192.0.2.1",
        80,
        name="a.example",
        evidence="dns",
        protocol="http",
        count=3,
        answered=1,
        owners=(("cron", 1), ("web", 2)),
    )
    both = observed.merge(
        Observation(seconds=60, calls=(one,)), Observation(seconds=30, calls=(other,))
    )
    assert (both.seconds, both.runs) == (90, 2)
    (call,) = both.calls
    assert (call.count, call.answered, call.protocol) == (5, 1, "http")
    assert call.owners == (("cron", 3), ("web", 2))


def test_what_the_first_run_knew_is_not_forgotten_by_the_second() -> None:
    old = Observation(
        host="old",
        asked=(Asked("a.example", 2, addresses=("192.0.2.1",)),),
        calls=(Call("192.0.2.1", 80, protocol="http", count=1),),
        listening=(Listening(80, addresses=("0.0.0.0",), owner="nginx"),),
        visits=(Visit(80, "192.0.2.9", count=4),),
        lost=1,
    )
    new = Observation(
        host="new",
        asked=(Asked("a.example", 1, addresses=("192.0.2.2",)), Asked("b.example", 1)),
        calls=(Call("192.0.2.1", 80, count=1), Call("192.0.2.1", 81, count=1)),
        listening=(Listening(80, addresses=("::",)),),
        visits=(Visit(80, "192.0.2.9", count=1),),
        lost=2,
    )
    both = observed.merge(old, new)
    assert both.host == "new"
    assert both.asked[0].addresses == ("192.0.2.1", "192.0.2.2")
    assert [(call.port, call.count, call.protocol) for call in both.calls] == [
        (80, 2, "http"),
        (81, 1, ""),
    ]
    assert both.listening == (Listening(80, addresses=("0.0.0.0", "::"), owner="nginx"),)
    assert both.visits == (Visit(80, "192.0.2.9", count=5),)
    assert both.lost == 3


@settings(max_examples=60, deadline=None)
@given(OBSERVATIONS, OBSERVATIONS)
def test_no_connection_is_lost_or_counted_twice(one: Observation, other: Observation) -> None:
    both = observed.merge(one, other)
    assert sum(c.count for c in both.calls) == sum(c.count for c in one.calls + other.calls)
    assert max((c.before for c in both.calls), default=0) == max(
        (c.before for c in one.calls + other.calls), default=0
    )
    keys = [(c.name, c.evidence, c.address, c.port) for c in both.calls]
    assert len(keys) == len(set(keys))
