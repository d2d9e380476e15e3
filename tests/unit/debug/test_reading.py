"""Figures are read off the page that a scrape reads, and rates are Prometheus's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.debug import reading
from interceptor.debug.metrics import Snapshot, render
from interceptor.debug.reading import Reading

QUERIES = "interceptor_dns_queries"


def page(counts: dict[tuple[str, ...], float], buckets: tuple[tuple[float, int], ...] = ()) -> str:
    return render(Snapshot({QUERIES: counts}, buckets)).decode()


def look(at_s: float, text: str) -> Reading:
    return Reading(at_s, figures=reading.parse_figures(text))


def test_what_the_page_says_is_found_by_name_and_labels() -> None:
    found = look(0, page({("tcp", "answer", "A"): 3, ("tcp", "pass", "A"): 4}))
    labels = (("plane", "tcp"), ("qtype", "A"), ("result", "answer"))
    assert found.figures[f"{QUERIES}_total"][labels] == 3
    assert reading.figure(found, f"{QUERIES}_total") == 7
    assert reading.figure(found, "no_such_thing") == 0


def test_a_rate_is_what_was_added_by_the_time_that_passed() -> None:
    before = look(10, page({("tcp", "answer", "A"): 100}))
    now = look(12, page({("tcp", "answer", "A"): 110, ("tcp", "pass", "A"): 4}))
    found = {labels["result"]: (speed, total) for labels, speed, total in rates(before, now)}
    assert found == {"answer": (5.0, 110.0), "pass": (2.0, 4.0)}


def rates(before: Reading, now: Reading) -> list[tuple[dict[str, str], float, float]]:
    return list(reading.rates(before, now, f"{QUERIES}_total"))


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    assert reading.rate(1000, 6, 2) == 3


@given(before=st.floats(0, 1e12), now=st.floats(0, 1e12), span_s=st.floats(0, 1e4))
def test_no_rate_is_negative(before: float, now: float, span_s: float) -> None:
    assert reading.rate(before, now, span_s) >= 0


BUCKETS = ((0.001, 90), (0.01, 99), (float("inf"), 100))


@pytest.mark.parametrize(("share", "bound"), [(0.5, 0.001), (0.95, 0.01), (1.0, 0.01)])
def test_a_quantile_is_the_bound_under_which_that_share_lies(share: float, bound: float) -> None:
    empty, now = look(0, page({})), look(1, page({}, BUCKETS))
    assert reading.quantile(empty, now, "interceptor_dns_answer_seconds", share) == bound


def test_a_quantile_is_of_the_time_between_and_else_of_all() -> None:
    later = ((0.001, 90), (0.01, 199), (float("inf"), 200))
    before, now = look(0, page({}, BUCKETS)), look(1, page({}, later))
    name = "interceptor_dns_answer_seconds"
    assert reading.quantile(before, now, name, 0.5) == 0.01
    assert reading.quantile(now, now, name, 0.4) == 0.001
    assert reading.quantile(look(0, page({})), look(1, page({})), name, 0.5) is None


def test_a_tree_that_does_not_go_so_far_has_nothing_there() -> None:
    tree = {"a": {"b": 3, "c": [1]}}
    assert reading.number(tree, "a", "b") == 3
    assert reading.number(tree, "a", "b", "x") == 0
    assert reading.text(tree, "x", "y") == ""
    assert reading.listed(tree, "a", "c") == [1]
    assert reading.listed(tree, "a", "b") == []


def test_what_is_no_page_is_refused() -> None:
    with pytest.raises(ValueError, match="not json"):
        reading.parse_figures('{"error": "not json"} x y z\n')
