"""What Envoy's admin interface says."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from interceptor.sidecar import admin
from interceptor.sidecar.admin import Admin, EndpointState, Unreachable

CLUSTERS = {
    "cluster_statuses": [
        {
            "name": "outbound|80||a",
            "host_statuses": [
                {
                    "address": {"socket_address": {"address": "192.0.2.1", "port_value": 8080}},
                    "stats": [
                        {"name": "cx_active", "type": "GAUGE", "value": "2"},
                        {"name": "cx_total", "value": "3"},
                        {"name": "rq_total", "value": "7"},
                        {"name": "rq_error"},
                    ],
                    "health_status": {"eds_health_status": "HEALTHY"},
                    "weight": 80,
                }
            ],
        },
        {"name": "outbound|80||b", "host_statuses": [{}]},
    ]
}


def test_endpoints_of_one_cluster_are_read() -> None:
    text = json.dumps(CLUSTERS)
    assert admin.decode_endpoints(text, "outbound|80||a") == [
        EndpointState("192.0.2.1", 8080, 80, True, 2, 7, 3)
    ]
    assert admin.decode_endpoints(text, "outbound|80||nobody") == []


def test_counters_are_read_and_histograms_are_not() -> None:
    text = "cluster.a|b;.upstream_cx_total: 3\ncluster.x: P0(1,2)\nempty: No recorded values\n"
    assert admin.decode_stats(text) == {"cluster.a|b;.upstream_cx_total": 3}


def test_an_envoy_that_is_not_there_is_told_from_one_that_is() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = Admin(unused.getsockname()[1], timeout_s=0.5)
        assert nobody.state() == ""
        with pytest.raises(Unreachable, match="no answer"):
            nobody.listeners()


def test_an_envoy_that_hangs_costs_no_more_than_the_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert Admin(silent.getsockname()[1], timeout_s=0.2).state() == ""


def test_a_socket_of_the_file_system_is_asked_as_a_port_is(tmp_path: Path) -> None:
    place = tmp_path / "sock"
    assert Admin(place, timeout_s=0.5).state() == ""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        answers = threading.Thread(target=answer, args=(server,))
        answers.start()
        assert Admin(place).state() == "LIVE"
        answers.join()


def answer(server: socket.socket) -> None:
    client, _ = server.accept()
    with client:
        assert client.recv(4096).startswith(b"GET /ready HTTP/1.1\r\n")
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nLIVE\n")
