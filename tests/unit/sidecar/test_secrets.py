"""The server of secrets on a real socket, with a client of gRPC."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2

from interceptor.errors import InterceptorError
from interceptor.host import rpc
from interceptor.host.rpc import RpcError
from interceptor.sidecar import secretfile, secrets
from interceptor.sidecar.sdsstream import TYPE, Form, Secret
from interceptor.sidecar.secrets import Secrets

SOCKET = "sds.sock"
ROOTS = b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sds", dir="/var/tmp") as made:
        yield Path(made)


async def until(condition: Callable[[], bool]) -> None:
    """What the server notes has no event of its own: nobody but a test waits for it."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("in vain")


class Client:
    """Envoy's side of one stream."""

    def __init__(self, channel: rpc.Channel, form: Form) -> None:
        self.call = channel.stream(f"/{secrets.SERVICE}/{form.value}")
        self.is_whole = form is Form.WHOLE

    async def ask(self, *names: str, **more: object) -> None:
        if self.is_whole:
            more["resource_names"] = names
            request = discovery_pb2.DiscoveryRequest(type_url=TYPE, **more)
        else:
            more["resource_names_subscribe"] = names
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPE, **more)
        await self.call.send(request.SerializeToString())

    async def hear(self) -> tuple[secret_pb2.Secret, str]:
        """The one secret of the next answer, and its nonce."""
        async with asyncio.timeout(30):
            data = await self.call.receive()
        assert data is not None
        if self.is_whole:
            response = discovery_pb2.DiscoveryResponse.FromString(data)
            (packed,) = response.resources
        else:
            response = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
            packed = response.resources[0].resource
        secret = secret_pb2.Secret()
        assert packed.Unpack(secret)
        return secret, response.nonce


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Secrets, rpc.Channel]]:
    server = Secrets(folder / SOCKET, os.getuid(), os.getgid())
    await server.open()
    channel = rpc.open_channel(f"unix:{folder / SOCKET}")
    try:
        yield server, channel
    finally:
        await channel.close()
        await server.close()


@pytest.mark.parametrize("form", Form)
def test_who_asked_is_told_at_once_and_of_each_change(folder: Path, form: Form) -> None:
    async def go() -> None:
        async with serving(folder) as (server, channel):
            pair, roots = Client(channel, form), Client(channel, form)
            await pair.ask("default")
            await until(lambda: bool(server.status().missing))
            assert server.status().missing == ("default: there is none yet",)
            server.tell(b"key", b"chain", b"roots")
            first, nonce = await pair.hear()
            assert first.tls_certificate.private_key.inline_bytes == b"key"
            await roots.ask("ROOTCA")
            trusted, _ = await roots.hear()
            assert trusted.validation_context.trusted_ca.inline_bytes == b"roots"
            await pair.ask(*(["default"] if form is Form.WHOLE else []), response_nonce=nonce)
            await until(lambda: server.status().acked == 1)
            server.tell(b"key2", b"chain2", b"roots")
            second, _ = await pair.hear()
            assert second.tls_certificate.certificate_chain.inline_bytes == b"chain2"
            status = server.status()
            assert (status.streams, status.sent, status.missing) == (2, 3, ())

    asyncio.run(go())


def test_a_refusal_stands_until_another_is_taken(folder: Path) -> None:
    async def go() -> None:
        async with serving(folder) as (server, channel):
            server.tell(b"key", b"chain", b"roots")
            client = Client(channel, Form.WHOLE)
            await client.ask("default")
            _, nonce = await client.hear()
            error = status_pb2.Status(code=13, message="bad key")
            await client.ask("default", response_nonce=nonce, error_detail=error)
            await until(lambda: bool(server.status().refusals))
            assert server.status().refusals[0].reason == "bad key"
            server.tell(b"key2", b"chain", b"roots")
            _, nonce = await client.hear()
            await client.ask("default", response_nonce=nonce)
            await until(lambda: not server.status().refusals)
            client.call.cancel()
            await until(lambda: not server.status().streams)
            status = server.status()
            assert (status.acked, status.refused) == (1, 1)

    asyncio.run(go())


def test_secrets_of_files_are_followed_and_what_was_good_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "LOOK_S", 0.1)
    path = folder / "root.pem"
    name = f"file-root:{path}"

    async def go() -> None:
        async with serving(folder) as (server, channel):
            client = Client(channel, Form.WHOLE)
            await client.ask(name)
            await until(lambda: any("No such file" in each for each in server.status().missing))
            path.write_bytes(ROOTS)
            first, _ = await client.hear()
            assert first.validation_context.trusted_ca.inline_bytes == ROOTS
            path.write_bytes(b"half a")
            await asyncio.sleep(5 * secrets.LOOK_S)
            path.write_bytes(ROOTS * 2)
            second, _ = await client.hear()
            assert second.validation_context.trusted_ca.inline_bytes == ROOTS * 2
            assert server.status().sent == 2, "the half was not sent"

    asyncio.run(go())


def test_a_file_that_could_not_be_read_is_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "LOOK_S", 0.02)
    monkeypatch.setattr(secrets, "AGAIN", 3)
    path, tried = folder / "root.pem", []
    path.write_bytes(ROOTS)
    read = secretfile.read

    def fail_at_first(name: str, reader: secretfile.Reader) -> Secret:
        tried.append(name)
        if len(tried) == 1:
            raise InterceptorError("no memory for a child")
        return read(name, reader)

    monkeypatch.setattr(secretfile, "read", fail_at_first)

    async def go() -> None:
        async with serving(folder) as (_, channel):
            client = Client(channel, Form.DELTA)
            await client.ask(f"file-root:{path}")
            assert (await client.hear())[0].validation_context.trusted_ca.inline_bytes == ROOTS
            assert len(tried) == 2

    asyncio.run(go())


def test_rubbish_ends_its_own_stream_alone(folder: Path) -> None:
    async def go() -> None:
        async with serving(folder) as (server, channel):
            bad, good = Client(channel, Form.WHOLE), Client(channel, Form.DELTA)
            await good.ask("default")
            await bad.call.send(b"\xff\xff")
            with pytest.raises(RpcError, match="INVALID_ARGUMENT"):
                await bad.call.receive()
            server.tell(b"key", b"chain", b"roots")
            assert (await good.hear())[0].name == "default"

    asyncio.run(go())


def test_the_socket_is_its_group_s(folder: Path) -> None:
    async def go() -> None:
        path = folder / SOCKET
        path.touch()  # as a daemon that was killed leaves it
        async with serving(folder):
            assert (path.stat().st_mode & 0o7777, path.stat().st_gid) == (0o660, os.getgid())
            assert path.is_socket()
        assert not path.exists()

    asyncio.run(go())
