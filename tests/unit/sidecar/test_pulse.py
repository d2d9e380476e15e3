"""A server that answers, one that is silent, and nobody at all, asked as Envoy's worker is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from interceptor.sidecar import pulse


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 404 Not Found\r\n\r\n")
    writer.close()


async def first(port: int, count: int) -> list[float]:
    found: list[float] = []
    silences: AsyncIterator[float] = pulse.follow(port)
    async with aclosing(silences):  # type: ignore[type-var]
        async for silent_s in silences:
            found.append(silent_s)
            if len(found) == count:
                break
    return found


def test_any_answer_is_a_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PAUSE_S", 0.01)

    async def body() -> list[float]:
        async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
            return await first(server.sockets[0].getsockname()[1], 3)

    assert asyncio.run(body()) == [0.0, 0.0, 0.0]


def test_silence_is_counted_from_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PAUSE_S", 0.05)
    monkeypatch.setattr(pulse, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = asyncio.run(first(silent.getsockname()[1], 3))
    assert 0 < found[0] < found[1] < found[2]


def test_nobody_is_silent_too() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not asyncio.run(pulse.ask(unused.getsockname()[1]))


def test_the_promise_is_kept_by_the_figures() -> None:
    """Stopped right after an answer: the questions that fail, and their time limits."""
    questions = int(pulse.HUNG_S / max(pulse.PAUSE_S, pulse.ANSWER_S)) + 1
    assert questions * max(pulse.PAUSE_S, pulse.ANSWER_S) + pulse.PAUSE_S < 5
