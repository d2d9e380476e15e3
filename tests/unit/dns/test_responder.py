"""Bytes in, bytes out: every response against one made by the reference codec."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from dnslib import CLASS, EDNS0, QTYPE, RCODE, DNSHeader, DNSQuestion, DNSRecord, EDNSOption
from hypothesis import given
from hypothesis import strategies as st

from interceptor.dns import responder as responders
from interceptor.dns.responder import TCP_LIMIT, Responder
from interceptor.mesh import record
from interceptor.mesh.answer import Answers, normal
from interceptor.mesh.model import Host, Kind, Locale
from interceptor.mesh.outcome import Resolution, Verdict

Query = Callable[..., bytes]

FIRST = ["reviews", "v4", "six", "many", "db", "ext", "none", "_http._tcp.reviews", "a.b"]
LAST = [".bookinfo", ".bookinfo.svc", ".bookinfo.svc.cluster.local", ".wild.test", ".own.test", ""]
SEARCH = ["", ".corp.test", ".CORP.test"]
POINTERS = ["1.0.0.10.in-addr.arpa", "3.0.0.10.in-addr.arpa", "2.0.0.10.IN-ADDR.arpa"]
NAMES = st.one_of(
    st.tuples(*(st.sampled_from(part) for part in (FIRST, LAST, SEARCH))).map("".join),
    st.sampled_from(POINTERS),
)
KINDS = st.sampled_from(["A", "AAAA", "SRV", "PTR", "ANY", "CNAME", "HTTPS", "TXT", "MX", "SOA"])
SIZES = st.sampled_from([None, 512, 1232, 4096, 65535])


def mixed(name: str, seed: int) -> str:
    """``name`` in random case, as resolvers do that want to be sure of the answer (0x20)."""
    chance = random.Random(seed)
    return "".join(chance.choice((c.lower(), c.upper())) for c in name)


def records(message: DNSRecord) -> list[tuple[str, str, str, int]]:
    return sorted(
        (normal(str(rr.rname)), QTYPE[rr.rtype], normal(str(rr.rdata)), rr.ttl) for rr in message.rr
    )


def wanted(resolution: Resolution) -> list[tuple[str, str, str, int]]:
    return sorted((a.name, a.type, normal(a.data), a.ttl_s) for a in resolution.answers)


@given(NAMES, KINDS, SIZES, st.integers(0, 9), st.booleans())
def test_every_response_says_what_the_reference_says(
    answers: Answers, query: Query, name: str, kind: str, size: int | None, seed: int, do: bool
) -> None:
    asked = mixed(name, seed)
    message = query(asked, kind, size, "do" if do else "")
    resolution = answers.resolve(name, kind)
    response = Responder(answers, random.random, TCP_LIMIT, is_udp=False).respond(message)
    if resolution.verdict is Verdict.PASS:
        assert response is None
        return
    assert response is not None
    got = DNSRecord.parse(response)
    assert response[:2] == message[:2]
    assert response[12 : 12 + len(asked) + 6] == message[12 : 12 + len(asked) + 6]
    assert records(got) == wanted(resolution)
    assert RCODE[got.header.rcode] == resolution.rcode
    assert (got.header.aa, got.header.ra, got.header.tc, got.header.qr) == (1, 1, 0, 1)
    negative = resolution.verdict in (Verdict.NODATA, Verdict.NXDOMAIN)
    assert [QTYPE[rr.rtype] for rr in got.auth] == (["SOA"] if negative else [])
    if size is None:
        assert not got.ar
    else:
        (opt,) = got.ar
        assert (opt.edns_len, opt.edns_ver, opt.edns_do, opt.rdata) == (1232, 0, int(do), [])


@given(NAMES, KINDS, SIZES)
def test_a_response_never_exceeds_what_the_client_takes(
    answers: Answers, query: Query, name: str, kind: str, size: int | None
) -> None:
    response = Responder(answers, random.random, 4096).respond(query(name, kind, size))
    if response is not None:
        assert len(response) <= min(max(size or 0, 512), 4096)
        got = DNSRecord.parse(response)
        assert got.header.tc == (len(wanted(answers.resolve(name, kind))) > len(got.rr))


@given(st.data())
def test_mutated_queries_are_untouched_or_well_answered(
    answers: Answers, query: Query, data: st.DataObject
) -> None:
    message = bytearray(query("reviews.bookinfo", "A", 1232))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message) - 1))
        message[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(message)))
    sent = bytes(message[:cut] if data.draw(st.booleans()) else message)
    response = Responder(answers, random.random, 4096).respond(sent)
    if response is not None:
        got = DNSRecord.parse(response)
        assert got.header.id == int.from_bytes(sent[:2], "big")
        assert got.header.qr == 1
        assert len(got.questions) == 1


def test_even_more_than_tcp_can_carry_is_cut(answers: Answers, query: Query) -> None:
    responder = Responder(answers, random.random, TCP_LIMIT, is_udp=False)
    response = responder.respond(query("huge.bookinfo"))
    assert response is not None
    assert TCP_LIMIT - 16 < len(response) <= TCP_LIMIT
    assert DNSRecord.parse(response).header.tc == 1


def test_the_order_is_random(answers: Answers, query: Query) -> None:
    rolls = iter([0.0, 0.6, 0.999])
    responder = Responder(answers, lambda: next(rolls), 4096)
    responses = [responder.respond(query("reviews.bookinfo")) for _ in range(3)]
    firsts = [str(DNSRecord.parse(response).rr[0].rdata) for response in responses if response]
    assert firsts == ["10.0.0.1", "10.0.0.2", "10.0.0.2"]


def fresh(*names: str) -> Answers:
    hosts = [Host(name, "x", Kind.SERVICE_ENTRY, (ip_address("10.0.0.1"),)) for name in names]
    return Answers.build(hosts, Locale())


def test_a_change_is_seen_at_once(query: Query) -> None:
    answers = fresh("a.test")
    responder = Responder(answers, random.random, 4096)
    asked, other = query("a.test"), query("b.test")
    assert responder.respond(asked)
    assert responder.respond(other) is None
    answers.directory.drop("a.test")
    host = Host("b.test", "x", Kind.SERVICE_ENTRY, (ip_address("10.0.0.2"),))
    answers.directory.put("b.test", record.encode(host))
    responder.adopt(answers)
    assert responder.respond(asked) is None
    assert responder.respond(other)


def test_what_was_worked_out_from_the_old_table_is_not_kept(query: Query) -> None:
    """The other thread changes the table while a reply is being made."""
    answers = fresh("a.test")
    responder = Responder(answers, random.random, 4096)
    make = responder._make

    def interrupted(*arguments: object) -> object:
        made = make(*arguments)  # type: ignore[arg-type]
        answers.directory.drop("a.test")
        responder.adopt(answers)
        return made

    responder._make = interrupted  # type: ignore[method-assign,assignment]
    assert responder.respond(query("a.test"))
    responder._make = make  # type: ignore[method-assign]
    assert responder.respond(query("a.test")) is None


def test_everything_is_counted_by_result_and_type(answers: Answers, query: Query) -> None:
    responder = Responder(answers, random.random, 4096)
    for message in [query("v4.bookinfo")] * 3 + [query("v4.bookinfo", "HTTPS"), query("x.y"), b"?"]:
        responder.respond(message)
    other = DNSRecord(DNSHeader(), q=DNSQuestion("x.y", 99, CLASS.IN))
    responder.respond(bytes(other.pack()))
    assert responder.counts == {
        ("answer", "A"): 3,
        ("nodata", "HTTPS"): 1,
        ("pass", "A"): 1,
        ("pass", "other"): 1,
        ("odd-short", ""): 1,
    }


@pytest.mark.parametrize("suffix", ["wild.test", "elsewhere.test"])
def test_a_flood_of_random_names_grows_nothing_beyond_its_bound(
    answers: Answers, query: Query, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responders, "MAXIMUM_QUERIES", 50)
    monkeypatch.setattr(responders, "MAXIMUM_NAMES", 70)
    responder = Responder(answers, random.random, 4096)
    for number in range(400):
        responder.respond(query(f"x{number}.{suffix}"))
        cache = responder.cache
        assert max(len(cache.ready), len(cache.passed)) <= 50
        assert len(cache.bodies) <= 70
    assert responder.emptied > 5


def test_a_name_that_cannot_be_written_is_left_alone_and_counted(query: Query) -> None:
    host = Host("a.test", "x", Kind.EXTERNAL_NAME, external_name="bad..name")
    responder = Responder(Answers.build([host], Locale()), random.random, 4096)
    assert responder.respond(query("a.test")) is None
    assert responder.counts["unwritable", ""] == 1


def test_cookies_and_other_options_are_not_echoed(answers: Answers) -> None:
    asked = DNSRecord.question("v4.bookinfo")
    asked.add_ar(EDNS0(udp_len=1232, opts=[EDNSOption(10, b"12345678")]))
    response = Responder(answers, random.random, 4096).respond(bytes(asked.pack()))
    assert response is not None
    assert DNSRecord.parse(response).ar[0].rdata == []
