"""What a tracked connection says of its fate, and which rule that was."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor.capture.plan import Facts, Hook, Plan, Steering, Verdict, build
from interceptor.config import Config
from interceptor.debug import netfilter
from interceptor.host.conntrack import Tracked

ME, PEER, LO = (ip_address(text) for text in ("10.0.0.2", "10.0.0.9", "127.0.0.1"))
PASSED = Tracked(ME, 4000, PEER, 80, PEER, 80)
STEERING = Steering()


def plan_of(**capture: object) -> Plan:
    config = Config.model_validate({"capture": capture})
    return build(config, Facts(own_addresses=(ME,)))


@pytest.mark.parametrize(
    ("reached", "verdict"),
    [
        ((PEER, 80), "pass"),
        ((LO, 15001), "outbound"),
        ((LO, 15006), "inbound"),
        ((LO, 15053), "dns"),
        ((ip_address("172.17.0.2"), 8080), "pass"),
    ],
)
def test_the_verdict_is_where_the_reply_comes_from(reached, verdict: str) -> None:
    tracked = replace(PASSED, reached=reached[0], reached_port=reached[1])
    assert netfilter.happened(tracked, STEERING).value == verdict


def test_a_connection_to_the_sidecar_s_own_port_is_not_captured() -> None:
    assert netfilter.happened(Tracked(ME, 1, LO, 15001, LO, 15001), STEERING) is Verdict.PASS


def test_a_connection_begins_here_or_arrives() -> None:
    plan = plan_of()
    assert netfilter.hook_of(PASSED, plan) is Hook.OUTPUT
    for source in ("127.0.0.1", "::1", "::6"):
        assert netfilter.hook_of(replace(PASSED, source=ip_address(source)), plan) is Hook.OUTPUT
    assert netfilter.hook_of(replace(PASSED, source=PEER), plan) is Hook.PREROUTING


def test_what_the_sidecar_sends_for_a_client_begins_here_though_it_bears_its_address() -> None:
    plan = plan_of(inbound={"mode": "tproxy", "ports": [80]})
    sent = replace(PASSED, source=PEER, mark=plan.steering.tproxy_mark)
    assert netfilter.hook_of(sent, plan) is Hook.OUTPUT
    assert netfilter.hook_of(replace(sent, mark=0), plan) is Hook.PREROUTING
