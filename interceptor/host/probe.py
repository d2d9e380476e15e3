"""What this host is: addresses, routes, cgroups. Plain values, read and not judged.

Each effect has its pure `parse_` beside it. What cannot be read is empty.
"""

from __future__ import annotations

import enum
import json
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

from interceptor.host import command, link
from interceptor.host.link import Hardware, Link

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Entry = Mapping[str, object]

SO_NETNS_COOKIE = 71  # asm-generic/socket.h; since Linux 5.14


class LinkLayer(enum.Enum):
    """What stands before the IP header of a packet on a link."""

    LOOPBACK = "loopback"
    ETHERNET = "ethernet"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Device:
    """One link of this network namespace."""

    name: str
    index: int
    layer: LinkLayer


LAYERS: Mapping[int, LinkLayer] = {
    Hardware.LOOPBACK: LinkLayer.LOOPBACK,
    Hardware.ETHER: LinkLayer.ETHERNET,
    **dict.fromkeys(
        (
            *(Hardware.NONE, Hardware.PPP, Hardware.RAWIP, Hardware.SIT),
            *(Hardware.TUNNEL, Hardware.TUNNEL6, Hardware.IPGRE, Hardware.IP6GRE),
        ),
        LinkLayer.NONE,
    ),
}
PORTS = ("bridge", "bond", "team")
"""Links that belong to one of these send what their master has sent already."""
UNSENT = ("vrf", "ifb")
"""Kinds of links from which nothing leaves that does not pass another link as well."""


def _ip(*words: str) -> str:
    done = command.run(["ip", "-json", *words], check=False)
    return done.stdout if done else ""


def addresses() -> dict[str, tuple[Address, ...]]:
    """Link → its addresses."""
    return parse_addresses(_ip("addr"))


def parse_addresses(text: str) -> dict[str, tuple[Address, ...]]:
    """Read `ip -json addr`."""
    return {
        one["ifname"]: tuple(
            ip_address(info["local"]) for info in one.get("addr_info", ()) if "local" in info
        )
        for one in json.loads(text or "[]")
        if "ifname" in one
    }


def devices() -> tuple[Device, ...]:
    """The links on which packets of this host may leave, by their index."""
    return choose_devices(link.observe())


def choose_devices(links: Iterable[Link]) -> tuple[Device, ...]:
    """Ports of bridges and bonds are out, and links that carry no IP."""
    found: list[Device] = []
    for each in links:
        layer = LAYERS.get(each.hardware)
        if layer is not None and each.master_kind not in PORTS and each.kind not in UNSENT:
            found.append(Device(each.name, each.index, layer))
    return tuple(found)


def netns_cookie() -> int:
    """The kernel's number of this network namespace, never used twice; 0 before Linux 5.14."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            raw = one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError:
            return 0
    return int.from_bytes(raw, sys.byteorder)


def routes(version: int) -> list[Entry]:
    """The main table of one family, as `ip -json route` tells it."""
    found: list[Entry] = json.loads(_ip(f"-{version}", "route", "show", "table", "main") or "[]")
    return found


def covers(routes: Iterable[Entry], wanted: Network, besides_protocol: str) -> bool:
    """Whether a unicast route that another put there leads to every address of ``wanted``."""
    for route in routes:
        if route.get("type", "unicast") != "unicast":
            continue
        if str(route.get("protocol")) == besides_protocol:
            continue
        network = _destination(route, wanted)
        if network.version == wanted.version and wanted.subnet_of(network):  # type: ignore[arg-type]
            return True
    return False


def _destination(route: Entry, like: Network) -> Network:
    dst = str(route["dst"])
    if dst == "default":
        return ip_network("0.0.0.0/0" if like.version == 4 else "::/0")
    return ip_network(dst, strict=False)


def source(
    routes: Iterable[Entry], links: Mapping[str, tuple[Address, ...]], version: int
) -> Address | None:
    """The address that this host uses towards others: that of its default route, else its first."""
    usual = {
        name: [a for a in found if a.version == version and not (a.is_loopback or a.is_link_local)]
        for name, found in links.items()
    }
    for route in routes:
        if route.get("dst") == "default":
            if "prefsrc" in route:
                return ip_address(str(route["prefsrc"]))
            if found := usual.get(str(route.get("dev"))):
                return found[0]
    return next((found[0] for found in usual.values() if found), None)


def has_ipv6() -> bool:
    """Whether this network namespace has IPv6 at all."""
    try:
        off = [
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip()
            for name in ("all", "lo")
        ]
    except OSError:
        return False
    return off == ["0", "0"]


def cgroup_mount() -> str:
    """Where cgroup2 is mounted; empty where it is not."""
    try:
        return parse_cgroup_mount(Path("/proc/self/mountinfo").read_text())
    except OSError:
        return ""


def parse_cgroup_mount(text: str) -> str:
    """The first cgroup2 mount in mountinfo (proc(5))."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[:1] == ["cgroup2"]:
            return before.split()[4]
    return ""


def cgroups(mount: str, paths: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Those of ``paths`` (below the mount) that exist, each with its id."""
    found: list[tuple[str, int]] = []
    for path in paths:
        try:
            found.append((path, Path(mount, path.strip("/")).stat().st_ino))
        except OSError:
            continue
    return tuple(found)
