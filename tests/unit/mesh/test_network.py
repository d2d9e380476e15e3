"""Endpoints of other networks: what network each is of, and through which gateways it is met."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.errors import ConfigError
from interceptor.mesh import network, parse
from interceptor.mesh.model import Endpoint, Host, Kind
from interceptor.mesh.network import Topology
from interceptor.mesh.resource import MeshNetworks, Service

NETWORKS = """
apiVersion: mesh.istio.io/v1alpha1
kind: MeshNetworks
metadata: {name: default}
networks:
  near:
    endpoints: [{fromRegistry: Kubernetes}]
    gateways: [{address: 198.51.100.1}]
  far:
    endpoints: [{fromCidr: 10.2.0.0/16}, {fromRegistry: other}]
    gateways: [{address: 198.51.100.2, port: 443}, {address: "2001:db8::2"}]
  inner:
    endpoints: [{fromCidr: 10.2.3.0/24}]
"""
FAR = ((ip_address("198.51.100.2"), 443), (ip_address("2001:db8::2"), 15443))
GATEWAY = """
apiVersion: v1
kind: Service
metadata:
  name: eastwest
  namespace: istio-system
  labels: {{topology.istio.io/network: far{more}}}
spec:
  clusterIP: 10.96.0.3
  externalIPs: [203.0.113.7]
  ports: [{{name: tls, port: 15443}}]
status: {{loadBalancer: {{ingress: [{{ip: 203.0.113.5}}, {{hostname: x.example}}]}}}}
"""


def read(text: str) -> list[object]:
    return [
        each for found in parse.parse(text.encode(), "a.yaml").pieces.values() for each in found
    ]


def topology(own: str = "near", text: str = NETWORKS) -> Topology:
    found = read(text)
    return network.build(
        own,
        "Kubernetes",
        [each for each in found if isinstance(each, MeshNetworks)],
        [each for each in found if isinstance(each, Service)],
    )


def placed(seen: Topology, *endpoints: Endpoint, kind: Kind = Kind.SERVICE) -> Host:
    addresses = tuple(e.address for e in endpoints if not isinstance(e.address, str))
    return seen.place(Host("h", "ns", kind, addresses, endpoints=endpoints))


def at(address: str, name: str = "") -> Endpoint:
    return Endpoint(ip_address(address), network=name)


def test_an_endpoint_of_another_network_is_behind_its_gateways() -> None:
    (far,) = placed(topology(), at("10.9.0.1", "far")).endpoints
    assert far.gateways == FAR


def test_an_endpoints_network_is_what_it_says_then_its_ranges_then_its_registrys() -> None:
    found = placed(
        topology(), at("10.2.0.9", "near"), at("10.2.0.1"), at("10.2.3.1"), at("10.9.0.1")
    ).endpoints
    assert [each.network for each in found] == ["near", "far", "inner", "near"]
    assert [bool(each.gateways) for each in found] == [False, True, False, False]


@pytest.mark.parametrize(("own", "name"), [("near", ""), ("near", "near"), ("", "far")])
def test_one_of_our_network_or_of_none_is_met_directly(own: str, name: str) -> None:
    seen = Topology(own, gateways={"far": FAR, "near": FAR})
    host = Host("h", "ns", Kind.SERVICE, endpoints=(at("10.9.0.1", name),))
    assert seen.place(host) is host


def test_a_network_without_a_known_gateway_is_met_directly() -> None:
    (found,) = placed(topology(), at("10.9.0.1", "elsewhere")).endpoints
    assert found.gateways == ()


@pytest.mark.parametrize("kind", [Kind.HEADLESS, Kind.POD])
def test_headless_names_have_addresses_of_our_network_only(kind: Kind) -> None:
    host = placed(topology(), at("10.9.0.1"), at("10.2.0.1"), at("10.9.0.2", "far"), kind=kind)
    assert host.addresses == (ip_address("10.9.0.1"),)
    assert (
        len(placed(topology(""), at("10.9.0.1"), at("10.9.0.2", "far"), kind=kind).addresses) == 2
    )


def test_a_services_own_address_stays_whatever_its_endpoints_network() -> None:
    host = placed(topology(), at("10.9.0.2", "far"))
    assert host.addresses == (ip_address("10.9.0.2"),)


@pytest.mark.parametrize(
    ("more", "port"), [("", 15443), (', networking.istio.io/gatewayPort: "16443"', 16443)]
)
def test_a_labelled_service_is_the_gateway_of_its_network(more: str, port: int) -> None:
    seen = topology(text=GATEWAY.format(more=more))
    assert seen.gateways == {
        "far": ((ip_address("203.0.113.5"), port), (ip_address("203.0.113.7"), port))
    }


@pytest.mark.parametrize(
    ("was", "wrong", "key"),
    [
        ("10.2.0.0/16", "10.2.0.0/40", "networks.far.endpoints[0].fromCidr"),
        ("address: 198.51.100.1", "address: gw.example", "networks.near.gateways[0].address"),
        (
            "address: 198.51.100.1",
            "registryServiceName: gw.example",
            "networks.near.gateways[0].registryServiceName",
        ),
        ("port: 443", "port: 70000", "networks.far.gateways[0].port"),
    ],
)
def test_what_is_wrong_is_named(was: str, wrong: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(NETWORKS.replace(was, wrong))
    assert [problem.key for problem in caught.value.problems] == [key]


def test_a_gateways_port_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="gatewayPort"):
        read(GATEWAY.format(more=', networking.istio.io/gatewayPort: "none"'))
