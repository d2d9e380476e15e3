"""The server on a real socket, with a client that reads the bytes as protobuf says."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2

from interceptor.sidecar import ads, resource
from interceptor.sidecar.resource import Catalogue, Kind
from interceptor.sidecar.stream import Request, Response


def catalogue(**clusters: int) -> Catalogue:
    """Clusters whose content differs by the number."""
    made = {
        name: resource.encode(
            Kind.CLUSTER, name, cluster_pb2.Cluster(name=name, alt_stat_name=str(number))
        )
        for name, number in clusters.items()
    }
    return {Kind.CLUSTER: made, Kind.ENDPOINT: {}, Kind.LISTENER: {}}


class Client:
    """Envoy's side of one stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = channel.stream_stream(
            f"/{ads.SERVICE}/{ads.METHOD}",
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )()

    async def ask(self, kind: Kind, **more: object) -> None:
        await self.call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=kind.value, **more))

    async def hear(self) -> discovery_pb2.DeltaDiscoveryResponse:
        async with asyncio.timeout(5):
            response: discovery_pb2.DeltaDiscoveryResponse = await self.call.read()
        return response


async def until(condition: Callable[[], bool]) -> None:
    """What the server notes has no event of its own: nobody but a test waits for it."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("in vain")


@pytest.fixture
def path() -> Iterator[Path]:
    """Short: a Unix socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ads") as folder:
        yield Path(folder) / "xds.sock"


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[ads.Server, Client]]:
    server = ads.Server(path, os.getgid())
    await server.open()
    try:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            yield server, Client(channel)
    finally:
        await server.close()


def test_a_client_gets_resources_and_then_their_changes(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as (server, client):
            server.set(catalogue(a=1, b=1))
            await client.ask(Kind.CLUSTER)
            first = await client.hear()
            assert [item.name for item in first.resources] == ["a", "b"]
            await client.ask(Kind.CLUSTER, response_nonce=first.nonce)
            await client.ask(Kind.LISTENER)
            listeners = await client.hear()
            await client.ask(Kind.LISTENER, response_nonce=listeners.nonce)
            server.set(catalogue(a=1, b=2))
            second = await client.hear()
            (item,) = second.resources
            assert (item.name, item.version) != (
                first.resources[1].name,
                first.resources[1].version,
            )
            cluster = cluster_pb2.Cluster()
            assert item.resource.Unpack(cluster)
            assert cluster.alt_stat_name == "2"
            await client.ask(Kind.CLUSTER, response_nonce=second.nonce)
            assert await server.wait_settled(5)
            status = server.status()
            assert (status.streams, status.is_configured) == (1, True)
            assert status.counts["acked", "CLUSTER"] == 2
            assert len(status.latencies_s) == 3

    asyncio.run(go())


def test_a_refusal_is_kept_until_the_resource_changes(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as (server, client):
            server.set(catalogue(good=1, bad=1))
            await client.ask(Kind.CLUSTER)
            response = await client.hear()
            reason = status_pb2.Status(code=13, message="Error adding cluster bad: no")
            await client.ask(Kind.CLUSTER, response_nonce=response.nonce, error_detail=reason)
            await until(lambda: bool(server.status().refusals))
            (refusal,) = server.status().refusals
            assert (refusal.kind, refusal.names) == ("CLUSTER", ("bad",))
            assert refusal.reason == "Error adding cluster bad: no"
            server.set(catalogue(good=1, bad=2))
            assert server.status().refusals == ()

    asyncio.run(go())


def test_a_client_that_goes_is_forgotten(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as (server, client):
            server.set(catalogue(a=1))
            await client.ask(Kind.CLUSTER)
            await client.hear()
            client.call.cancel()
            await until(lambda: server.status().streams == 0)
            assert not await server.wait_settled(0.01)

    asyncio.run(go())


def test_a_request_of_a_type_that_we_do_not_serve_is_passed_over(path: Path) -> None:
    async def go() -> None:
        async with serving(path) as (server, client):
            server.set(catalogue(a=1))
            unknown = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/x.Y")
            await client.call.write(unknown)
            await client.ask(Kind.CLUSTER)
            assert (await client.hear()).type_url == Kind.CLUSTER.value

    asyncio.run(go())


def test_the_socket_is_for_its_owner_and_group_and_goes_with_the_server(path: Path) -> None:
    async def go() -> None:
        async with serving(path):
            assert path.stat().st_mode & 0o777 == 0o660
        assert not path.exists()

    asyncio.run(go())


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])
def test_strung_together_bytes_are_the_message_that_protobuf_makes(size: int) -> None:
    made = resource.encode(
        Kind.CLUSTER, "a", cluster_pb2.Cluster(name="a", alt_stat_name="x" * size)
    )
    response = Response(Kind.CLUSTER, "7", (made, made), ("gone",))
    message = discovery_pb2.DeltaDiscoveryResponse.FromString(b"".join(ads.encode(response)))
    expected = discovery_pb2.DeltaDiscoveryResponse(
        type_url=Kind.CLUSTER.value, nonce="7", removed_resources=["gone"]
    )
    for _ in range(2):
        expected.resources.add().MergeFromString(made.body)
    assert message == expected


def test_a_request_is_read_whole() -> None:
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=Kind.ENDPOINT.value,
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"a": "1"},
        response_nonce="3",
        error_detail=status_pb2.Status(code=13),
    )
    assert ads.decode(message) == Request(
        Kind.ENDPOINT, ("a",), ("b",), {"a": "1"}, "3", "no reason given"
    )
