"""The chain reads link by link, each with a mark, and ends with what to do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from interceptor import inquiry
from interceptor.debug import chain, diagnosis
from interceptor.debug.case import Case, Connected, Probe, Queried
from interceptor.debug.finding import Link, Step
from tests.unit.debug import sick


def links(case: Case) -> dict[Step, Link]:
    found = chain.build(case, inquiry.conclude(case), diagnosis.diagnose(case))
    return {link.step: link for link in found}


def text(case: Case) -> str:
    findings = diagnosis.diagnose(case)
    made = chain.build(case, inquiry.conclude(case), findings)
    return "\n".join(chain.render(case, made, findings))


def test_every_link_of_a_call_that_is_well_is_good() -> None:
    found = links(sick.case())
    assert set(found) == set(Step) - {Step.PROBE}
    assert all(link.ok for link in found.values())
    assert "1 hosts from files; the daemon answers the same" in found[Step.TABLE].said
    assert found[Step.RULE].detail == ("[3] redirect to :15001",)
    assert "Envoy: healthy" in found[Step.ENDPOINTS].detail[0]
    assert text(sick.case()).endswith("nothing is wrong here, as far as anybody could look")


def test_a_link_that_breaks_says_why_and_what_to_run() -> None:
    made = sick.case(replace(sick.REVIEWS, endpoints=()))
    link = links(made)[Step.ENDPOINTS]
    assert (link.ok, link.cause) == (False, "no-endpoint")
    assert link.next == f"interceptor mesh show {sick.NAME}"
    lines = text(made).splitlines()
    assert any(line.startswith(" ✗ endpoints") for line in lines)
    assert lines[-1] == f"  next: {link.next}"


def test_what_nobody_could_look_at_is_neither_good_nor_bad() -> None:
    made = sick.case(
        installed=None, envoy=None, running=None, unknown={Step.RULE: "only root may look there"}
    )
    found = links(made)
    assert found[Step.RULE].ok is None
    assert "only root" in found[Step.RULE].said
    assert Step.LISTENER not in found
    assert " ? rule" in text(made)


def test_a_probe_tells_what_happened_and_moves_the_counter() -> None:
    reply = Connected(
        "10.96.0.11 port 9080", "connected", "10.96.0.11", 1.25, reply="HTTP/1.1 200 OK"
    )
    query = Queried("10.77.0.53", "NOERROR", ("10.96.0.11",), 0.5)
    found = links(sick.case(probe=Probe(query, reply, before=3, after=4)))
    assert found[Step.PROBE].ok
    assert "connected after 1.2 ms, peer 10.96.0.11" in found[Step.PROBE].said
    assert found[Step.RULE].detail[-1] == "the probe moved it from 3 to 4"
    assert found[Step.RESOLVER].detail == ("10.77.0.53 was asked: NOERROR, 10.96.0.11, 0.5 ms",)


def test_a_probe_that_failed_for_no_known_reason_says_so() -> None:
    made = sick.case(probe=Probe(connection=Connected("10.96.0.11 port 9080", "timeout")))
    assert links(made)[Step.PROBE].cause == "not-answered"


def test_an_answer_that_is_not_ours_is_bad() -> None:
    query = Queried("10.77.0.53", "NXDOMAIN")
    assert links(sick.case(probe=Probe(query)))[Step.RESOLVER].ok is False


def test_a_flow_that_passes_has_no_sidecar() -> None:
    made = sick.case(name="www.corp.example")
    assert set(links(made)) == {Step.TABLE, Step.NAME}


def test_an_endpoint_of_another_network_says_how_it_is_reached() -> None:
    gateways = ((ip_address("198.51.100.1"), 15443),)
    near = sick.REVIEWS.endpoints[0]
    plain = replace(near, network="far", gateways=gateways)
    made = sick.case(replace(sick.REVIEWS, endpoints=(near, plain, replace(plain, identity="a"))))
    lines = links(made)[Step.ENDPOINTS].detail
    assert "network" not in lines[0]
    assert "in network far behind 198.51.100.1:15443: left out, for it speaks no" in lines[1]
    assert "in network far behind 198.51.100.1:15443: called through it" in lines[2]
