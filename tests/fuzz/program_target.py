"""The DNS programs of the kernel on any frame: answers are the worker's, byte for byte."""

from __future__ import annotations

import asyncio
import functools
import struct
import sys

from interceptor.dns.publisher import Publisher
from interceptor.dns.wire import Odd, parse
from interceptor.host import bpf, bpfmap, bytecode
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import HANDOVER, POLICY, SPECS, VIEWS, Map, PolicyFlag, State
from interceptor.host.ringbuf import RingBuffer
from tests.fuzz.dns_target import CEILING, answers, judge, packets, responder
from tests.fuzz.target import Target

PROGRAMS = ("dns_egress", "dns_lo", "dns_bridge")
REDIRECT, OK, PASS = 7, 0, 0xFFFFFFFF
ETHERNET = bytes.fromhex("020000000002020000000001")
TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}


class Kernel:
    """Maps that are pinned nowhere, the programs over them, and a table in them."""

    def __init__(self) -> None:
        self.maps: dict[Map, BpfMap] = {}
        for number, spec in SPECS.items():
            self.maps[number] = bpfmap.create(spec)
            if spec.inner is not None:
                for view in range(VIEWS):
                    inner = bpfmap.create(spec.inner)
                    key, value = (n.to_bytes(4, sys.byteorder) for n in (view, inner.fd))
                    self.maps[number].update(key, value)
        head = (0, 0, 0, PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.IPV4 | PolicyFlag.IPV6)
        policy = POLICY.pack(*head, 0xABC, 0xFFFFFFFF, 0xFFFFFFFF, *[0] * _rest(POLICY))
        self.maps[Map.POLICY].update(struct.pack("=I", 0), policy)
        worker = struct.pack("=I", State.WORKER_NS)
        self.maps[Map.STATE].update(worker, struct.pack("=Q", 1 << 62))
        self.publisher = Publisher(self.maps)
        asyncio.run(self.publisher.load(answers().directory))
        self.ring = RingBuffer(self.maps[Map.HANDOVER])
        code = bytecode.read()
        descriptors = {number: each.fd for number, each in self.maps.items()}
        self.programs = [bytecode.load(code.programs[name], descriptors) for name in PROGRAMS]


def _rest(form: struct.Struct) -> int:
    """How many fields of struct policy come behind the sidecar's group."""
    return len(form.unpack(bytes(form.size))) - 7


@functools.cache
def kernel() -> Kernel:
    return Kernel()


def run(data: bytes) -> None:
    """The first byte chooses program and EtherType; from the second on it is the packet."""
    if len(data) < 35:
        return
    number = data[0] % len(PROGRAMS)
    kind = {0: TYPES[4], 1: TYPES[6]}.get(data[0] >> 6, TYPES[6 if data[1] >> 4 == 6 else 4])
    if kind == TYPES[6] and len(data) < 42:
        return  # the kernel runs nothing on a packet without its header
    frame = ETHERNET + kind + data[1:1400]
    one = kernel()
    ran = bpf.run_program(one.programs[number], frame)
    if ran.result == PASS:
        assert ran.data == frame, "a packet that passes is untouched"
    elif ran.data == frame:
        assert ran.result == REDIRECT, "to no device: the worker has it"
        (record,) = one.ring.read()
        length, _, _, _, whole = HANDOVER.unpack(record.ljust(HANDOVER.size, b"\0"))
        assert whole[:length] == frame[14 : 14 + length]
        assert 14 + length == end_of(frame), "cut short, or with what is behind the packet"
    else:
        assert ran.result in (OK, REDIRECT), ran.result
        assert PROGRAMS[number] != "dns_lo" or ran.result == OK
        check_answer(frame, ran.data)


def end_of(frame: bytes) -> int:
    """Where the packet ends: Ethernet may pad behind it."""
    if frame[14] >> 4 == 4:
        return 14 + int.from_bytes(frame[16:18], "big")
    return 54 + int.from_bytes(frame[18:20], "big")


def check_answer(frame: bytes, told: bytes) -> None:
    """That it is what the worker would say."""
    at = 42 if frame[14] >> 4 == 4 else 62
    message, response = frame[at : end_of(frame)], told[at:]
    assert told[:12] == frame[6:12] + frame[:6], "it goes back to where it came from"
    question = parse(message)
    assert not isinstance(question, Odd)
    judge(message, response, min(question.udp_size, CEILING))
    reply = responder(True).find(message)
    assert reply is not None, "the worker leaves it alone"
    every = {message[:2] + reply.turned(turn) for turn in range(max(reply.turns, 1))}
    assert response in every, "the worker says something else"


TARGETS = {
    "program": Target(run, packets, ("interceptor.dns.wire",), is_kernel=True),
}
