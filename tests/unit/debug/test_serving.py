"""What is wrong behind the rules, and when nothing is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor.debug import serving
from interceptor.debug.case import Case, Connected, Envoy, Probe, Upstream
from interceptor.debug.finding import Cause
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Port
from tests.unit.debug import sick

FAR = ip_address("2001:db8::9")


def causes(case: Case) -> list[Cause]:
    return [finding.cause for finding in serving.diagnose(case)]


def reviews(*endpoints: Endpoint, port: Port = sick.HTTP) -> Host:
    return replace(sick.REVIEWS, endpoints=endpoints or sick.REVIEWS.endpoints, ports=(port,))


def test_a_call_that_is_well_gives_no_finding() -> None:
    assert causes(sick.case()) == []


def test_an_envoy_that_is_away_is_the_only_finding() -> None:
    away = sick.case(replace(sick.REVIEWS, endpoints=()), envoy=Envoy(listens=False))
    assert causes(away) == [Cause.SIDECAR_DOWN]


def test_an_envoy_that_hangs_is_told_apart() -> None:
    made = sick.case()
    assert made.running is not None
    assert causes(replace(made, running=replace(made.running, sidecar="hung"))) == [
        Cause.SIDECAR_HUNG
    ]


def test_an_envoy_without_our_listener_is_told() -> None:
    assert causes(sick.case(envoy=replace(sick.ENVOY, listener=""))) == [Cause.NO_LISTENER]


def test_a_host_without_endpoints_is_served_by_nobody() -> None:
    assert causes(sick.case(replace(sick.REVIEWS, endpoints=()))) == [Cause.NO_ENDPOINT]


def test_endpoints_of_which_none_is_ready_are_down() -> None:
    down = Endpoint(ip_address("10.77.0.41"), ready=False)
    assert causes(sick.case(reviews(down))) == [Cause.ENDPOINTS_DOWN]
    assert causes(sick.case(reviews(down, Endpoint(ip_address("10.77.0.51"))))) == []


@pytest.mark.parametrize(
    ("failed", "healthy", "expected"),
    [(0, True, []), (3, True, [Cause.ENDPOINTS_DOWN]), (0, False, [Cause.ENDPOINTS_DOWN])],
)
def test_envoys_own_counters_tell_of_endpoints_that_take_nothing(
    failed: int, healthy: bool, expected: list[Cause]
) -> None:
    one = Upstream("10.77.0.41", 9080, is_healthy=healthy, failed=failed, used=failed)
    envoy = replace(sick.ENVOY, upstreams=(one,))
    assert causes(sick.case(envoy=envoy)) == expected


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (("refused", "timeout"), [Cause.ENDPOINTS_DOWN]),
        (("refused", "connected"), []),
        (("connected",), []),
    ],
)
def test_the_probes_word_beats_old_counters(
    results: tuple[str, ...], expected: list[Cause]
) -> None:
    stale = Upstream("10.77.0.41", 9080, failed=9, used=9)
    direct = tuple(Connected("10.77.0.41:9080", result) for result in results)
    made = sick.case(envoy=replace(sick.ENVOY, upstreams=(stale,)), probe=Probe(direct=direct))
    assert causes(made) == expected


def test_ipv6_endpoints_without_a_way_there_are_told_as_that() -> None:
    far = reviews(Endpoint(FAR))
    assert causes(sick.case(far, unrouted=frozenset({FAR}))) == [Cause.IPV6_ONLY]
    assert causes(sick.case(far)) == []
    near = reviews(Endpoint(FAR), Endpoint(ip_address("10.77.0.41")))
    assert causes(sick.case(near, unrouted=frozenset({FAR}))) == []


def test_a_server_that_speaks_first_is_no_http_server() -> None:
    greeting = Connected("10.77.0.41:9080", "connected", greeting="220 mail ready")
    assert causes(sick.case(probe=Probe(direct=(greeting,)))) == [Cause.WRONG_PORT_NAME]


@pytest.mark.parametrize("name", ["web-http", "tcp"])
def test_a_tcp_port_that_is_meant_to_be_http_is_told(name: str) -> None:
    port = Port(name, 9080, AppProtocol.TCP)
    made = sick.case(reviews(port=port))
    called = replace(made, asked=replace(made.asked, speaks_http=True))
    assert causes(called) == [Cause.WRONG_PORT_NAME]
    assert causes(made) == ([Cause.WRONG_PORT_NAME] if name == "web-http" else [])


def test_http_at_a_databases_port_is_told_without_a_probe() -> None:
    made = sick.case(reviews(port=Port("http", 3306, AppProtocol.HTTP)), port=3306)
    assert causes(made) == [Cause.WRONG_PORT_NAME]


def test_what_a_port_carries_is_known_by_its_name_or_by_its_document() -> None:
    assert serving.carried(sick.HTTP) == "HTTP by its name 'http'"
    assert serving.carried(Port("web", 80, AppProtocol.HTTP)) == "HTTP by its document"


def test_endpoints_behind_a_gateway_that_speak_no_mutual_tls_are_out_of_reach() -> None:
    gateways = ((ip_address("198.51.100.1"), 15443),)
    far = Endpoint(ip_address("192.0.2.7"), network="far", gateways=gateways)
    (found,) = serving.diagnose(sick.case(reviews(far)))
    assert found.cause is Cause.ENDPOINTS_DOWN
    assert found.evidence == ("192.0.2.7: in network far",)
    assert "security.istio.io/tlsMode" in found.cure
    assert causes(sick.case(reviews(far, replace(far, identity="ns/a/sa/b")))) == []
    assert causes(sick.case(reviews(far, replace(far, gateways=())))) == []
