"""Calls one URL over and over, and says of each call when it was, and who answered.

Run on a host of a lab as ``python -m interceptor.lab.caller URL SECONDS [keep]``. Each
line is a `Call`; the clock is CLOCK_MONOTONIC, the same for every process of
the machine.
"""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it ended, its HTTP status (0: none came), and the backend or the error."""

    at_s: float
    status: int
    answer: str


def encode(call: Call) -> str:
    """A call as a line."""
    return f"{call.at_s:.6f} {call.status} {call.answer}"


def decode(text: str) -> tuple[Call, ...]:
    """The calls that a caller printed; a last line that is not whole is left out."""
    calls = []
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            at, status, answer = line.rstrip("\n").split(" ", 2)
            calls.append(Call(float(at), int(status), answer))
    return tuple(calls)


def failures(calls: Iterable[Call]) -> tuple[Call, ...]:
    """The calls that got no answer, or one other than 200."""
    return tuple(call for call in calls if call.status != 200)


def _call(connection: http.client.HTTPConnection, path: str) -> Call:
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.read().decode(errors="replace").strip().replace("\n", " ")
        return Call(time.monotonic(), response.status, answer)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return Call(time.monotonic(), 0, f"{type(error).__name__}: {error}")


def run(url: str, seconds: float, *, keep: bool = False) -> Iterable[Call]:
    """Call for that long, over a connection each, or with ``keep`` over one for all."""
    parts = urlsplit(url)
    end = time.monotonic() + seconds
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    try:
        while time.monotonic() < end:
            yield _call(connection, parts.path or "/")
            if not keep:
                connection.close()
            time.sleep(PAUSE_S)
    finally:
        connection.close()


if __name__ == "__main__":
    for made in run(sys.argv[1], float(sys.argv[2]), keep="keep" in sys.argv[3:]):
        print(encode(made), flush=True)
