from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port


@pytest.mark.parametrize(
    ("kind", "has_address", "answered"),
    [
        (Kind.SERVICE, False, True),
        (Kind.HEADLESS, False, True),
        (Kind.EXTERNAL_NAME, False, True),
        (Kind.POD, False, True),
        (Kind.SERVICE_ENTRY, True, True),
        (Kind.SERVICE_ENTRY, False, False),
        (Kind.NAME_TABLE, True, True),
    ],
)
def test_a_name_of_the_outside_is_ours_only_with_an_address(
    kind: Kind, has_address: bool, answered: bool
) -> None:
    addresses = (ip_address("10.0.0.1"),) if has_address else ()
    assert Host("a.example", "n", kind, addresses).is_answered is answered


def test_a_name_tables_kubernetes_hosts_have_short_names() -> None:
    assert Host("a", "n", Kind.NAME_TABLE, short_names=True).is_kubernetes
    assert not Host("a", "n", Kind.NAME_TABLE).is_kubernetes
    assert Host("a", "n", Kind.POD).is_kubernetes


def test_a_port_is_dialled_at_its_own_number_unless_the_endpoint_says_otherwise() -> None:
    endpoint = Endpoint(ip_address("10.0.0.1"), (("http", 8080),))
    assert endpoint.port(Port("http", 80)) == 8080
    assert endpoint.port(Port("grpc", 90)) == 90


def test_only_a_star_and_dot_make_a_wildcard() -> None:
    assert Host("*.a", "n", Kind.SERVICE_ENTRY).is_wildcard
    assert not Host("a.b", "n", Kind.SERVICE_ENTRY).is_wildcard


def test_http_is_whatever_speaks_it() -> None:
    assert {protocol for protocol in AppProtocol if protocol.is_http} == {
        AppProtocol.HTTP,
        AppProtocol.HTTP2,
        AppProtocol.GRPC,
    }
