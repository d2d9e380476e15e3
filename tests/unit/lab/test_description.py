from __future__ import annotations

from ipaddress import ip_interface

import pytest
import yaml

from interceptor.config import parse
from interceptor.lab import description
from interceptor.lab.agent import DEMO_MESH
from interceptor.lab.description import Host, World


def test_pairs_have_the_same_last_number_in_both_families() -> None:
    assert description.pair(31) == (ip_interface("10.77.0.31/24"), ip_interface("fd77::31/64"))


def test_every_backend_is_bound_to_an_address_that_its_host_bears() -> None:
    for host in description.default().hosts:
        borne = {interface.ip for interface in host.addresses}
        for served in host.services:
            for address in served.addresses:
                assert address in borne or address.is_unspecified


def test_no_address_is_borne_twice() -> None:
    world = description.default()
    borne = [interface.ip for host in world.hosts for interface in host.addresses]
    borne += [interface.ip for interface in world.gateways]
    assert len(borne) == len(set(borne))


def test_host_names_are_legal_interface_names() -> None:
    assert all(len(host.name) <= 15 for host in description.default().hosts)


def test_a_missing_host_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="no host moon; there are vm, vm2"):
        description.default().host("moon")


def test_resolv_conf_names_each_resolver_and_the_search_list() -> None:
    text = description.render_resolv_conf(description.default())
    assert text == "nameserver 10.77.0.53\nnameserver fd77::53\nsearch corp.example\n"


def test_resolv_conf_without_a_search_list_has_no_search_line() -> None:
    world = World((), (), tuple(i.ip for i in description.pair(53)))
    assert "search" not in description.render_resolv_conf(world)


def test_default_routes_are_for_the_families_that_a_host_has() -> None:
    world = World(description.pair(1), (), ())
    only4 = Host("only4", description.pair(9)[:1])
    text = description.render_host(world, only4)
    assert "default via 10.77.0.1 dev eth0 src 10.77.0.9" in text
    assert "fd77" not in text


def test_the_source_of_the_default_route_is_the_hosts_first_address() -> None:
    text = description.render_host(description.default(), description.default().host("svc1"))
    assert "default via 10.77.0.1 dev eth0 src 10.77.0.31" in text
    assert "default via fd77::1 dev eth0 src fd77::31" in text


def test_settings_of_an_agent_are_legal_configuration() -> None:
    world = description.default()
    members = [host for host in world.hosts if host.namespace]  # no agent belongs on the others
    assert len(members) == 2
    for host in members:
        tree = description.agent_settings(host, "/run/x", "/run/x/mesh", "/lab/x")
        config = parse(yaml.safe_dump(tree))
        assert [str(address) for address in config.node.addresses] == [
            str(description_address.ip) for description_address in host.addresses[:2]
        ]


def test_laid_over_settings_keep_the_keys_beside_them() -> None:
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    assert description.merge(base, {"a": {"y": 5}, "c": 6}) == {
        "a": {"x": 1, "y": 5},
        "b": 3,
        "c": 6,
    }
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}


def test_every_endpoint_of_the_demos_mesh_is_served_by_some_host_of_the_lab() -> None:
    borne = {str(i.ip) for host in description.default().hosts for i in host.addresses}
    for file in DEMO_MESH.glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            for endpoint in document.get("endpoints", []):
                assert set(endpoint["addresses"]) <= borne
            if document["kind"] == "WorkloadEntry":
                assert document["spec"]["address"] in borne
