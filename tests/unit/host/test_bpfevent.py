"""Records of the programs as values."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from dnslib import DNSLabel, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.host import bpfevent
from interceptor.host.layout import DNS_RESULTS, EVENT, NAME_SIZE, TCP_RESULTS, EventKind

QUERY = bytes(DNSRecord.question("A.Test", "AAAA").pack())[12:]
LABELS = st.lists(st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=6)


def mapped(text: str) -> bytes:
    return b"\0" * 10 + b"\xff\xff" + ip_address(text).packed


def packed(kind: int, result: int, uid: int = 1000) -> bytes:
    ends = mapped("192.0.2.53"), QUERY.ljust(NAME_SIZE, b"\0")
    more = 77, 88, ip_address("fd10::2").packed, 4000, b"curl"
    return EVENT.pack(5, kind, result, uid, 3, 7, 28, 53, *ends, *more)


def test_a_query_is_read_whole() -> None:
    found = bpfevent.decode(packed(EventKind.DNS, DNS_RESULTS.index("nodata")))
    assert (found.kind, found.result, found.name, found.qtype) == (
        *(EventKind.DNS, "nodata", "a.test"),
        28,
    )
    assert (found.uid, found.pid, found.comm) == (1000, 7, ""), "the program writes no name"
    assert (str(found.source), found.source_port) == ("fd10::2", 4000)
    assert (str(found.address), found.port) == ("192.0.2.53", 53)
    assert (found.time_ns, found.interface, found.cookie, found.cgroup) == (5, 3, 77, 88)


def test_a_connection_has_no_name_and_an_arrival_no_owner() -> None:
    found = bpfevent.decode(packed(EventKind.LOOKUP, TCP_RESULTS.index("inbound"), 0xFFFFFFFF))
    assert (found.result, found.name, found.uid) == ("inbound", "", None)


def test_zeros_are_no_address() -> None:
    assert bpfevent.decode_address(bytes(16)) is None


@pytest.mark.parametrize("record", [b"", packed(1, 0)[:-1], packed(1, 15), packed(9, 0)])
def test_what_no_program_wrote_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError):
        bpfevent.decode(record)


@settings(deadline=None)
@given(LABELS)
def test_a_name_is_read_as_dnslib_writes_it(labels: list[str]) -> None:
    name = ".".join(labels)
    wire = bytes(DNSRecord.question(name).pack())[12:][:NAME_SIZE].ljust(NAME_SIZE, b"\0")
    found = bpfevent.decode_name(wire)
    if len(name) + 2 <= NAME_SIZE:
        assert found == name == str(DNSLabel(name)).rstrip(".")
    else:
        assert found.endswith("...")
        assert name.startswith(found[:-3])


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (b"\0", ""),
        (bytes(NAME_SIZE), ""),
        (b"\3a.b\0", "a\\046b"),
        (b"\1\xff\0", "\\255"),
        (b"\5abc", "abc..."),
        (b"\1a\xc0\x0c", "a.\\012..."),
    ],
)
def test_odd_names_are_told_as_they_are(wire: bytes, name: str) -> None:
    assert bpfevent.decode_name(wire) == name


@settings(deadline=None)
@given(st.binary(max_size=NAME_SIZE))
def test_no_bytes_are_too_odd(wire: bytes) -> None:
    assert bpfevent.decode_name(wire).isprintable()
