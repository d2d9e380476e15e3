"""What is spoken, by its first bytes; ssl, and what real servers send, are the oracle."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.debug import firstword
from interceptor.debug.firstword import Opening


def client_hello(name: str | None, alpn: tuple[str, ...] = ()) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        wrapped.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("name", ["api.example", "a.very-long-name.with.many.labels.example.com"])
def test_openssls_hello_tells_its_server_name(name: str) -> None:
    assert firstword.guess(client_hello(name)) == Opening("tls", True, name)


def test_a_hello_without_a_name_has_none() -> None:
    assert firstword.guess(client_hello(None)) == Opening("tls", True)


def test_what_is_offered_within_tls_is_told() -> None:
    found = firstword.guess(client_hello("a.example", ("h2", "http/1.1")))
    assert found is not None
    assert found.alpn == ("h2", "http/1.1")


def test_a_hello_that_is_cut_off_anywhere_is_still_tls() -> None:
    whole = client_hello("api.example", ("h2",))
    for size in range(6, len(whole)):
        found = firstword.guess(whole[:size])
        assert found is not None
        assert found.protocol == "tls"
        assert found.name in ("", "api.example")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"Shop.Example:8080", "shop.example"),
        (b"shop.example.", "shop.example"),
        (b"192.0.2.1:80", ""),
        (b"[2001:db8::1]:80", ""),
        (b"", ""),
    ],
)
def test_a_request_names_its_host_unless_by_address(host: bytes, name: str) -> None:
    request = b"POST /x HTTP/1.1\r\nAccept: */*\r\nhOst: " + host + b"\r\n\r\nHost: not.this"
    assert firstword.guess(request) == Opening("http", True, name)


@pytest.mark.parametrize(
    "data", [b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", b"GET http://a.example/ HTTP/1.1\r\n\r\n"]
)
def test_requests_to_a_proxy_are_told_from_others(data: bytes) -> None:
    assert firstword.guess(data) == Opening(firstword.PROXY, True)


@pytest.mark.parametrize(
    ("data", "protocol", "by_client"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "grpc", True),
        (b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0" + bytes(50), "mysql", False),
        (b"\x59\0\0\0\x0a5.5.5-10.11.6-MariaDB\0" + bytes(50), "mysql", False),
        (struct.pack("!II", 40, 0x00030000) + b"user\0me\0\0", "postgres", True),
        (struct.pack("!II", 8, 80877103), "postgres", True),
        (b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n", "redis", True),
        (struct.pack("<IIII", 60, 1, 0, 2013) + bytes(44), "mongo", True),
        (struct.pack("<IIII", 60, 9, 1, 2013) + bytes(44), "mongo", False),
        (b"220 mail.example ESMTP Postfix\r\n", "smtp", False),
        (b"220 (vsFTPd 3.0.3)\r\n", "ftp", False),
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "imap", False),
        (b"+OK ready\r\n", "pop3", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh", None),
        (b"AMQP\0\0\x09\x01", "amqp", True),
    ],
)
def test_first_words_of_either_side(data: bytes, protocol: str, by_client: bool | None) -> None:
    assert firstword.guess(data) == Opening(protocol, by_client)


@pytest.mark.parametrize("data", [b"", b"G", bytes(100), b"hello\n", b"\xff" * 40, b"*x\r\n"])
def test_what_tells_nothing_is_not_guessed(data: bytes) -> None:
    assert firstword.guess(data) is None


def test_protocols_whose_servers_speak_first() -> None:
    spoken = {"mysql", "smtp", "http", "tls", "postgres", "redis"}
    assert {name for name in spoken if firstword.is_server_first(name)} == {"mysql", "smtp"}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"", b"\x16\x03\x01\x00\xff\x01", b"GET ", b"*1\r\n$"]), st.binary())
def test_nothing_that_arrives_raises(head: bytes, data: bytes) -> None:
    firstword.guess(head + data)
