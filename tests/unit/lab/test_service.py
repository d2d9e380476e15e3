from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.lab import service
from interceptor.lab.description import Served, Speech

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1)
ADDRESSES = st.lists(st.ip_addresses(), min_size=1, max_size=3).map(tuple)


@given(
    st.builds(Served, NAMES, st.integers(1, 65535), ADDRESSES, st.sampled_from(Speech)),
)
def test_a_backend_survives_the_command_line(served: Served) -> None:
    assert service.decode(service.encode(served)) == served


def test_ipv6_addresses_are_kept_apart_from_the_fields_before_them() -> None:
    served = service.decode("tcp:mysql:3306:0.0.0.0,::")
    assert served == Served("mysql", 3306, (ip_address("0.0.0.0"), ip_address("::")), Speech.TCP)


@pytest.mark.parametrize("word", ["", "http:x", "ftp:x:1:::1", "http:x:one:::1", "http:x:1:me"])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(ValueError):
        service.decode(word)


async def _talk(speech: Speech, sent: bytes, replies: int) -> list[bytes]:
    """Lines that a backend sends for ``sent``, over a real loopback connection."""
    served = Served("me", 0, (IPv4Address("127.0.0.1"),), speech)
    serve = service.serve_http if speech is Speech.HTTP else service.serve_tcp
    server = await asyncio.start_server(
        lambda reader, writer: serve(served.name, reader, writer), "127.0.0.1", 0
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(5):
            lines = [await reader.readline() for _ in range(replies)]
        writer.close()
        await writer.wait_closed()
    return lines


def test_http_answers_each_request_of_a_connection_with_its_name() -> None:
    request = b"GET /x HTTP/1.1\r\nHost: me\r\n\r\n"
    lines = asyncio.run(_talk(Speech.HTTP, request * 2, 14))
    assert lines.count(b"me\n") == 2
    assert lines.count(b"X-Lab-Request: GET /x HTTP/1.1\r\n") == 2


def test_http_ends_the_connection_when_asked_to() -> None:
    request = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert asyncio.run(_talk(Speech.HTTP, request, 9))[-2:] == [b"", b""]


def test_http_takes_a_body_in_before_it_answers() -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET GET / HTTP/1.1\r\n\r\n"
    lines = asyncio.run(_talk(Speech.HTTP, request, 14))
    assert b"X-Lab-Request: POST / HTTP/1.1\r\n" in lines
    assert b"X-Lab-Request: GET / HTTP/1.1\r\n" in lines


def test_tcp_speaks_first_and_echoes_with_its_name() -> None:
    lines = asyncio.run(_talk(Speech.TCP, b"select 1\n", 2))
    assert lines == [b"me ready, you are 127.0.0.1\n", b"me: select 1\n"]
