"""Hosts as people set them up: what they filter, forward and leave out."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

from tests.contract.conformance import message
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import (
    DEAD_SERVERS,
    ENDPOINT,
    FAR_SERVERS,
    ONE,
    SERVERS,
    STUB,
    UPSTREAM,
    VIPS,
    WWW,
)

FIREWALL = """
nft -f - <<'X'
table inet wall { chain in { type filter hook input priority 0; policy drop;
  iif lo accept
  ct state established,related accept
  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
}
}
X
"""
NO_FIREWALL = "nft delete table inet wall"
SIOCETHTOOL, ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM = 0x8946, 0x16, 0x17  # linux/sockios.h, ethtool.h
RP_FILTERS = tuple(f"net.ipv4.conf.{device}.rp_filter" for device in ("all", "eth0", "eth1", "lo"))


def works(stage: Stage) -> None:
    """Assert names and calls of both families, and what is others'."""
    for number, server in enumerate(SERVERS):
        assert stage.addresses(server, ONE) == [VIPS[ONE][number]]
        assert stage.addresses(server, "www.corp.example") == [WWW[number]]
        assert stage.dial(VIPS[ONE][number]).way == "sidecar"
        assert stage.dial(ENDPOINT[number]).way == "direct"
    assert stage.addresses(FAR_SERVERS[0], ONE) == [VIPS[ONE][0]]
    assert stage.addresses(STUB, ONE) == [VIPS[ONE][0]]
    assert stage.short("+tcp", f"@{SERVERS[0]}", ONE) == [VIPS[ONE][0]]
    assert stage.short("+tcp", f"@{SERVERS[0]}", "www.corp.example") == [WWW[0]]
    assert stage.short(f"@{SERVERS[0]}", "-x", VIPS[ONE][0]) == [f"{ONE}."]


def firewall(stage: Stage) -> None:
    with stage.changed(FIREWALL, NO_FIREWALL):
        assert stage.dial("10.77.0.10", 8000, host="peer").way == "timeout"
        works(stage)


def strict_source(stage: Stage) -> None:
    was = dict(zip(RP_FILTERS, stage.vm("sysctl", "-n", *RP_FILTERS).split(), strict=True))
    strict = " ".join(f"{name}=1" for name in RP_FILTERS)
    undo = " ".join(f"{name}={value}" for name, value in was.items())
    with stage.changed(f"sysctl -qw {strict}", f"sysctl -qw {undo}"):
        works(stage)
        assert stage.dial("10.77.0.10", 3306, host="peer").way == "sidecar"


def checksum_offload(device: str, value: int | None = None) -> int:
    """Whether the device computes checksums; with ``value`` set first (linux/ethtool.h)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for word, data in ((ETHTOOL_STXCSUM, value), (ETHTOOL_GTXCSUM, 0)):
            if data is None:
                continue
            buffer = ctypes.create_string_buffer(struct.pack("=II", word, data), 8)
            request = struct.pack("=16sQ", device.encode(), ctypes.addressof(buffer))
            fcntl.ioctl(one, SIOCETHTOOL, request.ljust(40, b"\0"))
        return int(struct.unpack("=II", buffer.raw)[1])


def no_offload(stage: Stage) -> None:
    assert stage.call(checksum_offload, "eth0") == 1
    try:
        assert stage.call(checksum_offload, "eth0", 0) == 0
        works(stage)
    finally:
        assert stage.call(checksum_offload, "eth0", 1) == 1


def container_dns(stage: Stage) -> None:
    for number, server in enumerate(SERVERS):
        assert stage.addresses(server, ONE, stage.box) == [VIPS[ONE][number]]
        assert stage.addresses(server, "www.corp.example", stage.box) == [WWW[number]]
    for number, server in enumerate(("172.30.0.1", "fd30::1")):
        assert stage.addresses(server, ONE, stage.box) == [VIPS[ONE][number]]
    query = message.query(f"{ONE}.corp.example")
    assert stage.ask(SERVERS[0], query, owner=stage.box).addresses == [VIPS[ONE][0]]


def container_dns_firewall(stage: Stage) -> None:
    with stage.changed(FIREWALL, NO_FIREWALL):
        for number, server in enumerate(SERVERS):
            assert stage.addresses(server, ONE, stage.box) == [VIPS[ONE][number]]


def container_left_alone(stage: Stage) -> None:
    """Behind MASQUERADE, without opting in: others' names work, and ours are the resolver's."""
    stage.assert_at_work()
    for number, server in enumerate(SERVERS):
        assert stage.addresses(server, "www.corp.example", stage.box) == [WWW[number]]
        assert stage.addresses(server, ONE, stage.box) == [UPSTREAM[number]]
        stage.assert_container_direct(ENDPOINT[number])


def container_tcp(stage: Stage) -> None:
    for vip in VIPS[ONE]:
        seen = stage.dial(vip, owner=stage.box)
        assert (seen.way, seen.peer) == ("sidecar", (vip, 7000)), seen
    for address in ENDPOINT:
        stage.assert_container_direct(address)


def without_ipv6(stage: Stage) -> None:
    assert stage.addresses(SERVERS[0], ONE) == [VIPS[ONE][0]]
    assert stage.addresses(STUB, ONE) == [VIPS[ONE][0]]
    assert stage.short(f"@{SERVERS[0]}", ONE, "AAAA") == [VIPS[ONE][1]]
    assert stage.short("+tcp", f"@{SERVERS[0]}", ONE) == [VIPS[ONE][0]]
    assert stage.addresses(SERVERS[0], "www.corp.example") == [WWW[0]]
    assert stage.dial(VIPS[ONE][0]).way == "sidecar"
    assert stage.dial("10.77.0.10", 3306, host="peer").way == "sidecar"


def dead_resolver(stage: Stage) -> None:
    for number, server in enumerate(DEAD_SERVERS):
        assert stage.addresses(server, ONE) == [VIPS[ONE][number]]


CASES = (
    Case("stateful INPUT DROP firewall", Group.HOST, firewall),
    Case("strict rp_filter", Group.HOST, strict_source),
    Case("checksum offload off", Group.HOST, no_offload),
    Case("a resolver that is gone, on the link: mesh names go on", Group.HOST, dead_resolver),
    Case("MASQUERADEd container that has not opted in", Group.HOST, container_left_alone),
    Case("container behind a bridge: DNS", Group.HOST, container_dns, "bridge DNS"),
    Case(
        "container behind a bridge: DNS, stateful firewall",
        Group.HOST,
        container_dns_firewall,
        "bridge DNS",
    ),
    Case("container behind a bridge: TCP", Group.HOST, container_tcp, "bridge"),
    Case("IPv6 disabled", Group.HOST, without_ipv6, "no IPv6"),
)
