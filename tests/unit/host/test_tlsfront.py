"""TLS in front of a Unix socket: who came with which certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interceptor.errors import InterceptorError
from interceptor.host import tlsfront
from interceptor.host.tlsfront import Front
from interceptor.workload import signing

FAR_S = 4_000_000_000.0
ROOT = signing.make_root("ecdsa-p256", "root", 0, FAR_S)
OTHER = signing.make_root("ecdsa-p256", "other", 0, FAR_S)
URI = "spiffe://cluster.local/ns/vm/sa/web"


def write(folder: Path, name: str, signer: signing.Signer, *hosts: str) -> tuple[Path, Path]:
    """Files of a certificate and its key."""
    key = signing.make_key("ecdsa-p256")
    request = signing.read_request(signing.build_csr(key, URI))
    uris = () if hosts else (URI,)
    leaf = signing.issue(signing.Leaf(request.public_key, uris, 0, FAR_S, hosts), signer)
    paths = folder / f"{name}.pem", folder / f"{name}-key.pem"
    for path, data in zip(paths, (leaf, key), strict=True):
        path.write_bytes(data)
    return paths


class Echo:
    """Behind the front: says who its client is, then what it says itself."""

    def __init__(self) -> None:
        self.front: Front | None = None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.front is not None
        shown = self.front.certificate(f"unix:{writer.get_extra_info('peername')}")
        writer.write(b"certificate\n" if b"CERTIFICATE" in shown else b"nobody\n")
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[int]:
    pair = write(folder, "server", ROOT, "ca.example")
    echo = Echo()
    server = await asyncio.start_unix_server(echo, folder / "socket")
    roots = ROOT.certificate.decode()
    front = Front(folder / "socket", lambda: tlsfront.make_context(*pair, roots))
    echo.front = front
    try:
        yield await front.open("127.0.0.1", 0)
    finally:
        await front.close()
        server.close()
    assert not list(folder.glob("socket.*")), "nothing of a connection is left"


async def dial(
    port: int, own: tuple[Path, Path] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cadata=ROOT.certificate.decode())
    if own is not None:
        context.load_cert_chain(*own)
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="ca.example"
    )


async def heard(port: int, own: tuple[Path, Path]) -> bytes:
    """With TLS 1.3 a client hears that it was refused when it reads."""
    reader, writer = await dial(port, own)
    try:
        line = await reader.read(100)
    finally:
        writer.close()
    if not line:
        raise ConnectionResetError
    return line


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Until the other side has had enough; how many bytes it took."""
    taken = 0
    while taken < 4 * tlsfront.BYTES:
        try:
            writer.write(b"x" * 10_000)
            await writer.drain()
            taken += len(await reader.readexactly(10_000))
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            break
    return taken


def test_with_a_certificate_and_without_both_come_in_and_are_told_apart(tmp_path: Path) -> None:
    async def run() -> list[bytes]:
        said = []
        async with opened(tmp_path) as port:
            for own in (None, write(tmp_path, "web", ROOT), None):
                reader, writer = await dial(port, own)
                said.append(await reader.readline())
                writer.write(b"hello\n")
                assert await reader.readline() == b"hello\n"
                writer.close()
        return said

    assert asyncio.run(run()) == [b"nobody\n", b"certificate\n", b"nobody\n"]


def test_a_certificate_of_another_root_does_not_come_in(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as port:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await heard(port, write(tmp_path, "other", OTHER))
            reader, writer = await dial(port)
            assert await reader.readline() == b"nobody\n"
            writer.close()

    asyncio.run(run())


def test_who_sends_without_end_is_cut_off(tmp_path: Path) -> None:
    async def run() -> int:
        async with opened(tmp_path) as port:
            reader, writer = await dial(port)
            await reader.readline()
            try:
                return await flood(reader, writer)
            finally:
                writer.close()

    assert asyncio.run(run()) <= tlsfront.BYTES


def test_who_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tlsfront, "IDLE_S", 0.2)

    async def run() -> bytes:
        async with opened(tmp_path) as port:
            reader, writer = await dial(port)
            await reader.readline()
            try:
                return await asyncio.wait_for(reader.read(), 30)
            finally:
                writer.close()

    assert asyncio.run(run()) == b""


def test_one_address_cannot_take_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tlsfront, "MOST_EACH", 2)

    async def run() -> None:
        async with opened(tmp_path) as port:
            held = [await dial(port) for _ in range(2)]
            with pytest.raises(OSError):
                await dial(port)
            held[0][1].close()
            for _ in range(40):
                with contextlib.suppress(OSError):
                    held.append(await dial(port))
                    break
                await asyncio.sleep(0.2)
            assert len(held) == 3
            for _, writer in held:
                writer.close()

    asyncio.run(run())


def test_who_speaks_no_tls_is_let_go(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with opened(tmp_path) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

    assert b"nobody" not in asyncio.run(run())


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as port:
            with pytest.raises(InterceptorError, match=f"port {port}"):
                await Front(tmp_path / "socket", ssl.create_default_context).open("127.0.0.1", port)

    asyncio.run(run())
