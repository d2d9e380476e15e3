"""Istio's settings become ours, and none is lost without a word."""

from __future__ import annotations

import pytest

from interceptor import config, migration
from interceptor.errors import ConfigError

CLUSTER_ENV = """\
# written by istioctl
CA_ADDR='istiod.istio-system.svc:15012'
ISTIO_INBOUND_PORTS='*'
ISTIO_LOCAL_EXCLUDE_PORTS='22,15090,15021,15020'
ISTIO_NAMESPACE='vm'
ISTIO_SERVICE='mysql.vm'
ISTIO_SERVICE_CIDR='*'
export SERVICE_ACCOUNT="mysql sa"
ISTIO_META_DNS_CAPTURE='true'
"""

MESH_YAML = """\
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  concurrency: 4
  proxyMetadata:
    ISTIO_META_NETWORK: vm-net
    ISTIO_METAJSON_LABELS: '{"app":"mysql"}'
    ISTIO_META_AUTO_REGISTER_GROUP: mysql
  readinessProbe: {httpGet: {port: 80}}
"""


def migrated(variables: dict[str, str], **look_up: object) -> config.Config:
    found = migration.migrate(variables, **look_up)  # type: ignore[arg-type]
    return config.parse("", base=found.settings)


def test_istioctls_files_become_a_configuration() -> None:
    variables = migration.parse_file(CLUSTER_ENV, "cluster.env")
    variables |= migration.parse_file(MESH_YAML, "mesh.yaml")
    ours = migrated(variables)
    assert ours.node.namespace == "vm"
    assert ours.node.service_account == "mysql sa"
    assert ours.node.network == "vm-net"
    assert ours.node.labels == {"app": "mysql"}
    assert ours.capture.outbound.cidrs == "*"
    assert ours.capture.inbound.ports == "*"
    assert ours.capture.inbound.exclude_ports == (22, 15090, 15021, 15020)
    assert ours.sidecar.concurrency == 4
    assert ours.dns.servers == "resolv.conf"


def test_what_has_no_counterpart_is_noted() -> None:
    variables = migration.parse_file(CLUSTER_ENV + "ISTIO_BRAND_NEW=1\n", "cluster.env")
    notes = migration.migrate(variables | migration.parse_file(MESH_YAML, "mesh.yaml")).notes
    named = [note.partition(":")[0] for note in notes]
    assert named == ["ISTIO_BRAND_NEW", "ISTIO_SERVICE"]


@pytest.mark.parametrize(
    ("variables", "group", "expected"),
    [
        ({"ENVOY_PORT": "16001"}, "sidecar", {"outbound_port": 16001}),
        ({"INBOUND_CAPTURE_PORT": "16006"}, "sidecar", {"inbound_port": 16006}),
        ({"PROXY_UID": "500", "PROXY_GID": "501"}, "sidecar", {"uid": 500, "gid": 501}),
        ({"ISTIO_DUAL_STACK": "true"}, "capture", {"ipv6": True}),
        ({"NATIVE_NFTABLES": "true"}, "capture", {"backend": "nftables"}),
        ({"FORCE_IPTABLES_BINARY": "legacy"}, "capture", {"backend": "iptables"}),
        ({"ISTIO_CUSTOM_IP_TABLES": "true"}, "capture", {"enabled": False}),
        ({"ISTIO_INBOUND_TPROXY_ROUTE_TABLE": "133"}, "capture", {"route_table": 133}),
        ({"CAPTURE_ALL_DNS": "true"}, "dns", {"servers": "all"}),
        ({"REDIRECT_DNS": "false"}, "dns", {"enabled": False}),
        ({"DNS_PROXY_ADDR": "localhost:15953"}, "dns", {"tcp_port": 15953}),
    ],
)
def test_each_variable_has_its_key(
    variables: dict[str, str], group: str, expected: dict[str, object]
) -> None:
    found = getattr(migrated(variables), group)
    assert {key: getattr(found, key) for key in expected} == expected


def test_the_first_user_is_the_sidecars_and_the_others_are_exempt() -> None:
    ours = migrated({"PROXY_UID": "1337,1338"})
    assert (ours.sidecar.uid, ours.capture.owners.exclude_uids) == (1337, (1338,))


def test_owner_groups_are_looked_up_by_name() -> None:
    ours = migrated(
        {"ISTIO_OUTBOUND_OWNER_GROUPS": "web,900", "PROXY_GID": "1,2"},
        group_id={"web": 800}.get,
    )
    assert ours.capture.owners.include_gids == (800, 900)
    ours = migrated({"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "7", "PROXY_GID": "1,2"})
    assert ours.capture.owners.exclude_gids == (2, 7)


def test_an_unknown_user_name_is_refused_by_the_name_of_its_variable() -> None:
    with pytest.raises(ConfigError, match="ENVOY_USER: sidecar.uid: 'nobody-here'"):
        migrated({"ENVOY_USER": "nobody-here"})


def test_a_line_that_is_no_assignment_is_named() -> None:
    with pytest.raises(ConfigError, match="cluster.env:2: "):
        migration.parse_file("A=1\nwhat is this\n", "cluster.env")


def test_metadata_that_is_no_mapping_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="proxyMetadata"):
        migration.parse_file("defaultConfig:\n  proxyMetadata: text", "mesh.yaml")


@pytest.mark.parametrize("number", ["²", "9" * 5000])
def test_what_only_looks_like_a_number_is_refused_by_its_name(number: str) -> None:
    with pytest.raises(ConfigError, match="concurrency"):
        migrated({"defaultConfig.concurrency": number})
