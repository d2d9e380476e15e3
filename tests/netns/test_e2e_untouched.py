"""What is not the mesh's leaves the host, and comes back, as the same bytes as without an agent."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

pytestmark = pytest.mark.root

# Sent from fixed ports, so that two runs can differ only by what the agent does.
SENDER = """
import socket, sys
for number, (server, text) in enumerate(word.split("=") for word in sys.argv[1:]):
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, 2) as s:
        s.settimeout(0.3)
        s.bind(("", 40000 + number))
        s.connect((server, 53))
        s.send(bytes.fromhex(text))
        try:
            print(number, s.recv(4096).hex())
        except OSError as error:
            print(number, type(error).__name__)
"""


def name(text: str) -> bytes:
    return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".")) + b"\0"


def query(
    text: str,
    kind: int = 1,
    *,
    flags: int = 0x0100,
    count: int = 1,
    tail: bytes = b"",
    more: int = 0,
) -> bytes:
    head = struct.pack(">6H", 0x4242, flags, count, 0, 0, more)
    return head + (name(text) + struct.pack(">2H", kind, 1)) * count + tail


MESH = "reviews.bookinfo.svc.cluster.local"
COOKIE = bytes.fromhex("00002904d000000000000c000a00080123456789abcdef")
COMPRESSED = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack(">2H", 1, 1)

UNTOUCHED = {
    "A of another": query("www.corp.example"),
    "AAAA of another": query("www.corp.example", 28),
    "mixed case": query("wWw.CoRp.ExAmPlE"),
    "with a cookie": query("www.corp.example", tail=COOKIE, more=1),
    "CD and AD set": query("www.corp.example", flags=0x0130),
    "TXT too long": query("big.corp.example", 16),
    "NXDOMAIN": query("nobody.example"),
    "the root": struct.pack(">6H", 9, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack(">2H", 2, 1),
    "a mesh name as a suffix of another": query("x" + MESH),
    "a mesh name with a label behind it": query(MESH + ".example"),
    "opcode STATUS for a mesh name": query(MESH, flags=0x1000),
    "opcode NOTIFY for a mesh name": query(MESH, flags=0x2000),
    "two questions": query(MESH, count=2),
    "no question": struct.pack(">6H", 5, 0x0100, 0, 0, 0, 0),
    "response bit set": query(MESH, flags=0x8100),
    "a compressed question": COMPRESSED,
    "a question cut short": query(MESH)[:-3],
    "a label too long": struct.pack(">6H", 6, 0x0100, 1, 0, 0, 0) + b"\x7f" + b"a" * 20,
    "four bytes": b"\x12\x34\x01\x00",
    "class CHAOS": query("version.bind", 16)[:-2] + b"\0\3",
}
SERVERS = ("10.77.0.53", "fd77::53")


def read_pcap(file: Path) -> list[bytes]:
    """IP packets of a pcap file of Ethernet frames, in order."""
    data = file.read_bytes()
    assert struct.unpack("<I", data[:4])[0] == 0xA1B2C3D4
    packets, at = [], 24
    while at + 16 <= len(data):
        length = struct.unpack("<I", data[at + 8 : at + 12])[0]
        packets.append(data[at + 16 + 14 : at + 16 + length])
        at += 16 + length
    return packets


def without_identification(packet: bytes) -> bytes:
    """A packet without what differs between two runs of one sender anyhow: an IPv4 packet's ID
    and header checksum, an IPv6 one's flow label, which the kernel counts or draws anew, and
    the UDP checksum, which a veth pair leaves to hardware that is not there."""
    if packet[0] >> 4 == 4:
        return packet[:4] + packet[6:10] + packet[12:26] + packet[28:]
    return packet[:1] + packet[4:46] + packet[48:]


def exchange(lab: Lab, wire: Path) -> tuple[list[str], list[bytes]]:
    """What came back for each query, and what was on the wire at the server."""
    sniff = ["tcpdump", "-i", "eth0", "-U", "-n", "-w", str(wire), "udp dst port 53"]
    tcpdump = lab.start("dns", sniff, wire.stem)
    wait_until(lambda: "listening on" in lab.log("dns", wire.stem), "tcpdump")
    words = [f"{server}={q.hex()}" for server in SERVERS for q in UNTOUCHED.values()]
    argv = ["/usr/bin/python3", "-c", SENDER, *words]
    replies = lab.run("vm", argv, timeout_s=60).stdout.splitlines()
    wait_until(lambda: len(read_pcap(wire)) >= len(words), "all queries at the server")
    tcpdump.stop()
    return replies, [without_identification(packet) for packet in read_pcap(wire)]


def difference(a: Sequence[object], b: Sequence[object]) -> list[str]:
    titles = [f"{title} to {server}" for server in SERVERS for title in UNTOUCHED]
    return [title for title, x, y in zip(titles, a, b, strict=True) if x != y]


@pytest.mark.parametrize("backend", ["nftables", "ebpf"])
def test_others_queries_and_their_answers_are_the_same_bytes_with_and_without_an_agent(
    lab: Lab, tmp_path: Path, backend: str
) -> None:
    tmp_path.chmod(0o777)
    replies_without, wire_without = exchange(lab, tmp_path / "without.pcap")
    agent = lab_agent.prepare(lab, "vm", {"capture": {"backend": backend}})
    agent.start()
    replies_with, wire_with = exchange(lab, tmp_path / "with.pcap")
    probe = ["dig", "+short", "+tries=1", "@10.77.0.53", MESH]
    assert lab.run("vm", probe).stdout == "10.96.0.11\n", "the agent was not at work"
    assert difference(wire_without, wire_with) == []
    assert difference(replies_without, replies_with) == []
    assert sum("Error" not in reply and "timeout" not in reply for reply in replies_with) > 10
