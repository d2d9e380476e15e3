"""TCP/53 as a client sends it: whatever bytes, in whatever pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from interceptor.dns.responder import TCP_LIMIT
from interceptor.dns.tcp import Connection, Server
from tests.fuzz.dns_target import judge, questions, responder
from tests.fuzz.target import Target


class Sink:
    """What is written to one side of a relay."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        return

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True


class Relay(Connection):
    """A connection whose server listens, and says nothing until its client is done."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.client, self.beyond = Sink(), Sink()
        client: Any = self.client
        super().__init__(Server(responder(False), 0), reader, client, 0)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        back = asyncio.StreamReader()
        sink, relay = self.beyond, self

        class Beyond(Sink):
            def write(self, data: bytes) -> None:
                sink.write(data)

            def write_eof(self) -> None:
                relay.beyond.ended = True
                back.feed_eof()

        beyond: Any = Beyond()
        return back, beyond


async def serve(data: bytes) -> Relay:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    relay = Relay(reader)
    await relay.serve()
    return relay


def cut(data: bytes) -> list[bytes]:
    """Messages with their lengths in front; the last may be cut short."""
    found = []
    while data:
        size = 2 + int.from_bytes(data[:2], "big")
        found.append(data[:size])
        data = data[size:]
    return found


_LOOP = asyncio.new_event_loop()


def run(data: bytes) -> None:
    relay = _LOOP.run_until_complete(serve(data))
    answers, passed = cut(relay.client.data), b""
    for message in cut(data):
        if answers and message[2:4] == answers[0][2:4] and relay_answers(message):
            judge(message[2:], answers.pop(0)[2:], TCP_LIMIT)
        else:
            passed += message
    assert not answers, "more answers than questions"
    assert relay.beyond.data == passed, "what is not ours is relayed byte for byte"
    assert relay.client.ended


def relay_answers(message: bytes) -> bool:
    whole = len(message) > 2 and int.from_bytes(message[:2], "big") == len(message) - 2
    return whole and responder(False).respond(message[2:]) is not None


def streams() -> Iterable[bytes]:
    framed = [len(each).to_bytes(2, "big") + each for each in questions()]
    yield from framed
    for at in range(0, len(framed) - 3, 3):
        yield b"".join(framed[at : at + 3])
        yield b"".join(framed[at : at + 3])[:-5]


TARGETS = {"stream": Target(run, streams, ("interceptor.dns",))}
