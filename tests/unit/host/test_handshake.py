"""OpenSSL's words for what gRPC does not tell, against servers whose certificates are wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interceptor.host import handshake
from interceptor.host.rpc import Tls
from tests.controlplane.authority import EXPIRED, FUTURE, Authority, Span

GOOD = Span()
NAME = "istiod.istio-system.svc"


@contextlib.asynccontextmanager
async def serving(
    folder: Path, authority: Authority, span: Span = GOOD, wants: Authority | None = None
) -> AsyncIterator[socket.socket]:
    """A connection with a TLS server."""
    pair = authority.issue((NAME,), span)
    file = folder / "server.pem"
    file.write_bytes(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    if wants is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=wants.root_pem.decode())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    loop = asyncio.get_running_loop()
    opened = socket.socket()
    opened.setblocking(False)
    await loop.sock_connect(opened, server.sockets[0].getsockname())
    try:
        yield opened
    finally:
        server.close()
        await asyncio.sleep(0.05)


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def others(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "others")


def explain(
    folder: Path, server: Authority, tls: Tls, span: Span = GOOD, wants: Authority | None = None
) -> str:
    async def go() -> str:
        async with serving(folder, server, span, wants) as opened:
            return await handshake.explain(opened, tls, 20)

    return asyncio.run(go())


def test_a_good_certificate_has_nothing_wrong(tmp_path: Path, ours: Authority) -> None:
    assert explain(tmp_path, ours, Tls(ours.root_pem, server_name=NAME)) == ""


def test_a_certificate_of_another_authority_is_told(
    tmp_path: Path, ours: Authority, others: Authority
) -> None:
    found = explain(tmp_path, others, Tls(ours.root_pem, server_name=NAME))
    assert "of another authority than our root" in found


def test_an_expired_certificate_is_told_with_this_hosts_clock(
    tmp_path: Path, ours: Authority
) -> None:
    found = explain(tmp_path, ours, Tls(ours.root_pem, server_name=NAME), EXPIRED)
    assert "has expired, by this host's clock (20" in found


def test_a_certificate_that_is_not_valid_yet_hints_at_the_clock(
    tmp_path: Path, ours: Authority
) -> None:
    found = explain(tmp_path, ours, Tls(ours.root_pem, server_name=NAME), FUTURE)
    assert "is not valid yet: is this host's clock right" in found


def test_another_name_is_told(tmp_path: Path, ours: Authority) -> None:
    found = explain(tmp_path, ours, Tls(ours.root_pem, server_name="other.example"))
    assert "for other names than other.example" in found


def test_our_certificate_is_shown_and_its_refusal_told(
    tmp_path: Path, ours: Authority, others: Authority
) -> None:
    mine = ours.issue(("member.example",))
    shown = Tls(ours.root_pem, mine.certificate, mine.key, NAME)
    assert explain(tmp_path, ours, shown, wants=ours) == ""
    assert "refuses our certificate" in explain(tmp_path, ours, shown, wants=others)
    bare = Tls(ours.root_pem, server_name=NAME)
    assert "refuses our certificate, or wants one" in explain(tmp_path, ours, bare, wants=ours)


@pytest.mark.parametrize("root", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\n\xff"])
def test_a_root_that_is_none_is_told(tmp_path: Path, ours: Authority, root: bytes) -> None:
    assert "cannot be used" in explain(tmp_path, ours, Tls(root, server_name=NAME))


@pytest.mark.parametrize(
    ("answer", "expected"), [(b"HTTP/1.1 400\r\n", "speak TLS"), (b"", "clos")]
)
def test_one_who_does_not_speak_tls_is_told(ours: Authority, answer: bytes, expected: str) -> None:
    async def go() -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        opened = socket.socket()
        opened.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(opened, server.sockets[0].getsockname())
        found = await handshake.explain(opened, Tls(ours.root_pem, server_name=NAME), 20)
        server.close()
        return found

    assert expected in asyncio.run(go())
