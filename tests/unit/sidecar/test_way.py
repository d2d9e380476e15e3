"""The way to the control plane: what a line is made of, and when it has proved itself."""

from __future__ import annotations

import asyncio

from interceptor.sidecar.way import Way


class Call:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_over = False

    async def send(self, message: bytes) -> None:
        self.sent.append(message)

    async def receive(self) -> bytes | None:
        return None if self.is_over else b"x"

    def cancel(self) -> None:
        self.is_over = True


class Connection:
    def __init__(self) -> None:
        self.call = Call()
        self.method = ""
        self.is_closed = False

    def stream(self, method: str) -> Call:
        self.method = method
        return self.call

    async def close(self) -> None:
        self.is_closed = True


class Target:
    address = "192.0.2.1:15012"
    last_error = "nobody was there"
    failures = 3

    def __init__(self) -> None:
        self.opened: list[Connection] = []
        self.settled = 0

    async def connect(self) -> Connection:
        self.opened.append(Connection())
        return self.opened[-1]

    def settle(self) -> None:
        self.settled += 1


def test_each_line_has_a_connection_to_itself_that_ends_with_it() -> None:
    target = Target()
    way = Way(target)

    async def go() -> None:
        first, second = await way.open("/a/B"), await way.open("/a/C")
        await first.send(b"y")
        await first.close()
        assert await second.receive() == b"x"

    asyncio.run(go())
    one, other = target.opened
    assert (one.method, other.method) == ("/a/B", "/a/C")
    assert (one.is_closed, one.call.is_over, one.call.sent) == (True, True, [b"y"])
    assert not other.is_closed


def test_a_control_plane_has_proved_itself_when_it_has_spoken() -> None:
    target = Target()

    async def go() -> None:
        line = await Way(target).open("/a/B")
        await line.send(b"y")
        assert target.settled == 0
        await line.receive()
        assert target.settled == 1
        await line.close()
        assert await line.receive() is None
        assert target.settled == 1

    asyncio.run(go())


def test_the_way_tells_of_its_target() -> None:
    way = Way(Target())
    assert (way.address, way.last_error, way.failures) == ("192.0.2.1:15012", "nobody was there", 3)
