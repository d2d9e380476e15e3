"""What is done with one queued packet. The real queue is tests/netns/dns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from interceptor.dns import nfqueue
from interceptor.dns.nfqueue import BOUNDS_S, SAMPLE, Queue
from interceptor.dns.note import Note, Noted
from interceptor.dns.responder import Responder
from interceptor.host import waitqueue
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Locale

Query = Callable[..., bytes]
OUTPUT, PRE_ROUTING = 3, 0


class Queued:
    """A packet of the library's that holds its user to the rules: one verdict, payload first."""

    def __init__(self, payload: bytes, hook: int = OUTPUT) -> None:
        self.hook, self.indev = hook, 9
        self.payload, self.mark, self.verdict = payload, 0, ""

    def get_payload(self) -> bytes:
        return self.payload

    def set_payload(self, payload: bytes) -> None:
        assert not self.verdict
        self.payload = payload

    def set_mark(self, mark: int) -> None:
        assert not self.verdict
        self.mark = mark

    def accept(self) -> None:
        self._end("accept")

    def drop(self) -> None:
        self._end("drop")

    def _end(self, verdict: str) -> None:
        if self.verdict:
            raise RuntimeError("Verdict already given for this packet")
        self.verdict = verdict


class Bench:
    def __init__(self, answers: Answers, steers: bool = True) -> None:
        self.sent: list[tuple[bytes, int]] = []
        self.local = Responder(answers, random.random, 4096)
        self.queue = Queue(
            self.local,
            Responder(answers, random.random, 1232),
            lambda: steers,
            0x1DC1,
            lambda packet, interface: self.sent.append((packet, interface)),
        )

    def give(self, packet: Queued) -> Queued:
        self.queue._on_packet(packet)  # type: ignore[arg-type]
        return packet


def udp(message: bytes) -> bytes:
    return bytes(IP(src="10.1.1.1", dst="10.1.1.2") / UDP(sport=4000, dport=53) / Raw(message))


def test_a_mesh_query_is_rewritten_and_accepted(answers: Answers, query: Query) -> None:
    packet = Bench(answers).give(Queued(udp(query("v4.bookinfo"))))
    assert packet.verdict == "accept"
    assert (IP(packet.payload).src, packet.mark) == ("10.1.1.2", 0)


def test_another_query_is_accepted_as_it_is(answers: Answers, query: Query) -> None:
    original = udp(query("www.elsewhere.test"))
    packet = Bench(answers).give(Queued(original))
    assert (packet.verdict, packet.payload, packet.mark) == ("accept", original, 0)


def test_a_containers_mesh_query_is_dropped_and_answered_by_hand(
    answers: Answers, query: Query
) -> None:
    bench = Bench(answers)
    packet = bench.give(Queued(udp(query("v4.bookinfo")), PRE_ROUTING))
    assert packet.verdict == "drop"
    ((answer, interface),) = bench.sent
    assert (IP(answer).dst, interface) == ("10.1.1.1", 9)
    other = bench.give(Queued(udp(query("www.elsewhere.test")), PRE_ROUTING))
    assert (other.verdict, len(bench.sent)) == ("accept", 1)


@pytest.mark.parametrize("ends", [IP(dst="10.1.1.2"), IPv6(dst="fd00::b")])
def test_a_syn_is_steered_while_there_is_room(answers: Answers, ends: IP | IPv6) -> None:
    syn = bytes(ends / TCP(sport=4000, dport=53, flags="S"))
    steered = Bench(answers).give(Queued(syn))
    assert (steered.verdict, steered.mark, steered.payload) == ("accept", 0x1DC1, syn)
    full = Bench(answers, steers=False).give(Queued(syn))
    assert (full.verdict, full.mark) == ("accept", 0)


def test_trouble_with_one_packet_is_counted_and_the_packet_accepted(answers: Answers) -> None:
    bench = Bench(answers)
    assert bench.give(Queued(b"")).verdict == "accept"
    assert bench.queue.counts["error-IndexError"] == 1


def test_an_answer_that_cannot_be_sent_raises_nothing(answers: Answers, query: Query) -> None:
    bench = Bench(answers)

    def refuse(_packet: bytes, _interface: int) -> None:
        raise PermissionError("no route")

    bench.queue._send = refuse
    assert bench.give(Queued(udp(query("v4.bookinfo")), PRE_ROUTING)).verdict == "drop"
    assert bench.queue.counts == {"error-PermissionError": 1, "no-verdict": 1}


def test_one_packet_in_so_many_is_timed(answers: Answers, query: Query) -> None:
    bench = Bench(answers)
    for _ in range(3 * SAMPLE):
        bench.give(Queued(udp(query("v4.bookinfo"))))
    assert sum(bench.queue.samples) == 3
    assert len(bench.queue.samples) == len(BOUNDS_S) + 1
    assert bench.queue.sampled_s > 0
    assert bench.queue.progress == 3 * SAMPLE


def test_serving_an_unopened_queue_is_a_mistake(answers: Answers) -> None:
    with pytest.raises(RuntimeError, match="open the queue"):
        Bench(answers).queue.serve()


def test_the_kernels_drops_are_read_for_our_queue_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nfnetlink_queue"
    file.write_text("    7  4711     0 2  4016    11    12       13  1\n15053 1 0 2 4016 3 4 5 1\n")
    monkeypatch.setattr(waitqueue, "PROC_QUEUES", file)
    assert nfqueue.observe_drops(15053) == {"queue-full": 3, "socket-full": 4}
    assert nfqueue.observe_drops(9) == {}
    monkeypatch.setattr(waitqueue, "PROC_QUEUES", tmp_path / "absent")
    assert nfqueue.observe_drops(15053) == {}


class Noting:
    """A note that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Noted] = []
        self.note = Note(self.told.append)


@pytest.fixture
def noting() -> Iterator[Noting]:
    made = Noting()
    yield made
    made.note.close()


def test_while_somebody_traces_each_query_is_told_and_fares_the_same(
    answers: Answers, query: Query, noting: Noting
) -> None:
    bench = Bench(answers)
    bench.queue.watch(noting.note)
    ours, other = udp(query("v4.bookinfo")), udp(query("www.elsewhere.test"))
    fates = [
        (bench.give(Queued(packet, hook)).verdict, packet)
        for packet in (ours, other)
        for hook in (OUTPUT, PRE_ROUTING)
    ]
    assert [fate for fate, _ in fates] == ["accept", "drop", "accept", "accept"]
    assert [noted.plane for noted in noting.told] == ["nfqueue", "bridge"] * 2
    assert [noted.query for noted in noting.told] == [packet for _, packet in fates]
    assert [noted.answer is not None for noted in noting.told] == [True, True, False, False]
    bench.queue.watch(None)
    bench.give(Queued(ours))
    assert len(noting.told) == 4


def test_a_connection_s_first_packet_is_no_query_to_tell(answers: Answers, noting: Noting) -> None:
    bench = Bench(answers)
    bench.queue.watch(noting.note)
    syn = bytes(IP(dst="10.1.1.2") / TCP(sport=4000, dport=53, flags="S"))
    assert bench.give(Queued(syn)).mark == 0x1DC1
    assert not noting.told


@pytest.mark.parametrize("odd", [b"", b"\x45", bytes(60)])
def test_what_cannot_be_told_is_accepted_all_the_same(
    answers: Answers, noting: Noting, odd: bytes
) -> None:
    bench = Bench(answers)
    bench.queue.watch(noting.note)
    assert bench.give(Queued(odd)).verdict == "accept"


def test_while_nobody_traces_a_packet_passes_nothing_but_the_decision(answers: Answers) -> None:
    queue = Bench(answers).queue
    assert queue._judge == queue._decide


@pytest.mark.parametrize("hook", [OUTPUT, PRE_ROUTING])
def test_a_query_of_a_forward_zone_is_dropped_and_given_on(query: Query, hook: int) -> None:
    zones = (("zone.test", ("192.0.2.53",)),)
    bench = Bench(Answers.build((), Locale(forward_zones=zones)))
    given: list[tuple[bytes, int]] = []
    bench.queue.forward = lambda packet, interface: given.append((packet, interface))
    asked = udp(query("a.zone.test"))
    assert bench.give(Queued(asked, hook)).verdict == "drop"
    assert given == [(asked, 0 if hook == OUTPUT else 9)]
    assert bench.give(Queued(udp(query("a.other.test")), hook)).verdict == "accept"
    assert len(given) == 1
    assert not bench.sent


def test_other_queries_are_looked_at_no_further_without_forward_zones(
    answers: Answers, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(answers)
    bench.queue.forward = lambda *_: None
    monkeypatch.delattr(nfqueue.packets, "message")
    assert bench.give(Queued(udp(query("www.other.test")))).verdict == "accept"
    assert not any(name.startswith("error") for name in bench.queue.counts)
