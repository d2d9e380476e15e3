"""The package's bytecode on Debian's kernels: it loads, answers, and steers a call.

One virtual machine a kernel does everything; each test looks at one part of what it said.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRROPT
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from interceptor.host import bytecode, layout
from interceptor.host.bytecode import Bytecode
from interceptor.host.compiler import PROGRAMS
from interceptor.host.layout import Map, Network, PolicyFlag, State

if TYPE_CHECKING:
    from tests.vm.conftest import Guest, Kernel, Orders, Report

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]

SUITES = {"bullseye": (5, 10), "bookworm": (6, 1), "trixie": (6, 12), "newest": (6, 18)}
"""Of each kernel that is tried, the version that it has at least."""

OUTBOUND_ALIASES = (
    layout.ALIAS4_NETWORKS[0],
    ip_network((int(layout.ALIAS6_NETWORK[0]) | 1 << 64, 64)),
)

SHOP, BANK = "Shop.Mesh.test", "Bank.Mesh.test"
NAMES = {
    SHOP: ([IPv4Address("10.9.8.7")], [IPv6Address("fd00:9::7")]),
    BANK: (
        [IPv4Address("10.9.7.1") + n for n in range(layout.ADDRESSES)],
        [IPv6Address("fd00:9:7::1") + n for n in range(layout.ADDRESSES)],
    ),
}
"""One address of each family, and as many as the kernel answers with."""

TTL_S = 30

VIPS: dict[str, IPv4Address | IPv6Address] = {
    "ipv4": IPv4Address("10.9.0.1"),
    "ipv6": IPv6Address("fd00:9::1"),
}
VIP_PORT = 8080
SIDECAR_PORT = 15001

AGENT_CGROUP, CGROUP, NETNS = (
    "/sys/fs/cgroup/mesh/agent",
    "/sys/fs/cgroup/mesh",
    "/proc/self/ns/net",
)
PLACES = {
    **dict.fromkeys(("connect4", "connect6", "peername4", "peername6"), CGROUP),
    **dict.fromkeys(("original", "listen"), AGENT_CGROUP),
}
"""Where each program of a steered call is attached, but for the namespace's."""

WAYS = {"lookup": "lookup", "plain": "lookup_plain"}

MAC, GATEWAY = "02:00:00:00:00:01", "02:00:00:00:00:02"

SOA = 6  # RFC 1035
TC_UNSPEC, TC_OK, TC_REDIRECT = -1, 0, 7
DNS_PROGRAMS = {
    "dns_egress": TC_REDIRECT,
    "dns_egress_l3": TC_REDIRECT,
    "dns_lo": TC_OK,
    "dns_bridge": TC_REDIRECT,
}
"""Each with what it says of a packet that it has made an answer of."""

ELSEWHERE = "elsewhere.test"
QUESTIONS = [
    (SHOP, "A"),
    (SHOP, "AAAA"),
    (BANK, "A"),
    (BANK, "AAAA"),
    (SHOP, "TXT"),
    (ELSEWHERE, "A"),
]

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
    nobody = (0,) * (2 + 3 * 2 * layout.CGROUPS)
    return layout.POLICY.pack(0, 0, 0, flags, 0, 0, 0, *ports, *nobody)


def name_entry(
    name: str, four: Sequence[IPv4Address], six: Sequence[IPv6Address]
) -> tuple[bytes, bytes]:
    """Key and value of a name, as layout.h describes them."""
    labels = (label.encode().lower() for label in name.split("."))
    key = b"".join(bytes([len(label)]) + label for label in labels).ljust(layout.NAME_SIZE, b"\0")
    packed = (b"".join(address.packed for address in each) for each in (four, six))
    unhashed = layout.NAME_VALUE.pack(0, len(four), len(six), 0, 0, *packed)
    digest = 0
    for (word,) in struct.iter_unpack("=Q", key + unhashed[8:]):
        digest = (digest + word) * layout.HASH_FACTOR % 2**64
    return key, struct.pack("=Q", digest) + unhashed[8:]


def query(program: str, name: str, kind: str) -> bytes:
    """AAAA over IPv6, others over IPv4, with the link-layer header that the program expects.

    For BANK with EDNS, so that an answer is as long as it can get.
    """
    question = DNSQR(qname=name, qtype=kind)
    extra = [DNSRROPT(rclass=1232)] if name == BANK else []
    message = UDP(sport=40000, dport=53) / DNS(id=4711, rd=1, qd=question, ar=extra)
    # BPF_PROG_TEST_RUN takes bytes 12 and 13 for the Ethernet type: of a packet without such
    # a header they are part of the source, which is chosen so that they say IPv4 or IPv6.
    packet: Packet
    if kind != "AAAA":
        packet = IP(src="8.0.0.9", dst="192.0.2.53") / message
    else:
        packet = IPv6(src="fd00:9:86dd::9", dst="fd00:9::53") / message
    return bytes(packet if program == "dns_egress_l3" else Ether(src=MAC, dst=GATEWAY) / packet)


def fill_maps(orders: Orders) -> None:
    """Generation 0 and view 0: the names, and networks of both families that are captured."""
    orders.put(Map.POLICY, index(0), policy())
    orders.put(
        Map.LOCALE, index(0), layout.LOCALE_HEAD.pack(TTL_S, 0, 0).ljust(layout.LOCALE_SIZE, b"\0")
    )
    for name, addresses in NAMES.items():
        orders.put(Map.NAMES, *name_entry(name, *addresses), view=0)
    orders.put(Map.STATE, index(State.HAS_VIEW), struct.pack("=Q", 1))
    for text in ("10.0.0.0/8", "fd00::/16"):
        key = layout.network_key(Network.OUTBOUND, 0, ip_network(text))
        orders.put(Map.NETWORKS, key, b"\1")


def index(number: int) -> bytes:
    return struct.pack("=I", number)


def ask_each(orders: Orders) -> None:
    for program in DNS_PROGRAMS:
        for name, kind in QUESTIONS:
            orders.run(program, f"{program}-{name}-{kind}", query(program, name, kind))


def call_each(orders: Orders, code: Bytecode) -> None:
    """With the program of 5.17 and later, and in a namespace of its own with the plain one."""
    for name, path in PLACES.items():
        orders.attach(code.programs[name], path)
    for way, lookup in WAYS.items():
        orders.unshare()
        orders.attach(code.programs[lookup], "/proc/self/ns/net")
        orders.route(layout.ALIAS6_NETWORK, "alias6")
        for family, address in VIPS.items():
            orders.connect(f"{way}-{family}", address, VIP_PORT, SIDECAR_PORT)
            orders.connect(f"{way}-{family}-alone", address, VIP_PORT)


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
    ask_each(orders)
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


def decode(program: str, frame: bytes) -> Packet:
    if program != "dns_egress_l3":
        return Ether(frame)
    return IP(frame) if frame[0] >> 4 == 4 else IPv6(frame)


def reply(report: Report, program: str, name: str, kind: str) -> DNS:
    """The answer that a query has become, after all that is not DNS in it has been looked at."""
    said = report.said["run", f"{program}-{name}-{kind}"]
    assert int(said.values["result"]) == DNS_PROGRAMS[program]
    packet = decode(program, bytes.fromhex(said.values["data"]))
    asked = decode(program, query(program, name, kind))
    assert with_checksums(program, packet) == bytes(packet)
    ip = IPv6 if kind == "AAAA" else IP
    assert (packet[ip].src, packet[ip].dst) == (asked[ip].dst, asked[ip].src)
    assert (packet[UDP].sport, packet[UDP].dport) == (asked[UDP].dport, asked[UDP].sport)
    message: DNS = packet[DNS]
    assert (message.id, message.qr, message.aa, message.rcode) == (4711, 1, 1, 0)
    assert message.qd[0].qname == f"{name}.".encode(), "as it was asked, not in lower case"
    assert message.arcount == asked[DNS].arcount
    return message


def with_checksums(program: str, packet: Packet) -> bytes:
    """The packet with its lengths and checksums worked out anew."""
    other = decode(program, bytes(packet))
    for layer, names in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (UDP, ("len", "chksum"))):
        if layer in other:
            for name in names:
                delattr(other[layer], name)
    return bytes(other)


@pytest.mark.parametrize("kind", ["A", "AAAA"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("program", DNS_PROGRAMS)
def test_a_name_of_the_mesh_is_answered_in_the_kernel(
    report: Report, program: str, name: str, kind: str
) -> None:
    records = reply(report, program, name, kind).an
    wanted = NAMES[name][kind == "AAAA"]
    assert len(records) == len(wanted)
    assert {ip_address(record.rdata) for record in records} == set(wanted)
    assert {record.ttl for record in records} == {TTL_S}


@pytest.mark.parametrize("program", DNS_PROGRAMS)
def test_a_type_that_a_name_does_not_have_is_no_data(report: Report, program: str) -> None:
    message = reply(report, program, SHOP, "TXT")
    assert (message.ancount, message.nscount) == (0, 1)
    assert message.ns[0].type == SOA


@pytest.mark.parametrize("program", DNS_PROGRAMS)
def test_an_unknown_name_passes_untouched(report: Report, program: str) -> None:
    said = report.said["run", f"{program}-{ELSEWHERE}-A"]
    assert int(said.values["result"]) == TC_UNSPEC
    assert bytes.fromhex(said.values["data"]) == query(program, ELSEWHERE, "A")


STEERING = [suite for suite, release in SUITES.items() if release >= (5, 17)]
on_steering_kernels = pytest.mark.parametrize("report", STEERING, indirect=True)


@on_steering_kernels
@pytest.mark.parametrize("family", VIPS)
@pytest.mark.parametrize("way", WAYS)
def test_a_captured_call_reaches_the_sidecar_and_both_ends_see_the_destination(
    report: Report, way: str, family: str
) -> None:
    said = report.said["connect", f"{way}-{family}"]
    assert said.ok, said
    assert said.values["peer"] == said.values["original"] == f"{VIPS[family]},{VIP_PORT}"
    alias, port = said.values["at"].split(",")
    assert int(port) == VIP_PORT
    assert any(ip_address(alias) in network for network in OUTBOUND_ALIASES)


@on_steering_kernels
@pytest.mark.parametrize("family", VIPS)
@pytest.mark.parametrize("way", WAYS)
def test_a_captured_call_is_refused_at_once_without_a_sidecar(
    report: Report, way: str, family: str
) -> None:
    said = report.said["connect", f"{way}-{family}-alone"]
    assert said.values == {"errno": str(errno.ECONNREFUSED)}
