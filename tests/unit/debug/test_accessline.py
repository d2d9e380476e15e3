"""Lines of the access log as events."""

from __future__ import annotations

import orjson
import pytest

from interceptor.debug import accessline
from interceptor.debug.accessline import End
from interceptor.debug.event import Kind
from interceptor.host.process import Process
from interceptor.sidecar import accesslog

TCP = {
    "direction": "outbound",
    "service": "mysql.db.svc.cluster.local",
    "start_time": "2026-01-02T03:04:05.500Z",
    "flags": "-",
    "failure": None,
    "bytes_received": 12,
    "bytes_sent": 345,
    "duration_ms": 1500,
    "upstream_cluster": "outbound|3306||mysql.db.svc.cluster.local",
    "upstream_host": "10.77.0.31:3306",
    "upstream_local": "10.77.0.10:5000",
    "original_destination": "240.240.0.7:3306",
    "client": "10.77.0.10:4000",
}
HTTP = TCP | {"method": "GET", "path": "/a", "protocol": "HTTP/1.1", "status": 503}


def test_a_connection_s_end_says_where_it_went_and_how_long_it_took() -> None:
    event = accessline.build(TCP, Process(7, "mysql", "app.service", 1000))
    assert (event.kind, event.plane, event.verdict) == (Kind.CONNECTION, "sidecar", "outbound")
    assert event.time_s == 1767323045.5
    assert (event.source, event.source_port) == ("10.77.0.10", 4000)
    assert (event.destination, event.port) == ("240.240.0.7", 3306)
    assert event.to == "outbound|3306||mysql.db.svc.cluster.local 10.77.0.31:3306"
    assert (event.took_s, event.host, event.protocol) == (1.5, TCP["service"], "tcp")
    assert event.why == "12 bytes there, 345 back"
    assert (event.pid, event.comm, event.unit, event.uid) == (7, "mysql", "app.service", 1000)


def test_a_request_is_told_with_its_status_and_what_was_wrong() -> None:
    event = accessline.build(HTTP | {"flags": "UF,URX", "failure": "delayed connect error: 111"})
    assert event.protocol == "HTTP/1.1"
    assert event.why == (
        "GET /a 503; UF: the endpoint could not be connected to; "
        "URX: tried again as often as allowed; delayed connect error: 111"
    )


def test_what_the_mesh_does_not_know_has_no_host_and_no_endpoint() -> None:
    event = accessline.build(
        TCP | {"service": "-", "upstream_cluster": None, "upstream_host": None}
    )
    assert (event.host, event.to) == ("", "")
    assert accessline.build(TCP | {"duration_ms": None}).took_s is None


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("10.0.0.1:80", End("10.0.0.1", 80)),
        ("[fd00::1]:80", End("fd00::1", 80)),
        ("-", End()),
        (None, End()),
        ("envoy://internal/x", End()),
    ],
)
def test_ends_are_read_in_both_families(text: object, end: End) -> None:
    assert accessline.parse_end(text) == end


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b'{"direction": "outbound"}'])
def test_what_is_none_of_ours_is_left_alone(line: bytes) -> None:
    assert accessline.parse(line) is None


def test_what_has_no_time_is_no_event() -> None:
    with pytest.raises(ValueError):
        accessline.build(TCP | {"start_time": "soon"})


def test_every_field_that_is_read_is_one_that_is_written() -> None:
    written = {"direction", "service", *accesslog.CONNECTION, *accesslog.REQUEST}
    assert set(HTTP) <= written
    assert accessline.parse(orjson.dumps(HTTP)) == HTTP
