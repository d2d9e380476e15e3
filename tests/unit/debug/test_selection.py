"""What a listener wants: filters, and the page that asks for them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.debug import selection
from interceptor.debug.event import Event, Kind
from interceptor.debug.selection import MAXIMUM_RATE, VERDICTS, Selection

NAME = st.text("abc*?.-&=% é", min_size=1, max_size=8)
NAMES = st.lists(NAME.map(str.lower).filter(lambda text: text[-1] != "."), max_size=3).map(tuple)
EVENT = Event(
    0.0,
    Kind.DNS,
    "nfqueue",
    "answer",
    name="reviews.bookinfo",
    host="reviews.bookinfo.svc.cluster.local",
    pid=7,
    unit="shop.service",
)


def query(page: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(page).query)


@given(
    st.builds(
        Selection,
        names=NAMES,
        pids=st.lists(st.integers(0, 2**22), max_size=3).map(tuple),
        units=NAMES,
        services=NAMES,
        verdicts=st.lists(st.sampled_from(VERDICTS), max_size=3).map(tuple),
        rate=st.integers(1, MAXIMUM_RATE),
        duration_s=st.floats(0, 1e6),
        count=st.integers(0, 10**6),
    )
)
def test_a_selection_survives_its_page(wanted: Selection) -> None:
    assert selection.decode(query(selection.encode(wanted))) == wanted


@pytest.mark.parametrize(
    ("wanted", "is_told"),
    [
        (Selection(), True),
        (Selection(names=("reviews.*",)), True),
        (Selection(names=("reviews",)), False),
        (Selection(names=("other", "*.bookinfo")), True),
        (Selection(services=("reviews",)), True),
        (Selection(services=("reviews.bookinfo",)), True),
        (Selection(services=("*.svc.cluster.local",)), True),
        (Selection(services=("bookinfo",)), False),
        (Selection(units=("shop",)), True),
        (Selection(units=("shop.service",)), True),
        (Selection(units=("sho",)), False),
        (Selection(pids=(7, 8)), True),
        (Selection(pids=(8,)), False),
        (Selection(verdicts=("answer",)), True),
        (Selection(verdicts=("pass",)), False),
        (Selection(names=("reviews.*",), pids=(8,)), False),
    ],
)
def test_each_field_has_to_fit(wanted: Selection, is_told: bool) -> None:
    assert selection.decide(wanted, EVENT) is is_told


def test_a_connection_s_name_is_the_host_it_called() -> None:
    event = Event(0.0, Kind.CONNECTION, "ebpf", "outbound", host="shop.test")
    assert selection.decide(Selection(names=("shop.*",)), event)


def test_what_is_not_known_fits_no_filter() -> None:
    event = Event(0.0, Kind.CONNECTION, "ebpf", "pass")
    assert not selection.decide(Selection(units=("*",)), event)
    assert not selection.decide(Selection(names=("*",)), event)


def test_names_are_taken_as_events_write_them() -> None:
    assert selection.decode([("name", "Reviews.Test.")]).names == ("reviews.test",)


def test_no_listener_gets_more_than_one_core_can_tell() -> None:
    assert selection.decode([("rate", "900000")]).rate == MAXIMUM_RATE
    assert selection.decode([("rate", "0")]).rate == 1


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (("verdict", "yes"), "legal: answer"),
        (("pid", "x"), "pid x"),
        (("count", "-1"), "count -1"),
        (("duration", "nan"), "duration nan"),
        (("nam", "x"), "legal: name"),
    ],
)
def test_a_wrong_question_is_refused_with_what_is_legal(pair: tuple[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        selection.decode([pair])
