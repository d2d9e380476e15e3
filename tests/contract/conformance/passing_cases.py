"""Queries that are none of ours: the same bytes at the resolver, its own answer back."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.contract.conformance import message, question
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import ECHO_SERVERS, ONE, SERVERS, VIPS, WWW

HEAD = struct.pack(">6H", 7, message.RD, 1, 0, 0, 0)
IN_A = struct.pack(">2H", message.A, 1)
COOKIE = message.edns(options=message.option(10, bytes(range(8))))

PACKETS: dict[str, tuple[bytes, ...]] = {
    "other opcodes, untouched": tuple(
        message.query(ONE, flags=opcode << 11 | message.RD) for opcode in (1, 2, 4, 5, 6, 15)
    ),
    "no question or two, untouched": (
        message.query(ONE, count=2),
        message.query(ONE, count=0),
        struct.pack(">6H", 7, message.RD, 2, 0, 0, 0) + message.name(ONE) + IN_A,
    ),
    "the response bit, untouched": (message.query(ONE, flags=message.RD | message.QR),),
    "a compressed question, untouched": (
        HEAD + b"\xc0\x0c" + IN_A,
        HEAD + b"\3one\xc0\x0c" + IN_A,
    ),
    "packets cut short, untouched": (
        message.query(ONE)[:-3],
        message.query(ONE)[:-6],
        message.query(ONE)[:20],
        message.query(ONE)[:12],
        b"\x12\x34\x01\x00",
        b"",
    ),
    "labels and names too long, untouched": (
        HEAD + b"\x7f" + b"a" * 20 + b"\0" + IN_A,
        HEAD + b"\x3f" + b"a" * 10,
        HEAD + (b"\x3f" + b"a" * 63) * 4 + message.name(ONE) + IN_A,
    ),
    "bytes behind the message, untouched": (
        message.query(ONE, tail=b"\0"),
        message.query(ONE, tail=bytes(40)),
        message.query(ONE, tail=COOKIE + b"x", more=1),
    ),
    "other classes, untouched": (
        message.query("version.bind", message.TXT)[:-2] + b"\0\3",
        message.query(ONE)[:-2] + b"\0\3",
    ),
    "records where a query has none, untouched": (
        struct.pack(">6H", 7, message.RD, 1, 1, 0, 0) + message.query(ONE)[12:] + b"\0" * 11,
        message.query(ONE, tail=b"\0" + struct.pack(">HHIH", 250, 255, 0, 0), more=1),
    ),
}


def untouched(packets: tuple[bytes, ...]) -> Callable[[Stage], None]:
    """That packets reach both families' servers as they were sent."""

    def run(stage: Stage) -> None:
        stage.assert_at_work()
        mark = stage.wire.mark()
        for server in SERVERS:
            stage.call(question.send, server, packets)
        wanted = [(server, packet) for server in SERVERS for packet in packets]
        assert sorted(stage.wire.since(mark)) == sorted(wanted)

    return run


def others(stage: Stage) -> None:
    stage.assert_at_work()
    mark = stage.wire.mark()
    queries = (
        message.query("www.corp.example"),
        message.query("wWw.CoRp.ExAmPlE", message.AAAA),
        message.query("www.corp.example", tail=COOKIE, more=1),
        message.query("www.corp.example", flags=message.RD | 0x0030),
        message.query("nobody.example"),
        message.query("", message.NS),
        message.query(f"x{ONE}"),
        message.query(f"{ONE}.example"),
        message.query(f"nobody.{ONE}"),
        message.query("big.corp.example", message.TXT),
    )
    for server in SERVERS:
        replies = [stage.ask(server, query) for query in queries]
        assert [reply.addresses for reply in replies[:2]] == [[WWW[0]], [WWW[1]]]
        assert [reply.rcode for reply in replies[:5]] == [0, 0, 0, 0, message.NXDOMAIN]
        assert replies[-1].is_truncated
    assert sorted(stage.wire.since(mark)) == sorted((s, q) for s in SERVERS for q in queries)


def relayed(stage: Stage) -> None:
    for server in SERVERS:
        assert stage.short("+tcp", f"@{server}", "www.corp.example") == [WWW[0]]
        assert len(stage.short("+noedns", f"@{server}", "big.corp.example", "TXT")) == 6
        queries = (message.query(ONE), message.query("www.corp.example"), message.query(ONE))
        replies = [message.parse(reply) for reply in stage.call(question.ask_tcp, server, queries)]
        addresses = sorted(reply.addresses[0] for reply in replies)
        assert addresses == sorted([WWW[0], "10.96.0.21", "10.96.0.21"])


PADDING = message.edns(options=message.option(12, bytes(1900)))
"""Makes two IP fragments of a query."""


def fragments(stage: Stage) -> None:
    stage.assert_at_work()
    query = (message.query("www.corp.example", tail=PADDING, more=1),)
    for server in ECHO_SERVERS:
        assert stage.call(question.ask, server, query, question.Socket()) == list(query)


def fragments_of_ours(stage: Stage) -> None:
    for server in ECHO_SERVERS:
        reply = stage.ask(server, message.query(ONE, tail=PADDING, more=1))
        assert reply.addresses == [VIPS[ONE][0]], f"got {reply.addresses}"


CASES = (
    Case("names of others: untouched, answered by the server asked", Group.PASSING, others),
    *(Case(name, Group.PASSING, untouched(packets)) for name, packets in PACKETS.items()),
    Case("TCP/53 is relayed byte for byte, mesh names between", Group.PASSING, relayed),
    Case("a query of others in IP fragments", Group.PASSING, fragments),
    Case("a query for a mesh name in IP fragments is answered", Group.PASSING, fragments_of_ours),
)
