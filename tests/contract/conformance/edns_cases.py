"""Answers in the size that the client takes: EDNS, truncation, many addresses."""

from __future__ import annotations

from tests.contract.conformance import message
from tests.contract.conformance.answer_cases import asked
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import FORTY, ONE, SERVERS, TWELVE, VIPS


def edns(stage: Stage) -> None:
    for reply in asked(stage, ONE):
        assert reply.opt is None
    for do in (False, True):
        for reply in asked(stage, ONE, tail=message.edns(do=do), more=1):
            assert reply.opt is not None
            assert (reply.opt.ttl, reply.opt.data) == (0x8000 if do else 0, b"")
            assert reply.addresses == [VIPS[ONE][0]]
    assert "EDNS: version: 0, flags: do" in stage.dig(f"@{SERVERS[0]}", "+dnssec", ONE)


def version(stage: Stage) -> None:
    for number in (1, 255):
        for reply in asked(stage, ONE, tail=message.edns(version=number), more=1):
            assert reply.opt is not None
            assert (reply.rcode, reply.opt.ttl >> 16) == (0, 0x0100), "BADVERS is 16"
            assert reply.answers == ()


def options(stage: Stage) -> None:
    for code, data in ((10, bytes(8)), (10, bytes(40)), (3, b""), (12, bytes(200)), (65001, b"x")):
        tail = message.edns(options=message.option(code, data))
        for reply in asked(stage, ONE, tail=tail, more=1):
            assert reply.addresses == [VIPS[ONE][0]]
            assert reply.opt is not None
            assert reply.opt.data == b""
    tail = message.edns(options=message.option(12, bytes(300)) + message.option(10, bytes(8)))
    for reply in asked(stage, ONE, tail=tail, more=1):
        assert reply.addresses == [VIPS[ONE][0]]


def many(stage: Stage) -> None:
    for kind in (message.A, message.AAAA):
        for reply in asked(stage, TWELVE, kind):
            assert not reply.is_truncated
            assert len(set(reply.addresses)) == 12


def sizes(stage: Stage) -> None:
    for tail, fits in (
        (b"", False),
        (message.edns(100), False),
        (message.edns(512), False),
        (message.edns(1232), True),
        (message.edns(4096), True),
    ):
        for reply in asked(stage, FORTY, tail=tail, more=len(tail) and 1):
            assert reply.is_truncated is not fits, tail
            assert (len(set(reply.addresses)) == 40) is fits, tail


def again_over_tcp(stage: Stage) -> None:
    for server in SERVERS:
        assert len(stage.short(f"@{server}", "+noedns", FORTY)) == 40
        assert " tc " in stage.dig(f"@{server}", "+noedns", "+ignore", FORTY).replace(";", " ")


CASES = tuple(
    Case(name, Group.DNS, run)
    for name, run in {
        "EDNS is mirrored, DO with it": edns,
        "EDNS version 1 is BADVERS": version,
        "cookies, padding and unknown options are taken": options,
        "twelve addresses: all of them": many,
        "sizes 512 to 4096 are honoured, TC where it does not fit": sizes,
        "what was cut comes whole over TCP": again_over_tcp,
    }.items()
)
