"""What `explain` tells is what the plan and the mesh table say, and nothing else."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from interceptor.capture.plan import Decision, Flow, Hook, Steering, Verdict
from interceptor.debug.explain import explain, find
from interceptor.mesh.model import Endpoint, Host, Kind, Port

HTTP = Port("http", 9080)
REVIEWS = Host(
    "reviews.bookinfo.svc.cluster.local",
    "bookinfo",
    Kind.SERVICE,
    (ip_address("10.0.0.7"),),
    (HTTP,),
    (
        Endpoint(ip_address("192.0.2.1"), (("http", 8080),), weight=3, origin="WorkloadEntry a/b"),
        Endpoint(ip_address("192.0.2.2"), ready=False),
    ),
)
WIDE = Host(
    "wide.example", "a", Kind.SERVICE_ENTRY, networks=(ip_network("10.0.0.0/8"),), ports=(HTTP,)
)


def flow(destination: str = "10.0.0.7", port: int = 9080, protocol: str = "tcp") -> Flow:
    return Flow(Hook.OUTPUT, protocol, ip_address("192.0.2.9"), ip_address(destination), port)


def test_a_captured_call_names_cluster_and_ready_endpoints() -> None:
    found = explain(
        flow(), Decision(Verdict.OUTBOUND, 7, "VIP"), (REVIEWS, HTTP), steering=Steering()
    )
    assert (found.verdict, found.to, found.rule) == ("outbound", "127.0.0.1:15001", 7)
    assert found.cluster == "outbound|9080||reviews.bookinfo.svc.cluster.local"
    assert found.endpoints == ("192.0.2.1:8080",)
    assert [backend["ready"] for backend in found.backends] == [True, False]


def test_a_captured_stranger_goes_through_passthrough() -> None:
    found = explain(flow(), Decision(Verdict.OUTBOUND, 7, "all"), None, steering=Steering())
    assert (found.cluster, found.host, found.endpoints) == ("PassthroughCluster", "", ())


@pytest.mark.parametrize(
    ("verdict", "protocol", "destination", "to"),
    [
        (Verdict.PASS, "tcp", "10.0.0.7", "10.0.0.7:9080"),
        (Verdict.PASS, "tcp", "2001:db8::1", "[2001:db8::1]:9080"),
        (Verdict.INBOUND, "tcp", "10.0.0.7", "127.0.0.1:15006"),
        (Verdict.OUTBOUND, "tcp", "2001:db8::1", "[::1]:15001"),
        (Verdict.DNS, "udp", "10.0.0.7", "nfqueue 15053"),
        (Verdict.DNS, "tcp", "10.0.0.7", "127.0.0.1:15053"),
    ],
)
def test_where_each_verdict_leads(
    verdict: Verdict, protocol: str, destination: str, to: str
) -> None:
    found = explain(
        flow(destination, protocol=protocol), Decision(verdict, 9, ""), None, steering=Steering()
    )
    assert found.to == to


def test_an_address_beats_a_network_and_a_port_beats_none() -> None:
    other = Host("other", "a", Kind.SERVICE, (ip_address("10.0.0.7"),), (Port("x", 1),))
    assert find([WIDE, other, REVIEWS], flow()) == (REVIEWS, HTTP)
    assert find([other], flow()) == (other, None)
    assert find([WIDE], flow()) == (WIDE, HTTP)
    assert find([], flow()) is None
