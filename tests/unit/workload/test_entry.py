"""This VM's own WorkloadEntry."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from interceptor.config.tree import Node, VipRanges
from interceptor.mesh import identity, parse
from interceptor.mesh.build import Inventory
from interceptor.mesh.model import Workload, WorkloadGroup
from interceptor.mesh.resource import Workloads
from interceptor.mesh.vip import Allocation
from interceptor.workload import entry
from interceptor.workload.entry import Fitness

ADDRESS = ip_address("10.0.0.2")
GROUP = WorkloadGroup(
    name="reviews",
    namespace="bookinfo",
    labels=(("app", "reviews"), ("version", "v1")),
    ports=(("http", 8080), ("grpc", 9090)),
    weight=5,
    locality="eu/eu-1",
    network="net-1",
    service_account="bookinfo-reviews",
)


NODE, NOT_PROBED = Node(), Fitness()


def build(node: Node = NODE, fitness: Fitness = NOT_PROBED) -> Any:
    return entry.build(node, GROUP, ADDRESS, fitness)


def parsed(document: Any, *, as_json: bool) -> Workloads:
    """As a member that finds the file reads it."""
    text = entry.render(document, as_json=as_json)
    ((found,),) = parse.parse(text.encode(), "vm.yaml").pieces.values()
    assert isinstance(found, Workloads)
    return found


def test_the_template_of_the_group_is_what_it_is_made_of() -> None:
    document = build()
    assert document["metadata"]["name"] == "reviews-10.0.0.2-net-1"
    assert document["metadata"]["namespace"] == "bookinfo"
    assert document["spec"] == {
        "address": "10.0.0.2",
        "ports": {"http": 8080, "grpc": 9090},
        "labels": {"app": "reviews", "version": "v1"},
        "network": "net-1",
        "locality": "eu/eu-1",
        "weight": 5,
        "serviceAccount": "bookinfo-reviews",
    }


def test_what_the_node_says_counts_before_the_template() -> None:
    node = Node(
        labels={"version": "v2", "host": "a"},
        network="net-2",
        locality="us/us-1",
        service_account="mine",
    )
    spec = build(node)["spec"]
    assert spec["labels"] == {"app": "reviews", "version": "v2", "host": "a"}
    assert (spec["network"], spec["locality"]) == ("net-2", "us/us-1")
    assert spec["serviceAccount"] == "mine"


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("is_healthy", [None, True, False])
def test_members_read_the_health_of_an_entry_from_it(is_healthy: bool, as_json: bool) -> None:
    document = build(fitness=Fitness(is_healthy, "" if is_healthy else "HTTP 503: é"))
    (member,) = parsed(document, as_json=as_json).members
    assert member.ready is (is_healthy is not False)
    assert member.address == ADDRESS
    assert dict(member.ports) == {"http": 8080, "grpc": 9090}


def test_the_condition_is_istiod_s_with_the_reason() -> None:
    document = build(fitness=Fitness(False, "HTTP 503"))
    assert document["status"]["conditions"] == [
        {"type": "Healthy", "status": "False", "reason": "Unhealthy", "message": "HTTP 503"}
    ]
    assert document["metadata"]["annotations"] == {
        "istio.io/autoRegistrationGroup": "reviews",
        "proxy.istio.io/health-checks-enabled": "true",
    }
    assert "status" not in build()


SERVICE = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: bookinfo}}
spec:
  hosts: [{name}.internal]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: {port}, name: {name}-http, protocol: HTTP}}]
  workloadSelector: {{labels: {{{name}: "yes"}}}}
---
"""


@pytest.mark.parametrize("is_healthy", [True, False])
def test_one_vm_serves_several_services_by_a_label_and_a_port_of_each(is_healthy: bool) -> None:
    group = WorkloadGroup(
        name="vm",
        namespace="bookinfo",
        labels=(("cart", "yes"), ("shop", "yes")),
        ports=(("cart-http", 8081), ("shop-http", 8080)),
    )
    document = entry.build(NODE, group, ADDRESS, Fitness(is_healthy))
    text = SERVICE.format(name="shop", port=80) + SERVICE.format(name="cart", port=81)
    text += entry.render(document, as_json=False)
    found = Inventory("bookinfo", "cluster.local", Allocation(VipRanges()))
    found.replace("f", parse.parse(text.encode(), "f").pieces)
    table, _ = found.build()
    for host, number in (("shop.internal", 8080), ("cart.internal", 8081)):
        (endpoint,) = table.hosts[host].endpoints
        assert endpoint.port(table.hosts[host].ports[0]) == number
        assert endpoint.ready is is_healthy


def proven(member: Workload) -> str:
    return identity.choose(dict(member.labels), member.namespace, member.service_account)


def test_a_vm_with_a_certificate_says_that_it_takes_mutual_tls() -> None:
    """By the label that members read a SPIFFE ID from."""
    document = entry.build(NODE, GROUP, ADDRESS, NOT_PROBED, is_secure=True)
    (member,) = parsed(document, as_json=False).members
    assert proven(member) == "ns/bookinfo/sa/bookinfo-reviews"
    without = Node(labels={"security.istio.io/tlsMode": "disabled"})
    document = entry.build(without, GROUP, ADDRESS, NOT_PROBED, is_secure=True)
    (member,) = parsed(document, as_json=False).members
    assert proven(member) == ""


@given(st.ip_addresses(v=6))
def test_a_name_is_one_that_kubernetes_takes(address: Any) -> None:
    name = entry.name_of("g", address, "")
    assert name.startswith("g")
    assert not name.endswith("-")
    assert ":" not in name


def test_of_a_long_name_the_end_counts() -> None:
    name = entry.name_of("g" * 300, ADDRESS, "net")
    assert len(name) == entry.NAME_LENGTH
    assert name.endswith("-10.0.0.2-net")


def test_a_file_says_whose_it_is() -> None:
    text = entry.render(build(), as_json=False)
    assert text.startswith("# Kept by interceptor")
    assert yaml.safe_load(text) == build()
