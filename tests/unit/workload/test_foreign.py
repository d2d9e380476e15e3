"""Somebody else's SDS on a real socket: what it gives, and what it may say."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as Packed

from interceptor.config import parse
from interceptor.errors import InterceptorError
from interceptor.host import rpcserver
from interceptor.workload import certificate, foreign, identity
from interceptor.workload.credential import Credential
from interceptor.workload.identity import Identity
from interceptor.workload.provider import Provider
from tests.unit.workload.made import WHO, Authority


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sds", dir="/var/tmp") as made:
        yield Path(made)


def answer(made: Credential, nonce: str) -> bytes:
    pair, roots = secret_pb2.Secret(name="default"), secret_pb2.Secret(name="ROOTCA")
    pair.tls_certificate.private_key.inline_bytes = made.key_pem
    pair.tls_certificate.certificate_chain.inline_bytes = made.chain_pem
    roots.validation_context.trusted_ca.inline_bytes = made.root_pem
    packed = [
        Packed(type_url=foreign.TYPE, value=each.SerializeToString()) for each in (pair, roots)
    ]
    response = discovery_pb2.DiscoveryResponse(
        version_info=nonce, nonce=nonce, type_url=foreign.TYPE, resources=packed
    )
    data: bytes = response.SerializeToString()
    return data


class Sds:
    """Sends ``answers`` one after the other, each when the one before is acknowledged."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.heard: list[discovery_pb2.DiscoveryRequest] = []

    async def serve(self, link: rpcserver.Link) -> None:
        for each in (*self.answers, None):
            data = await link.receive()
            assert data is not None
            self.heard.append(discovery_pb2.DiscoveryRequest.FromString(data))
            if each is None:
                break
            await link.send(each)

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[None]:
        server = await rpcserver.serve(path, {foreign.METHOD: rpcserver.Stream(self.serve)})
        try:
            yield
        finally:
            await server.close()


async def collect(path: Path) -> tuple[list[Credential], str]:
    found = []
    try:
        async with asyncio.timeout(30):
            async for made in foreign.follow(path, certificate.now_s):
                found.append(made)
    except InterceptorError as error:
        return found, str(error)
    raise AssertionError("it ended without a word")


def test_what_it_gives_is_taken_and_acknowledged(folder: Path) -> None:
    ca = Authority()
    first, second = ca.credential(), ca.credential()
    sds = Sds(answer(first, "1"), answer(second, "2"))

    async def go() -> None:
        async with sds.serving(folder / "s"):
            found, why = await collect(folder / "s")
            assert [each.key_pem for each in found] == [first.key_pem, second.key_pem]
            assert "has ended" in why
            assert list(sds.heard[0].resource_names) == ["default", "ROOTCA"]
            assert [each.response_nonce for each in sds.heard] == ["", "1", "2"]

    asyncio.run(go())


def test_rubbish_and_two_halves_are_refused(folder: Path) -> None:
    ca = Authority()
    halves = Credential(ca.credential().key_pem, ca.credential().chain_pem, b"", 0)
    halves = Credential(halves.key_pem, halves.chain_pem, ca.root.certificate, 0)

    async def go() -> None:
        for sent, words in ((b"\xff", "no secrets"), (answer(halves, "1"), "another key")):
            async with Sds(sent).serving(folder / "s"):
                assert words in (await collect(folder / "s"))[1]

    asyncio.run(go())


def test_a_member_tells_of_it_and_writes_it_for_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "FIRST_S", 0.05)
    config = parse(
        f"identity: {{provider: socket, socket: {folder}/s, output_dir: {folder}/out}}\n"
        f"mesh: {{state_dir: {folder}/state, istiod: {{token: {folder}/none}}}}"
    )
    made = Authority().credential()
    told: list[Credential] = []

    async def go() -> None:
        member = Identity(config, Provider.SOCKET, told.append)
        await member.open()
        try:
            for _ in range(1000):
                if member.failures:
                    break
                await asyncio.sleep(0.01)
            assert any("has no certificate" in each for each in member.alarms())
            async with Sds(answer(made, "1")).serving(folder / "s"):
                for _ in range(3000):
                    if told:
                        break
                    await asyncio.sleep(0.01)
            assert (told[0].who, member.status()["who"]) == (WHO, WHO)
            for _ in range(3000):
                if (folder / "out" / "cert-chain.pem").exists():
                    break
                await asyncio.sleep(0.01)
            assert (folder / "out" / "key.pem").read_bytes() == made.key_pem
        finally:
            await member.close()

    asyncio.run(go())
