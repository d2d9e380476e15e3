"""Hosts as byte strings."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh import record
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port
from interceptor.mesh.record import Record

ADDRESSES = st.lists(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), max_size=20, unique=True
)


@given(ADDRESSES)
def test_addresses_survive_in_their_order_by_family(addresses: list[object]) -> None:
    entry = record.decode(
        record.encode(Host("a.test", "x", Kind.SERVICE_ENTRY, tuple(addresses)))  # type: ignore[arg-type]
    )
    texts = [str(address) for address in addresses]
    v4 = [text for text in texts if ":" not in text]
    v6 = [text for text in texts if ":" in text]
    assert record.addresses(entry.v4, 4) == v4
    assert record.addresses(entry.v6, 16) == v6


def test_equal_hosts_have_equal_records() -> None:
    def make() -> Host:
        return Host("a.test", "x", Kind.SERVICE, (ip_address("10.0.0.1"),), (Port("http", 80),))

    assert record.encode(make()) == record.encode(make())


def test_unnamed_ports_are_left_out_and_transports_told_apart() -> None:
    ports = (Port("", 1), Port("HTTP", 80, AppProtocol.HTTP), Port("dns", 53, AppProtocol.UDP))
    entry = record.decode(record.encode(Host("a.test", "x", Kind.SERVICE, ports=ports)))
    assert entry.ports == (("http", 80, "tcp"), ("dns", 53, "udp"))


def test_only_headless_services_keep_their_ready_members() -> None:
    endpoints = (
        Endpoint(ip_address("10.0.0.1"), (("sql", 3307),)),
        Endpoint(ip_address("10.0.0.2"), ready=False),
        Endpoint("db.example.com"),
    )
    entry = record.decode(record.encode(Host("a.test", "x", Kind.HEADLESS, endpoints=endpoints)))
    assert entry.members == ((ip_address("10.0.0.1").packed, (("sql", 3307),)),)
    assert len(entry.endpoints) == 2
    service = record.decode(record.encode(Host("a.test", "x", Kind.SERVICE, endpoints=endpoints)))
    assert service.members == ()


def test_a_host_of_the_wider_world_without_address_is_not_ours_to_answer() -> None:
    def entry(kind: Kind) -> Record:
        return record.decode(record.encode(Host("a.test", "x", kind)))

    assert not entry(Kind.SERVICE_ENTRY).is_answered
    assert not entry(Kind.NAME_TABLE).is_answered
    assert entry(Kind.SERVICE).is_answered
    assert entry(Kind.HEADLESS).is_answered


def test_a_record_is_a_quarter_of_what_objects_take() -> None:
    host = Host(
        "host-000001.bench.svc.cluster.local",
        "bench",
        Kind.SERVICE,
        (ip_address("240.240.0.1"), ip_address("2001:2::1")),
        (Port("http", 80),),
        (Endpoint(ip_address("10.0.0.1")),),
    )
    assert len(record.encode(host)) < 150
