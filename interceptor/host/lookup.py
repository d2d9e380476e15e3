"""Names that the agent itself has to find, as the host knows them without the mesh.

The mesh's own answer for its control plane may be an address that only works within a cluster.
libc asks by sockets that bear no mark; but the sidecar's group is not captured either, and in
Linux a thread has credentials of its own. So a thread of that group asks.
"""

from __future__ import annotations

import asyncio
import ctypes
import platform
import socket
import threading

from interceptor.errors import InterceptorError

_SETRESGID = {"x86_64": 119, "aarch64": 149}  # asm/unistd.h
_KEEP = -1


class LookupFailed(InterceptorError):
    """A name has no address, or nobody could say; the message is libc's."""


async def find(host: str, gid: int, timeout_s: float) -> tuple[str, ...]:
    """The addresses of a name (or of an address: itself), in the order in which to try them.

    The thread is left to itself when it takes too long. Raises LookupFailed.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(addresses: tuple[str, ...], reason: str) -> None:
        if found.done():
            return
        if reason:
            found.set_exception(LookupFailed(reason))
        else:
            found.set_result(addresses)

    def ask() -> None:
        _join_group(gid)
        addresses, reason = _observe(host)
        try:
            loop.call_soon_threadsafe(settle, addresses, reason)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=ask, name="lookup", daemon=True).start()
    try:
        return await asyncio.wait_for(found, timeout_s)
    except TimeoutError as error:
        raise LookupFailed(f"no name server answers in {timeout_s:g} s") from error


def _observe(host: str) -> tuple[tuple[str, ...], str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        strerror = getattr(error, "strerror", None)
        return (), str(strerror or error)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found)), ""


def _join_group(gid: int) -> None:
    """This thread alone: glibc's own setresgid would change them all. Without the right to do so
    nothing is captured either."""
    number = _SETRESGID.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _KEEP, ctypes.c_uint(gid), _KEEP)
