from __future__ import annotations

from ipaddress import ip_address

from interceptor.mesh import endpoint
from interceptor.mesh.model import Endpoint, Port, Workload

PORTS = (Port("http", 80), Port("grpc", 90))


def test_only_ports_that_differ_from_the_hosts_are_kept() -> None:
    found = Endpoint(ip_address("10.0.0.1"))
    assert endpoint.with_ports(found, PORTS, {"http": 80}) is found
    moved = endpoint.with_ports(found, PORTS, {"http": 8080, "grpc": 90, "other": 1})
    assert moved.ports == (("http", 8080),)
    assert [moved.port(port) for port in PORTS] == [8080, 90]
    assert endpoint.with_ports(moved, PORTS, {}).ports == ()


def test_a_workload_lends_all_that_balances_load() -> None:
    workload = Workload(
        *("w", "n", ip_address("fd00::1")),
        weight=3,
        locality="r/z",
        network="net",
        service_account="sa",
        ready=False,
        origin="WorkloadEntry n/w (f)",
    )
    found = endpoint.of_workload(workload, PORTS, {})
    assert (found.weight, found.locality, found.network) == (3, "r/z", "net")
    assert (found.service_account, found.ready) == ("sa", False)
    assert found.origin == "WorkloadEntry n/w (f)"


def test_addresses_are_told_once_and_names_are_not_addresses() -> None:
    one = Endpoint(ip_address("10.0.0.1"))
    assert endpoint.ips([one, Endpoint("a.example"), one]) == (ip_address("10.0.0.1"),)
