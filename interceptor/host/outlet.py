"""One connection for gRPC that no rule captures.

gRPC makes its sockets itself and gives them no mark, so the rules would send its connections into
the sidecar: which has no configuration, for it comes by that very connection. So the connection is
made here, with the mark, and gRPC gets to it by a socket of this process, bytes copied both ways.
TLS is gRPC's own and goes through. What fails on the way is told in the kernel's words.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct

from interceptor.host import passing

_CHUNK_BYTES = 256 << 10


class Outlet:
    """An open connection. ``address`` is for `rpc.open_channel`, once."""

    def __init__(self, far: socket.socket) -> None:
        self._far = far
        # Abstract: a name without a file, so that nothing is left behind by a process that dies.
        name = f"interceptor-{secrets.token_hex(16)}"
        self.address = f"unix-abstract:{name}"
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listening.setblocking(False)
        self._listening.bind(f"\0{name}")
        self._listening.listen(1)
        self._task = asyncio.create_task(self._carry())

    async def close(self) -> None:
        """End the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._far.close()  # a task that is cancelled before its first step closes nothing
        self._listening.close()

    async def _carry(self) -> None:
        """Until both ends are done, or one fails."""
        near: socket.socket | None = None
        try:
            near = await self._accept()
            await asyncio.gather(_pump(near, self._far), _pump(self._far, near))
        except OSError:
            return  # gRPC sees its socket closed, and that is all there is to say
        finally:
            for each in (near, self._far, self._listening):
                if each is not None:
                    each.close()

    async def _accept(self) -> socket.socket:
        """gRPC's end, and nobody else's: the name can be seen by every program of the host."""
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._listening)
            near.setblocking(False)
            peer = near.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", peer)[0] == os.getpid():
                self._listening.close()
                return near
            near.close()


async def open_outlet(address: str, port: int, mark: int, timeout_s: float) -> Outlet:
    """Connect to an IP address. Raises OSError (TimeoutError too)."""
    async with asyncio.timeout(timeout_s):
        return Outlet(await passing.connect(address, port, mark))


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK_BYTES):
        await loop.sock_sendall(sink, data)
    sink.shutdown(socket.SHUT_WR)
