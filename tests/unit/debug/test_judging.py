"""Which rule is told of what has happened."""

from __future__ import annotations

from ipaddress import ip_address

from interceptor.capture.plan import Decision, Facts, Flow, Hook, Plan, Verdict, build
from interceptor.config import Config
from interceptor.debug import judging
from interceptor.debug.judging import Judge

ME, PEER = ip_address("10.0.0.2"), ip_address("10.0.0.9")


def plan_of(**capture: object) -> Plan:
    config = Config.model_validate({"capture": capture})
    return build(config, Facts(own_addresses=(ME,)))


def test_a_rule_is_named_only_where_it_says_what_happened() -> None:
    decided = Decision(Verdict.OUTBOUND, 7, "mesh address")
    for is_known in (True, False):
        told = judging.reason(Verdict.OUTBOUND, decided, is_known=is_known)
        assert told == (7, "mesh address")
    told = judging.reason(Verdict.PASS, decided, is_known=True)
    assert told == (0, "not as planned: rule 7 (mesh address) says outbound")
    rule, why = judging.reason(Verdict.PASS, decided, is_known=False)
    assert rule == 0
    assert "ended before we looked" in why


def test_own_addresses_are_links_loopback_and_what_a_route_makes_so() -> None:
    plan = plan_of()
    assert judging.is_own(ME, plan)
    assert all(judging.is_own(ip_address(text), plan) for text in ("127.0.0.9", "::1", "::6"))
    assert not judging.is_own(PEER, plan)


def test_the_kernel_is_asked_for_a_device_only_where_a_rule_asks() -> None:
    asked = []

    def device(address: object) -> str:
        asked.append(address)
        return "wg0"

    assert judging.interface(plan_of(), PEER, device) == "uplink"
    assert judging.interface(plan_of(), ME, device) == "lo"
    assert asked == []
    named = plan_of(interfaces={"exclude": ["wg0"]})
    assert judging.interface(named, PEER, device) == "wg0"
    assert asked == [PEER]


def test_a_new_plan_is_judged_by() -> None:
    judge = Judge()
    flow = Flow(Hook.OUTPUT, "tcp", ME, ip_address("10.50.0.1"), 80)
    assert judge.decide(plan_of(), flow).rule == 9
    assert judge.decide(plan_of(outbound={"cidrs": ["10.50.0.0/16"]}), flow).rule == 7
    judge.forget()
    assert judge.decide(plan_of(), flow).rule == 9
