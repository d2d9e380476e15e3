"""What is malformed, strange, or too large passes byte for byte; all else is answered."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import EDNS0, DNSRecord, EDNSOption
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root

HOST = "reviews.bookinfo.svc.cluster.local"
LONG = ".".join(["x" * 45, "y" * 46, "z" * 30])  # a length byte of 46 is no dot
NAME = b"\7reviews\10bookinfo\3svc\7cluster\5local\0"
HEAD = bytes.fromhex("1234 0100 0001 0000 0000 0000".replace(" ", ""))
A_IN = b"\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0"  # without the length of its options


@pytest.fixture(scope="module")
def answers() -> Answers:
    where = (ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1"))
    names = [HOST, LONG, "1.2.3.4.5.6.7.8.9", "-strange\x07-.test", "a.dns.cluster.local"]
    return Answers.build([Host(n, "x", Kind.SERVICE, where) for n in names], Locale("vm"))


def head(flags: int = 0x0100, *counts: int) -> bytes:
    questions, *rest = (*counts, *(1, 0, 0, 0)[len(counts) :])
    return b"\x12\x34" + b"".join(n.to_bytes(2, "big") for n in (flags, questions, *rest))


ODD = {
    "empty": b"",
    "half a header": HEAD[:7],
    "a response": head(0x8180) + NAME + A_IN,
    "a notify": head(0x2000) + NAME + A_IN,
    "truncated": head(0x0300) + NAME + A_IN,
    "an rcode": head(0x0103) + NAME + A_IN,
    "no question": head(0x0100, 0),
    "two questions": head(0x0100, 2) + (NAME + A_IN) * 2,
    "an answer": head(0x0100, 1, 1) + NAME + A_IN,
    "an authority": head(0x0100, 1, 0, 1) + NAME + A_IN,
    "two additionals": head(0x0100, 1, 0, 0, 2) + NAME + A_IN + (OPT + b"\0\0") * 2,
    "the root": HEAD + b"\0" + A_IN,
    "class CH": HEAD + NAME + b"\0\1\0\3",
    "class ANY": HEAD + NAME + b"\0\1\0\xff",
    "compressed": HEAD + b"\7reviews\xc0\x0c" + A_IN,
    "a label of 64": HEAD + b"\x40" + b"a" * 64 + b"\0" + A_IN,
    "a label type 0x80": HEAD + b"\x80" + NAME + A_IN,
    "no end of the name": HEAD + NAME[:-1],
    "a label beyond the end": HEAD + b"\x3fabc" + A_IN,
    "half a type": HEAD + NAME + A_IN[:3],
    "something behind": HEAD + NAME + A_IN + b"\0",
    "a dot in a label": HEAD + b"\x10reviews.bookinfo\3svc\7cluster\5local\0" + A_IN,
    "not ASCII": HEAD + NAME.replace(b"reviews", b"revi\xebws") + A_IN,
    "a name of 256 bytes": HEAD + (b"\x3f" + b"a" * 63) * 4 + b"\0" + A_IN,
    "OPT cut off": head(0x0100, 1, 0, 0, 1) + NAME + A_IN + OPT,
    "OPT that lies of its length": head(0x0100, 1, 0, 0, 1) + NAME + A_IN + OPT + b"\0\1",
    "OPT with half an option": head(0x0100, 1, 0, 0, 1) + NAME + A_IN + OPT + b"\0\3\0\1\0",
    "OPT with a long option": head(0x0100, 1, 0, 0, 1) + NAME + A_IN + OPT + b"\0\4\0\1\0\1",
    "OPT with a name": head(0x0100, 1, 0, 0, 1) + NAME + A_IN + b"\1a" + OPT[:9] + b"\0\0",
    "TSIG": head(0x0100, 1, 0, 0, 1) + NAME + A_IN + b"\0\0\xfa\0\xff\0\0\0\0\0\0",
}

REASONS = {"a name of 256 bytes": "long"}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("family", [4, 6])
def test_odd_messages_pass(dns: Any, answers: Answers, what: str, family: int) -> None:
    dns.publish(answers)
    assert dns.ask(HEAD + NAME + A_IN, family).verdict == "answer"
    assert dns.ask(ODD[what], family).verdict == "pass"
    assert sorted(result for result, _ in dns.counts()) == ["answer", REASONS.get(what, "odd")]


def frames() -> dict[str, Ether]:
    v4 = IP(src="192.0.2.1", dst="192.0.2.53")
    v6 = IPv6(src="2001:db8::1", dst="2001:db8::53")
    udp, message = UDP(sport=4000, dport=53), Raw(HEAD + NAME + A_IN)
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")

    def changed(layer: Any, **fields: Any) -> Any:
        copy = layer.copy()
        for name, value in fields.items():
            setattr(copy, name, value)
        return copy

    return {
        "another port": ether / v4 / UDP(sport=4000, dport=5353) / message,
        "an answer by its port": ether / v4 / UDP(sport=53, dport=4000) / message,
        "not UDP": ether / changed(v4, proto=17 + 1) / bytes(udp / message),
        "IPv4 options": ether / changed(v4, options=[b"\x01\x01\x01\x00"]) / udp / message,
        "a first fragment": ether / changed(v4, flags="MF") / udp / message,
        "a later fragment": ether / changed(v4, frag=1) / udp / message,
        "IPv4 multicast": ether / changed(v4, dst="224.0.0.251") / udp / message,
        "IPv4 broadcast": ether / changed(v4, dst="255.255.255.255") / udp / message,
        "IPv6 multicast": ether / changed(v6, dst="ff02::fb") / udp / message,
        "IPv4 of a wrong length": ether / changed(v4, len=100) / udp / message,
        "IPv6 of a wrong length": ether / changed(v6, plen=100) / udp / message,
        "UDP of a wrong length": ether / v4 / changed(udp, len=20) / message,
        "IPv6 options": ether / v6 / IPv6ExtHdrDestOpt() / udp / message,
        "an IPv6 fragment": ether / v6 / IPv6ExtHdrFragment(m=1) / udp / message,
        "a VLAN": ether / Dot1Q(vlan=7) / v4 / udp / message,
        "ARP's type": changed(ether, type=0x0806) / bytes(v4 / udp / message),
    }


@pytest.mark.parametrize("what", frames())
@pytest.mark.parametrize("program", ["dns_egress", "dns_lo", "dns_bridge"])
def test_strange_packets_pass(dns: Any, answers: Answers, what: str, program: str) -> None:
    dns.publish(answers)
    packet = bytes(frames()[what])
    run = dns.run(packet, program)
    assert (run.result, run.data) == (0xFFFFFFFF, packet)


@pytest.mark.parametrize("server", ["240.240.0.53", "223.255.255.53", "255.255.255.53"])
def test_a_server_beyond_the_multicast_addresses_is_a_server(
    dns: Any, answers: Answers, server: str
) -> None:
    dns.publish(answers)
    packet = Ether() / IP(src="192.0.2.1", dst=server) / UDP(sport=4000) / (HEAD + NAME + A_IN)
    assert dns.run(bytes(packet), "dns_lo").result == 0
    assert [result for result, _ in dns.counts()] == ["answer"]


def test_mutations_are_answered_if_and_only_if_the_worker_would(
    dns: Any, check: Callable[..., str], answers: Answers
) -> None:
    chance = random.Random(20261)
    dns.publish(answers)
    seen = set()
    names = [HOST, HOST, LONG, "reviews.bookinfo", "1.2.3.4.5.6.7.8.9", "x.example.com"]
    for turn in range(3000):
        record = DNSRecord.question(
            chance.choice(names), chance.choice(["A", "AAAA", "TXT", "ANY"])
        )
        if turn % 2:
            options = [
                EDNSOption(10, bytes(chance.randrange(9))) for _ in range(chance.randrange(3))
            ]
            record.add_ar(EDNS0(udp_len=1232, opts=options))
        message = bytearray(record.pack())
        for _ in range(chance.randrange(3)):
            place = chance.randrange(len(message))
            how = chance.randrange(4)
            if how == 0:
                message[place] ^= 1 << chance.randrange(8)
            elif how == 1:
                message[place] = chance.choice(b"\0\1\x2e\x3f\x40\x41\x5b\x7a\x80\xc0\xff")
            elif how == 2:
                del message[place : place + chance.randrange(4)]
            else:
                message[place:place] = chance.randbytes(chance.randrange(3))
        seen.add(check(answers, bytes(message), chance.choice((4, 6))))
    assert seen == {"answer", "pass", "handover"}


@pytest.mark.parametrize("labels", range(1, 70))
def test_names_of_every_length_are_read_right(
    dns: Any, check: Callable[..., str], labels: int
) -> None:
    name = ".".join(["x"] * labels)
    longer = ("x" * 63 + ".") * (labels // 32) + "y" * (labels % 63 + 1)
    where = (ip_address("10.0.0.1"),)
    answers = Answers.build(
        [Host(n, "x", Kind.SERVICE, where) for n in (name, longer)], Locale("vm")
    )
    dns.publish(answers)
    for each in (name, longer):
        verdict = check(answers, bytes(DNSRecord.question(each, "A").pack()))
        assert verdict == ("answer" if len(each) + 2 <= 128 else "pass")


def test_the_largest_answer_fits_in_what_every_client_takes(dns: Any, check: Any) -> None:
    v4 = tuple(ip_address("10.0.0.1") + n for n in range(8))
    v6 = tuple(ip_address("fd00::1") + n for n in range(8))
    name = "x" * 62 + "." + "y" * 63
    answers = Answers.build([Host(name, "x", Kind.SERVICE, v4 + v6)], Locale("vm"))
    dns.publish(answers)
    record = DNSRecord.question(name, "ANY")
    record.add_ar(EDNS0(udp_len=512))
    assert check(answers, bytes(record.pack())) == "answer"
    assert len(dns.ask(bytes(record.pack())).message) == 12 + 128 + 4 + 8 * 16 + 8 * 28 + 11


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 400, 460, 500, 600, 650, 800])
def test_options_are_dropped_and_large_queries_pass(dns: Any, answers: Answers, size: int) -> None:
    dns.publish(answers)
    record = DNSRecord.question(HOST, "A")
    record.add_ar(EDNS0(udp_len=1232, opts=[EDNSOption(12, (bytes(range(250)) * 4)[:size])]))
    fate = dns.ask(bytes(record.pack()))
    assert fate.verdict == ("answer" if 11 + 4 + size <= 508 else "pass")


@pytest.mark.parametrize("checksum", [True, False])
def test_a_query_without_checksum_gets_an_answer_without(
    dns: Any, answers: Answers, checksum: bool
) -> None:
    dns.publish(answers)
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    udp = UDP(sport=40000, dport=53) if checksum else UDP(sport=40000, dport=53, chksum=0)
    packet = ether / IP(src="192.0.2.1", dst="192.0.2.53", tos=0x10, ttl=7) / udp
    run = dns.run(bytes(packet / Raw(HEAD + NAME + A_IN)))
    answer = Ether(run.data)
    assert (answer[UDP].chksum != 0) is checksum
    assert (answer[IP].tos, answer[IP].ttl) == (0x10, 7)
    assert DNSRecord.parse(bytes(answer[UDP].payload)).header.a == 2


def test_padding_of_short_frames_is_no_part_of_the_message(dns: Any) -> None:
    answers = Answers.build([Host("a", "x", Kind.SERVICE, (ip_address("10.0.0.1"),))], Locale("vm"))
    dns.publish(answers)
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    packet = ether / IP(src="192.0.2.1", dst="192.0.2.53") / UDP(sport=40000, dport=53)
    frame = bytes(packet / Raw(DNSRecord.question("a", "A").pack())).ljust(64, b"\0")
    answer = Ether(dns.run(frame, "dns_bridge").data)
    assert answer[IP].len == len(answer) - 14
    assert DNSRecord.parse(bytes(answer[UDP].payload)).a.rdata.data == (10, 0, 0, 1)


def test_all_rotations_of_an_answer_are_given(dns: Any, answers: Answers) -> None:
    dns.publish(answers)
    firsts = {str(DNSRecord.parse(dns.ask(HEAD + NAME + A_IN).message).a.rdata) for _ in range(60)}
    assert firsts == {"10.0.0.1", "10.0.0.2"}
