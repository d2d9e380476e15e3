"""Forward zones in the programs: such names are the worker's, in both families and on every way."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import DNSRecord

from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root

SERVERS = ("192.0.2.9",)
ZONES = (("zone.test", SERVERS), ("svc.cluster.local", SERVERS), ("2.0.192.in-addr.arpa", SERVERS))
HOSTS = (
    Host("in.zone.test", "x", Kind.SERVICE_ENTRY, (ip_address("10.0.0.1"),)),
    Host("*.wild.zone.test", "x", Kind.SERVICE_ENTRY, (ip_address("10.0.0.2"),)),
    Host("open.zone.test", "x", Kind.SERVICE_ENTRY),
    Host("open.other.test", "x", Kind.SERVICE_ENTRY),
    Host("a.b.svc.cluster.local", "b", Kind.SERVICE, (ip_address("10.0.0.3"),)),
)
FATES = {
    "zone.test": "handover",
    "x.zone.test": "handover",
    "X.y.ZONE.test": "handover",
    "open.zone.test": "handover",
    "_x._tcp.zone.test": "handover",
    "nobody.b.svc.cluster.local": "handover",
    "7.2.0.192.in-addr.arpa": "handover",
    "in.zone.test": "answer",
    "x.wild.zone.test": "answer",
    "a.b": "answer",
    "a.b.svc.cluster.local": "answer",
    "xzone.test": "pass",
    "test": "pass",
    "open.other.test": "pass",
    "www.other.test": "pass",
    "nobody.b": "pass",
}


def asked(name: str) -> bytes:
    return bytes(DNSRecord.question(name).pack())


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("program", ["dns_egress", "dns_lo", "dns_bridge"])
def test_a_forward_zones_names_are_the_workers(dns: Any, family: int, program: str) -> None:
    dns.publish(Answers.build(HOSTS, Locale("vm", forward_zones=ZONES)))
    found = {name: dns.ask(asked(name), family, program).verdict for name in FATES}
    assert found == FATES


def test_without_forward_zones_the_same_names_pass(dns: Any) -> None:
    dns.publish(Answers.build(HOSTS, Locale("vm")))
    found = {name for name in FATES if dns.ask(asked(name)).verdict == "pass"}
    assert {name for name, fate in FATES.items() if fate == "handover"} <= found | {
        "_x._tcp.zone.test"
    }


def test_a_host_that_goes_leaves_its_name_to_the_zone(dns: Any) -> None:
    answers = Answers.build(HOSTS, Locale("vm", forward_zones=ZONES))
    dns.publish(answers)
    assert dns.ask(asked("in.zone.test")).verdict == "answer"
    answers.directory.drop("in.zone.test")
    answers.directory.drop("*.wild.zone.test")
    dns.publish(answers)
    for name in ("in.zone.test", "x.wild.zone.test"):
        assert dns.ask(asked(name)).verdict == "handover"
