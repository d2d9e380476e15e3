"""Others' rules of nft: which of them take a flow, and of which nobody can say."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from interceptor.capture import foreignnft
from interceptor.capture.foreign import Foreign
from interceptor.capture.plan import Flow, Hook

FLOW = Flow(
    Hook.OUTPUT, "tcp", ip_address("192.0.2.1"), ip_address("10.96.0.11"), 9080, uid=7, gid=7
)
LIMIT = -101
DROP = {"drop": None}


def base(table: str = "guard", priority: int = -300, **other: object) -> dict[str, object]:
    body = {"family": "inet", "table": table, "name": "out", "handle": 1, "type": "filter"}
    return {"chain": {**body, "hook": "output", "prio": priority, "policy": "accept", **other}}


def match(left: dict[str, object], right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str) -> dict[str, object]:
    return {"payload": {"protocol": protocol, "field": field}}


def rule(*expressions: object, chain: str = "out") -> dict[str, object]:
    body = {"family": "inet", "table": "guard", "chain": chain, "handle": 2}
    return {"rule": {**body, "expr": list(expressions)}}


def parse(*items: object, flow: Flow = FLOW, limit: int = LIMIT) -> list[Foreign]:
    return list(foreignnft.parse(json.dumps({"nftables": items}), flow, limit))


DPORT = payload("tcp", "dport")
NET = {"prefix": {"addr": "10.96.0.0", "len": 12}}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], True),
        ([match(DPORT, 9080)], True),
        ([match(DPORT, 80)], "none"),
        ([match(DPORT, {"set": [80, 9080]})], True),
        ([match(DPORT, {"range": [9000, 9100]})], True),
        ([match(DPORT, 9080, "!=")], "none"),
        ([match(DPORT, "@ports")], None),
        ([match(payload("udp", "dport"), 9080)], "none"),
        ([match(payload("ip", "daddr"), NET), match(DPORT, 9080)], True),
        ([match(payload("ip6", "daddr"), "2001:db8::1")], "none"),
        ([match({"meta": {"key": "skuid"}}, 7)], True),
        ([match({"meta": {"key": "skuid"}}, 8)], "none"),
        ([match({"meta": {"key": "l4proto"}}, "udp")], "none"),
        ([match({"ct": {"key": "state"}}, "new")], None),
        ([{"xt": None}], None),
    ],
)
def test_a_rule_takes_the_flow_that_its_conditions_mean(
    conditions: list[object], expected: bool | str | None
) -> None:
    found = [each.matches for each in parse(base(), rule(*conditions, DROP))]
    assert found == ([] if expected == "none" else [expected])


def test_only_chains_before_ours_count() -> None:
    assert parse(base(priority=0), rule(DROP)) == []
    assert parse(base(table="interceptor"), rule(DROP)) == []
    assert parse(base(hook="prerouting"), rule(DROP)) == []


def test_what_was_accepted_for_certain_is_dropped_by_nobody() -> None:
    accepted = rule(match(DPORT, 9080), {"accept": None})
    assert parse(base(), accepted, rule(DROP)) == []
    perhaps = rule(match({"ct": {"key": "state"}}, "new"), {"accept": None})
    assert [each.matches for each in parse(base(), perhaps, rule(DROP))] == [None]


def test_jumps_are_followed_and_returns_come_back() -> None:
    jump = rule({"jump": {"target": "more"}})
    inner = rule(match(DPORT, 9080), DROP, chain="more")
    assert [each.matches for each in parse(base(), jump, inner)] == [True]
    back = rule({"return": None}, chain="more")
    assert parse(base(), jump, back, inner) == []


def test_a_policy_of_drop_takes_what_nothing_accepts() -> None:
    (found,) = parse(base(policy="drop"))
    assert (found.text, found.matches) == ("policy drop", True)
    assert parse(base(policy="drop"), rule({"accept": None})) == []


def test_a_rule_is_told_in_nfts_own_words() -> None:
    (found,) = parse(
        base(), rule(match(DPORT, 9080), {"counter": {"packets": 1, "bytes": 1}}, DROP)
    )
    assert found.where == "nft inet guard out, output priority -300"
    assert found.text.startswith("tcp dport 9080")
