"""Two configurations side by side: what differs, put together and told in a table."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from interceptor.capture.plan import Hook
from interceptor.debug import contrast
from interceptor.debug.attempt import Attempt
from interceptor.debug.replay import Fate, Replayed

CALL = Attempt(
    *(4, 1_700_000_000_000_000_000, Hook.OUTPUT, "eth0", "tcp"),
    *(ip_address("192.0.2.10"), 4000, ip_address("203.0.113.7"), 443),
)
PASS = Fate("pass", 9, "nothing asks for it", to="203.0.113.7:443")
OUT = Fate("outbound", 7, "included port", to="127.0.0.1:15001", cluster="PassthroughCluster")


def pairs(*fates: tuple[Fate, Fate]) -> list[contrast.Contrast]:
    attempts = [replace(CALL, number=4 + n, source_port=4000 + n) for n in range(len(fates))]
    left = [Replayed(one, 0, fate[0]) for one, fate in zip(attempts, fates, strict=True)]
    right = [Replayed(one, 0, fate[1]) for one, fate in zip(attempts, fates, strict=True)]
    return list(contrast.contrast(left, right))


def test_only_an_effect_is_a_difference() -> None:
    same = replace(PASS, rule=6, why="excluded outbound port")
    assert [each.differs for each in pairs((PASS, OUT), (PASS, same), (OUT, OUT))] == [
        True,
        False,
        False,
    ]


def test_alike_differences_are_one_row_with_their_number() -> None:
    groups = contrast.group(pairs((PASS, OUT), (PASS, OUT), (OUT, PASS)))
    assert [(each.first.attempt.number, each.count) for each in groups] == [(4, 2), (6, 1)]


def test_the_table_has_both_fates_beside_each_other() -> None:
    text = contrast.render(contrast.group(pairs((PASS, OUT))), ("as configured", "new.yaml"))
    head, row = text.splitlines()
    assert head.split() == ["packet", "times", "what", "as", "configured", "new.yaml"]
    assert head.index("as configured") == row.index("pass: nothing asks for it")
    assert head.index("new.yaml") == row.index("outbound → PassthroughCluster: included port")
    assert "tcp 203.0.113.7:443" in row


def test_a_query_is_told_by_its_name() -> None:
    asked = replace(CALL, port=53, message=b"x")
    left = Fate("answer", name="a.example", qtype="A", answers=("192.0.2.1",))
    right = replace(left, verdict="pass", answers=())
    (one,) = contrast.contrast([Replayed(asked, 0, left)], [Replayed(asked, 0, right)])
    assert contrast.about(one) == "A a.example"
    assert contrast.words(left).startswith("answer 192.0.2.1")


def test_in_json_both_sides_stand_under_their_names() -> None:
    (one,) = pairs((PASS, OUT))
    tree = contrast.encode(one)
    assert tree["packet"] == 4
    assert tree["differs"] is True
    assert tree["left"]["verdict"] == "pass"  # type: ignore[index]
    assert tree["right"]["cluster"] == "PassthroughCluster"  # type: ignore[index]


def test_a_summary_counts_what_became_what() -> None:
    assert contrast.summarize(pairs((PASS, OUT), (PASS, OUT), (OUT, OUT))) == {
        "connection pass → outbound": 2,
        "connection outbound → outbound, the same": 1,
    }
