"""Others' rules of iptables: which of them take a flow, and of which nobody can say."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.capture import foreignsave
from interceptor.capture.foreign import Foreign
from interceptor.capture.plan import Flow, Hook

FLOW = Flow(
    Hook.OUTPUT, "tcp", ip_address("192.0.2.1"), ip_address("10.96.0.11"), 9080, uid=7, gid=7
)


def parse(rules: str, table: str = "raw", limit: int = -101) -> list[Foreign]:
    text = f"*{table}\n:OUTPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n"
    return list(foreignsave.parse(text, FLOW, limit, "iptables-nft"))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ("", True),
        ("-d 10.96.0.0/12 -p tcp -m tcp --dport 9080", True),
        ("-d 10.97.0.0/16", "none"),
        ("! -d 10.96.0.0/12", "none"),
        ("-p udp", "none"),
        ("-p tcp -m multiport --dports 80,9000:9100", True),
        ("-m owner --uid-owner 7", True),
        ("-m owner ! --uid-owner 7", "none"),
        ("-m conntrack --ctstate NEW", None),
        ('-m comment --comment "no calls"', True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN SYN", None),
    ],
)
def test_a_rule_takes_the_flow_that_its_conditions_mean(
    conditions: str, expected: bool | str | None
) -> None:
    found = [each.matches for each in parse(f"-A OUTPUT {conditions} -j DROP")]
    assert found == ([] if expected == "none" else [expected])


def test_only_what_stands_before_our_jump_counts() -> None:
    jump = "-A OUTPUT -p tcp -j INTERCEPTOR_OUTPUT"
    assert parse(f"{jump}\n-A OUTPUT -j DROP", "nat") == []
    before = parse(f"-A OUTPUT -p tcp -j REDIRECT --to-ports 1\n{jump}", "nat")
    assert [each.verdict for each in before] == ["redirect"]
    assert parse("-A OUTPUT -j DROP", "filter") == []


def test_chains_of_others_are_followed() -> None:
    rules = ":ufw-out - [0:0]\n-A OUTPUT -j ufw-out\n-A ufw-out -p tcp --dport 9080 -j REJECT"
    (found,) = parse(rules)
    assert (found.verdict, found.matches) == ("reject", True)
    assert parse("-A OUTPUT -j ACCEPT\n-A OUTPUT -j DROP") == []
