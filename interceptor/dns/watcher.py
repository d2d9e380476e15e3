"""The worker's decisions, told to the daemon while somebody traces.

On by a lease that the daemon renews: one that is lost costs nothing for longer
than that. Off, no packet pays: the ways in exchange a method, they do not ask.
On, the hot path appends one tuple; what the bytes say is worked out here, on the
loop's thread, once a turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from time import monotonic

from interceptor.dns import frame, sighting, wire
from interceptor.dns.frame import Seen
from interceptor.dns.note import Note, Noted, Watchable
from interceptor.dns.responder import Responder
from interceptor.dns.sighting import Sighting
from interceptor.dns.wire import Odd
from interceptor.mesh.answer import Answers
from interceptor.mesh.outcome import Verdict, type_name

TURN_S = 0.05
NOTED = 1000  # queries kept for one turn, and so 20,000 told a second: about 15 ms of each turn
UNREAD_BYTES = 4 << 20  # what the daemon may leave unread before it is told no more
EXPLAINED = 4096

Told = tuple[str, str, Verdict, str, str]  # name, query type, verdict, host, why


class Watcher:
    """``responder`` has the table of now, by which reasons are told."""

    def __init__(self, ways: Sequence[Watchable], responder: Responder) -> None:
        self._ways = tuple(ways)
        self._responder = responder
        self._lost = 0
        self._explained: dict[bytes, Told] = {}
        self._by = responder.cache  # another one with each change of the table
        self._until_s = 0.0
        self._opened: ExitStack | None = None

    def lease(self, until_s: float, writer: asyncio.StreamWriter) -> None:
        """Tell until then (CLOCK_MONOTONIC), to ``writer``; a time that is past ends it."""
        self._until_s = until_s
        if until_s <= monotonic():
            self.close()
        elif self._opened is None:
            self._open(writer)

    def close(self) -> None:
        """Tell no more, at once. Twice is as good."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
        self._explained.clear()

    def _open(self, writer: asyncio.StreamWriter) -> None:
        noted: deque[Noted] = deque()

        def take(one: Noted) -> None:
            if len(noted) < NOTED:
                noted.append(one)
            else:
                self._lost += 1

        with ExitStack() as stack:
            for way in self._ways:
                note = stack.enter_context(closing(Note(take)))
                stack.callback(way.watch, None)
                way.watch(note)
            writer.write(frame.encode_seen(Seen()))  # that it is on, before anything happens
            task = asyncio.create_task(self._tell(noted, writer))
            stack.callback(task.cancel)
            self._opened = stack.pop_all()

    async def _tell(self, noted: deque[Noted], writer: asyncio.StreamWriter) -> None:
        while monotonic() < self._until_s:
            await asyncio.sleep(TURN_S)
            self._turn(noted, writer)
        self.close()

    def _turn(self, noted: deque[Noted], writer: asyncio.StreamWriter) -> None:
        count = len(noted)
        if not count and not self._lost:
            return
        rows = []
        for _ in range(count):
            # Whatever is wrong with one packet must not end the telling of all.
            try:
                rows.append(self._read(noted.popleft()))
            except Exception:
                self._lost += 1
        lost, self._lost = self._lost, 0
        if writer.transport.get_write_buffer_size() > UNREAD_BYTES:
            self._lost = lost + count
            return
        writer.write(frame.encode_seen(Seen(lost, tuple(rows))))

    def _read(self, noted: Noted) -> Sighting:
        query, answer = noted.query, noted.answer
        if not noted.is_stream:
            query = sighting.message(query)
            answer = None if answer is None else sighting.message(answer)
        name, qtype, verdict, host, why = self._explain(query)
        verdict, why = sighting.judge(answer, verdict, why)
        who = noted.who
        return Sighting(
            noted.plane,
            "tcp" if noted.is_stream else "udp",
            noted.began_s,
            noted.took_s,
            noted.flow,
            name,
            qtype,
            verdict.value,
            host,
            why,
            answer or b"",
            who.uid,
            who.pid,
            who.comm,
            who.unit,
        )

    def _explain(self, message: bytes) -> Told:
        """By the table of now, which may be a little younger than the decision."""
        if self._by is not self._responder.cache:
            self._by = self._responder.cache
            self._explained.clear()
        told = self._explained.get(message[2:])
        if told is None:
            if len(self._explained) >= EXPLAINED:
                self._explained.clear()
            told = explain(self._responder.answers, message)
            self._explained[message[2:]] = told
        return told


def explain(answers: Answers, message: bytes) -> Told:
    """What a query asks, and what is decided about it."""
    question = wire.parse(message)
    if isinstance(question, Odd):
        return "", "", Verdict.PASS, "", f"left alone: {question.value}"
    outcome = answers.decide(question.name, question.qtype)
    kind = type_name(question.qtype)
    return question.name, kind, outcome.verdict, outcome.host, outcome.why
