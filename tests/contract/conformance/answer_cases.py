"""The table of answers of the design, asked of both families' servers."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.contract.conformance import message, question
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.message import Reply
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import (
    FORTY,
    LONG,
    ONE,
    SERVERS,
    SUFFIX,
    TWELVE,
    TWO,
    VIPS,
)

TYPES = {"HTTPS": 65, "SVCB": 64, "TXT": message.TXT, "MX": message.MX, "CAA": 257, "999": 999}


def asked(stage: Stage, text: str, kind: int = message.A, **more: object) -> Iterator[Reply]:
    """A question to the server of each family."""
    for server in SERVERS:
        yield stage.ask(server, message.query(text, kind, **more))  # type: ignore[arg-type]


def is_nodata(reply: Reply) -> bool:
    """NOERROR, nothing, and an SOA by which to remember it (RFC 2308)."""
    kinds = [record.kind for record in reply.authority]
    return (reply.rcode, reply.answers, kinds) == (message.NOERROR, (), [message.SOA])


def addresses(stage: Stage) -> None:
    mark = stage.wire.mark()
    for kind, address in ((message.A, VIPS[ONE][0]), (message.AAAA, VIPS[ONE][1])):
        for reply in asked(stage, ONE, kind):
            wanted = message.QR | message.AA | message.RA | message.RD
            assert (reply.flags, reply.addresses) == (wanted, [address])
            assert [record.ttl for record in reply.answers] == [30]
            assert reply.question == message.query(ONE, kind)[12:]
    assert not [ONE for _, query in stage.wire.since(mark) if message.name(ONE) in query]
    for server in SERVERS:
        told = stage.dig(f"@{server}", ONE, "A")
        assert "ANSWER: 1, AUTHORITY: 0" in told
        assert "malformed" not in told.lower()


def turned(stage: Stage) -> None:
    for server, kind in zip(SERVERS, (message.A, message.AAAA), strict=True):
        queries = (message.query(TWELVE, kind),)
        replies = [stage.call(question.ask, server, queries, question.Socket()) for _ in range(12)]
        found = [message.parse(reply).addresses for (reply,) in replies]
        assert len({tuple(sorted(each)) for each in found}) == 1
        assert len({each[0] for each in found}) > 2, "always in the same order"


def missing_family(stage: Stage) -> None:
    for text, kind, other in (
        ("only4.mesh.example", message.AAAA, message.A),
        ("only6.mesh.example", message.A, message.AAAA),
    ):
        assert all(is_nodata(reply) for reply in asked(stage, text, kind))
        assert all(len(reply.addresses) == 1 for reply in asked(stage, text, other))


def service_record(stage: Stage) -> None:
    wanted = [struct.pack(">H", 7000) + message.name(ONE)]
    for reply in asked(stage, f"_tcp-tell._tcp.{ONE}", message.SRV):
        assert [record.data[4:] for record in reply.answers] == wanted


def pointer(stage: Stage) -> None:
    for server in SERVERS:
        for address in VIPS[ONE]:
            assert stage.short(f"@{server}", "-x", address) == [f"{ONE}."]
        assert stage.short(f"@{server}", "-x", "fd77::42") == [f"{TWO}."]
        assert stage.short(f"@{server}", "-x", "10.77.0.44") == [f"web-0.web.{SUFFIX}."]
        assert stage.short(f"@{server}", "-x", "10.77.0.61") == ["www.corp.example."]


def everything(stage: Stage) -> None:
    for reply in asked(stage, ONE, message.ANY):
        found = set(reply.addresses)
        assert found
        assert found <= set(VIPS[ONE])
    for server in SERVERS:
        assert set(stage.short(f"@{server}", "+notcp", ONE, "ANY")) <= set(VIPS[ONE])


def search(stage: Stage) -> None:
    for kind, address in ((message.A, VIPS[ONE][0]), (message.AAAA, VIPS[ONE][1])):
        for text in (f"{ONE}.corp.example", "one.bookinfo.corp.example"):
            for reply in asked(stage, text, kind):
                assert reply.addresses == [address]
                assert reply.answers[0].kind == message.CNAME
                assert reply.answers[0].data == message.name(ONE)
                assert reply.answers[1].name == ONE


def alias(stage: Stage) -> None:
    for reply in asked(stage, f"{ONE}.corp.example", message.CNAME):
        assert [record.data for record in reply.answers] == [message.name(ONE)]
    assert all(is_nodata(reply) for reply in asked(stage, ONE, message.CNAME))


def other_types(stage: Stage) -> None:
    for text in (ONE, "a.wild.example", "one.bookinfo"):
        for name, kind in TYPES.items():
            assert all(is_nodata(reply) for reply in asked(stage, text, kind)), (text, name)
    told = stage.dig(f"@{SERVERS[0]}", ONE, "HTTPS")
    assert "status: NOERROR" in told
    assert "\tSOA\t" in told


def external(stage: Stage) -> None:
    for kind, address in ((message.A, "192.0.2.80"), (message.AAAA, "2001:db8::80")):
        for reply in asked(stage, f"partner.{SUFFIX}", kind):
            assert reply.answers[0].data == message.name("api.partner.example")
            assert reply.addresses == [address]


def own_zone(stage: Stage) -> None:
    for reply in asked(stage, "nobody.own.example"):
        assert (reply.rcode, reply.answers) == (message.NXDOMAIN, ())
        assert [record.kind for record in reply.authority] == [message.SOA]
    assert all(reply.addresses == ["192.0.2.96"] for reply in asked(stage, "a.b.own.example"))


def own_zone_above(stage: Stage) -> None:
    for text in ("b.own.example", "own.example"):
        assert all(is_nodata(reply) for reply in asked(stage, text)), text


def case_kept(stage: Stage) -> None:
    text = "oNe.BookINFO.svc.CLUSTER.local"
    for reply in asked(stage, text):
        assert reply.question == message.query(text)[12:]
        assert [record.name for record in reply.answers] == [text]
        assert reply.addresses == [VIPS[ONE][0]]


def long_names(stage: Stage) -> None:
    assert len(message.name(LONG)) == 250
    for kind, address in ((message.A, "192.0.2.95"), (message.AAAA, "2001:db8::95")):
        for reply in asked(stage, LONG, kind):
            assert reply.addresses == [address], f"got {reply.addresses}"


def long_wildcards(stage: Stage) -> None:
    text = ".".join(["w" * 60] * 3) + ".wild.example"
    for reply in asked(stage, text):
        assert reply.addresses == ["192.0.2.90"], f"got {reply.addresses}"
        assert [record.name for record in reply.answers] == [text]


def wildcards(stage: Stage) -> None:
    for text, address in (
        ("a.wild.example", "192.0.2.90"),
        ("a.b.c.wild.example", "192.0.2.90"),
        ("a.deep.wild.example", "192.0.2.91"),
        ("a.b.deep.wild.example", "192.0.2.91"),
        ("exact.wild.example", "192.0.2.92"),
        ("x.exact.wild.example", "192.0.2.90"),
    ):
        for reply in asked(stage, text):
            assert [record.name for record in reply.answers] == [text]
            assert reply.addresses == [address], text
    assert all(reply.rcode == message.NXDOMAIN for reply in asked(stage, "wild.example"))


def short_forms(stage: Stage) -> None:
    for text in ("one.bookinfo.svc", "one.bookinfo", "one", "far.elsewhere"):
        for reply in asked(stage, text):
            assert [record.name for record in reply.answers] == [text], text
    assert all(reply.rcode == message.NXDOMAIN for reply in asked(stage, "far"))


def headless(stage: Stage) -> None:
    for kind, pods in (
        (message.A, ["10.77.0.44", "10.77.0.54"]),
        (message.AAAA, ["fd77::44", "fd77::54"]),
    ):
        for reply in asked(stage, f"web.{SUFFIX}", kind):
            assert sorted(reply.addresses) == pods
        for number, pod in enumerate(pods):
            for reply in asked(stage, f"web-{number}.web.{SUFFIX}", kind):
                assert reply.addresses == [pod]


def allocated(stage: Stage) -> None:
    for kind, prefix in ((message.A, "240.240."), (message.AAAA, "2001:2:")):
        for reply in asked(stage, "auto.mesh.example", kind):
            (address,) = reply.addresses
            assert address.startswith(prefix)


def over_tcp(stage: Stage) -> None:
    for server in SERVERS:
        queries = tuple(message.query(text, number=n) for n, text in enumerate((ONE, FORTY, "one")))
        replies = [message.parse(reply) for reply in stage.call(question.ask_tcp, server, queries)]
        assert {r.number: len(r.addresses) for r in replies} == {0: 1, 1: 40, 2: 1}
        assert stage.short("+tcp", f"@{server}", ONE) == [VIPS[ONE][0]]


def extra_names(stage: Stage) -> None:
    for text in ("another.name.example", ONE, "one"):
        for number, kind in enumerate((message.A, message.AAAA)):
            for reply in asked(stage, text, kind):
                assert reply.addresses == [VIPS[ONE][number]], text
                assert [record.name for record in reply.answers] == [text]
    assert all(is_nodata(reply) for reply in asked(stage, "another.name.example", message.TXT))


MAIN = (
    Case(name, Group.DNS, run)
    for name, run in {
        "A and AAAA of a mesh name, which never leaves the host": addresses,
        "the order of several addresses changes": turned,
        "a family without an address is NODATA with SOA": missing_family,
        "SRV gives port and host": service_record,
        "PTR of a VIP and of an endpoint": pointer,
        "ANY gives addresses": everything,
        "a search domain's expansion is a CNAME and its addresses": search,
        "CNAME of such a name; of others NODATA": alias,
        "HTTPS, SVCB, TXT, MX, CAA, TYPE999 are NODATA with SOA": other_types,
        "ExternalName leads to its target and that one's addresses": external,
        "own zone: a name of nobody is NXDOMAIN with SOA": own_zone,
        "own zone: a name above a host's is NODATA": own_zone_above,
        "0x20: question and owner keep the client's case": case_kept,
        "a name of 250 bytes": long_names,
        "a long name under a wildcard": long_wildcards,
        "wildcards: several labels, longest suffix, exact first, no * to be seen": wildcards,
        "short forms of a Service, by namespace": short_forms,
        "headless Services and pod names": headless,
        "a host without addresses has VIPs": allocated,
        "mesh names over TCP/53, several on one connection": over_tcp,
    }.items()
)
CASES = (
    *MAIN,
    Case("extra names of istiod's name table", Group.DNS, extra_names, "name table"),
)
