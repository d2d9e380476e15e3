"""What is called in a self-test: the far host's resolver and service, and a sidecar that records.

    python -m interceptor.lab.selftest.server far
    python -m interceptor.lab.selftest.server recorder CGROUP

Both print ``ready``, greet each connection with a line (who they are, where it was meant to
go, from where it came), echo what follows, and end by themselves after a minute.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from interceptor.lab.selftest import stage, wire

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; of IPv6 the same number
LIMIT_S = 5.0


def original(one: socket.socket) -> tuple[str, int]:
    """Where a connection was meant to go; its own end where nobody has changed that."""
    try:
        if one.family == socket.AF_INET:
            raw = one.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            return socket.inet_ntoa(raw[4:8]), struct.unpack_from("!H", raw, 2)[0]
        raw = one.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        return str(ip_address(raw[8:24])), struct.unpack_from("!H", raw, 2)[0]
    except OSError:
        host, port = one.getsockname()[:2]
        return str(host), int(port)


def greeting(who: str, one: socket.socket) -> bytes:
    """``WHO MEANT PORT CALLER PORT``."""
    words = (who, *original(one), *one.getpeername()[:2])
    return (" ".join(map(str, words)) + "\n").encode()


async def _tell(who: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(greeting(who, writer.get_extra_info("socket")))
        async with asyncio.timeout(LIMIT_S):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


def resolve(packet: bytes) -> bytes:
    """The far resolver. A name of others gets the checksum of the very packet as its address,
    so that who asked can tell whether anybody touched it on its way."""
    name, kind, _ = wire.question(packet)
    if name.lower() in {wire.encode_name(each) for each in stage.NAMES}:
        text = stage.UPSTREAM.get(kind)
        return wire.answer(packet, (ip_address(text).packed,) if text else ())
    return wire.answer(packet, (checksum(packet),) if kind == wire.A else ())


def checksum(packet: bytes) -> bytes:
    """Of a whole query: as an address, 4 bytes."""
    return zlib.crc32(packet).to_bytes(4)


class Resolver(asyncio.DatagramProtocol):
    """DNS over UDP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        with suppress(ValueError, IndexError, struct.error):
            self._transport.sendto(resolve(data), addr)


async def _resolve_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                size = int.from_bytes(await reader.readexactly(2))
                reply = resolve(await reader.readexactly(size))
                writer.write(len(reply).to_bytes(2) + reply)
    except (OSError, EOFError, TimeoutError, ValueError, IndexError, struct.error):
        pass
    finally:
        writer.close()


def _listen(port: int, *, ipv6: bool) -> Iterable[socket.socket]:
    """One listener a family, at every address."""
    yield socket.create_server(("0.0.0.0", port))
    if ipv6:
        with suppress(OSError):
            yield socket.create_server(("::", port), family=socket.AF_INET6)


async def _run_far() -> None:
    loop = asyncio.get_running_loop()
    for each in stage.describe(ipv6=socket.has_ipv6).resolvers:
        with suppress(OSError):
            address = (str(each), stage.DNS)
            await loop.create_datagram_endpoint(Resolver, local_addr=address)
    for listener in _listen(stage.DNS, ipv6=True):
        await asyncio.start_server(_resolve_tcp, sock=listener)
    await _serve_tellers("far", (stage.PORT, stage.DIRECT_PORT))


async def _run_recorder(cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    os.setgroups([])
    os.setresgid(*[stage.SIDECAR_ID] * 3)
    os.setresuid(*[stage.SIDECAR_ID] * 3)
    await _serve_tellers("sidecar", (stage.OUTBOUND, stage.INBOUND))


async def _serve_tellers(who: str, ports: Iterable[int]) -> None:
    for port in ports:
        for listener in _listen(port, ipv6=True):
            await asyncio.start_server(partial(_tell, who), sock=listener)
    print("ready", flush=True)
    await asyncio.sleep(stage.LIFE_S)


if __name__ == "__main__":
    asyncio.run(_run_far() if sys.argv[1] == "far" else _run_recorder(Path(sys.argv[2])))
