"""A million queries while a thousand hosts change every second, every answer verified."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab.bench import dns, life, load, member, peer
from interceptor.lab.bench.life import RATE, UPSTREAM
from interceptor.lab.bench.meter import Figures, Rounds, Row, at_most
from interceptor.lab.bench.part import BACKENDS, Part, Session
from interceptor.lab.removal import LabFailed
from interceptor.lab.world import Lab

HOSTS = 1000
PERIOD_S = 1.0
FIRST = IPv4Address("16.0.0.0")
GENERATION_BIT, GENERATIONS = 20, 16
"""As in load_dns.c: an address says which name it is of, and which change it came with."""

FIGURES = {
    "queries": "queries sent",
    "changes": "times that all hosts got another address",
    "wrong": "answers with another name's address, or with one that was changed long ago",
    "missed": "queries that passed to the upstream, which does not know the name",
    "lost": "queries without any answer",
    "gap_ms": "longest time without a right answer",
}


def address(number: int, generation: int) -> IPv4Address:
    """What name ``number`` stands for after so many changes."""
    return FIRST + ((generation % GENERATIONS) << GENERATION_BIT) + number


def render(generation: int) -> str:
    """The name table after so many changes."""
    return member.render_nametable(
        (peer.name(number), address(number, generation)) for number in range(HOSTS)
    )


Tell = Callable[[int, int], None]


@contextmanager
def open_legal(file: Path) -> Iterator[Tell]:
    """The file in which the client reads the oldest and the newest generation that are right
    (two words of 32 bits). Gives what changes them; each is written whole."""
    file.write_bytes(bytes(8))
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 8) as memory:
        words = memoryview(memory).cast("I")

        def tell(oldest: int, newest: int) -> None:
            words[1] = newest
            words[0] = oldest

        try:
            yield tell
        finally:
            words.release()


def measure(session: Session, lab: Lab, file: Path) -> Figures:
    """The client at its pace, and a change a second until it is done. An address is right until
    the change after the next one begins: each change has a second to get through."""
    legal = lab.host_folder("vm") / "legal"
    words = ("paced", UPSTREAM, peer.PATTERN, HOSTS, RATE, session.amount.soak_s, FIRST, legal, "-")
    with open_legal(legal) as tell:
        process = lab.start("vm", load.argv(lab, session.load, words, ("vm",)), "load")
        generation, due = 0, time.monotonic()
        try:
            while process.poll() is None:
                due += PERIOD_S
                text = render(generation + 1)
                if process.wait(max(due - time.monotonic(), 0)) is not None:
                    break
                tell(generation, generation + 1)
                generation += 1
                member.replace(file, text)
        finally:
            process.stop()
    if process.poll() != 0:
        raise LabFailed(lab.log("vm", "load"))
    return {"changes": generation, **life.summarise(lab.log("vm", "load"))}


def run(session: Session) -> Rounds:
    """By every back end, each in a lab of its own."""
    found: dict[str, list[Figures]] = {}
    for backend in session.backends:
        with Lab.open(life.world()) as lab:
            dns.start_peer(lab, "nsd", "nsd", (UPSTREAM, 53), 0)
            one, file = member.with_names(lab, "vm", render(0))
            if not member.start(session, one, backend):
                continue
            dns.await_answer(lab, "vm", UPSTREAM, peer.name(HOSTS - 1), address(HOSTS - 1, 0))
            session.say(f"{backend}: {session.amount.soak_s} s")
            found[backend] = [measure(session, lab, file)]
            one.stop()
    return found


ABOUT = f"""\
{RATE:,} queries a second for {HOSTS:,} names, all of which get another address every second. An
address says which name it belongs to and with which change it came: right is the address of the
last change, or of the one before it until the next change begins.
"""

PARTS = (
    Part(
        "soak",
        "A thousand changes a second under load",
        ABOUT,
        run,
        tuple(
            Row(f"1,000 hosts changed a second: {figure}", figure, ours, "", at_most(0))
            for ours in BACKENDS
            for figure in ("wrong", "missed", "lost")
        ),
        FIGURES,
    ),
)
