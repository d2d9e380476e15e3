"""Client and server on real sockets. Where TLS is refused, openssl has made the certificates."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest

from interceptor.errors import InterceptorError
from interceptor.host import rpc, rpcserver
from interceptor.host.rpc import Keepalive, RpcError, Tls
from interceptor.host.rpcserver import Link, ServerTls, Stream, Unary

ECHO, UPPER, REFUSE, WHO, DENY = (
    f"/test.Service/{name}" for name in ("Echo", "Upper", "Refuse", "Who", "Deny")
)
WAIT_S = 20


async def echo(link: Link) -> None:
    while (message := await link.receive()) is not None:
        await link.send(message)


async def upper(request: bytes, link: Link) -> bytes:
    return request.upper() + link.metadata.get("mark", "").encode()


async def refuse(link: Link) -> None:
    await link.receive()
    raise RpcError("FAILED_PRECONDITION", "no such group")


async def deny(_link: Link) -> None:
    raise RpcError("UNAUTHENTICATED", "who are you?")


async def who(_request: bytes, link: Link) -> bytes:
    return link.peer


METHODS: rpcserver.Methods = {
    ECHO: Stream(echo),
    UPPER: Unary(upper),
    REFUSE: Stream(refuse),
    WHO: Unary(who),
    DENY: Stream(deny),
}


@pytest.fixture
def path() -> Iterator[Path]:
    """Short: a Unix socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rpc") as folder:
        yield Path(folder) / "s"


@asynccontextmanager
async def serving(
    place: Path | str, tls: ServerTls | None = None, client: Tls | None = None
) -> AsyncIterator[rpc.Channel]:
    server = await rpcserver.serve(place, METHODS, tls)
    address = f"unix:{place}" if isinstance(place, Path) else f"127.0.0.1:{server.port}"
    channel = rpc.open_channel(address, client)
    try:
        yield channel
    finally:
        await channel.close()
        await server.close()


@dataclass(frozen=True)
class Pair:
    certificate: bytes
    key: bytes


def openssl(*words: str) -> None:
    subprocess.run(("openssl", *words), check=True, capture_output=True)


def authority(folder: Path, name: str) -> tuple[str, str]:
    key, certificate = str(folder / f"{name}.key"), str(folder / f"{name}.pem")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *curve, "-subj", f"/CN={name}", "-keyout", key, "-out", certificate)
    return key, certificate


def issue(folder: Path, name: str, signer: tuple[str, str]) -> Pair:
    key, request, made = (folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
    names = folder / f"{name}.ext"
    names.write_text(f"subjectAltName=DNS:{name}\n")
    by = ("-CA", signer[1], "-CAkey", signer[0], "-CAcreateserial", "-extfile", str(names))
    openssl("x509", "-req", "-in", str(request), *by, "-days", "1", "-out", str(made))
    return Pair(made.read_bytes(), key.read_bytes())


@dataclass(frozen=True)
class Trust:
    root: bytes
    other_root: bytes
    server: Pair
    client: Pair


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    folder = tmp_path_factory.mktemp("trust")
    ours, others = authority(folder, "ours"), authority(folder, "others")
    return Trust(
        Path(ours[1]).read_bytes(),
        Path(others[1]).read_bytes(),
        issue(folder, "control.example", ours),
        issue(folder, "member.example", ours),
    )


def test_a_question_is_answered_and_sees_the_metadata(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as channel:
            await channel.ready(WAIT_S)
            assert await channel.call(UPPER, b"abc", {"Mark": "!"}, WAIT_S) == b"ABC!"

    asyncio.run(go())


def test_a_stream_carries_messages_both_ways_until_its_clean_end() -> None:
    async def go() -> None:
        async with serving("127.0.0.1:0") as channel:
            call = channel.stream(ECHO)
            large = bytes(9 << 20)  # above grpc's own limit of 4 MiB
            for message in (b"a", b"", large):
                await call.send(message)
                assert await call.receive() == message
            await call.done_sending()
            assert await call.receive() is None

    asyncio.run(go())


def test_a_refusal_tells_its_code_and_reason(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as channel:
            call = channel.stream(REFUSE)
            await call.send(b"")
            with pytest.raises(RpcError) as caught:
                await call.receive()
            assert (caught.value.code, caught.value.message) == (
                "FAILED_PRECONDITION",
                "no such group",
            )
            with pytest.raises(RpcError, match="FAILED_PRECONDITION: no such group"):
                await call.send(b"more")
            with pytest.raises(RpcError, match="UNIMPLEMENTED"):
                await channel.call("/test.Service/Nothing", b"")

    asyncio.run(go())


def test_who_refuses_before_the_first_word_is_quoted_whoever_is_faster(path: Path) -> None:
    async def speak(call: rpc.Call) -> None:
        await call.send(b"")
        await call.receive()

    async def go() -> None:
        async with serving(path) as channel:
            await channel.ready(WAIT_S)
            for pause_s in (0, 0.001, 0.005, 0.02) * 10:
                call = channel.stream(DENY)
                await asyncio.sleep(pause_s)
                with pytest.raises(RpcError, match="UNAUTHENTICATED: who are you"):
                    await speak(call)

    asyncio.run(go())


def test_nobody_there_is_told_at_once_with_the_reason(path: Path) -> None:
    async def go() -> None:
        channel = rpc.open_channel(f"unix:{path}")
        try:
            with pytest.raises(RpcError, match="UNAVAILABLE.*No such file"):
                await channel.ready(WAIT_S)
            with pytest.raises(RpcError, match="UNAVAILABLE"):
                await channel.call(UPPER, b"", timeout_s=WAIT_S)
        finally:
            await channel.close()

    asyncio.run(go())


def test_one_who_takes_the_connection_and_says_nothing_is_not_waited_for() -> None:
    async def go() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            channel = rpc.open_channel(f"127.0.0.1:{mute.getsockname()[1]}")
            try:
                with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
                    await channel.ready(0.3)
            finally:
                await channel.close()

    asyncio.run(go())


def test_a_place_that_is_taken_is_an_error() -> None:
    async def go() -> None:
        first = await rpcserver.serve("127.0.0.1:0", METHODS)
        try:
            with pytest.raises(InterceptorError, match=f"cannot listen at 127.0.0.1:{first.port}"):
                await rpcserver.serve(f"127.0.0.1:{first.port}", METHODS)
        finally:
            await first.close()

    asyncio.run(go())


def test_a_server_that_goes_ends_the_streams_and_its_socket(path: Path) -> None:
    async def go() -> None:
        server = await rpcserver.serve(path, METHODS)
        assert path.stat().st_mode & 0o777 == 0o660
        channel = rpc.open_channel(f"unix:{path}")
        call = channel.stream(ECHO)
        await call.send(b"a")
        await call.receive()
        await server.close()
        with pytest.raises(RpcError):
            await call.receive()
        await channel.close()
        assert not path.exists()

    asyncio.run(go())


def test_a_call_that_is_cancelled_is_an_error_and_not_the_end_of_the_task(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as channel:
            call = channel.stream(ECHO)
            reading = asyncio.create_task(call.receive())
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(RpcError, match="CANCELLED"):
                await reading

    asyncio.run(go())


def test_a_task_that_is_cancelled_ends_as_such(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as channel:
            call = channel.stream(ECHO)
            await call.send(b"a")
            await call.receive()
            reading = asyncio.create_task(call.receive())
            await asyncio.sleep(0.05)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    asyncio.run(go())


def test_both_show_their_certificates_where_the_server_wants_them(trust: Trust) -> None:
    async def go() -> None:
        tls = ServerTls(trust.server.certificate, trust.server.key, trust.root, True)
        client = Tls(trust.root, trust.client.certificate, trust.client.key, "control.example")
        async with serving("127.0.0.1:0", tls, client) as channel:
            assert await channel.call(WHO, b"", timeout_s=WAIT_S) == trust.client.certificate
        async with serving(
            "127.0.0.1:0", tls, Tls(trust.root, b"", b"", "control.example")
        ) as bare:
            with pytest.raises(RpcError, match="UNAVAILABLE"):
                await bare.call(WHO, b"", timeout_s=WAIT_S)

    asyncio.run(go())


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_server_that_is_not_the_one_meant_is_refused(trust: Trust, wrong: str) -> None:
    async def go() -> None:
        tls = ServerTls(trust.server.certificate, trust.server.key)
        root = trust.other_root if wrong == "authority" else trust.root
        name = "other.example" if wrong == "name" else "control.example"
        async with serving("127.0.0.1:0", tls, Tls(root, server_name=name)) as channel:
            with pytest.raises(RpcError) as caught:
                await channel.ready(WAIT_S)
            assert caught.value.code == "UNAVAILABLE"
        async with serving("127.0.0.1:0", tls, Tls(trust.root, b"", b"", "control.example")) as ok:
            assert await ok.call(WHO, b"", timeout_s=WAIT_S) == b""

    asyncio.run(go())


@asynccontextmanager
async def forwarding(port: int, mute: asyncio.Event) -> AsyncIterator[int]:
    """A port that leads to another, and swallows everything once ``mute``."""
    pumps: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if not mute.is_set():
                sink.write(data)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, far_writer))
        pumps.append(asyncio.create_task(pump(reader, far_writer)))
        pumps.append(asyncio.create_task(pump(far_reader, writer)))

    listening = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in pumps:
            task.cancel()
        for writer in writers:
            writer.close()
        await asyncio.gather(*pumps, return_exceptions=True)
        await asyncio.gather(*(one.wait_closed() for one in writers), return_exceptions=True)


def test_a_peer_that_vanishes_without_a_word_is_noticed_by_keepalive() -> None:
    async def go() -> None:
        server = await rpcserver.serve("127.0.0.1:0", METHODS)
        mute = asyncio.Event()
        async with forwarding(server.port, mute) as port:
            channel = rpc.open_channel(f"127.0.0.1:{port}", keepalive=Keepalive(1.0, 0.5))
            call = channel.stream(ECHO)
            await call.send(b"a")
            assert await call.receive() == b"a"
            mute.set()
            async with asyncio.timeout(WAIT_S):
                with pytest.raises(RpcError, match="UNAVAILABLE"):
                    await call.receive()
            await channel.close()
        await server.close()

    asyncio.run(go())


class Overtaken:
    """A call whose peer's status comes after the failure of a message, as grpc has it at times."""

    def __init__(self) -> None:
        self.looks = 0

    async def write(self, _message: bytes) -> None:
        code, nothing = grpc.StatusCode.INTERNAL, grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(code, nothing, nothing, "Internal error from Core")

    async def code(self) -> grpc.StatusCode:
        self.looks += 1
        is_there = self.looks > 2
        return grpc.StatusCode.UNAUTHENTICATED if is_there else grpc.StatusCode.INTERNAL

    async def details(self) -> str:
        return "who are you?" if self.looks > 2 else "Internal error from Core"


def test_the_status_of_the_peer_counts_and_not_the_failure_that_it_causes() -> None:
    async def go() -> None:
        with pytest.raises(RpcError, match="UNAUTHENTICATED: who are you"):
            await rpc.Call(Overtaken()).send(b"")

    asyncio.run(go())
