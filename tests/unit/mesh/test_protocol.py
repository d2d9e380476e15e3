from __future__ import annotations

import pytest

from interceptor.mesh import protocol
from interceptor.mesh.model import AppProtocol


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http", AppProtocol.HTTP),
        ("http-web", AppProtocol.HTTP),
        ("HTTP2-x", AppProtocol.HTTP2),
        ("grpc", AppProtocol.GRPC),
        ("grpc-web", AppProtocol.HTTP),
        ("grpc-web-ui", AppProtocol.HTTP),
        ("grpc-webby", AppProtocol.GRPC),
        ("https", AppProtocol.TLS),
        ("tls-x", AppProtocol.TLS),
        ("tcp-mysql", AppProtocol.TCP),
        ("mongo", AppProtocol.TCP),
        ("udp-dns", AppProtocol.UDP),
        ("httpd", AppProtocol.TCP),
        ("web", AppProtocol.TCP),
        ("", AppProtocol.TCP),
    ],
)
def test_the_first_word_of_a_port_name_is_its_protocol(name: str, expected: AppProtocol) -> None:
    assert protocol.of_name(name) is expected


def test_app_protocol_beats_the_name() -> None:
    assert protocol.of_service_port("tcp", "http", "TCP") is AppProtocol.HTTP
    assert protocol.of_service_port("http", "kubernetes.io/h2c", "TCP") is AppProtocol.HTTP2
    assert protocol.of_service_port("http", "example.com/own", "TCP") is AppProtocol.TCP
    assert protocol.of_service_port("http", "", "TCP") is AppProtocol.HTTP


def test_udp_ports_are_udp_whatever_their_name() -> None:
    assert protocol.of_service_port("http", "http", "UDP") is AppProtocol.UDP


def test_a_service_entry_port_without_protocol_goes_by_its_name() -> None:
    assert protocol.of_entry_port("http-x", "") is AppProtocol.HTTP
    assert protocol.of_entry_port("http-x", "MONGO") is AppProtocol.TCP
    assert protocol.of_entry_port("x", "GRPC") is AppProtocol.GRPC
