"""Its socket; everything else about it is tests/unit/host/test_rpc.py's."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from interceptor.host import rpc, rpcserver
from interceptor.host.rpc import RpcError
from interceptor.host.rpcserver import Link, Stream


def test_the_socket_is_of_the_group_that_is_named() -> None:
    async def go() -> None:
        with tempfile.TemporaryDirectory(prefix="rpc") as folder:
            path = Path(folder) / "s"
            server = await rpcserver.serve(path, {}, group=os.getgid())
            assert path.stat().st_gid == os.getgid()
            assert server.port == 0
            await server.close()

    asyncio.run(go())


def test_a_method_is_cancelled_when_its_client_goes() -> None:
    async def go() -> None:
        begun, gone = asyncio.Event(), asyncio.Event()

        async def wait(link: Link) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()

        server = await rpcserver.serve("127.0.0.1:0", {"/a.B/C": Stream(wait)})
        channel = rpc.open_channel(f"127.0.0.1:{server.port}")
        channel.stream("/a.B/C")
        async with asyncio.timeout(20):
            await begun.wait()
            await channel.close()
            await gone.wait()
        await server.close()

    asyncio.run(go())


def test_a_call_of_a_method_that_nobody_offers_is_refused() -> None:
    async def go() -> None:
        server = await rpcserver.serve("127.0.0.1:0", {})
        channel = rpc.open_channel(f"127.0.0.1:{server.port}")
        with pytest.raises(RpcError, match="UNIMPLEMENTED"):
            await channel.stream("/a.B/C").receive()
        await channel.close()
        await server.close()

    asyncio.run(go())
