"""A small mesh and queries for it, made by the reference codec."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from dnslib import EDNS0, DNSRecord

from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Endpoint, Host, Kind, Locale, Port

NS = "bookinfo.svc.cluster.local"


@pytest.fixture(scope="session")
def answers() -> Answers:
    two = (ip_address("10.0.0.1"), ip_address("10.0.0.2"))
    hosts = [
        Host(f"reviews.{NS}", "bookinfo", Kind.SERVICE, (*two, ip_address("fd00::1")),
             (Port("http", 9080),)),
        Host(f"v4.{NS}", "bookinfo", Kind.SERVICE, two[:1]),
        Host(f"six.{NS}", "bookinfo", Kind.SERVICE, (ip_address("fd00::6"), ip_address("fd00::7"))),
        Host(f"many.{NS}", "bookinfo", Kind.SERVICE,
             tuple(ip_address("10.10.0.0") + n for n in range(100))),
        Host(f"huge.{NS}", "bookinfo", Kind.SERVICE,
             tuple(ip_address("10.64.0.0") + n for n in range(5000))),
        Host(f"db.{NS}", "bookinfo", Kind.HEADLESS, two, (Port("sql", 3306),),
             tuple(map(Endpoint, two))),
        Host(f"ext.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name="a.wild.test"),
        Host("*.wild.test", "x", Kind.SERVICE_ENTRY, two[1:]),
    ]  # fmt: skip
    return Answers.build(hosts, Locale("vm", search=("corp.test",), own_zones=("own.test",)))


@pytest.fixture(scope="session")
def query() -> Callable[..., bytes]:
    """A query message. ``size`` None: without EDNS."""

    def make(
        name: str, kind: str = "A", size: int | None = None, flags: str = "", version: int = 0
    ) -> bytes:
        record = DNSRecord.question(name, kind)
        if size is not None:
            record.add_ar(EDNS0(udp_len=size, flags=flags, version=version))
        return bytes(record.pack())

    return make
