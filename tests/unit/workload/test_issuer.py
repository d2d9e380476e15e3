"""Our own authority's service over TLS, called by gRPC and looked at by openssl."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from interceptor.config import parse
from interceptor.host import rpc, tlsfront
from interceptor.host.rpc import RpcError, Tls
from interceptor.mesh.identity import SpiffeId
from interceptor.workload import authority, certificate, issuance, keystore, signing, token
from interceptor.workload.issuance import Order
from interceptor.workload.issuer import Issuer
from interceptor.workload.token import Grant

WEB = SpiffeId("cluster.local", "vm", "web")
KEY = signing.make_key("ecdsa-p256")
CSR = signing.build_csr(KEY, "spiffe://cluster.local/ns/vm/sa/somebody-else")
TTL = 3600
PATIENCE_S = 30.0


@dataclass
class Place:
    issuer: Issuer
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.issuer.port}"

    def token(self) -> str:
        now = certificate.now_s()
        return token.encode(Grant(WEB, now, now + 60), self.issuer.authority.keys.secret)

    def tls(self, leaf: bytes = b"") -> Tls:
        return Tls(self.issuer.authority.roots(), leaf, KEY if leaf else b"", authority.NAME)

    async def call(
        self, shown: str = "", tls: Tls | None = None, request: bytes | None = None
    ) -> tuple[bytes, ...]:
        channel = rpc.open_channel(self.address, tls or self.tls())
        said = {"authorization": f"Bearer {shown}"} if shown else {}
        data = issuance.encode_request(Order(CSR, 60, {})) if request is None else request
        try:
            answer = await channel.call(issuance.METHOD, data, said, PATIENCE_S)
            return issuance.decode_response(answer)
        finally:
            await channel.close()


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Place]:
    now = certificate.now_s()
    keystore.save(folder / "ca", keystore.make("cluster.local", "ecdsa-p256", TTL, now), now)
    text = f"""
    authority: {{dir: {folder / "ca"}, listen: "127.0.0.1:1", ttl_s: {TTL}}}
    agent: {{run_dir: {folder / "run"}}}
    """
    config = parse(text, "f")
    free = config.authority.model_copy(update={"listen": "127.0.0.1:0"})
    issuer = Issuer(config.model_copy(update={"authority": free}), ["192.0.2.7"])
    await issuer.open()
    try:
        yield Place(issuer, folder)
    finally:
        await issuer.close()


def openssl(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["openssl", *argv], input=stdin, capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


def test_a_token_buys_a_certificate_that_openssl_takes_for_good(tmp_path: Path) -> None:
    async def run() -> tuple[bytes, ...]:
        async with opened(tmp_path) as place:
            return await place.call(place.token())

    leaf, roots = asyncio.run(run())
    (tmp_path / "leaf").write_bytes(leaf)
    (tmp_path / "roots").write_bytes(roots)
    said = openssl("verify", "-x509_strict", "-CAfile", f"{tmp_path}/roots", f"{tmp_path}/leaf")
    assert said.endswith("OK\n")
    text = openssl("x509", "-in", str(tmp_path / "leaf"), "-noout", "-text")
    assert "URI:spiffe://cluster.local/ns/vm/sa/web" in text
    assert "somebody-else" not in text


def test_a_certificate_buys_the_next_and_needs_no_token(tmp_path: Path) -> None:
    async def run() -> str:
        async with opened(tmp_path) as place:
            leaf, _ = await place.call(place.token())
            again, _ = await place.call(tls=place.tls(leaf))
            assert again != leaf
            assert place.issuer.status()["issued"] == 2
            return certificate.read(again)[0].spiffe

    assert asyncio.run(run()) == WEB.uri


def test_who_shows_nothing_or_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        other = signing.make_root("ecdsa-p256", "other", 0, certificate.now_s() + 3600)
        async with opened(tmp_path) as place:
            for shown in ("", "nonsense", f"{place.token()}x"):
                with pytest.raises(RpcError) as caught:
                    await place.call(shown)
                assert caught.value.code == "UNAUTHENTICATED"
            leaf = signing.issue(
                signing.Leaf(
                    signing.read_request(CSR).public_key, (WEB.uri,), 0, certificate.now_s() + 60
                ),
                other,
            )
            with pytest.raises(RpcError) as caught:
                await place.call(tls=place.tls(leaf))
            assert caught.value.code == "UNAVAILABLE", "of another root: TLS itself fails"
            assert place.issuer.status()["issued"] == 0

    asyncio.run(run())


def test_what_is_no_request_is_refused_and_serving_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as place:
            big = issuance.encode_request(Order(b"x" * authority.REQUEST_BYTES, 1, {}))
            for request in (b"", b"\xff\xff\xff", big):
                with pytest.raises(RpcError) as caught:
                    await place.call(place.token(), request=request)
                assert caught.value.code == "INVALID_ARGUMENT"
            flood = b"x" * (4 * tlsfront.BYTES)
            with pytest.raises(RpcError) as caught:
                await place.call(place.token(), request=flood)
            assert caught.value.code == "UNAVAILABLE", "cut off before it is read as a whole"
            assert await place.call(place.token())

    asyncio.run(run())


def test_openssl_finds_nothing_old_in_it(tmp_path: Path) -> None:
    async def run() -> dict[str, str]:
        async with opened(tmp_path) as place:
            roots = tmp_path / "roots"
            roots.write_bytes(place.issuer.authority.roots())
            words = ("s_client", "-connect", place.address, "-alpn", "h2", "-CAfile", str(roots))
            hosts = {"192.0.2.7": "-verify_ip", authority.NAME: "-verify_hostname"}
            asked: dict[str, tuple[str, ...]] = {
                name: (*words, option, name) for name, option in hosts.items()
            }
            asked["tls1.1"] = (*words, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
            asked["rsa key exchange"] = (
                *words,
                "-tls1_2",
                "-cipher",
                "AES128-SHA:AES256-GCM-SHA384",
            )
            return {name: await asyncio.to_thread(openssl, *argv) for name, argv in asked.items()}

    said = asyncio.run(run())
    for name in ("192.0.2.7", authority.NAME):
        assert "Verify return code: 0 (ok)" in said[name]
        assert "ALPN protocol: h2" in said[name]
    for name in ("tls1.1", "rsa key exchange"):
        assert "Cipher is (NONE)" in said[name], said[name]


def test_a_new_root_is_believed_and_handed_out_while_connections_stay(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as place:
            held = rpc.open_channel(place.address, place.tls())
            said = {"authorization": f"Bearer {place.token()}"}
            request = issuance.encode_request(Order(CSR, 60, {}))
            await held.call(issuance.METHOD, request, said, PATIENCE_S)
            keys = place.issuer.authority.keys
            changed = keystore.rotate(keys, "ecdsa-p256", TTL, certificate.now_s())
            keystore.save(tmp_path / "ca", changed, certificate.now_s())
            answer = await held.call(issuance.METHOD, request, said, PATIENCE_S)
            assert len(certificate.read(issuance.decode_response(answer)[1])) == 2
            leaf, _ = await place.call(place.token())
            assert await place.call(tls=place.tls(leaf))
            await held.close()

    asyncio.run(run())


def test_its_socket_is_root_s_alone_and_goes_with_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as place:
            assert await place.call(place.token())
            folder = tmp_path / "run" / "authority"
            assert folder.stat().st_mode & 0o777 == 0o700
            assert (folder / "server-key.pem").stat().st_mode & 0o777 == 0o600
        assert not list(folder.glob("socket*"))

    asyncio.run(run())
