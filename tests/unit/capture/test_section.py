"""Which rules stand in which chain."""

from __future__ import annotations

from typing import Any

from interceptor.capture.plan import Plane
from interceptor.capture.rule import Port, Verdict
from interceptor.capture.section import Section, rules, sections


def test_a_host_gets_no_chain_that_decides_nothing(make: Any) -> None:
    assert sections(make("default")) == (Section.QUEUE_OUTPUT, Section.NAT_OUTPUT)
    assert sections(make("nothing")) == ()
    assert sections(make("tcp_only_ipv4")) == (Section.NAT_OUTPUT,)


def test_inbound_is_redirected_or_tproxied_and_never_both(make: Any) -> None:
    assert Section.NAT_PREROUTING in sections(make("everything"))
    tproxy = sections(make("tproxy_all_outbound"))
    assert Section.TPROXY in tproxy
    assert Section.NAT_PREROUTING not in tproxy


def test_replies_are_led_to_envoy_where_it_calls_by_the_client_s_address(
    make: Any, shape: str
) -> None:
    plan = make(shape)
    assert (Section.REPLY in sections(plan)) == (Section.TPROXY in sections(plan))
    assert sections(plan.released()) == sections(plan), "what is open goes on"
    assert rules(Section.REPLY, plan) == ()
    assert Section.REPLY not in sections(plan.only(Plane.DNS))


def test_the_queue_s_chain_ends_with_its_last_dns_rule(make: Any, shape: str) -> None:
    plan = make(shape)
    for section in sections(plan):
        if section.is_queue:
            found = rules(section, plan)
            assert found[-1].verdict is Verdict.DNS
            assert {rule.verdict for rule in found} <= {Verdict.PASS, Verdict.DNS}


def test_no_rule_that_could_capture_a_query_is_left_out_of_the_queue_s_chain(
    make: Any, shape: str
) -> None:
    for rule in make(shape).rules:
        if rule.number < 5 and rule.verdict not in (Verdict.PASS, Verdict.DNS):
            ports = [c for c in rule.conditions if isinstance(c, Port)]
            assert any(port.negate and 53 in port.ports for port in ports)
