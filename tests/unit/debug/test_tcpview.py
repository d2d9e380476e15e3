"""Captured connections become two flows, whatever a link shows of them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.debug import datagram
from interceptor.debug.datagram import Datagram
from interceptor.debug.pcaprecord import RAW, Direction, Record
from interceptor.debug.rebuild import End
from interceptor.debug.sighting import Sighting
from interceptor.debug.tcpview import Holder, Ports, TcpView, way_of
from interceptor.debug.viewpoint import Role
from interceptor.host.layout import Way
from tests.unit.debug.sighted import (
    ENDPOINT,
    OWN,
    SERVER,
    VIP,
    answer,
    judgement,
    query,
    sight,
    tcp,
)

APP, CALLED, SIDECAR = (OWN, 40000), (VIP, 9080), ("127.0.0.1", 15001)
ALIAS = ("127.64.0.11", 9080)
IN, OUT = Direction.IN, Direction.OUT
REVIEWS = "reviews.bookinfo.svc.cluster.local"
RULE = f"outbound rule 7: VIP of {REVIEWS} → 15001"


def view(holders: dict[End, Holder] | None = None) -> TcpView:
    aliases = {ip_address(ALIAS[0]).packed: ip_address(VIP).packed}
    ports = Ports({15001: Way.OUTBOUND, 15006: Way.INBOUND, 15053: Way.DNS})
    return TcpView(
        judgement(),
        ports,
        1337,
        0x1DC0,
        aliases.get,
        lambda local, remote: (holders or {}).get(local),
        frozenset((ip_address(OWN).packed,)),
    )


def tell(looking: TcpView, *seen: Sighting) -> list[Record]:
    for each in seen:
        looking.learn(each)
    return [record for each in seen for _, records in looking.tell(each) for record in records]


def flow(record: Record) -> tuple[str, str, int, str, int]:
    packet = datagram.parse(record.link, record.data)
    assert isinstance(packet, Datagram)
    source, to = ip_address(packet.source), ip_address(packet.destination)
    return record.interface, str(source), packet.source_port, str(to), packet.port


def test_netfilter_shows_half_of_either_flow_and_both_are_made_whole() -> None:
    records = tell(
        view(),
        sight(tcp(APP, SIDECAR), OWN, SIDECAR[0]),
        sight(tcp(CALLED, APP, "SA"), VIP, OWN),
        sight(tcp(APP, SIDECAR, "A", b"GET"), OWN, SIDECAR[0]),
    )
    assert [flow(record) for record in records[:4]] == [
        ("app", *APP, *CALLED),
        ("to-sidecar", *APP, *SIDECAR),
        ("app", *CALLED, *APP),
        ("to-sidecar", *SIDECAR, *APP),
    ]
    assert {record.comment for record in records} == {RULE}
    assert all(record.link == RAW for record in records)
    assert len(records) == 6


def test_ebpf_shows_an_alias_both_ways() -> None:
    records = tell(
        view(),
        sight(tcp(APP, ALIAS), OWN, ALIAS[0]),
        sight(tcp(ALIAS, APP, "SA"), ALIAS[0], OWN),
    )
    assert [flow(record) for record in records] == [
        ("app", *APP, *CALLED),
        ("to-sidecar", *APP, *ALIAS),
        ("app", *CALLED, *APP),
        ("to-sidecar", *ALIAS, *APP),
    ]
    assert {record.comment for record in records} == {RULE}


def test_who_calls_the_sidecar_s_port_himself_was_not_redirected() -> None:
    local = ("127.0.0.1", 50000)
    records = tell(
        view(),
        sight(tcp(local, SIDECAR), *(local[0], SIDECAR[0])),
        sight(tcp(SIDECAR, local, "SA"), SIDECAR[0], local[0]),
    )
    assert {record.interface for record in records} == {"local lo"}


def test_a_connection_that_nobody_answers_is_told_without_its_destination() -> None:
    (record,) = tell(view(), sight(tcp(APP, SIDECAR), OWN, SIDECAR[0]))
    assert record.comment == "captured; its destination was not seen"


def test_a_client_s_port_is_known_again_for_another_destination() -> None:
    looking = view()
    tell(
        looking, sight(tcp(APP, SIDECAR), OWN, SIDECAR[0]), sight(tcp(CALLED, APP, "SA"), VIP, OWN)
    )
    again = tell(
        looking,
        sight(tcp(APP, SIDECAR), OWN, SIDECAR[0]),
        sight(tcp(("10.9.9.9", 1), APP, "SA"), "10.9.9.9", OWN),
    )
    assert flow(again[0])[3:] == ("10.9.9.9", 1)


def test_dns_over_tcp_is_told_by_its_messages() -> None:
    asked = query(REVIEWS)
    target, server = ("127.0.0.1", 15053), (SERVER, 53)
    wire = bytes(answer(asked, VIP).pack())
    records = tell(
        view({(ip_address(OWN).packed, APP[1]): Holder(33)}),
        sight(tcp(APP, target), OWN, target[0]),
        sight(tcp(server, APP, "PA", len(wire).to_bytes(2, "big") + wire), SERVER, OWN),
    )
    assert records[0].comment.startswith("dns rule 5: ")
    assert records[1].interface == "to-agent"
    assert records[2].comment == f"answered from mesh table: {REVIEWS} → {VIP}; uid 33"


@pytest.mark.parametrize("uid", [1337, None])
def test_the_sidecar_s_connection_is_known_by_its_owner_or_its_endpoint(uid: int | None) -> None:
    local = ip_address(OWN).packed, 41000
    holders = {} if uid is None else {local: Holder(uid)}
    seen = sight(tcp((OWN, 41000), (ENDPOINT, 9080)), OWN, ENDPOINT, Role.UPLINK, OUT)
    (record,) = tell(view(holders), seen)
    assert record.interface == "sidecar out eth0"
    assert record.comment == f"sidecar to {ENDPOINT}:9080, endpoint of {REVIEWS}"


def test_somebody_else_s_connection_to_an_endpoint_is_his_own() -> None:
    local = ip_address(OWN).packed, 41000
    seen = sight(tcp((OWN, 41000), (ENDPOINT, 9080)), OWN, ENDPOINT, Role.UPLINK, OUT)
    (record,) = tell(view({local: Holder(0)}), seen)
    assert record.interface == "uplink eth0"
    assert record.comment.startswith("pass rule ")


def test_the_agent_s_own_connection_is_called_so() -> None:
    local = ip_address(OWN).packed, 41000
    seen = sight(tcp((OWN, 41000), (SERVER, 53)), OWN, SERVER, Role.UPLINK, OUT)
    (record,) = tell(view({local: Holder(0, 0x1DC0)}), seen)
    assert record.comment == "the agent's own: it relays a query"


def test_what_should_have_been_captured_and_was_not_is_said() -> None:
    seen = sight(tcp((OWN, 41000), CALLED), OWN, VIP, Role.UPLINK, OUT)
    (record,) = tell(view(), seen)
    assert record.comment == f"not captured, although by the plan {RULE}"


def test_what_arrives_is_told_with_its_rule_and_so_is_what_goes_back() -> None:
    caller, served = ("10.0.0.7", 50000), (OWN, 3306)
    records = tell(
        view(),
        sight(tcp(caller, served), caller[0], OWN, Role.UPLINK, IN),
        sight(tcp(served, caller, "SA"), OWN, caller[0], Role.UPLINK, OUT),
    )
    assert {record.interface for record in records} == {"uplink eth0"}
    assert len({record.comment for record in records}) == 1
    assert records[0].comment.startswith("inbound rule 8: ")


@pytest.mark.parametrize("through", ["127.0.0.6", "10.0.0.7"])
def test_the_sidecar_s_way_to_a_local_service_has_its_own_interface(through: str) -> None:
    """By its own address, or by TPROXY with its client's."""
    there, served = (through, 50000), (OWN, 3306)
    records = tell(
        view(),
        sight(tcp(there, served), through, OWN),
        sight(tcp(served, there, "SA"), OWN, through),
    )
    assert [record.interface for record in records] == ["sidecar in lo"] * 2


def test_a_container_s_connection_is_seen_before_and_after_where_br_netfilter_rewrites_it() -> None:
    client, target = ("172.17.0.2", 50000), (OWN, 15001)
    records = tell(
        view(),
        sight(tcp(client, target), client[0], OWN, Role.BRIDGE, IN),
        sight(tcp(CALLED, client, "SA"), VIP, client[0], Role.BRIDGE, OUT),
    )
    assert [flow(record) for record in records] == [
        ("app", *client, *CALLED),
        ("to-sidecar", *client, *target),
        ("app", *CALLED, *client),
        ("to-sidecar", *target, *client),
    ]


def test_a_container_s_connection_is_seen_as_it_is_where_nothing_rewrites_it_before() -> None:
    client = ("172.17.0.2", 50000)
    records = tell(
        view(),
        sight(tcp(client, CALLED), client[0], VIP, Role.BRIDGE, IN),
        sight(tcp(CALLED, client, "SA"), VIP, client[0], Role.BRIDGE, OUT),
    )
    assert {record.interface for record in records} == {"bridge eth0"}


def test_aliases_are_known_by_their_addresses() -> None:
    assert way_of(ip_address("127.64.0.1").packed) is Way.OUTBOUND
    assert way_of(ip_address("127.255.0.1").packed) is Way.DNS
    assert way_of(ip_address("fdc8:3d1f:62a7:2::1").packed) is Way.INBOUND
    for other in ("127.0.0.1", "10.64.0.1", "fdc8:3d1f:62a7:4::1", "::1"):
        assert way_of(ip_address(other).packed) is None
