"""Connections that must live, and new ones all the time: run as a program on a lab's host.

argv: a file whose appearance ends it, then flows, a word each:

- ``stream:ADDRESS:PORT``: one connection to a lab's TCP backend, lines there and back all along;
- ``keep:ADDRESS:PORT``: one HTTP connection, request after request;
- ``open:ADDRESS:PORT:SIGN``: a new HTTP connection each time; ``greet:`` the same in TCP.
  Where the answer bears no SIGN it did not come through the sidecar.

Prints ``begun`` once every flow has had an answer, and at the end a JSON object: flow ->
{"bytes", "done", "faults": [...]}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

LIMIT_S = 3.0
PAUSE_S = 0.04


@dataclass
class Flow:
    word: str
    bytes: int = 0
    done: int = 0
    faults: list[str] = field(default_factory=list)


async def stream(flow: Flow, address: str, port: int, ends: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    await reader.readline()
    for number in count():
        line = f"{number} {'x' * 1000}\n".encode()
        writer.write(line)
        async with asyncio.timeout(LIMIT_S):
            got = await reader.readline()
        if not got.endswith(line):
            raise ValueError(f"got {got[:30]!r} for line {number}")
        flow.bytes += len(line) + len(got)
        flow.done += 1
        if ends.is_set():
            return writer.close()
        await asyncio.sleep(0.005)


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bytes:
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    async with asyncio.timeout(LIMIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ValueError(head.split(b"\r\n")[0].decode())
    return head + body


async def keep(flow: Flow, address: str, port: int, ends: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    while not ends.is_set():
        flow.bytes += len(await _get(reader, writer, address))
        flow.done += 1
        await asyncio.sleep(0.02)
    writer.close()


async def knock(flow: Flow, address: str, port: int, sign: str) -> None:
    """One new connection, and what it met."""
    try:
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(address, port)
            speaks_first = flow.word.startswith("greet:")
            got = await (reader.readline() if speaks_first else _get(reader, writer, address))
            writer.close()
        if sign.encode() not in got:
            flow.faults.append(f"bypassed: {got[:60]!r}")
    except (OSError, TimeoutError, EOFError, ValueError) as error:
        flow.faults.append(f"{type(error).__name__} {error}".strip())
    flow.done += 1


async def again(flow: Flow, address: str, port: int, sign: str, ends: asyncio.Event) -> None:
    waiting: set[asyncio.Task[None]] = set()
    while not ends.is_set():
        task = asyncio.create_task(knock(flow, address, port, sign))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        await asyncio.sleep(PAUSE_S)
    await asyncio.gather(*waiting)


async def live(flow: Flow, ends: asyncio.Event) -> None:
    kind, address, port, *sign = flow.word.split(":")
    try:
        if kind == "stream":
            await stream(flow, address, int(port), ends)
        elif kind == "keep":
            await keep(flow, address, int(port), ends)
        else:
            await again(flow, address, int(port), sign[0], ends)
    except (OSError, TimeoutError, EOFError, ValueError) as error:
        flow.faults.append(f"broken after {flow.done}: {type(error).__name__} {error}")


async def main(stop: Path, words: list[str]) -> None:
    ends, flows = asyncio.Event(), [Flow(word) for word in words]
    tasks = [asyncio.create_task(live(flow, ends)) for flow in flows]
    has_begun = False
    while not stop.exists():
        await asyncio.sleep(0.05)
        if not has_begun and all(flow.done for flow in flows):
            has_begun = True
            print("begun", flush=True)
    ends.set()
    await asyncio.gather(*tasks)
    print(json.dumps({flow.word: asdict(flow) for flow in flows}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
