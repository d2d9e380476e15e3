"""Names that are rewritten while they are asked for: no answer is ever another name's."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import DNSRecord

from interceptor.dns import entry
from interceptor.host.layout import MARK_ROOT, NAME_VALUE, Map, State
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root

SECONDS = 4
NAMES = ("one.test", "two.test")
ADDRESSES = {
    "one.test": (b"\x0a\x01\x01\x01", b"\x0a\x01\x01\x02"),
    "two.test": (b"\x0a\x02\x02\x01", b"\x0a\x02\x02\x02"),
}


@pytest.fixture
def table(dns: Any) -> Any:
    """The inner map of the view in force, with both names in it."""
    hosts = [Host(name, "x", Kind.SERVICE, (ip_address(ADDRESSES[name][0]),)) for name in NAMES]
    return dns.publish(Answers.build(hosts, Locale("vm")))._tables[Map.NAMES].map


def rewrite(dns: Any, table: Any, is_deleting: bool) -> None:
    """For ever: both names get one address and the other, and are taken out in between."""
    writes = 0
    keys = {name: entry.encode_key(name, MARK_ROOT) for name in NAMES}
    values = {
        (name, one): entry.encode_value(keys[name], 0, one * 8)
        for name in NAMES
        for one in ADDRESSES[name]
    }
    state = dns.kernel.maps[Map.STATE]
    place = struct.pack("=I", State.WRITES)
    while True:
        for name in NAMES:
            for one in ADDRESSES[name]:
                writes += 2
                state.update(place, struct.pack("=Q", writes - 1))
                if is_deleting:
                    table.delete(keys[name])
                table.update(keys[name], values[name, one])
                state.update(place, struct.pack("=Q", writes))


@pytest.mark.parametrize("is_deleting", [False, True])
def test_no_answer_is_wrong_while_names_are_rewritten(
    dns: Any, table: Any, query_frame: Callable[[bytes], bytes], is_deleting: bool
) -> None:
    dns.kernel.load("dns_egress")
    writer = os.fork()
    if writer == 0:
        try:
            rewrite(dns, table, is_deleting)
        finally:
            os._exit(1)
    frames = {name: query_frame(bytes(DNSRecord.question(name).pack())) for name in NAMES}
    answered = passed = 0
    state, place = dns.kernel.maps[Map.STATE], struct.pack("=I", State.WRITES)
    try:
        while struct.unpack("=Q", state.lookup(place))[0] < 8:
            time.sleep(0.01)  # until then there are the published values, of one address
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for name in NAMES:
                run = dns.run(frames[name])
                if run.data == frames[name]:
                    passed += 1
                    continue
                found = {run.data[-4 - 16 * n :][:4] for n in range(8)}
                assert found in ({one} for one in ADDRESSES[name])
                answered += 1
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    counts = dns.counts()
    assert answered > 1000
    if not is_deleting:
        assert passed == counts.get(("torn", "A"), 0)
        assert passed < answered / 1000


def test_a_value_that_does_not_fit_its_hash_is_not_used(dns: Any, table: Any) -> None:
    key = entry.encode_key(NAMES[0], MARK_ROOT)
    whole = table.lookup(key)
    places = range(0, NAME_VALUE.size, 5)
    for place in places:
        value = bytearray(whole)
        value[place] ^= 1
        table.update(key, bytes(value))
        assert dns.ask(bytes(DNSRecord.question(NAMES[0]).pack())).verdict == "pass", place
    assert dns.counts() == {("torn", "A"): len(places)}


def test_another_names_value_is_not_used(dns: Any, table: Any) -> None:
    one, two = (entry.encode_key(name, MARK_ROOT) for name in NAMES)
    table.update(one, table.lookup(two))
    assert dns.ask(bytes(DNSRecord.question(NAMES[0]).pack())).verdict == "pass"
    assert dns.ask(bytes(DNSRecord.question(NAMES[1]).pack())).verdict == "answer"
    assert dns.counts() == {("torn", "A"): 1, ("answer", "A"): 1}
