"""Noting a query: whose it is, how long it took, and never an error."""

from __future__ import annotations

import os
import socket

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from interceptor.dns import note as notes
from interceptor.dns.note import Note, Noted


def packet(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    layers = IP(src=source[0], dst=destination[0]) / UDP(sport=source[1], dport=destination[1])
    return bytes(layers / Raw(b"query"))


def test_the_process_that_waits_is_told() -> None:
    told: list[Noted] = []
    note = Note(told.append)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", 53))
        noted = note.begin("nfqueue", packet(client.getsockname(), ("127.0.0.1", 53)))
    note.end(noted, b"answer")
    note.close()
    assert told == [noted]
    assert (noted.who.pid, noted.who.uid) == (os.getpid(), os.geteuid())
    assert noted.flow[2:] == ("127.0.0.1", 53)
    assert noted.answer == b"answer"
    assert 0 <= noted.took_s < 5


def test_a_container_s_process_is_not_sought_among_ours() -> None:
    note = Note(lambda noted: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", 53))
        asked = packet(client.getsockname(), ("127.0.0.1", 53))
        assert note.begin("bridge", asked, is_ours=False).who.pid == 0
    note.close()


def test_the_search_is_bounded_and_the_rest_is_told_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notes, "SOUGHT", 2)
    monkeypatch.setattr(notes, "monotonic", lambda: 5.0)
    note = Note(lambda noted: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", 53))
        asked = packet(client.getsockname(), ("127.0.0.1", 53))
        found = [note.begin("nfqueue", asked).who.pid for _ in range(4)]
    note.close()
    assert found == [os.getpid()] * 2 + [0, 0]


@pytest.mark.parametrize("odd", [b"", b"\x45", b"\x60" * 20, b"\x00" * 60])
def test_no_packet_is_an_error(odd: bytes) -> None:
    told: list[Noted] = []
    note = Note(told.append)
    note.end(note.begin("nfqueue", odd), None)
    note.close()
    assert told[0].who.pid == 0


def test_a_search_that_fails_is_no_error() -> None:
    note = Note(lambda noted: None)
    note.close()
    noted = note.begin_message(("127.0.0.1", 1, "127.0.0.1", 2), b"query", ("127.0.0.1", 2))
    assert noted.who.pid == 0
    note.close()  # it has opened another channel
