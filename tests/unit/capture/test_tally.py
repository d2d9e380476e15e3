"""Connections are counted by the rules that sent them to the sidecar, and by no others."""

from __future__ import annotations

import json

from interceptor.capture import tally
from interceptor.capture.plan import Steering

STEERING = Steering()


def rule(port: int, packets: int, verdict: str = "redirect") -> dict[str, object]:
    counter = {"counter": {"packets": packets, "bytes": packets * 60}}
    return {"rule": {"chain": "nat_output", "expr": [counter, {verdict: {"port": port}}]}}


def test_nft_rules_are_told_apart_by_the_port_they_lead_to() -> None:
    text = json.dumps(
        {
            "nftables": [
                {"table": {"name": "interceptor"}},
                rule(15001, 3),
                rule(15001, 4),
                rule(15006, 2),
                rule(15006, 5, "tproxy"),
                rule(15053, 100),
                {"rule": {"expr": [{"counter": {"packets": 50, "bytes": 1}}, {"accept": None}]}},
            ]
        }
    )
    assert tally.parse_nft(text, STEERING) == {"outbound": 7, "inbound": 7}
    assert tally.parse_nft("", STEERING) == {}


def test_iptables_rules_are_told_apart_the_same_way() -> None:
    text = """\
*nat
:INTERCEPTOR_OUTPUT - [0:0]
[9:540] -A OUTPUT -p tcp -j INTERCEPTOR_OUTPUT
[4:240] -A INTERCEPTOR_OUTPUT -p tcp -m set --match-set x dst -j REDIRECT --to-ports 15001
[5:300] -A INTERCEPTOR_OUTPUT -p tcp --dport 53 -j REDIRECT --to-ports 15053
[2:120] -A INTERCEPTOR_PREROUTING -p tcp -j REDIRECT --to-ports 15006
[1:60] -A INTERCEPTOR_TPROXY -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x1
[7:60] -A OTHERS -p tcp -j REDIRECT --to-ports 15001
"""
    assert tally.parse_saved(text, STEERING) == {"outbound": 4, "inbound": 3}


def test_a_call_to_oneself_is_inbound_and_what_passed_is_no_connection_of_ours() -> None:
    decisions = {"outbound": 3, "self": 1, "inbound": 2, "pass": 50, "exempt": 9}
    assert tally.steered(decisions) == {"outbound": 3, "inbound": 3}
    assert tally.steered({}) == {"outbound": 0, "inbound": 0}
