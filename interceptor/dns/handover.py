"""Queries that the kernel's program leaves to us: read from a ring, answered by raw packets.

The program hands over what takes more than addresses to answer: CNAMEs, ports,
reverse names, names that do not exist in our own zones, names of forward zones. It has dropped the
query by then. Where our table does not know the name after all (it changed in
between), the query is sent on as it was, marked, so that the program lets it
pass: to its server from its client, the DNS message untouched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from struct import Struct
from typing import Protocol

from interceptor.dns import packet as packets
from interceptor.dns.note import Note
from interceptor.dns.responder import Responder
from interceptor.host.layout import Place

MOST = 64  # queries between two turns of the loop: about 2 ms
_HEAD = Struct("=IIII")  # struct handover: length, interface index, place, 0


class Ring(Protocol):
    """What `host/ringbuf.py` has."""

    @property
    def fd(self) -> int: ...

    def read(self) -> Iterator[bytes]: ...


class Sender(Protocol):
    """What `raw.RawSender` has."""

    def send(self, packet: bytes, interface: int) -> None: ...

    def send_by(self, packet: bytes, interface: int) -> None: ...


class Handover:
    """``local`` answers this host's queries, ``bridged`` those of containers."""

    def __init__(self, ring: Ring, local: Responder, bridged: Responder, sender: Sender) -> None:
        self.forward: Callable[[bytes, int], None] | None = None
        """Takes the queries of forward zones, each with the index of its client's link."""
        self.counts: Counter[str] = Counter()
        self.fd = ring.fd
        self._ring = ring
        self._local = local
        self._bridged = bridged
        self._sender = sender
        self._judge: Callable[[bytes], object] = self._take

    def watch(self, note: Note | None) -> None:
        """Tell each query to ``note`` from now on; None: to nobody."""
        self._judge = self._take if note is None else partial(self._tell, note)

    def take(self) -> None:
        """Answer what waits, MOST at once: the descriptor stays readable while there is more."""
        for record in islice(self._ring.read(), MOST):
            # Whatever goes wrong with one query must not end the others.
            try:
                self._judge(record)
            except Exception as error:
                self.counts[f"handover-{type(error).__name__}"] += 1

    def _tell(self, note: Note, record: bytes) -> None:
        length, _, place, _ = _HEAD.unpack_from(record)
        query = record[_HEAD.size : _HEAD.size + length]
        noted = note.begin("handover", query, is_ours=place != Place.BRIDGE)
        note.end(noted, self._take(record))

    def _take(self, record: bytes) -> bytes | None:
        """Answer one query or send it on. Returns the answer."""
        length, interface, place, _ = _HEAD.unpack_from(record)
        query = record[_HEAD.size : _HEAD.size + length]
        self.counts["handover"] += 1
        responder = self._bridged if place == Place.BRIDGE else self._local
        answer = packets.answer(query, responder)
        message = packets.message(query) if answer is None else None
        if message is not None and self.forward is not None and responder.forwards(message):
            self.forward(query, interface)
        elif answer is None:
            self._send_on(packets.sealed(query), interface, place)
        else:
            self._sender.send(answer, interface)
        return answer

    def _send_on(self, query: bytes, interface: int, place: int) -> None:
        self.counts["handover-returned"] += 1
        if place == Place.EGRESS:
            self._sender.send_by(query, interface)
        else:
            self._sender.send(query, interface)
