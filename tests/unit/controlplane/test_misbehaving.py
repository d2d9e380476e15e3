"""Each thing that the tests' control plane does wrong, seen by an independent client."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from tests.controlplane import schema, urls
from tests.controlplane.fault import decode
from tests.controlplane.plane import Plane
from tests.unit.controlplane.client import Client

Connect = Callable[..., Client]


@pytest.fixture
def ask(connect: Connect, plane: Plane) -> Callable[..., Client]:
    """A client that has asked for names while these faults are on."""

    def make(form: str = "delta", **faults: object) -> Client:
        plane.spoil(**faults)
        client = connect(form)
        client.ask(urls.NAMES)
        return client

    return make


Ask = Callable[..., Client]


def test_a_fault_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such fault"):
        decode({"truncated": 1})


def test_an_answer_comes_late(ask: Ask) -> None:
    start = time.monotonic()
    ask(delay_s=0.5).receive()
    assert time.monotonic() - start >= 0.5


def test_only_the_types_that_are_named_are_touched(ask: Ask) -> None:
    client = ask(mute=True, types=["cds"])
    assert client.receive().type_url == urls.NAMES


def test_a_table_is_empty_and_an_answer_holds_nothing(ask: Ask) -> None:
    (item,) = ask(empty=True).receive().resources
    assert not schema.NameTable.FromString(item.resource.value).table
    assert not ask(no_resources=True).receive().resources


def test_a_table_has_a_hundred_thousand_hosts(ask: Ask) -> None:
    (item,) = ask(huge=100_000).receive().resources
    table = schema.NameTable.FromString(item.resource.value).table
    assert len(table) == 100_001
    assert list(table["host-99999.huge.test"].ips) == ["10.1.134.159"]
    assert len(item.resource.value) > 4 << 20, "above gRPC's own limit"


def test_nonces_are_alike_or_missing_or_taken_for_stale(ask: Ask, plane: Plane) -> None:
    client = ask(nonce="same")
    assert client.receive().nonce == "always"
    plane.push()
    assert client.receive().nonce == "always"
    assert ask(nonce="none").receive().nonce == ""
    since = len(plane.record)
    ask(nonce="deaf").take()
    plane.record.wait("stale", since=since)


def test_type_urls_are_wrong_inside_and_outside(ask: Ask) -> None:
    answer = ask(inner_url="type.googleapis.com/wrong.Thing").receive()
    assert answer.resources[0].resource.type_url == "type.googleapis.com/wrong.Thing"
    assert ask(outer_url="type.googleapis.com/wrong.Thing").receive().type_url.endswith("Thing")


@pytest.mark.parametrize("faults", [{"truncate": 3}, {"garbage": "resource"}])
@pytest.mark.parametrize("form", ["delta", "sotw"])
def test_a_resource_cannot_be_read(ask: Ask, form: str, faults: dict[str, object]) -> None:
    (item,) = ask(form, **faults).receive().resources
    value = item.resource.value if form == "delta" else item.value
    with pytest.raises(DecodeError):
        schema.NameTable.FromString(value)


def test_a_whole_message_cannot_be_read(ask: Ask) -> None:
    code, _ = ask(garbage="frame").refused()
    assert code == "INTERNAL", "the stub cannot read it"


def test_an_answer_comes_twice_and_others_unasked(ask: Ask) -> None:
    client = ask(duplicate=1, unasked=True)
    first, second, third, fourth = (client.receive() for _ in range(4))
    assert first == second
    assert isinstance(third, discovery_pb2.DeltaDiscoveryResponse)
    assert [third.type_url, fourth.type_url] == [urls.EXTENSION, urls.PREFIX + "test.Unknown"]


@pytest.mark.parametrize("code", ["OK", "UNAVAILABLE"])
def test_streams_end_by_age(ask: Ask, code: str) -> None:
    client = ask(close_after_s=0.3, close_code=code)
    client.take()
    assert client.refused()[0] == code


def test_streams_are_refused_with_a_status(ask: Ask) -> None:
    client = ask(refuse="RESOURCE_EXHAUSTED", refuse_message="too many of you")
    assert client.refused() == ("RESOURCE_EXHAUSTED", "too many of you")


def test_ten_megabytes_of_metadata_are_sent(ask: Ask) -> None:
    assert ask(header_bytes=10 << 20).refused()[0] in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")


def test_open_connections_are_reset_and_streams_closed(ask: Ask, plane: Plane) -> None:
    client = ask()
    client.take()
    plane.close_streams("ABORTED")
    assert client.refused()[0] == "ABORTED"
    client = ask()
    client.take()
    plane.cut()
    assert client.refused()[0] == "UNAVAILABLE"


def test_bytes_drip(ask: Ask) -> None:
    start = time.monotonic()
    client = ask(huge=500, drip_bps=40_000)
    client.receive()
    assert time.monotonic() - start > 0.4, "some 25 kB and the handshake's"


def test_half_open_connections_say_nothing_and_go_on_later(ask: Ask, plane: Plane) -> None:
    client = ask()
    client.take()
    plane.spoil(half_open=True)
    plane.push()
    with socket.create_connection(("127.0.0.1", plane.port), 5) as taken:
        taken.sendall(b"hello")
        taken.settimeout(0.3)
        with pytest.raises(TimeoutError):
            taken.recv(1)
    plane.spoil()
    assert client.take().type_url == urls.NAMES


def test_connections_are_closed_at_once(plane: Plane) -> None:
    plane.spoil(reject=True)
    with socket.create_connection(("127.0.0.1", plane.port), 5) as closed:
        try:
            assert closed.recv(1) == b""
        except ConnectionResetError:
            pass


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("expired", "certificate has expired"),
        ("future", "not yet valid"),
        ("other", "unable to get local issuer|self.signed"),
        ("name", "IP address mismatch"),
    ],
)
def test_a_certificate_is_wrong(plane: Plane, fault: str, reason: str) -> None:
    """OpenSSL is the judge."""
    context = ssl.create_default_context(cadata=plane.authority.root_pem.decode())

    def shake() -> None:
        with socket.create_connection(("127.0.0.1", plane.port), 5) as plain:
            context.wrap_socket(plain, server_hostname="127.0.0.1").close()

    shake()
    plane.spoil(certificate=fault)
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        shake()


def test_grpc_does_not_connect_to_another_authority(ask: Ask) -> None:
    client = ask(certificate="other")
    code, message = client.refused()
    assert code == "UNAVAILABLE", message
    assert isinstance(client.call, grpc.RpcError)
