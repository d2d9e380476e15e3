"""The listeners that capture redirects to."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from interceptor.mesh.model import Endpoint, Host, Kind, Port
from interceptor.sidecar import cluster, inbound
from interceptor.sidecar.setting import Settings

OWN = ip_address("192.0.2.9")
SETTINGS = Settings(own_addresses=(OWN,))
MYSQL = Host(
    "mysql.vm.svc.cluster.local", "vm", Kind.SERVICE, (), (Port("mysql", 3306),),
    (Endpoint(OWN, (("mysql", 13306),)), Endpoint(ip_address("192.0.2.1"))),
)  # fmt: skip


def test_outbound_listens_on_loopback_only() -> None:
    (listener,) = inbound.build_outbound(SETTINGS)
    assert listener.address.socket_address.address == "127.0.0.1"
    assert [item.address.socket_address.address for item in listener.additional_addresses] == [
        "::1"
    ]


def test_each_bridge_has_a_listener_of_its_own() -> None:
    settings = replace(SETTINGS, bridge_addresses=(ip_address("172.17.0.1"),))
    names = [item.name for item in inbound.build_outbound(settings)]
    assert names == ["virtualOutbound", "virtualOutbound_172.17.0.1"]


def test_our_own_ports_lead_nowhere() -> None:
    for listener in (*inbound.build_outbound(SETTINGS), inbound.build_inbound(SETTINGS, {})):
        ports = [
            chain.filter_chain_match.destination_port.value for chain in listener.filter_chains
        ]
        assert ports == [15001, 15006]
        text = str(listener.filter_chains)
        assert "BlackHoleCluster" in text
        assert "Passthrough" not in text


def test_inbound_is_never_handed_to_an_outbound_listener() -> None:
    assert not inbound.build_inbound(SETTINGS, {}).use_original_dst.value


def test_a_service_of_this_vm_is_known_by_the_port_its_application_has() -> None:
    assert inbound.choose([MYSQL], SETTINGS) == {13306: MYSQL.name}
    assert inbound.is_local(MYSQL, SETTINGS)
    assert not inbound.is_local(MYSQL, Settings())
    chain = inbound.build_inbound(SETTINGS, {13306: MYSQL.name}).filter_chains[-1]
    assert chain.name == "inbound|13306||mysql.vm.svc.cluster.local"


def test_a_service_cannot_take_our_own_port() -> None:
    host = replace(MYSQL, endpoints=(Endpoint(OWN, (("mysql", 15006),)),))
    assert inbound.choose([host], SETTINGS) == {}


def test_tproxy_makes_the_listener_transparent() -> None:
    assert inbound.build_inbound(replace(SETTINGS, transparent=True), {}).transparent.value
    assert not inbound.build_inbound(SETTINGS, {}).transparent.value


def test_the_clients_address_is_kept_only_where_asked_and_transparent() -> None:
    for transparent in (False, True):
        for keep in (False, True):
            settings = replace(SETTINGS, transparent=transparent, keep_client=keep)
            filters = [item.name for item in inbound.build_inbound(settings, {}).listener_filters]
            is_kept = "envoy.filters.listener.original_src" in filters
            assert is_kept == (transparent and keep)
            is_bound = cluster.inbound("x", settings).HasField("upstream_bind_config")
            assert is_bound is not is_kept, "one source or the other"
