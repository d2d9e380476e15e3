"""Who this VM is to the control plane."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.config import parse
from interceptor.workload import member

BOTH = (ip_address("10.0.0.2"), ip_address("fd10::2"))


def build(text: str = "") -> member.Member:
    return member.build(parse(text), BOTH, "vm-1")


def test_the_id_has_four_parts_as_istiod_splits_it() -> None:
    found = build("node: {namespace: vm}")
    assert found.id == "sidecar~10.0.0.2~vm-1.vm~vm.svc.cluster.local"
    assert len(found.id.split("~")) == 4


def test_a_vm_without_an_address_still_has_a_node() -> None:
    found = member.build(parse(""), (), "vm-1")
    assert found.id.split("~")[1] == "127.0.0.1"
    assert found.metadata["INSTANCE_IPS"] == "127.0.0.1"


def test_what_selects_and_places_the_workload_is_told() -> None:
    text = "node: {namespace: vm, name: db, locality: eu/eu-1/a, labels: {app: mysql}, network: n}"
    found = build(text)
    assert found.cluster == "mysql.vm"
    assert found.locality == member.Locality("eu", "eu-1", "a")
    assert found.metadata["LABELS"] == {"app": "mysql"}
    assert found.metadata["INSTANCE_IPS"] == "10.0.0.2,fd10::2"
    expected = {"NAME": "db", "WORKLOAD_NAME": "db", "NETWORK": "n", "CLUSTER_ID": "Kubernetes"}
    assert expected.items() <= found.metadata.items()


def test_truth_values_are_strings_for_a_boolean_makes_istiod_refuse_the_node() -> None:
    found = build("workload: {group: g}").metadata
    assert (found["DNS_CAPTURE"], found["DNS_AUTO_ALLOCATE"]) == ("true", "true")
    assert not [key for key, value in found.items() if isinstance(value, bool)]


def test_without_dns_the_control_plane_is_not_told_that_names_are_captured() -> None:
    assert "DNS_CAPTURE" not in build("dns: {enabled: false}").metadata


@pytest.mark.parametrize(
    ("text", "key"),
    [("", "AUTO_REGISTER_GROUP"), ("", "NETWORK"), ("", "MESH_ID"), ("", "PROXY_CONFIG")],
)
def test_what_is_not_set_is_left_out(text: str, key: str) -> None:
    assert key not in build(text).metadata


def test_a_group_makes_it_register_and_a_probe_makes_istiod_wait_for_its_health() -> None:
    text = "workload: {group: g, probe: {http: {port: 80, headers: {A: b}}, period_s: 0.5}}"
    found = build(text).metadata
    assert found["AUTO_REGISTER_GROUP"] == "g"
    assert found["PROXY_CONFIG"] == {
        "readinessProbe": {
            "httpGet": {
                "path": "/",
                "port": 80,
                "scheme": "HTTP",
                "httpHeaders": [{"name": "A", "value": "b"}],
            },
            "initialDelaySeconds": 0,
            "timeoutSeconds": 1,
            "periodSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        }
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp: {port: 5, host: h}", {"tcpSocket": {"port": 5, "host": "h"}}),
        ("exec: {command: [a, b]}", {"exec": {"command": ["a", "b"]}}),
        ("grpc: {port: 5, service: s}", {"grpc": {"port": 5, "service": "s"}}),
    ],
)
def test_every_kind_of_probe_has_istio_s_form(text: str, expected: dict[str, object]) -> None:
    probe = parse(f"workload: {{probe: {{{text}}}}}").workload.probe
    assert probe is not None
    assert expected.items() <= member.readiness(probe).items()


def test_node_metadata_has_the_last_word() -> None:
    found = build("node: {metadata: {WORKLOAD_ENTRY: db-1, ISTIO_VERSION: 1.27.0}}").metadata
    assert (found["WORKLOAD_ENTRY"], found["ISTIO_VERSION"]) == ("db-1", "1.27.0")
