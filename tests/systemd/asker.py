"""A steady stream of DNS queries, each one packet that is asked once: what is lost is lost.

Run as ``python -m tests.systemd.asker SERVER NAME[:PORT]...`` until SIGTERM; prints one JSON
list of [seconds since the first, name as given, what came]: ``lost``, an RCODE or the address.
"""

from __future__ import annotations

import json
import random
import selectors
import signal
import socket
import struct
import sys
import time
from ipaddress import IPv4Address

PERIOD_S = 0.05  # between two queries for one name
PATIENCE_S = 1.0  # a query unanswered for so long is lost
_HEADER = struct.Struct("!6H")
_A_IN = struct.pack("!2H", 1, 1)


def encode(name: str, number: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + _A_IN


def decode(reply: bytes, query: bytes) -> str:
    """The last A record's address (CNAMEs come before), or the RCODE's name."""
    _, flags, _, answers, _, _ = _HEADER.unpack_from(reply)
    if flags & 15:
        return {2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}.get(flags & 15, str(flags & 15))
    at, found = len(query), "NODATA"
    for _ in range(answers):
        while reply[at] and reply[at] < 0xC0:
            at += reply[at] + 1
        at += 2 if reply[at] else 1
        kind, _, _, size = struct.unpack_from("!HHIH", reply, at)
        at += 10 + size
        if kind == 1:
            found = str(IPv4Address(reply[at - 4 : at]))
    return found


class Stream:
    """Queries for some names to one server, until it is stopped."""

    def __init__(self, server: str, names: list[str]) -> None:
        self.server, self.names = server, names
        self.events: list[tuple[float, str, str]] = []
        self._waiting: dict[socket.socket, tuple[float, str, bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._began_s = time.monotonic()
        self.is_stopping = False

    def run(self) -> None:
        due_s = self._began_s
        while not self.is_stopping or self._waiting:
            now = time.monotonic()
            if now >= due_s and not self.is_stopping:
                for name in self.names:
                    self._ask(name)
                due_s += PERIOD_S
            for key, _ in self._selector.select(max(0.0, min(PERIOD_S, due_s - now))):
                self._take(key.fileobj)  # type: ignore[arg-type]
            self._give_up()

    def _ask(self, name: str) -> None:
        """From a port of its own, so that no state of an earlier one helps it along."""
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asked, _, port = name.partition(":")
        query = encode(asked, random.randrange(1 << 16))
        sent_s = time.monotonic()
        try:
            one.connect((self.server, int(port or 53)))
            one.send(query)
        except OSError:
            one.close()
            self._note(sent_s, name, "lost")
            return
        one.setblocking(False)
        self._waiting[one] = sent_s, name, query
        self._selector.register(one, selectors.EVENT_READ)

    def _take(self, one: socket.socket) -> None:
        _, _, query = self._waiting[one]
        try:
            reply = one.recv(4096)
        except OSError:
            return self._end(one, "lost")  # refused by ICMP
        if reply[:2] == query[:2]:
            self._end(one, decode(reply, query))

    def _give_up(self) -> None:
        late = [one for one, (sent_s, _, _) in self._waiting.items() if _is_late(sent_s)]
        for one in late:
            self._end(one, "lost")

    def _end(self, one: socket.socket, what: str) -> None:
        sent_s, name, _ = self._waiting.pop(one)
        self._selector.unregister(one)
        one.close()
        self._note(sent_s, name, what)

    def _note(self, sent_s: float, name: str, what: str) -> None:
        self.events.append((sent_s - self._began_s, name, what))


def _is_late(sent_s: float) -> bool:
    return time.monotonic() - sent_s > PATIENCE_S


def main() -> None:
    stream = Stream(sys.argv[1], sys.argv[2:])

    def stop(*_: object) -> None:
        stream.is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    stream.run()
    print(json.dumps(sorted(stream.events)), flush=True)


if __name__ == "__main__":
    main()
