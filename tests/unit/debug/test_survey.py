"""The report, as people read it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.debug import concern, draft, survey
from interceptor.debug.draft import Wish
from interceptor.debug.observed import Asked, Call, Listening, Observation, Visit

WISH = Wish("shop")
SEEN = Observation(
    host="till",
    seconds=60,
    asked=(
        Asked("pay.example", 4, addresses=("198.51.100.7",)),
        Asked("nobody.example", 2, failed=2),
    ),
    calls=(
        Call("198.51.100.7", 443, "tcp", "pay.example", "dns", "tls", 3, 3, owners=(("till", 3),)),
        Call("203.0.113.4", 5432, count=1, protocol="postgres"),
    ),
    listening=(Listening(3306, addresses=("0.0.0.0",), owner="mysql.service (mysqld)"),),
    visits=(Visit(3306, "10.0.0.9", protocol="mysql", count=2),),
    sidecar_like=("envoy (pid 7)",),
)


def report(found: Observation) -> str:
    drafted = draft.build(found, WISH)
    concerns = concern.build(found, drafted, WISH)
    return survey.render(found, drafted, concerns, survey.commands("/srv/till", WISH, drafted))


def test_the_report_tells_who_calls_what_how_often_and_what_to_do() -> None:
    text = report(SEEN)
    for line in (
        "# What till calls and serves",
        "| `pay.example` | 443 HTTPS | 3 | till (3) | 198.51.100.7 |",
        "| `203.0.113.4:5432` | postgres | 1 |  |",
        "| 3306 | 3306 TCP (mysql) | mysql.service (mysqld) | 10.0.0.9 (2) |",
        "| `nobody.example` | 2 | no such name |",
        "## What would break",
        "- envoy (pid 7)",
        "interceptor explain tcp pay.example:443 --config /srv/till/config.yaml",
    ):
        assert line in text.splitlines(), line
    assert "interceptor mesh check --config /srv/till/config.yaml" in text
    assert "interceptor replay CAPTURE --config /srv/till/config.yaml" in text


def test_the_summary_counts() -> None:
    drafted = draft.build(SEEN, WISH)
    concerns = concern.build(SEEN, drafted, WISH)
    assert " ".join(survey.summary(SEEN, drafted, concerns)) == (
        "Watched for 60 s. 4 connections made to 1 host called by name and 1 address called "
        "without one; 2 names asked; 1 port served. 1 thing would break."
    )


def test_nothing_seen_is_told_as_that() -> None:
    text = report(Observation(seconds=5))
    assert "Nothing was seen that would break." in text
    assert text.count("None.") == 3


def test_lengths_of_time_are_told_in_their_unit() -> None:
    assert [survey.span(s) for s in (5, 119, 600, 86400 * 2)] == ["5 s", "119 s", "10 min", "48 h"]


def test_long_lists_are_cut_and_say_so() -> None:
    calls = tuple(Call(f"203.0.113.{n}", 81, count=1) for n in range(40))
    text = report(Observation(calls=calls))
    assert f"- ... and {40 - survey.MOST_CASES} more" in text


def test_json_has_all_of_it() -> None:
    drafted = draft.build(SEEN, WISH)
    concerns = concern.build(SEEN, drafted, WISH)
    tree = json.loads(json.dumps(survey.tree(SEEN, drafted, concerns, ["a.yaml"])))
    assert tree["services"][0]["host"] == "pay.example"
    assert tree["served"][0]["port"]["number"] == 3306
    assert tree["include_cidrs"] == ["203.0.113.4/32"]
    assert {one["topic"]: one["weight"] for one in tree["concerns"]}["sidecar-uid"] == "breaks"
    assert tree["files"] == ["a.yaml"]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_name_of_a_process_breaks_a_table(owner: str, host: str) -> None:
    found = Observation(
        calls=(Call("203.0.113.4", 81, name="a.example", evidence="dns", owners=((owner, 1),)),),
        listening=(Listening(81, addresses=("::",), owner=host),),
    )
    rows = [line for line in report(found).split("\n") if line.startswith("|")]
    assert {row.count("|") for row in rows} <= {6, 5}
