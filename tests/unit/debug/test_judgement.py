"""What is said of a packet: by a live decision where there is one, else by table and plan."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from interceptor.debug import dnsquestion
from interceptor.debug.event import Event, Kind
from interceptor.debug.judgement import Judgement
from tests.unit.debug.sighted import ENDPOINT, OWN, REVIEWS, TIME_NS, VIP, judgement

NOW_S = TIME_NS / 1e9
CLIENT = ip_address(OWN).packed, 40000
JUDGE = judgement()
CALLED = ip_address(VIP).packed, 9080


def test_the_plan_tells_rule_and_host() -> None:
    told = judgement().outbound(CLIENT, CALLED, None, NOW_S)
    assert told.text == f"outbound rule 7: VIP of {REVIEWS.name} → 15001"
    assert (told.verdict, told.host) == ("outbound", REVIEWS.name)


def test_the_sidecar_s_own_call_is_exempt() -> None:
    told = judgement().outbound(CLIENT, CALLED, 1337, NOW_S)
    assert told.text.startswith("pass rule 2: ")
    assert told.text.endswith("; uid 1337")


@given(st.binary(max_size=100), st.integers(0, 0xFFFF))
def test_no_question_makes_it_fail(labels: bytes, qtype: int) -> None:
    wire = b"\0\7\1\0\0\1\0\0\0\0\0\0" + labels + b"\0" + qtype.to_bytes(2, "big") + b"\0\1"
    question = dnsquestion.parse(wire)
    if question is not None:
        told = JUDGE.query(CLIENT, question.name, question.qtype, NOW_S)
        assert told.verdict in ("", "pass", "answer", "nodata")


def test_what_arrives_is_judged_as_such() -> None:
    caller = ip_address("10.0.0.7").packed, 40000
    told = judgement().inbound(caller, (ip_address(OWN).packed, 3306), "eth0")
    assert told.verdict == "inbound"
    assert told.text.endswith("→ 15006")
    assert judgement().inbound(caller, (ip_address(OWN).packed, 22), "eth0").verdict == "pass"


def test_an_event_of_the_very_flow_is_believed_while_it_is_fresh() -> None:
    judge = judgement()
    event = Event(
        NOW_S,
        Kind.CONNECTION,
        "ebpf",
        "pass",
        source=OWN,
        source_port=40000,
        destination=VIP,
        port=9080,
        rule=4,
        why="excluded user",
        uid=33,
        pid=7,
        comm="curl",
    )
    judge.hear(event)
    assert judge.outbound(CLIENT, CALLED, None, NOW_S + 1).text == (
        "pass rule 4: excluded user; curl[7]; uid 33"
    )
    assert judge.outbound(CLIENT, CALLED, None, NOW_S + 60).verdict == "outbound"
    assert judge.outbound((CLIENT[0], 40001), CALLED, None, NOW_S).verdict == "outbound"


def test_an_endpoint_is_known_by_address_and_port() -> None:
    place = ip_address(ENDPOINT).packed, 9080
    assert REVIEWS.name in judgement().upstream(place).text
    assert "no endpoint" in judgement().upstream((place[0], 1)).text


def test_a_service_of_this_host_is_named_where_the_mesh_knows_it() -> None:
    place = ip_address(ENDPOINT).packed, 9080
    assert judgement().service(place).text == f"sidecar to {REVIEWS.name}, served here, port 9080"
    other = place[0], 1
    assert judgement().service(other).text == "sidecar to this host's own service, port 1"


def test_without_a_table_nothing_is_claimed() -> None:
    judge = Judgement(None, (), None)
    assert judge.query(CLIENT, "a.example", 1, NOW_S).verdict == ""
    assert judge.outbound(CLIENT, CALLED, None, NOW_S).text == ""


def test_events_that_wait_are_bounded() -> None:
    judge = judgement()
    for port in range(20_100):
        judge.hear(Event(NOW_S, Kind.DNS, "kernel", "answer", source_port=port))
    assert len(judge._heard) == 20_000
