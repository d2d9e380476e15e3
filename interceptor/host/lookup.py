"""Names that the agent itself has to find, as the host knows them without the mesh.

The mesh's own answer for its control plane may be an address that only works within a cluster. So
the hosts file is read and the name servers are asked by sockets that bear our mark. What only libc
knows (its other sources of names), libc is asked for: its sockets bear no mark, but by rules of
netfilter the sidecar's group is not captured either, and in Linux a thread has credentials of its
own. So a thread of that group asks.
"""

from __future__ import annotations

import asyncio
import ctypes
import platform
import socket
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import hostsfile, resolver, stub

_SETRESGID = {"x86_64": 119, "aarch64": 149}  # asm/unistd.h
_KEEP = -1
SERVER_S = 1.0  # for one name server; the next is asked then


class LookupFailed(InterceptorError):
    """A name has no address, or nobody could say; the message is libc's."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How names are asked for: the thread's group, the sockets' mark (0: none), and the file that
    names servers and search domains."""

    gid: int
    mark: int = 0
    resolv_conf: Path = Path("/etc/resolv.conf")


async def find(host: str, manner: Manner, timeout_s: float) -> tuple[str, ...]:
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
        _join_group(manner.gid)
        addresses = _ask(host, manner, timeout_s)
        reason = ""
        if not addresses:
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


def _ask(host: str, manner: Manner, timeout_s: float) -> tuple[str, ...]:
    """By the hosts file and the name servers, without libc."""
    try:
        return (str(ip_address(host)),)
    except ValueError:
        pass
    if found := hostsfile.observe(host.lower().rstrip(".")):
        return found
    servers = resolver.observe_servers(manner.resolv_conf)
    # The stub asks others in its own name, unmarked: so whom it asks comes first.
    servers = tuple(sorted(servers, key=lambda each: each in resolver.STUBS))
    search = () if host.endswith(".") else resolver.observe_search(manner.resolv_conf)
    each_s = min(SERVER_S, timeout_s / 4)
    for name in (host, *(f"{host}.{domain}" for domain in search)):
        if found := stub.ask(name, servers, manner.mark, each_s):
            return found
    return ()


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
