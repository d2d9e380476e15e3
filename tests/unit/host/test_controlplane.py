"""With real servers: a control plane's TLS by the tests' authority, gRPC by rpcserver."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interceptor.config import Config, Istiod, Mesh
from interceptor.host import rpcserver
from interceptor.host.admission import Pair
from interceptor.host.controlplane import Target, Unreachable
from interceptor.host.rpc import RpcError
from interceptor.host.rpcserver import Link, ServerTls, Stream, Unary
from interceptor.source import line
from interceptor.source.dialogue import Node
from tests.controlplane.authority import EXPIRED, FUTURE, Authority, Span
from tests.controlplane.plane import running

ECHO, WHO = "/test.Service/Echo", "/test.Service/Who"
HOST = "localhost"
NAME = "istiod.istio-system.svc"


async def echo(link: Link) -> None:
    while (message := await link.receive()) is not None:
        await link.send(message)


async def who(_request: bytes, link: Link) -> bytes:
    if "authorization" not in link.metadata:
        raise RpcError("UNAUTHENTICATED", "authentication failure")
    return f"{link.metadata['clusterid']} {link.metadata['authorization']}".encode()


GOOD = Span()
METHODS: rpcserver.Methods = {ECHO: Stream(echo), WHO: Unary(who)}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "authority")
    (tmp_path / "root.pem").write_bytes(made.root_pem)
    (tmp_path / "token").write_text("secret")
    return made


def config(folder: Path, *addresses: str, **more: object) -> Config:
    istiod = Istiod(
        addresses=addresses, root_cert=folder / "root.pem", token=folder / "token", **more
    )
    return Config(mesh=Mesh(istiod=istiod))


@contextlib.asynccontextmanager
async def serving(
    authority: Authority, span: Span = GOOD, *, wants: bool = False
) -> AsyncIterator[str]:
    pair = authority.issue((NAME,), span)
    tls = ServerTls(pair.certificate, pair.key, authority.root_pem, wants)
    server = await rpcserver.serve("127.0.0.1:0", METHODS, tls)
    try:
        yield f"{HOST}:{server.port}"
    finally:
        await server.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port: int = once.getsockname()[1]
    return port


def test_a_call_bears_what_the_files_say_now(tmp_path: Path, authority: Authority) -> None:
    async def go() -> None:
        async with serving(authority) as address:
            connection = await Target.choose(config(tmp_path, address)).open()
            assert await connection.call(WHO, b"", 20) == b"Kubernetes Bearer secret"
            (tmp_path / "token").write_text("another")
            assert await connection.call(WHO, b"", 20) == b"Kubernetes Bearer another"
            await connection.close()

    asyncio.run(go())


def test_our_certificate_is_shown_where_there_is_one(tmp_path: Path, authority: Authority) -> None:
    async def go() -> None:
        mine = authority.issue(("member.example",))
        async with serving(authority, wants=True) as address:
            target = Target.choose(
                config(tmp_path, address), pair=lambda: Pair(mine.certificate, mine.key)
            )
            connection = await target.open()
            assert await connection.call(WHO, b"", 20)
            await connection.close()
            with pytest.raises(Unreachable, match="refuses our certificate, or wants one"):
                await Target.choose(config(tmp_path, address)).open()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("span", "server_name", "expected"),
    [
        (EXPIRED, "", "its certificate has expired"),
        (FUTURE, "", "is this host's clock right"),
        (Span(), "other.example", "for other names than other.example"),
    ],
)
def test_a_certificate_that_is_not_good_is_told_in_words(
    tmp_path: Path, authority: Authority, span: Span, server_name: str, expected: str
) -> None:
    async def go() -> None:
        async with serving(authority, span) as address:
            target = Target.choose(config(tmp_path, address, server_name=server_name))
            with pytest.raises(Unreachable, match=expected) as caught:
                await target.open()
            assert str(caught.value).startswith(address)
            assert target.last_error == str(caught.value)

    asyncio.run(go())


def test_a_certificate_of_another_authority_is_told(tmp_path: Path, authority: Authority) -> None:
    async def go() -> None:
        (tmp_path / "root.pem").write_bytes(Authority(tmp_path / "others").root_pem)
        async with serving(authority) as address:
            with pytest.raises(Unreachable, match="of another authority than our root"):
                await Target.choose(config(tmp_path, address)).open()

    asyncio.run(go())


def test_nobody_and_no_name_are_told_apart(tmp_path: Path, authority: Authority) -> None:
    port = closed_port()
    with pytest.raises(Unreachable, match=f"refuses connections on port {port}: nobody"):
        asyncio.run(Target.choose(config(tmp_path, f"127.0.0.1:{port}")).open())
    with pytest.raises(Unreachable, match="a..b cannot be found: .*/etc/hosts"):
        asyncio.run(
            Target.choose(config(tmp_path, "localhost:1"), addresses=("a..b:15012",)).open()
        )


def test_one_who_says_nothing_is_given_up_in_time(tmp_path: Path, authority: Authority) -> None:
    async def go() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            place = f"127.0.0.1:{mute.getsockname()[1]}"
            target = Target.choose(config(tmp_path, place, connect_timeout_ms=300))
            with pytest.raises(Unreachable, match="takes the connection and says nothing"):
                await target.open()

    asyncio.run(go())


def test_addresses_are_tried_in_turn_until_one_answers(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        async with serving(authority) as address:
            bad = f"127.0.0.1:{closed_port()}"
            target = Target.choose(config(tmp_path, bad, address))
            async with asyncio.timeout(20):
                connection = await target.connect()
            assert (target.address, target.failures, target.last_error) == (address, 1, "")
            await connection.close()
            again = await target.open()
            assert target.address == address  # who answered is asked first the next time
            await again.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(go())
    assert "nobody listens there" in caplog.text


def test_a_control_plane_that_comes_later_is_found(tmp_path: Path, authority: Authority) -> None:
    async def go() -> None:
        port = closed_port()
        target = Target.choose(config(tmp_path, f"127.0.0.1:{port}", tls="off"))
        waiting = asyncio.create_task(target.connect())
        for _ in range(2000):
            if target.failures:
                break
            await asyncio.sleep(0.01)
        server = await rpcserver.serve(f"127.0.0.1:{port}", METHODS)
        async with asyncio.timeout(20):
            connection = await waiting
        with pytest.raises(RpcError, match="UNAUTHENTICATED"):  # no token in plain text
            await connection.call(WHO, b"", 20)
        await connection.close()
        await server.close()

    asyncio.run(go())


def test_a_refused_call_tells_what_is_wrong_with_the_token(
    tmp_path: Path, authority: Authority
) -> None:
    target = Target.choose(config(tmp_path, "a:15012"))
    (tmp_path / "token").write_text(authority.token(ttl_s=-60))
    refused = RpcError("UNAUTHENTICATED", "authentication failure")
    assert "authentication failure (the token" in (found := target.explain(refused))
    assert "expired at 20" in found
    assert "token" not in target.explain(RpcError("UNAVAILABLE", "Socket closed"))


def ask_names(target: Target) -> bytes:
    node = Node(
        "sidecar~127.0.0.1~vm.default~default.svc.cluster.local", "vm.default", ("", "", ""), {}
    )
    return asyncio.run(line.ask(target, node, "auto", 20))


def test_a_refused_certificate_is_left_out_for_the_token(
    tmp_path: Path, authority: Authority
) -> None:
    """As istiod after its authority has changed: a certificate may be shown, and has to be good.
    The VM that was off meanwhile gets in by its token, and so to a new certificate."""
    mine = authority.issue(("spiffe://cluster.local/ns/default/sa/default",))
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "names.json").write_text('{"a.test": ["10.0.0.1"]}')
    with running(folder, tls=True) as plane:
        (tmp_path / "root.pem").write_bytes(plane.authority.root_pem)
        (tmp_path / "token").write_text(plane.authority.token())
        target = Target.choose(
            config(tmp_path, f"{HOST}:{plane.port}"),
            pair=lambda: Pair(mine.certificate, mine.key),
        )
        with pytest.raises(Unreachable, match="refuses our certificate"):
            ask_names(target)
        assert b"a.test" in ask_names(target)
        assert b"a.test" in ask_names(target)
        # A token that is no good either: whatever there is is shown again.
        (tmp_path / "token").write_text(plane.authority.token(ttl_s=-60))
        with pytest.raises(RpcError, match="expired at"):
            ask_names(target)
        with pytest.raises(Unreachable, match="refuses our certificate"):
            ask_names(target)
        (tmp_path / "token").unlink()
        with pytest.raises(Unreachable, match="refuses our certificate"):
            ask_names(target)
