"""Envoy's bootstrap."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # noqa: F401
    http_connection_manager_pb2,
)
from envoy.extensions.resource_monitors.downstream_connections.v3 import (  # noqa: F401
    downstream_connections_pb2,
)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf.json_format import Parse

from interceptor.config import parse
from interceptor.sidecar import bootstrap

PLACE = bootstrap.Place("vm-1", (ip_address("192.0.2.9"),), "/run/interceptor/sidecar/xds.sock")


def build(text: str = "", place: bootstrap.Place = PLACE) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(bootstrap.build(parse(text), place))
    return tree


def test_the_bootstrap_is_one_that_envoy_can_read() -> None:
    """By its own schema: an unknown or misspelt field would raise."""
    Parse(bootstrap.build(parse(""), PLACE), bootstrap_pb2.Bootstrap())


def test_the_node_says_who_we_are_as_istiod_reads_it() -> None:
    text = "node: {namespace: vm, locality: eu/eu-1/a, labels: {app: mysql}, network: net-1}"
    node = build(text)["node"]
    assert node["id"] == "sidecar~192.0.2.9~vm-1.vm~vm.svc.cluster.local"
    assert node["cluster"] == "mysql.vm"
    assert node["locality"] == {"region": "eu", "zone": "eu-1", "sub_zone": "a"}
    assert node["metadata"]["LABELS"] == {"app": "mysql"}
    assert node["metadata"]["NETWORK"] == "net-1"


def test_the_admin_interface_is_on_loopback_only() -> None:
    address = build("sidecar: {admin_port: 16000}")["admin"]["address"]["socket_address"]
    assert address == {"address": "127.0.0.1", "port_value": 16000}


def test_without_ipv6_nothing_listens_on_it() -> None:
    place = bootstrap.Place("vm-1", (), "/x", ipv6=False)
    assert "::" not in json.dumps([item["address"] for item in listeners(build("", place))])
    assert all(not item["additional_addresses"] for item in listeners(build("", place)))
    assert all(item["additional_addresses"] for item in listeners(build()))


def listeners(tree: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tree["static_resources"]["listeners"]
    return found


def test_equal_input_gives_equal_text() -> None:
    assert bootstrap.build(parse(""), PLACE) == bootstrap.build(parse(""), PLACE)


@pytest.mark.parametrize(
    ("statistic", "tag", "rest"),
    [
        ("cluster.outbound|80||a.b.svc.cluster.local;.upstream_cx_total", "cluster_name",
         "cluster.upstream_cx_total"),
        ("tcp.outbound|80||a.b;.downstream_cx_total", "tcp_prefix", "tcp.downstream_cx_total"),
        ("listener.0.0.0.0_15006.downstream_cx_total", "listener_address",
         "listener.downstream_cx_total"),
    ],
)  # fmt: skip
def test_a_tag_takes_the_name_out_of_a_statistic(statistic: str, tag: str, rest: str) -> None:
    (regex,) = (
        item["regex"] for item in build()["stats_config"]["stats_tags"] if item["tag_name"] == tag
    )
    found = re.search(regex.replace("[:digit:]", "0-9"), statistic)
    assert found is not None
    assert statistic.replace(found.group(1), "", 1) == rest
    assert ";" not in found.group(2)
