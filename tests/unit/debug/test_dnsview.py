"""What a capture says of queries and answers."""

from __future__ import annotations

import pytest

from interceptor.debug import datagram
from interceptor.debug.datagram import Datagram
from interceptor.debug.dnsview import DnsView, is_dns
from interceptor.debug.event import Event, Kind
from interceptor.debug.pcaprecord import RAW, Direction, Record
from interceptor.debug.sighting import Sighting
from interceptor.debug.viewpoint import Role
from tests.unit.debug.sighted import OWN, SERVER, TIME_NS, VIP, answer, judgement, query, sight, udp

NAME = "reviews.bookinfo.svc.cluster.local"
OTHER = "www.example.com"
IN, OUT = Direction.IN, Direction.OUT


@pytest.fixture
def view() -> DnsView:
    return DnsView(judgement())


def tell(view: DnsView, sighting: Sighting) -> list[Record]:
    assert is_dns(sighting)
    ((_, records),) = view.tell(sighting)
    return records


def test_an_answer_without_a_query_on_a_link_was_given_here(view: DnsView) -> None:
    asked = query(NAME)
    seen = sight(udp(53, 4000, answer(asked, VIP)), SERVER, OWN, Role.UPLINK, IN)
    made, given = tell(view, seen)
    assert given.interface == made.interface == "answered"
    assert given.comment == f"answered from mesh table: {NAME} → {VIP} (seen on eth0)"
    assert "query rebuilt from its answer" in made.comment
    assert made.time_ns < given.time_ns
    packet = datagram.parse(RAW, made.data)
    assert isinstance(packet, Datagram)
    assert packet.payload == bytes(asked.pack())
    assert (packet.source_port, packet.port) == (4000, 53)
    assert given.data == seen.packet.packet


def test_an_answer_whose_query_left_is_its_server_s(view: DnsView) -> None:
    asked = query(OTHER)
    (left,) = tell(view, sight(udp(4000, 53, asked), OWN, SERVER, Role.UPLINK, OUT))
    (back,) = tell(
        view, sight(udp(53, 4000, answer(asked, "192.0.2.1")), SERVER, OWN, Role.UPLINK, IN)
    )
    assert left.comment == "passed on untouched: no host of the mesh bears this name"
    assert back.comment == f"from {SERVER} itself, untouched"
    assert {left.interface, back.interface} == {"uplink eth0"}


def test_a_mesh_name_that_left_all_the_same_is_told(view: DnsView) -> None:
    asked = query(NAME)
    (left,) = tell(view, sight(udp(4000, 53, asked), OWN, SERVER, Role.UPLINK, OUT))
    assert left.comment.startswith("sent to its server, although the mesh table has")
    (back,) = tell(view, sight(udp(53, 4000, answer(asked)), SERVER, OWN, Role.UPLINK, IN))
    assert "answered" not in back.comment


def test_another_s_answer_is_not_ours_though_its_query_was_missed(view: DnsView) -> None:
    asked = query(OTHER)
    (only,) = tell(
        view, sight(udp(53, 4000, answer(asked, "192.0.2.1")), SERVER, OWN, Role.UPLINK, IN)
    )
    assert (only.interface, only.comment) == ("uplink eth0", "")


def test_no_data_is_told_with_its_reason(view: DnsView) -> None:
    asked = query(NAME, qtype="MX")
    _, given = tell(view, sight(udp(53, 4000, answer(asked)), SERVER, OWN))
    assert given.comment.startswith("answered from mesh table: no MX: ")


def test_a_stub_on_lo_that_is_asked_answers_for_itself(view: DnsView) -> None:
    asked = query(OTHER)
    tell(view, sight(udp(4000, 53, asked), "127.0.0.1", "127.0.0.53"))
    (back,) = tell(view, sight(udp(53, 4000, answer(asked)), "127.0.0.53", "127.0.0.1"))
    assert (back.interface, back.comment) == ("local lo", "from 127.0.0.53 itself, untouched")


def test_a_container_s_query_is_seen_before_it_is_answered(view: DnsView) -> None:
    asked = query(NAME)
    (first,) = tell(view, sight(udp(4000, 53, asked), "172.17.0.2", SERVER, Role.BRIDGE, IN))
    (second,) = tell(
        view, sight(udp(53, 4000, answer(asked, VIP)), SERVER, "172.17.0.2", Role.BRIDGE, OUT)
    )
    assert (first.interface, second.interface) == ("bridge eth0", "answered")
    assert second.comment.startswith("answered from mesh table")


def test_a_container_s_query_that_br_netfilter_hid_is_made_again(view: DnsView) -> None:
    given = udp(53, 4000, answer(query(NAME), VIP))
    made, told = tell(view, sight(given, SERVER, "172.17.0.2", Role.BRIDGE, OUT))
    assert (made.interface, told.interface) == ("answered", "answered")
    assert "rebuilt" in made.comment


def test_the_daemon_s_word_comes_before_the_table_s() -> None:
    judge = judgement()
    judge.hear(
        Event(
            TIME_NS / 1e9,
            Kind.DNS,
            "kernel",
            "answer",
            source=OWN,
            source_port=4000,
            name="new.example",
            qtype="A",
            host="new.example",
        )
    )
    _, given = tell(
        DnsView(judge), sight(udp(53, 4000, answer(query("new.example"), VIP)), SERVER, OWN)
    )
    assert given.comment == f"answered from mesh table: new.example → {VIP} (seen on lo)"


def test_what_is_no_dns_is_kept_as_it_is(view: DnsView) -> None:
    asked = query(NAME)
    asked.header.opcode = 5
    (kept,) = tell(view, sight(udp(4000, 53, asked), OWN, SERVER, Role.UPLINK, OUT))
    assert kept.comment == ""
