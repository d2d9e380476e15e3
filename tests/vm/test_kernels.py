"""The package's bytecode on Debian's kernels: it loads, answers, and steers a call.

One virtual machine a kernel does everything; each test looks at one part of what it said.
"""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from interceptor.host import bytecode
from interceptor.host.bytecode import Bytecode
from interceptor.host.compiler import PROGRAMS
from interceptor.host.layout import (
    ADDRESSES,
    ALIAS4_NETWORKS,
    ALIAS6_NETWORK,
    CGROUPS,
    HASH_FACTOR,
    LOCALE_HEAD,
    LOCALE_SIZE,
    NAME_SIZE,
    NAME_VALUE,
    POLICY,
    Map,
    Network,
    PolicyFlag,
    State,
    network_key,
)

if TYPE_CHECKING:
    from tests.vm.conftest import Guest, Kernel, Orders, Report

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]

SUITES = {"bullseye": (5, 10), "bookworm": (6, 1), "trixie": (6, 12), "newest": (6, 18)}
"""Of each kernel that is tried, the version that it has at least."""

OUTBOUND_ALIASES = ALIAS4_NETWORKS[0], ip_network((int(ALIAS6_NETWORK[0]) | 1 << 64, 64))

SHOP, SHOP4, SHOP6 = "Shop.Mesh.test", IPv4Address("10.9.8.7"), IPv6Address("fd00:9::7")
TTL_S = 30

VIP4, VIP6, VIP_PORT = IPv4Address("10.9.0.1"), IPv6Address("fd00:9::1"), 8080
SIDECAR_PORT = 15001

AGENT_CGROUP, CGROUP, NETNS = (
    "/sys/fs/cgroup/mesh/agent",
    "/sys/fs/cgroup/mesh",
    "/proc/self/ns/net",
)
PLACES = {
    **dict.fromkeys(("connect4", "connect6", "peername4", "peername6"), CGROUP),
    **dict.fromkeys(("original", "listen"), AGENT_CGROUP),
    "lookup": NETNS,
}
"""Where each program of a steered call is attached."""

MAC, GATEWAY = "02:00:00:00:00:01", "02:00:00:00:00:02"

TC_UNSPEC, TC_OK, TC_REDIRECT = -1, 0, 7
DNS_PROGRAMS = {
    "dns_egress": TC_REDIRECT,
    "dns_egress_l3": TC_REDIRECT,
    "dns_lo": TC_OK,
    "dns_bridge": TC_REDIRECT,
}
"""Each with what it says of a packet that it has made an answer of."""

TOO_OLD = {
    # bpf_get_netns_cookie for socket operations came in 5.15, ingress_ifindex in 5.17.
    "listen": ((5, 15), errno.EINVAL, "unknown_func_bpf_get_netns_cookie"),
    "lookup": ((5, 17), errno.EACCES, "invalid_bpf_context_access"),
}
"""Programs that need more than the oldest kernel: since when they load, and what is said before."""


def policy() -> bytes:
    """Rules 5 to 7 for both families; nobody is exempt."""
    flags = PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.OUTBOUND
    flags |= PolicyFlag.IPV4 | PolicyFlag.IPV6
    ports = (SIDECAR_PORT, SIDECAR_PORT + 5, SIDECAR_PORT + 52)
    nobody = (0,) * (2 + 3 * 2 * CGROUPS)
    return POLICY.pack(0, 0, 0, flags, 0, 0, 0, *ports, *nobody)


def name_entry(name: str, four: IPv4Address, six: IPv6Address) -> tuple[bytes, bytes]:
    """Key and value of a name with an address of each family, as layout.h describes them."""
    labels = (label.encode().lower() for label in name.split("."))
    key = b"".join(bytes([len(label)]) + label for label in labels).ljust(NAME_SIZE, b"\0")
    unhashed = NAME_VALUE.pack(0, 1, 1, 0, 0, four.packed, six.packed)
    assert NAME_VALUE.size == 8 + 8 + ADDRESSES * (4 + 16)
    digest = 0
    for (word,) in struct.iter_unpack("<Q", key + unhashed[8:]):
        digest = (digest + word) * HASH_FACTOR % 2**64
    return key, struct.pack("=Q", digest) + unhashed[8:]


def query(program: str, name: str, kind: str) -> bytes:
    """A over IPv4, AAAA over IPv6, with the link-layer header that the program expects."""
    message = UDP(sport=40000, dport=53) / DNS(id=4711, rd=1, qd=DNSQR(qname=name, qtype=kind))
    # BPF_PROG_TEST_RUN takes bytes 12 and 13 for the Ethernet type: of a packet without such
    # a header they are part of the source, which is chosen so that they say IPv4 or IPv6.
    packet: Packet
    if kind == "A":
        packet = IP(src="8.0.0.9", dst="192.0.2.53") / message
    else:
        packet = IPv6(src="fd00:9:86dd::9", dst="fd00:9::53") / message
    return bytes(packet if program == "dns_egress_l3" else Ether(src=MAC, dst=GATEWAY) / packet)


def fill_maps(orders: Orders) -> None:
    """Generation 0 and view 0: one name, and networks of both families that are captured."""
    orders.put(Map.POLICY, index(0), policy())
    orders.put(Map.LOCALE, index(0), LOCALE_HEAD.pack(TTL_S, 0, 0).ljust(LOCALE_SIZE, b"\0"))
    orders.put(Map.NAMES, *name_entry(SHOP, SHOP4, SHOP6), view=0)
    orders.put(Map.STATE, index(State.HAS_VIEW), struct.pack("=Q", 1))
    for text in ("10.0.0.0/8", "fd00::/16"):
        key = network_key(Network.OUTBOUND, 0, ip_network(text))
        orders.put(Map.NETWORKS, key, b"\1")


def index(number: int) -> bytes:
    return struct.pack("=I", number)


def ask_each(orders: Orders, code: Bytecode) -> None:
    for program in DNS_PROGRAMS:
        if program in code.programs:
            orders.run(program, f"{program}-A", query(program, SHOP, "A"))
            orders.run(program, f"{program}-AAAA", query(program, SHOP, "AAAA"))
            orders.run(program, f"{program}-miss", query(program, "elsewhere.test", "A"))


def call_each(orders: Orders, code: Bytecode) -> None:
    for name, path in PLACES.items():
        if name in code.programs:
            orders.attach(code.programs[name], path)
    orders.route(ALIAS6_NETWORK, "alias6")
    orders.connect("v4", VIP4, VIP_PORT, SIDECAR_PORT)
    orders.connect("v6", VIP6, VIP_PORT, SIDECAR_PORT)
    orders.connect("v4-alone", VIP4, VIP_PORT)
    orders.connect("v6-alone", VIP6, VIP_PORT)


@pytest.fixture(scope="module")
def code() -> Bytecode:
    return bytecode.read()


@pytest.fixture(scope="module", params=SUITES)
def report(
    request: pytest.FixtureRequest, kernels: dict[str, Kernel], guest: Guest, code: Bytecode
) -> Report:
    orders = guest.orders()
    orders.make_maps()
    fill_maps(orders)
    for program in code.programs.values():
        orders.load(program)
    ask_each(orders, code)
    call_each(orders, code)
    return guest.boot(kernels[request.param], orders)


def test_the_kernel_is_the_one_that_was_meant(report: Report) -> None:
    least = SUITES[report.kernel.suite]
    newer = report.release > least and report.kernel.suite == "newest"
    assert report.release == least or newer


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_loads_or_fails_as_it_is_known_to(report: Report, program: str) -> None:
    said = report.said["load", program]
    since, code, reason = TOO_OLD.get(program, ((0, 0), 0, ""))
    if report.release >= since:
        assert said.ok, said.values.get("log", said.values)
    else:
        assert said.values["errno"] == str(code)
        assert reason in said.values["log"]


def test_every_map_is_made_and_filled(report: Report) -> None:
    """The guest speaks of those only that the kernel refuses."""
    assert not [key for key in report.said if key[0] in ("map", "put", "route")]


@pytest.mark.parametrize("kind", ["A", "AAAA"])
@pytest.mark.parametrize("program", DNS_PROGRAMS)
def test_a_name_of_the_mesh_is_answered_in_the_kernel(
    report: Report, program: str, kind: str
) -> None:
    said = report.said["run", f"{program}-{kind}"]
    asked = decode(program, query(program, SHOP, kind))
    assert int(said.values["result"]) == DNS_PROGRAMS[program]
    answer = decode(program, bytes.fromhex(said.values["data"]))
    assert rechecked(program, answer) == bytes(answer), "checksums and lengths"
    assert (answer[UDP].sport, answer[UDP].dport) == (asked[UDP].dport, asked[UDP].sport)
    layer = IP if kind == "A" else IPv6
    assert (answer[layer].src, answer[layer].dst) == (asked[layer].dst, asked[layer].src)
    message = answer[DNS]
    assert (message.id, message.qr, message.aa, message.rcode) == (4711, 1, 1, 0)
    assert message.qd[0].qname == f"{SHOP}.".encode(), "as it was asked, not in lower case"
    [record] = message.an
    assert (record.ttl, ip_address(record.rdata)) == (TTL_S, SHOP4 if kind == "A" else SHOP6)


@pytest.mark.parametrize("program", DNS_PROGRAMS)
def test_an_unknown_name_passes_untouched(report: Report, program: str) -> None:
    said = report.said["run", f"{program}-miss"]
    assert int(said.values["result"]) == TC_UNSPEC
    assert bytes.fromhex(said.values["data"]) == query(program, "elsewhere.test", "A")


def decode(program: str, frame: bytes) -> Packet:
    if program != "dns_egress_l3":
        return Ether(frame)
    return IP(frame) if frame[0] >> 4 == 4 else IPv6(frame)


def rechecked(program: str, packet: Packet) -> bytes:
    """The packet with lengths and checksums worked out anew."""
    other = decode(program, bytes(packet))
    for layer, names in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (UDP, ("len", "chksum"))):
        if layer in other:
            for name in names:
                delattr(other[layer], name)
    return bytes(other)


STEERING = [suite for suite, release in SUITES.items() if release >= (5, 17)]
on_steering_kernels = pytest.mark.parametrize("report", STEERING, indirect=True)


@on_steering_kernels
@pytest.mark.parametrize(("name", "address"), [("v4", VIP4), ("v6", VIP6)])
def test_a_captured_call_reaches_the_sidecar_and_both_ends_see_the_destination(
    report: Report, name: str, address: IPv4Address | IPv6Address
) -> None:
    said = report.said["connect", name]
    assert said.ok, said
    assert said.values["peer"] == said.values["original"] == f"{address},{VIP_PORT}"
    alias, port = said.values["at"].split(",")
    assert int(port) == VIP_PORT
    assert any(ip_address(alias) in network for network in OUTBOUND_ALIASES)


@on_steering_kernels
@pytest.mark.parametrize("name", ["v4-alone", "v6-alone"])
def test_a_captured_call_is_refused_at_once_without_a_sidecar(report: Report, name: str) -> None:
    assert report.said["connect", name].values == {"errno": str(errno.ECONNREFUSED)}
