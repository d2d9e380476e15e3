"""The relay between a client and a server of gRPC, both real, with bytes that are nobody's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from interceptor.host import rpc, rpcserver
from interceptor.host.rpc import RpcError
from interceptor.host.rpcserver import Link
from interceptor.sidecar.envelope import Form
from interceptor.sidecar.relay import SERVICE, Relay

Serve = Callable[[Link], Awaitable[None]]
DELTA = f"{SERVICE}{Form.DELTA.value}"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LIMIT_S = 60


class Line:
    """A stream on a channel that is kept."""

    def __init__(self, call: rpc.Call) -> None:
        self.send, self.receive, self._call = call.send, call.receive, call

    async def close(self) -> None:
        self._call.cancel()


class Straight:
    """A way to one address, tried again and again."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.last_error = ""
        self.failures = 0
        self.channel = rpc.open_channel(address)

    async def open(self, method: str) -> Line:
        while True:
            try:
                await self.channel.ready(5)
            except RpcError as error:
                self.failures += 1
                self.last_error = str(error)
                await asyncio.sleep(0.02)
            else:
                return Line(self.channel.stream(method))


class Plane:
    """A control plane on a Unix socket, which comes and goes."""

    def __init__(self, socket: Path, serve: Serve) -> None:
        self.socket = socket
        self.methods = {f"{SERVICE}{form.value}": rpcserver.Stream(serve) for form in Form}
        self.server: rpcserver.Server | None = None

    async def open(self) -> None:
        self.server = await rpcserver.serve(self.socket, self.methods)

    async def close(self) -> None:
        if self.server is not None:
            await self.server.close()
            self.server = None


@asynccontextmanager
async def world(tmp_path: Path, serve: Serve) -> AsyncIterator[tuple[Relay, Plane, rpc.Channel]]:
    """A relay, the control plane behind it, and a channel as Envoy's."""
    plane = Plane(tmp_path / "up", serve)
    dial = Straight(f"unix:{plane.socket}")
    relay = Relay(tmp_path / "xds", dial)
    await plane.open()
    await relay.open()
    channel = rpc.open_channel(f"unix:{relay.socket}")
    try:
        async with asyncio.timeout(LIMIT_S):
            yield relay, plane, channel
    finally:
        await channel.close()
        await relay.close()
        await dial.channel.close()
        await plane.close()


def run(work: Awaitable[None]) -> None:
    async def go() -> None:
        await work

    asyncio.run(go())


async def echo(link: Link) -> None:
    while (message := await link.receive()) is not None:
        await link.send(message)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("form", Form)
def test_messages_go_through_byte_for_byte_in_their_order(tmp_path: Path, form: Form) -> None:
    async def go() -> None:
        async with world(tmp_path, echo) as (_, _, channel):
            call = channel.stream(f"{SERVICE}{form.value}")
            sent = [os.urandom(size) for size in (0, 1, 100, 70_000, 3)]
            for message in sent:
                await call.send(message)
            assert [await call.receive() for _ in sent] == sent

    run(go())


def test_a_push_of_100_mb_goes_through(tmp_path: Path) -> None:
    async def push(link: Link) -> None:
        await link.receive()
        await link.send(bytes(100 << 20))
        await link.receive()

    async def go() -> None:
        async with world(tmp_path, push) as (_, _, channel):
            call = channel.stream(DELTA)
            await call.send(b"x")
            assert await call.receive() == bytes(100 << 20)

    run(go())


def test_who_reads_nothing_is_not_sent_without_end(tmp_path: Path) -> None:
    """The control plane's own sending waits, as it does for an Envoy that it serves itself."""
    pushed = 0

    async def push(link: Link) -> None:
        nonlocal pushed
        await link.receive()
        for _ in range(500):
            await link.send(bytes(1 << 20))
            pushed += 1

    async def go() -> None:
        async with world(tmp_path, push) as (_, _, channel):
            call = channel.stream(DELTA)
            await call.send(b"x")
            await until(lambda: pushed > 0)
            last = -1
            while last != pushed:  # until nothing moves any more
                last = pushed
                await asyncio.sleep(0.5)
            assert pushed < 100
            for _ in range(500):
                assert await call.receive() == bytes(1 << 20)

    run(go())


def test_a_stream_that_the_control_plane_refuses_is_refused_with_its_reason(
    tmp_path: Path,
) -> None:
    async def refuse(link: Link) -> None:
        await link.receive()
        raise RpcError("FAILED_PRECONDITION", "no WorkloadGroup shop/vm")

    async def go() -> None:
        async with world(tmp_path, refuse) as (relay, _, channel):
            call = channel.stream(DELTA)
            await call.send(b"x")
            with pytest.raises(RpcError) as caught:
                await call.receive()
            assert (caught.value.code, caught.value.message) == (
                "FAILED_PRECONDITION",
                "no WorkloadGroup shop/vm",
            )
            uplink = relay.status().uplink
            assert uplink is not None
            assert (uplink.is_up, uplink.ends) == (False, 1)

    run(go())


def test_a_control_plane_that_goes_ends_the_stream_and_the_next_one_waits_for_it(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        async with world(tmp_path, echo) as (relay, plane, channel):
            call = channel.stream(DELTA)
            await call.send(b"1")
            assert await call.receive() == b"1"
            await plane.close()
            with pytest.raises(RpcError):
                await call.receive()
            again = channel.stream(DELTA)
            await again.send(b"what I have")
            waiting = asyncio.create_task(again.receive())
            await asyncio.sleep(0.3)
            assert not waiting.done()
            status = relay.status()
            assert status.uplink is not None
            assert not status.uplink.is_up
            assert status.uplink.last_error
            assert status.streams == 1
            await plane.open()
            assert await waiting == b"what I have"

    run(go())


def test_a_newer_stream_of_envoy_s_ends_the_one_before(tmp_path: Path) -> None:
    open_now = 0

    async def count(link: Link) -> None:
        nonlocal open_now
        open_now += 1
        try:
            await echo(link)
        finally:
            open_now -= 1

    async def go() -> None:
        async with world(tmp_path, count) as (relay, _, channel):
            first = channel.stream(DELTA)
            await first.send(b"1")
            assert await first.receive() == b"1"
            second = channel.stream(DELTA)
            await second.send(b"2")
            assert await second.receive() == b"2"
            with pytest.raises(RpcError) as caught:
                await first.receive()
            assert caught.value.code == "ABORTED"
            await until(lambda: open_now == 1)
            assert relay.status().streams == 1

    run(go())


def test_an_envoy_that_goes_takes_its_stream_of_the_control_plane_along(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def watch(link: Link) -> None:
        try:
            await echo(link)
        finally:
            ended.set()

    async def go() -> None:
        async with world(tmp_path, watch) as (relay, _, channel):
            call = channel.stream(DELTA)
            await call.send(b"1")
            await call.receive()
            call.cancel()
            await ended.wait()
            await until(lambda: relay.status().streams == 0)
            assert relay.status().uplink is not None

    run(go())


def test_what_passes_is_told(tmp_path: Path) -> None:
    async def serve(link: Link) -> None:
        for url in (CDS, LDS):
            await link.receive()
            response = discovery_pb2.DeltaDiscoveryResponse(type_url=url, nonce=url[-3:])
            response.resources.add(name="x")
            await link.send(response.SerializeToString())
        while await link.receive() is not None:
            pass

    def request(url: str, nonce: str = "", error: str = "") -> bytes:
        made = discovery_pb2.DeltaDiscoveryRequest(type_url=url, response_nonce=nonce)
        if error:
            made.error_detail.message = error
        return made.SerializeToString()

    async def go() -> None:
        async with world(tmp_path, serve) as (relay, _, channel):
            assert not await relay.wait_quiet(0.1)  # nobody is connected
            call = channel.stream(DELTA)
            for url in (CDS, LDS):
                await call.send(request(url))
                await call.receive()
            assert not relay.status().is_configured
            await call.send(request(CDS, CDS[-3:]))
            await call.send(request(LDS, LDS[-3:], "x is bad"))
            await until(lambda: bool(relay.status().refusals))
            status = relay.status()
            assert status.is_configured
            assert status.counts == {
                ("asked", "CLUSTER"): 2, ("sent", "CLUSTER"): 1, ("acked", "CLUSTER"): 1,
                ("asked", "LISTENER"): 2, ("sent", "LISTENER"): 1, ("refused", "LISTENER"): 1,
            }  # fmt: skip
            assert [item.names for item in status.refusals] == [("x",)]
            assert len(status.latencies_s) == 2
            assert await relay.wait_quiet(5)

    run(go())
