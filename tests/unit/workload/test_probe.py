"""Probes against real servers, good and bad ones."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from interceptor.config import Probe
from interceptor.workload import probe
from interceptor.workload.httpget import AGENT
from interceptor.workload.outcome import Outcome
from interceptor.workload.probe import Place
from tests.unit.workload.probe_server import HOST, saying, serving, unused_port, weak_context

LATE_S = 30.0  # for a machine under load
SOON_S = 0.3  # of probes that are to run out of time
HERE = Place(HOST, 0x1DC0)


def observe(timeout_s: float = LATE_S, **kind: Any) -> Outcome:
    wanted = Probe.model_validate({"timeout_s": timeout_s, **kind})
    return asyncio.run(probe.observe(wanted, HERE))


def _kind(name: str, port: int) -> dict[str, Any]:
    return {name: {"port": port}}


def get(port: int, path: str, **keys: Any) -> Outcome:
    return observe(http={"port": port, "path": path, **keys})


@pytest.fixture(scope="module")
def web() -> Iterator[tuple[int, list[Any]]]:
    with serving() as one:
        yield one


@pytest.mark.parametrize("status", [200, 204, 299, 301, 304, 399])
def test_200_to_399_is_healthy(web: Any, status: int) -> None:
    assert get(web[0], f"/status/{status}").is_success


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_other_answers_are_not_and_the_reason_is_their_number(web: Any, status: int) -> None:
    assert get(web[0], f"/status/{status}") == Outcome(False, f"HTTP {status}")


def test_a_request_says_who_asks_and_has_the_headers_that_are_wanted(web: Any) -> None:
    port, seen = web
    headers = {"x-probe": "yes", "host": "shop.example\r\nX-Evil: 1"}
    assert get(port, "/echo?a=b c", headers=headers).is_success
    path, found = seen[-1]
    assert path == "/echo?a=b%20c"
    assert found["User-Agent"] == AGENT
    assert found["Host"] == "shop.example X-Evil: 1"
    assert "X-Evil" not in found


def test_redirects_are_followed_on_the_same_host(web: Any) -> None:
    port, seen = web
    assert get(port, "/to//status/503") == Outcome(False, "HTTP 503")
    assert get(port, f"/to/http://{HOST}:{port}/status/204") == Outcome(True, "HTTP 204")
    assert seen[-1][0] == "/status/204"
    assert get(port, "/bare").is_success


def test_a_redirect_to_another_host_is_a_success_that_nobody_follows(web: Any) -> None:
    found = get(web[0], "/to/http://elsewhere.invalid/x")
    assert found.is_success
    assert "elsewhere.invalid" in found.reason


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://[::1", "gopher://127.0.0.1/"])
def test_a_redirect_that_leads_nowhere_is_a_failure(web: Any, target: str) -> None:
    assert not get(web[0], f"/to/{target}").is_success


def test_a_circle_of_redirects_ends(web: Any) -> None:
    port, seen = web
    before = len(seen)
    found = get(port, "/loop")
    assert not found.is_success
    assert "redirects" in found.reason
    assert len(seen) - before == 10


def test_https_is_asked_and_not_verified(tmp_path: Path) -> None:
    with serving(weak_context(tmp_path)) as (port, seen):
        assert get(port, "/", scheme="HTTPS") == Outcome(True, "HTTP 200")
        assert len(seen) == 1
        assert not get(port, "/", scheme="HTTP").is_success


def test_a_plain_server_fails_a_tls_probe_and_says_why(web: Any) -> None:
    found = get(web[0], "/", scheme="HTTPS")
    assert not found.is_success
    assert "SSL" in found.reason.upper()


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"\x00\x01\x02", "not HTTP"),
        (b"HTTP/1.1 2", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent", "before an answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "no end of the headers"),
    ],
)
def test_what_is_no_http_is_a_failure_in_words(said: bytes, word: str) -> None:
    with saying(said) as port:
        found = get(port, "/")
        assert not found.is_success
        assert word in found.reason


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nto the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nshort",
    ],
)
def test_answers_of_every_shape_count_by_their_status(said: bytes) -> None:
    with saying(said) as port:
        assert get(port, "/") == Outcome(True, "HTTP 200")


def test_an_answer_whose_end_is_known_is_not_waited_for_longer() -> None:
    with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", closes=False) as port:
        assert get(port, "/") == Outcome(True, "HTTP 200")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_server_that_hangs_is_given_up_at_the_time_limit(kind: str) -> None:
    with saying(b"", closes=False) as port:
        began_s = time.monotonic()
        found = observe(SOON_S, **_kind(kind, port))
        took_s = time.monotonic() - began_s
    assert not found.is_success
    assert "0.3 s" in found.reason
    assert SOON_S <= took_s < LATE_S


@pytest.mark.parametrize("kind", ["http", "tcp", "grpc"])
def test_where_nobody_listens_the_reason_says_so(kind: str) -> None:
    found = observe(**_kind(kind, unused_port()))
    assert not found.is_success
    assert "refused" in found.reason.lower()


def test_a_port_that_is_open_is_healthy_by_tcp() -> None:
    with saying(b"", closes=False) as port:
        assert observe(tcp={"port": port}).is_success
        assert observe(tcp={"port": port, "host": "localhost"}).is_success
    assert not observe(tcp={"port": port, "host": "no.such.host.invalid"}).is_success


def test_a_program_is_healthy_when_it_ends_with_0_and_its_words_are_the_reason() -> None:
    assert observe(exec={"command": ["true"]}).is_success
    found = observe(exec={"command": ["sh", "-c", "echo disk is full >&2; exit 4"]})
    assert found == Outcome(False, "sh: exit code 4 disk is full")
    assert not observe(exec={"command": ["/nonexistent"]}).is_success


def test_a_program_that_ignores_sigterm_is_a_failure_in_time() -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    began_s = time.monotonic()
    found = observe(2, exec={"command": [sys.executable, "-S", "-c", script]})
    assert not found.is_success
    assert "no end after 2 s" in found.reason
    assert time.monotonic() - began_s < LATE_S


@pytest.fixture(scope="module")
def grpc_port() -> Iterator[int]:
    """The reference implementation of grpc.health.v1, with a service that serves and one that
    does not."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    servicer = health.HealthServicer()
    servicer.set("shop.Good", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("shop.Bad", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    yield port
    server.stop(0).wait(10)


@pytest.mark.parametrize(
    ("service", "is_success", "word"),
    [
        ("", True, "SERVING"),
        ("shop.Good", True, "SERVING"),
        ("shop.Bad", False, "NOT_SERVING"),
        ("shop.None", False, "NOT_FOUND"),
    ],
)
def test_grpc_health_is_asked_for_a_service_by_name(
    grpc_port: int, service: str, is_success: bool, word: str
) -> None:
    found = observe(grpc={"port": grpc_port, "service": service})
    assert found.is_success is is_success
    assert word in found.reason


def test_a_grpc_server_without_health_is_told_apart() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        assert "grpc.health.v1" in observe(grpc={"port": port}).reason
    finally:
        server.stop(0).wait(10)


@given(st.text(max_size=400))
def test_a_health_request_is_what_protobuf_writes(service: str) -> None:
    expected = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    assert probe.encode_check(service) == expected


@given(st.sampled_from([0, 1, 2, 3]))
def test_a_health_answer_is_what_protobuf_reads(status: Any) -> None:
    answer = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    assert probe.decode_check(answer) == status


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    wanted = Probe.model_validate({"http": {"port": 80, "path": "x"}})
    assert wanted.http is not None
    assert probe.url(wanted.http, Place("fd10::2", 0)) == "http://[fd10::2]:80/x"
