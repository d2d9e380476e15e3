"""A VM watched in a capture: what its packets alone tell."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from interceptor.debug import datagram, pcap
from interceptor.debug.datagram import Datagram
from interceptor.debug.ledger import Ledger
from interceptor.debug.observed import Observation
from interceptor.debug.pcaprecord import Direction
from interceptor.errors import ConfigError, Problem

_DNS = 53
_ANSWER_WEIGHT = 4  # who asks a name is a client for sure; a SYN may be of anybody's


@dataclass(frozen=True, slots=True)
class Sight:
    """One packet of a capture. ``leaves``: whether the VM sent it, None where nobody knows."""

    time_s: float
    interface: str
    packet: Datagram
    leaves: bool | None


def observe(path: Path, own: Collection[str]) -> Observation:
    """What the VM with the addresses ``own`` did in a capture; without any they are guessed.

    Raises ConfigError where nothing tells them, InterceptorError for what is no capture.
    """
    if not own:
        if str(path) == "-":
            raise ConfigError([_problem("-", "the VM's addresses: a stream is read once")])
        own = choose_own(_sights(path))
        if not own:
            raise ConfigError([_problem(str(path), "the VM's addresses: no packet tells them")])
    return build(_sights(path), own)


def build(sights: Iterable[Sight], own: Collection[str]) -> Observation:
    """What the VM with these addresses did."""
    ledger = Ledger(own)
    first_s = last_s = 0.0
    for sight in sights:
        ledger.add(sight.packet, sight.interface, sight.leaves)
        first_s = first_s or sight.time_s
        last_s = max(last_s, sight.time_s)
    return replace(
        ledger.observation(),
        addresses=tuple(sorted(own, key=lambda text: (":" in text, text))),
        seconds=round(last_s - first_s, 1),
        live=False,
    )


def choose_own(sights: Iterable[Sight]) -> tuple[str, ...]:
    """The addresses of the host that the capture was made on: of what is marked as sent, else
    of each family the one that asks and calls most."""
    marked: set[str] = set()
    votes: Counter[str] = Counter()
    for sight in sights:
        packet = sight.packet
        if sight.leaves:
            marked.add(_text(packet.source))
        elif packet.opens:
            votes[_text(packet.source)] += 1
        elif packet.source_port == _DNS:
            votes[_text(packet.destination)] += _ANSWER_WEIGHT
    if marked:
        return tuple(sorted(marked))
    found: dict[bool, str] = {}
    for address, _ in votes.most_common():
        if not address.startswith("127.") and address != "::1":
            found.setdefault(":" in address, address)
    return tuple(found[family] for family in sorted(found))


def _sights(path: Path) -> Iterator[Sight]:
    for record in pcap.read(path):
        packet = datagram.parse(record.link, record.data)
        if isinstance(packet, Datagram):
            leaves = {Direction.OUT: True, Direction.IN: False}.get(record.direction)
            yield Sight(record.time_s, record.interface, packet, packet.leaves or leaves)


def _text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _problem(where: str, legal: str) -> Problem:
    return Problem(where, "--address", "(missing)", legal)
