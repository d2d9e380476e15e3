"""Forward zones: names that go to servers of their own, whichever server the client has chosen.

The zone's server is a dnsmasq on the peer; the client's own resolver says something else of
`BOTH`, so that it shows who has answered.
"""

from __future__ import annotations

from time import monotonic

from interceptor.lab.removal import wait_until
from tests.contract.conformance import message
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.client import ROOT, Owner
from tests.contract.conformance.question import CONNECTED, Socket
from tests.contract.conformance.setting import EXCLUDED_UID
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import (
    ECHO_SERVERS,
    ONE,
    SERVERS,
    STUB,
    UPSTREAM,
    VIPS,
    ZONED,
)

ZONE, BOTH, BIG = "zone.example", "a.zone.example", "big.zone.example"
PATIENT = Socket(timeout_s=8.0)
SERVFAIL, REFUSED = 2, 5


def forwarded(stage: Stage, owner: Owner = ROOT, how: Socket = CONNECTED) -> None:
    """That both families are asked, from both families' resolvers, with the client's own words."""
    for server in SERVERS:
        for number, kind in enumerate((message.A, message.AAAA)):
            query = message.query("A.zOnE.example", kind, number=0x1234 + number)
            reply = stage.ask(server, query, how, owner)
            assert (reply.number, reply.addresses) == (0x1234 + number, [ZONED[number]])
            assert reply.question == query[12:]
        assert stage.ask(server, message.query(f"nobody.{ZONE}"), how, owner).rcode == 3


def zone_answers(stage: Stage) -> None:
    stage.assert_at_work()
    mark = stage.wire.mark()
    forwarded(stage)
    forwarded(stage, how=Socket(is_connected=False))
    reverse = stage.short(f"@{SERVERS[0]}", "-x", "198.99.0.1")
    assert reverse == ["back.zone.example."]
    edns = message.query(BOTH, tail=message.edns(1400, do=True), more=1)
    assert stage.ask(SERVERS[0], edns).opt is not None
    assert stage.wire.since(mark) == [], "the resolver was asked, too"
    # The other side: the same name by the resolver itself, for an owner who is left alone.
    assert stage.addresses(SERVERS[0], BOTH, Owner(uid=EXCLUDED_UID)) == [UPSTREAM[0]]


def over_tcp(stage: Stage) -> None:
    for server in SERVERS:
        assert stage.short("+tcp", f"@{server}", BOTH) == [ZONED[0]]
        assert stage.ask(server, message.query(BIG, message.TXT)).is_truncated
        assert len(stage.short("+noedns", f"@{server}", BIG, "TXT")) == 6
    names = (ONE, BOTH, "www.corp.example", BOTH)
    found = stage.short("+tcp", "+keepopen", f"@{SERVERS[0]}", *names)
    assert found == [VIPS[ONE][0], ZONED[0], "10.77.0.61", ZONED[0]]


def below(stage: Stage) -> None:
    """Hosts, wildcards and own zones of the mesh below a zone, and zones below them."""
    server = SERVERS[0]
    for name, address in (
        ("host.zone.example", "192.0.2.97"),
        ("x.wild.zone.example", "192.0.2.98"),
        ("x.deep.own.example", ZONED[0]),
        ("a.b.own.example", "192.0.2.96"),
        ("open.zone.example", ZONED[0]),
    ):
        assert stage.addresses(server, name) == [address], name
    assert stage.ask(server, message.query("nobody.own.example")).rcode == message.NXDOMAIN


def one_is_gone(stage: Stage) -> None:
    began = monotonic()
    reply = stage.ask(SERVERS[0], message.query("a.dead.example"), PATIENT)
    assert (reply.addresses, monotonic() - began < 4.5) == ([ZONED[0]], True)
    again = monotonic()
    reply = stage.ask(SERVERS[0], message.query("a.dead.example"), PATIENT)
    assert reply.addresses == [ZONED[0]]
    assert monotonic() - again < 1.0, "the server that is gone was waited for again"


def all_are_gone(stage: Stage) -> None:
    mark = stage.wire.mark()
    began = monotonic()
    reply = stage.ask(SERVERS[0], message.query("a.lost.example"), PATIENT)
    assert (reply.rcode, reply.answers) == (SERVFAIL, ())
    assert monotonic() - began < 4.9, "a stub has given up by then"
    assert stage.wire.since(mark) == [], "the resolver was asked instead"


def from_container(stage: Stage) -> None:
    forwarded(stage, stage.box)


def without_worker(stage: Stage) -> None:
    agent = stage.running()
    agent.kill()
    try:
        # A worker that is about to end answers what it has, and a query may be lost with it.
        wait_until(lambda: _passes(stage), "a query that passes")
        assert stage.addresses(SERVERS[1], BOTH, how=PATIENT) == [UPSTREAM[1]]
    finally:
        agent.start()
    assert stage.addresses(SERVERS[0], BOTH, how=PATIENT) == [ZONED[0]]


def _passes(stage: Stage) -> bool:
    try:
        return stage.addresses(SERVERS[0], BOTH, how=Socket(timeout_s=1.0)) == [UPSTREAM[0]]
    except TimeoutError:
        return False


def by_stub(stage: Stage) -> None:
    assert stage.addresses(STUB, BOTH) == [ZONED[0]]
    for server in ECHO_SERVERS:
        assert stage.ask(server, message.query(f"b.{ZONE}")).addresses == []


CASES = (
    Case(
        "a forward zone: its servers answer, the resolver is not asked", Group.PASSING, zone_answers
    ),
    Case("a forward zone over TCP, and what is too long for UDP", Group.PASSING, over_tcp),
    Case("a forward zone: hosts of the mesh and longer zones below it", Group.PASSING, below),
    Case("a forward zone by way of a stub resolver", Group.PASSING, by_stub),
    Case("a forward zone: the next server where one is gone", Group.LOSS, one_is_gone),
    Case("a forward zone: SERVFAIL in time where all are gone", Group.LOSS, all_are_gone),
    Case("a forward zone: agent dies, its names pass", Group.LOSS, without_worker),
    Case("container behind a bridge: a forward zone", Group.HOST, from_container, "bridge DNS"),
)
