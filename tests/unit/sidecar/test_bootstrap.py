"""Envoy's bootstrap."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.extensions.bootstrap.internal_listener.v3 import internal_listener_pb2  # noqa: F401
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

RUN = "/run/interceptor/sidecar"
ADMIN = f"{RUN}/admin/sock"
NODE = bootstrap.Node(
    "sidecar~192.0.2.9~vm-1.vm~vm.svc.cluster.local",
    "mysql.vm",
    ("eu", "eu-1", "a"),
    {"NETWORK": "net-1", "LABELS": {"app": "mysql"}},
)
PLACE = bootstrap.Place(NODE, f"{RUN}/xds.sock", admin=ADMIN)
RELAYED = dataclasses.replace(PLACE, sds=f"{RUN}/sds.sock", is_relayed=True)


def build(text: str = "", place: bootstrap.Place = PLACE) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(bootstrap.build(parse(text), place))
    return tree


def test_the_bootstrap_is_one_that_envoy_can_read() -> None:
    """By its own schema: an unknown or misspelt field would raise."""
    for place in (PLACE, RELAYED):
        Parse(bootstrap.build(parse(""), place), bootstrap_pb2.Bootstrap())


def test_the_node_is_the_member_s() -> None:
    assert build()["node"] == {
        "id": NODE.id,
        "cluster": "mysql.vm",
        "locality": {"region": "eu", "zone": "eu-1", "sub_zone": "a"},
        "metadata": {"NETWORK": "net-1", "LABELS": {"app": "mysql"}},
    }


def clusters(tree: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in tree["static_resources"]["clusters"]}


def endpoint(cluster: dict[str, Any]) -> Any:
    (place,) = cluster["load_assignment"]["endpoints"]
    return place["lb_endpoints"][0]["endpoint"]["address"]


def test_certificates_come_by_the_name_that_every_resource_calls_it_by() -> None:
    assert "sds-grpc" not in clusters(build())
    for relayed in (False, True):
        place = dataclasses.replace(PLACE, sds="/x/sds.sock", is_relayed=relayed)
        assert endpoint(clusters(build("", place))["sds-grpc"]) == {"pipe": {"path": "/x/sds.sock"}}


def test_istiod_s_resources_find_what_istio_s_bootstrap_has() -> None:
    tree = build("agent: {listen: '[::1]:16020'}", RELAYED)
    found = clusters(tree)
    assert list(found) == ["xds-grpc", "admin", "sds-grpc", "prometheus_stats", "agent"]
    agent = {"socket_address": {"address": "::1", "port_value": 16020}}
    assert endpoint(found["agent"]) == agent
    stats = {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}
    assert endpoint(found["prometheus_stats"]) == stats
    assert [item["name"] for item in tree["bootstrap_extensions"]] == [
        "envoy.bootstrap.internal_listener"
    ]
    assert list(clusters(build())) == ["xds-grpc", "admin"]


@pytest.mark.parametrize(
    ("protocol", "place", "form"),
    [
        ("auto", RELAYED, "DELTA_GRPC"),
        ("delta", RELAYED, "DELTA_GRPC"),
        ("sotw", RELAYED, "GRPC"),
        ("sotw", PLACE, "DELTA_GRPC"),
    ],
)
def test_envoy_asks_in_the_form_that_is_configured(
    protocol: str, place: bootstrap.Place, form: str
) -> None:
    tree = build(f"mesh: {{istiod: {{protocol: {protocol}}}}}", place)
    assert tree["dynamic_resources"]["ads_config"]["api_type"] == form


def test_the_relayed_bootstrap_is_another_one_so_that_envoy_is_started_anew() -> None:
    place = dataclasses.replace(RELAYED, is_relayed=False)
    assert bootstrap.build(parse(""), place) != bootstrap.build(parse(""), RELAYED)


def test_the_admin_interface_is_a_socket_and_its_port_gives_health_and_metrics_only() -> None:
    tree = build("sidecar: {admin_port: 16000}")
    assert tree["admin"]["address"] == {"pipe": {"path": ADMIN, "mode": 0o660}}
    (view,) = (item for item in listeners(tree) if item["name"] == "admin")
    assert view["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 16000}
    assert view["additional_addresses"] == []
    paths = [route["match"]["path"] for route in routes(view)]
    assert paths == ["/ready", "/stats", "/stats/prometheus"]


def test_what_everybody_may_ask_is_only_read() -> None:
    """POST would reach the admin interface as such."""
    for listener in listeners(build()):
        for route in routes(listener):
            (header,) = route["match"]["headers"]
            assert (header["name"], header["string_match"]["safe_regex"]["regex"]) == (
                ":method",
                "GET|HEAD",
            )


def test_the_admin_interface_is_on_loopback_where_that_was_asked_for() -> None:
    place = dataclasses.replace(PLACE, admin="")
    tree = build("sidecar: {admin_port: 16000}", place)
    address = tree["admin"]["address"]["socket_address"]
    assert address == {"address": "127.0.0.1", "port_value": 16000}
    assert [item["name"] for item in listeners(tree)] == ["readiness", "prometheus"]


def test_without_ipv6_nothing_listens_on_it() -> None:
    place = dataclasses.replace(PLACE, ipv6=False)
    assert "::" not in json.dumps([item["address"] for item in listeners(build("", place))])
    assert all(not item["additional_addresses"] for item in listeners(build("", place)))
    everywhere = [item for item in listeners(build()) if item["name"] != "admin"]
    assert all(item["additional_addresses"] for item in everywhere)


def listeners(tree: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tree["static_resources"]["listeners"]
    return found


def routes(listener: dict[str, Any]) -> list[dict[str, Any]]:
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    found: list[dict[str, Any]] = manager["route_config"]["virtual_hosts"][0]["routes"]
    return found


def test_equal_input_gives_equal_text() -> None:
    assert bootstrap.build(parse(""), PLACE) == bootstrap.build(parse(""), PLACE)


@pytest.mark.parametrize(
    ("statistic", "tag", "rest"),
    [
        ("cluster.outbound|80||a.b.svc.cluster.local;.upstream_cx_total", "cluster_name",
         "cluster.upstream_cx_total"),
        ("cluster.xds-grpc;.upstream_cx_total", "cluster_name", "cluster.upstream_cx_total"),
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
