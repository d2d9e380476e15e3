"""The load: lookups, calls and kept connections, each a record on a line of its own.

Run on a host of the lab as ``python -m tests.chaos.client ROLE RESOLV_CONF``. ROLE is
``vm`` (everything that an application on the VM does), ``twin`` (the same of names of
others, on a host without us) or ``outside`` (what comes to the VM). It goes on until
SIGTERM, and then prints what it still knows.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from time import monotonic

from tests.chaos import lookup, mesh, record
from tests.chaos.record import Record, What

CALL_S = 4.0
SILENCE_S = 8.0
"""A kept connection that says nothing for so long is taken as broken."""
LATE_S = 0.25
STREAM_PORT, SSH_PORT, INBOUND_PORT = 7000, 22, 8080
TELLER = ("10.77.0.31", "fd77::31")
VM = ("10.77.0.10", "fd77::10")
MOVING = [f"{mesh.moving(n)} {kind}" for n in range(mesh.HOSTS) for kind in ("A", "AAAA")]


def say(one: Record) -> None:
    print(record.encode(one), flush=True)


async def greet(what: What, address: str, port: int) -> Record:
    """One connection to a teller: what it says of us, then an echo."""
    began_s = monotonic()
    try:
        async with asyncio.timeout(CALL_S):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                own = " ".join(map(str, writer.get_extra_info("sockname")[:2]))
                told = (await reader.readuntil()).decode().strip()
                writer.write(b"echo\n")
                echo = await reader.readuntil()
                got = verdict(own, told) if echo == b"echo\n" else f"echo {echo!r}"
            finally:
                writer.close()
    except (OSError, TimeoutError, EOFError) as error:
        got = f"{type(error).__name__} {error}".strip()
    return Record(what, began_s, monotonic(), f"{address} {port}", got)


def verdict(own: str, told: str) -> str:
    """``direct`` where the server sees our very socket, else who it sees."""
    caller = " ".join(told.split()[:2])
    return "direct" if caller == own else f"between: {own} is seen as {caller}"


async def call(address: str) -> Record:
    """One HTTP request on a new connection: its status and body, or an error."""
    began_s = monotonic()
    try:
        async with asyncio.timeout(CALL_S):
            reader, writer = await asyncio.open_connection(address, 9080)
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: web:9080\r\nConnection: close\r\n\r\n")
                head, _, body = (await reader.read()).decode("latin-1").partition("\r\n\r\n")
            finally:
                writer.close()
        got = " ".join([*head.split("\r\n", 1)[0].split()[1:2], body.strip()[:60]])
    except (OSError, TimeoutError, EOFError) as error:
        got = f"{type(error).__name__} {error}".strip()
    return Record(What.HTTP, began_s, monotonic(), address, got or "closed")


async def keep(what: What, address: str, port: int) -> None:
    """A connection that is kept as long as it lives, then another. The record of a spell says
    why it ended; ``count`` is how many lines came back."""
    while True:
        began_s, count, got = monotonic(), 0, "open"
        try:
            async with asyncio.timeout(CALL_S):
                reader, writer = await asyncio.open_connection(address, port)
                await reader.readuntil()
            try:
                while True:
                    writer.write(f"{count}\n".encode())
                    async with asyncio.timeout(SILENCE_S):
                        line = await reader.readuntil()
                    assert line == f"{count}\n".encode(), f"{line!r} came back for {count}"
                    count += 1
                    await asyncio.sleep(0.1)
            finally:
                writer.close()
        except (OSError, TimeoutError, EOFError, AssertionError) as error:
            got = f"{type(error).__name__} {error}".strip()
        except asyncio.CancelledError:
            say(Record(what, began_s, monotonic(), f"{address} {port}", got, (), count))
            raise
        say(Record(what, began_s, monotonic(), f"{address} {port}", got, (), count))
        await asyncio.sleep(0.2)


class Load:
    """The roles' loops. ``ongoing`` holds what has begun and is not yet said."""

    def __init__(self, resolv_conf: Path) -> None:
        self._resolv_conf = resolv_conf
        self._kept: dict[str, lookup.Kept] = {}
        self._turn = 0
        self._places: list[str] = []
        self.ongoing: set[asyncio.Task[None]] = set()

    def _servers(self) -> list[str]:
        """Of resolv.conf as it is now, each first in its turn; the last ones while it is away."""
        try:
            self._places = lookup.servers(self._resolv_conf) or self._places
        except OSError:
            pass
        self._turn += 1
        turn = self._turn % len(self._places)
        return [*self._places[turn:], *self._places[:turn]]

    async def udp(self, what: What, asked: list[str]) -> None:
        places = self._servers()
        say(await lookup.ask_udp(what, random.choice(asked), places))

    async def kept(self, what: What, asked: list[str]) -> None:
        """One lookup at a time by the kept socket of a server."""
        place = self._servers()[0]
        one = self._kept.pop(place, None) or lookup.Kept(place)
        say(await one.ask(what, random.choice(asked)))
        self._kept[place] = one

    async def tcp(self, what: What, asked: list[str]) -> None:
        say(await lookup.ask_tcp(what, random.choice(asked), self._servers()))

    async def call(self) -> None:
        say(await call(random.choice(("10.96.1.1", "fd96:1::1", mesh.POOL_VIP))))

    async def greet(self, what: What, addresses: tuple[str, ...], port: int) -> None:
        say(await greet(what, random.choice(addresses), port))

    async def every(self, pause_s: float, begin: Callable[[], Coroutine[None, None, None]]) -> None:
        """Begin one piece of work after the other, whether or not those before are done."""
        due_s = monotonic()
        while True:
            due_s += pause_s * random.uniform(0.5, 1.5)
            await asyncio.sleep(due_s - monotonic())
            if (now_s := monotonic()) > due_s + LATE_S:
                say(Record(What.STALL, due_s, now_s, "", ""))
                due_s = now_s
            task = asyncio.ensure_future(begin())
            self.ongoing.add(task)
            task.add_done_callback(self.ongoing.discard)


def loops(role: str, load: Load) -> list[Coroutine[None, None, None]]:
    """What a role does all the time."""
    others, names = list(mesh.OTHERS), [*mesh.VIPS, *MOVING]
    if role == "outside":
        return [
            load.every(0.2, partial(load.greet, What.SSH, VM, SSH_PORT)),
            load.every(0.3, partial(load.greet, What.INBOUND, VM, INBOUND_PORT)),
            *(keep(What.KEPT_SSH, address, SSH_PORT) for address in VM),
        ]
    same = [
        load.every(0.06, partial(load.udp, What.OTHER_UDP, others)),
        load.every(0.12, partial(load.kept, What.OTHER_UDP, others)),
        load.every(0.3, partial(load.tcp, What.OTHER_TCP, others)),
        load.every(0.2, partial(load.greet, What.DIRECT, TELLER, STREAM_PORT)),
        keep(What.KEPT_DIRECT, TELLER[0], STREAM_PORT),
    ]
    if role == "twin":
        return same
    return [
        *same,
        load.every(0.05, partial(load.udp, What.MESH_UDP, names)),
        load.every(0.3, partial(load.tcp, What.MESH_TCP, names)),
        load.every(0.15, load.call),
        keep(What.STREAM, "192.0.2.50", STREAM_PORT),
        keep(What.STREAM, "2001:db8::50", STREAM_PORT),
    ]


async def run(role: str, resolv_conf: Path) -> None:
    """Until SIGTERM. Lookups that have begun are waited for."""
    load, stop = Load(resolv_conf), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.ensure_future(each) for each in loops(role, load)]
    print("ready", flush=True)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if load.ongoing:
        await asyncio.wait(load.ongoing, timeout=2 * lookup.TIMEOUT_S)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], Path(sys.argv[2])))
