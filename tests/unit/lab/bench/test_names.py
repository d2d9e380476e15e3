"""Its bytes are read as the agent reads them, and its stream followed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from interceptor.host import rpc, rpcserver
from interceptor.host.rpcserver import Stream
from interceptor.lab.bench import names
from tests.controlplane import schema


@pytest.mark.parametrize("count", [1, 3, 2000])
def test_a_response_is_what_envoys_and_istios_messages_read(count: int) -> None:
    entries = {f"host-{n}.test": f"10.0.{n // 256}.{n % 256}" for n in range(count)}
    table = b"".join(names.encode_entry(name, ip) for name, ip in entries.items())
    found = discovery_pb2.DeltaDiscoveryResponse.FromString(names.encode_response(table, 7))
    assert (found.type_url.encode(), found.nonce) == (names.TYPE, "7")
    (item,) = found.resources
    assert item.resource.type_url.encode() == names.TYPE
    read = schema.NameTable.FromString(item.resource.value)
    assert {name: list(info.ips) for name, info in read.table.items()} == {
        name: [ip] for name, ip in entries.items()
    }


def test_a_change_of_the_last_one_is_sent(tmp_path: Path) -> None:
    (tmp_path / names.ALL).write_text("a.test 10.0.0.1\nb.test 10.0.0.2\n")

    async def go() -> None:
        server_names = names.Names(tmp_path)
        following = asyncio.create_task(server_names.follow())
        server = await rpcserver.serve("127.0.0.1:0", {names.METHOD: Stream(server_names.serve)})
        channel = rpc.open_channel(f"127.0.0.1:{server.port}")
        call = channel.stream(names.METHOD)
        await call.send(b"")
        assert b"10.0.0.2" in (await call.receive() or b"")
        (tmp_path / names.LAST).write_text("10.9.9.9\n")
        assert b"10.9.9.9" in (await call.receive() or b"")
        following.cancel()
        await channel.close()
        await server.close()

    asyncio.run(asyncio.wait_for(go(), 30))
