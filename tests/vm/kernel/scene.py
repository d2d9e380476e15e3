"""What every guest does: maps and programs, queries by test run and over devices, steered calls."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

from interceptor.host import layout
from interceptor.host.bytecode import Bytecode
from interceptor.host.layout import Map, Network, PolicyFlag, State
from tests.vm.kernel import question, rtnetlink
from tests.vm.kernel.order import Orders

SUITES = {"bullseye": (5, 10), "bookworm": (6, 1), "trixie": (6, 12), "newest": (6, 18)}
"""The kernels that are tried, and which version each is; the newest: at least."""

DNS_PROGRAMS = ("dns_egress", "dns_egress_l3", "dns_lo", "dns_bridge")

DUMMY = 7
DUMMY_ADDRESSES = (ip_interface("198.51.100.1/24"), ip_interface("fd00:51::1/64"))
SERVERS: dict[str, tuple[IPv4Address | IPv6Address, ...]] = {
    "dns_lo": (ip_address("127.0.0.53"), ip_address("::1")),
    "dns_egress": (ip_address("198.51.100.53"), ip_address("fd00:51::53")),
}
"""Where a resolver would be: on lo, and on the device's network, where nobody is."""

VIPS = {4: ip_address("10.9.0.1"), 6: ip_address("fd00:9::1")}
VIP_PORT, SIDECAR_PORT = 8080, 15001

CGROUP = "/sys/fs/cgroup/mesh"
PLACES = {
    **dict.fromkeys(("connect4", "connect6", "peername4", "peername6"), CGROUP),
    **dict.fromkeys(("original", "listen"), f"{CGROUP}/agent"),
}
"""Where each program of a steered call is attached, but for the network namespace's."""

LOOKUPS = ("lookup", "lookup_plain")


def play(code: Bytecode, modules: Iterable[str]) -> Orders:
    orders = Orders()
    orders.make_maps()
    fill_maps(orders)
    for each in code.programs.values():
        orders.load(each)
    for program in DNS_PROGRAMS:
        for name, kind in question.ASKED:
            frame = question.packet(program, name, kind)
            orders.run(program, f"{program}-{name}-{kind}", frame)
    for module in modules:
        orders.add_module(module)
    ask_on_devices(orders)
    call_each(orders, code)
    return orders


def fill_maps(orders: Orders) -> None:
    """Generation 0 and view 0: the names, and networks of both families that are captured."""
    orders.put(Map.POLICY, index(0), policy())
    locale = layout.LOCALE_HEAD.pack(question.TTL_S, 0, 0)
    orders.put(Map.LOCALE, index(0), locale.ljust(layout.LOCALE_SIZE, b"\0"))
    for name in question.NAMES:
        orders.put(Map.NAMES, *question.entry(name), view=0)
    orders.put(Map.STATE, index(State.HAS_VIEW), struct.pack("=Q", 1))
    for text in ("10.0.0.0/8", "fd00::/16"):
        key = layout.network_key(Network.OUTBOUND, 0, ip_network(text))
        orders.put(Map.NETWORKS, key, b"\1")


def policy() -> bytes:
    """Rules 5 to 7 for both families; nobody is exempt."""
    flags = PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.OUTBOUND
    flags |= PolicyFlag.IPV4 | PolicyFlag.IPV6
    ports = (SIDECAR_PORT, SIDECAR_PORT + 5, SIDECAR_PORT + 52)
    nobody = (0,) * (2 + 3 * 2 * layout.CGROUPS + 1)
    return layout.POLICY.pack(0, 0, 0, flags, 0, 0, 0, *ports, *nobody)


def ask_on_devices(orders: Orders) -> None:
    """On lo, and on a dummy device, which drops what is sent and has no neighbours."""
    orders.netlink("lo", rtnetlink.link(rtnetlink.LO))
    orders.netlink("dummy", rtnetlink.link(DUMMY, "dummy"))
    for each in DUMMY_ADDRESSES:
        orders.netlink(f"address-{each.version}", rtnetlink.address(DUMMY, each))
    for program, device in {"dns_lo": rtnetlink.LO, "dns_egress": DUMMY}.items():
        orders.netlink(f"clsact-{program}", rtnetlink.clsact(device))
        message = rtnetlink.egress_filter(device)
        orders.filter(program, message, rtnetlink.DESCRIPTOR)
        for server in SERVERS[program]:
            for name, kind in question.ASKED[:-1]:
                datagram = bytes(question.message(name, kind))
                orders.ask(f"{program}-{server.version}-{name}-{kind}", server, datagram)
    for server in SERVERS["dns_lo"]:
        datagram = bytes(question.message(question.ELSEWHERE, "A"))
        orders.ask(f"dns_lo-{server.version}-{question.ELSEWHERE}-A", server, datagram)


def call_each(orders: Orders, code: Bytecode) -> None:
    """In a namespace by the program of 5.17 and later, in another by the plain one."""
    for name, path in PLACES.items():
        orders.attach(code.programs[name], path)
    for lookup in LOOKUPS:
        orders.unshare()
        orders.attach(code.programs[lookup], "/proc/self/ns/net")
        orders.netlink("lo", rtnetlink.link(rtnetlink.LO))
        orders.netlink("alias6", rtnetlink.local_route(layout.ALIAS6_NETWORK))
        for version, address in VIPS.items():
            orders.connect(f"{lookup}-{version}", address, VIP_PORT, SIDECAR_PORT)
            orders.connect(f"{lookup}-{version}-alone", address, VIP_PORT)


def index(number: int) -> bytes:
    return struct.pack("=I", number)
