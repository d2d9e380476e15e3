"""A service of a VM as documents: the mesh's own reader makes hosts and endpoints of them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.mesh.resource import ServiceEntry, Workloads
from interceptor.workload import offer
from interceptor.workload.offer import Offer, Offered

SHOP = Offer(
    name="shop",
    namespace="vm",
    host="shop.vm.svc.cluster.local",
    vm="vm1",
    ports=(Offered("http", 80, 8080),),
    addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")),
    labels={"version": "v2"},
    network="vm-net",
    weight=3,
)


def test_the_mesh_reads_the_service_and_a_workload_for_each_address() -> None:
    text = offer.render([offer.build_service(SHOP), *offer.build_entries(SHOP)])
    resources = [one for found in parse.parse(text.encode(), "x").pieces.values() for one in found]
    (service,) = (one for one in resources if isinstance(one, ServiceEntry))
    assert service.hosts == ("shop.vm.svc.cluster.local",)
    assert [(port.name, port.number) for port in service.ports] == [("http", 80)]
    assert service.targets == (("http", 8080),)
    members = [one for one in resources if isinstance(one, Workloads)]
    assert [str(one.members[0].address) for one in members] == ["10.0.0.1", "fd00::1"]
    assert service.selector is not None
    for one in members:
        assert set(service.selector) <= set(one.members[0].labels)


def test_two_vms_write_the_same_service() -> None:
    other = replace(SHOP, vm="vm2", addresses=(ip_address("10.0.0.2"),), weight=1)
    assert offer.build_service(other) == offer.build_service(SHOP)
    names = {str(tree["metadata"]) for one in (SHOP, other) for tree in offer.build_entries(one)}
    assert len(names) == 3


def test_every_problem_of_both_documents_is_told() -> None:
    with pytest.raises(ConfigError) as refused:
        offer.check(replace(SHOP, host="not a host", labels={}, vm="UPPER"))
    assert {problem.key for problem in refused.value.problems} == {"spec.hosts[0]", "metadata.name"}


@given(st.integers(0, 10_000), st.sampled_from("x\n #"))
def test_any_edit_breaks_the_seal(place: int, letter: str) -> None:
    text = offer.render([offer.build_service(SHOP)])
    assert offer.is_ours(text)
    at = place % (len(text) + 1)
    assert not offer.is_ours(text[:at] + letter + text[at:])
