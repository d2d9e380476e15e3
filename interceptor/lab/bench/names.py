"""A control plane that tells names and nothing else, for the benchmarks: delta xDS, plain text.

`python -m interceptor.lab.bench.names ADDRESS:PORT FOLDER`. The names are those of FOLDER/names, a
line with name and address for each; FOLDER/last replaces the last one's address. As istiod does,
it sends the whole table at each change; its entries are encoded once, so that what is measured is
the agent.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from interceptor.host import rpcserver
from interceptor.host.rpcserver import Link, Stream

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
TYPE = b"type.googleapis.com/istio.networking.nds.v1.NameTable"
LOOK_S = 0.001
ALL, LAST = "names", "last"


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    size, length = len(data), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + bytes(length) + data


def encode_entry(name: str, address: str) -> bytes:
    """One entry of nds.v1.NameTable: key 1, and NameInfo 2 with ips 1 and registry 2."""
    info = field(1, address.encode()) + field(2, b"External")
    return field(1, field(1, name.encode()) + field(2, info))


def encode_response(table: bytes, number: int) -> bytes:
    """DeltaDiscoveryResponse: version 1, resources 2, type_url 4, nonce 5."""
    packed = field(1, TYPE) + field(2, table)
    version = str(number).encode()
    return field(1, version) + field(2, field(2, packed)) + field(4, TYPE) + field(5, version)


class Names:
    """The table of a folder, and who waits for its next state."""

    def __init__(self, folder: Path) -> None:
        rows = [line.split() for line in (folder / ALL).read_text().splitlines()]
        *others, (self._name, address) = rows
        self._others = b"".join(encode_entry(name, where) for name, where in others)
        self._last = folder / LAST
        self._stamp = 0
        self.number = 0
        self.response = b""
        self.changed = asyncio.Event()
        self._take(address)

    def _take(self, address: str) -> None:
        self.number += 1
        table = self._others + encode_entry(self._name, address)
        self.response = encode_response(table, self.number)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def follow(self) -> None:
        """Look for a new last one, for ever."""
        while True:
            try:
                stamp = self._last.stat().st_mtime_ns
            except FileNotFoundError:
                stamp = 0
            if stamp != self._stamp:
                self._stamp = stamp
                self._take(self._last.read_text().strip())
            await asyncio.sleep(LOOK_S)

    async def serve(self, link: Link) -> None:
        """One client: everything now, and at each change."""
        await link.receive()
        reading = asyncio.create_task(_drain(link))
        try:
            while True:
                changed = self.changed
                await link.send(self.response)
                await changed.wait()
        finally:
            reading.cancel()


async def _drain(link: Link) -> None:
    while await link.receive() is not None:
        pass


async def _run(place: str, folder: Path) -> None:
    names = Names(folder)
    server = await rpcserver.serve(place, {METHOD: Stream(names.serve)})
    print("ready", flush=True)
    try:
        await names.follow()
    finally:
        await server.close()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], Path(sys.argv[2])))
