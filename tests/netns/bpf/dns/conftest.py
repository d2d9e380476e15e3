"""The DNS program on packets: a table in its maps, queries through BPF_PROG_TEST_RUN."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from interceptor.dns.publisher import Publisher
from interceptor.dns.responder import Responder
from interceptor.dns.wire import Odd, parse
from interceptor.host.layout import (
    DNS_RESULTS,
    DNS_TYPES,
    HANDOVER,
    POLICY,
    Map,
    PolicyFlag,
    State,
)
from interceptor.host.ringbuf import RingBuffer
from interceptor.mesh.answer import Answers

CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
CLIENT = {4: "192.0.2.1", 6: "2001:db8::1"}
SERVER = {4: "192.0.2.53", 6: "2001:db8::53"}
PORT = 40000
ALL = PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.IPV4 | PolicyFlag.IPV6
REDIRECT, OK, PASS = 7, 0, 0xFFFFFFFF
FOREVER_NS = 1 << 62
NAME_SIZE = 128


@dataclass(frozen=True)
class Fate:
    """What became of a packet: ``verdict`` is answer, handover or pass."""

    verdict: str
    message: bytes = b""


class DnsProgram:
    """One kernel's DNS programs, answering for ``answers``."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.ring = RingBuffer(kernel.maps[Map.HANDOVER])
        self.publishers: list[Publisher] = []
        self.set_policy()
        self.set_state(State.WORKER_NS, FOREVER_NS)

    def set_policy(self, flags: PolicyFlag = ALL, **fields: int) -> None:
        """``fields``: lease_ns, mark, sidecar_uid, sidecar_gid."""
        head = (0, fields.get("lease_ns", 0), 0, int(flags), fields.get("mark", 0xABC))
        owners = (fields.get("sidecar_uid", 0xFFFFFFFF), fields.get("sidecar_gid", 0xFFFFFFFF))
        value = POLICY.pack(*head, *owners, 0, 0, 0, 0, 0, *([0] * 49))
        self.kernel.maps[Map.POLICY].update(struct.pack("=I", 0), value)

    def set_state(self, place: State, value: int) -> None:
        self.kernel.maps[Map.STATE].update(struct.pack("=I", place), struct.pack("=Q", value))

    def publish(self, answers: Answers) -> Publisher:
        publisher = Publisher(self.kernel.maps)
        self.publishers.append(publisher)
        asyncio.run(publisher.load(answers.directory))
        return publisher

    def close(self) -> None:
        for publisher in self.publishers:
            publisher.close()
        self.ring.close()

    def run(self, packet: bytes, program: str = "dns_egress") -> Any:
        return self.kernel.run(program, packet)

    def ask(self, message: bytes, family: int = 4, program: str = "dns_egress") -> Fate:
        """The fate of a DNS message, with every check that does not depend on what it asks."""
        packet = query_packet(message, family)
        return self.judge(packet, self.run(packet, program), family, program)

    def judge(self, packet: bytes, run: Any, family: int, program: str) -> Fate:
        if run.result == PASS:
            assert run.data == packet, "a packet that passes is untouched"
            return Fate("pass")
        if run.data == packet:
            assert run.result == REDIRECT, "to no device: the worker has it"
            (record,) = self.ring.read()
            length, _, _, _, whole = HANDOVER.unpack(record.ljust(HANDOVER.size, b"\0"))
            assert whole[:length] == packet[14:]
            return Fate("handover")
        assert run.result == (OK if program == "dns_lo" else REDIRECT)
        return Fate("answer", unwrapped(run.data, family))

    def counts(self) -> dict[tuple[str, str], int]:
        """What was counted, by result and type."""
        found = {}
        for row, result in enumerate(DNS_RESULTS):
            for column, kind in enumerate(DNS_TYPES):
                key = struct.pack("=I", row * len(DNS_TYPES) + column)
                if total := self.kernel.maps[Map.DNS_COUNTS].sum(key):
                    found[result, kind] = total
        return found


def query_packet(message: bytes, family: int = 4, **ip: Any) -> bytes:
    """An Ethernet frame with whole checksums; ``ip`` sets fields of the IP header."""
    layer = IP if family == 4 else IPv6
    header = layer(src=CLIENT[family], dst=SERVER[family], **ip)
    frame = Ether(src=CLIENT_MAC, dst=SERVER_MAC) / header / UDP(sport=PORT, dport=53)
    return bytes(frame / Raw(message))


def unwrapped(frame: bytes, family: int) -> bytes:
    """The message of an answer, whose headers and checksums are right."""
    ether = Ether(frame)
    assert (ether.src, ether.dst) == (SERVER_MAC, CLIENT_MAC)
    ip, udp = ether.payload, ether[UDP]
    assert (ip.src, ip.dst) == (SERVER[family], CLIENT[family])
    assert (udp.sport, udp.dport, udp.len) == (53, PORT, len(udp))
    fresh = Ether(frame)
    del fresh[UDP].chksum
    if family == 4:
        del fresh[IP].chksum
        assert ip.len == len(ip)
    else:
        assert ip.plen == len(udp)
    assert bytes(fresh) == frame, "checksums are what scapy makes them"
    return bytes(udp)[8:]


def expected(answers: Answers, message: bytes) -> tuple[str, set[bytes]]:
    """The verdict that the program has to come to, and the answers that it may give.

    The reference is the worker's own Responder; the division of labour is design's.
    """
    question = parse(message)
    if isinstance(question, Odd) or question.end - 16 > NAME_SIZE:
        return "pass", set()
    find = answers.directory.find
    match = find(question.name)
    host = service_host(question.name)
    if host and (match or find(host)):
        return "handover", set()
    reply = Responder(answers, lambda: 0.0, 65535).find(message)
    if reply is None:
        return "pass", set()
    if match is None or match.search or match.record.external_name or question.edns_version > 0:
        return "handover", set()
    if len(match.record.v4) > 32 or len(match.record.v6) > 128:
        return "handover", set()
    return "answer", {message[:2] + reply.turned(n) for n in range(max(reply.turns, 1))}


def service_host(name: str) -> str:
    """The host of ``_port._tcp.host`` and ``_tcp.host``."""
    labels = name.split(".")
    if labels[0] in ("_tcp", "_udp"):
        return ".".join(labels[1:])
    if labels[0].startswith("_") and len(labels) > 1 and labels[1] in ("_tcp", "_udp"):
        return ".".join(labels[2:])
    return ""


@pytest.fixture(scope="session")
def publish() -> Callable[..., Publisher]:
    """Puts a table into a kernel's maps."""

    def load(kernel: Any, answers: Answers) -> Publisher:
        publisher = Publisher(kernel.maps)
        asyncio.run(publisher.load(answers.directory))
        return publisher

    return load


@pytest.fixture
def query_frame() -> Callable[..., bytes]:
    return query_packet


@pytest.fixture
def dns(kernel: Any) -> Iterator[DnsProgram]:
    made = DnsProgram(kernel)
    yield made
    made.close()


@pytest.fixture
def check(dns: DnsProgram) -> Callable[..., str]:
    """Asks the program and the reference, and gives the verdict on which they agree."""

    def agree(
        answers: Answers, message: bytes, family: int = 4, program: str = "dns_egress"
    ) -> str:
        verdict, replies = expected(answers, message)
        fate = dns.ask(message, family, program)
        assert fate.verdict == verdict, message
        if verdict == "answer":
            assert fate.message in replies
        return verdict

    return agree
