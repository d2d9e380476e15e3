"""What is read of the host, from texts as the programs print them."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from pathlib import Path

from interceptor.host import probe, resolver
from interceptor.host.link import Hardware, Link
from interceptor.host.probe import Device, LinkLayer

LINKS = {
    "lo": (ip_address("127.0.0.1"), ip_address("::1")),
    "eth0": (ip_address("10.0.0.2"), ip_address("fe80::1"), ip_address("fd10::2")),
    "eth1": (ip_address("192.0.2.1"),),
}


def test_devices_are_those_by_which_packets_leave() -> None:
    links = (
        Link(1, "lo", Hardware.LOOPBACK, 0, "", 0, ""),
        Link(4, "eth0", Hardware.ETHER, 0, "", 0, ""),
        Link(5, "wg0", Hardware.NONE, 0, "wireguard", 0, ""),
        Link(6, "br0", Hardware.ETHER, 0, "bridge", 0, ""),
        Link(7, "p0", Hardware.ETHER, 0, "", 6, "bond"),
        Link(8, "ifb0", Hardware.ETHER, 0, "ifb", 0, ""),
        Link(9, "can0", 280, 0, "can", 0, ""),
    )
    assert probe.choose_devices(links) == (
        Device("lo", 1, LinkLayer.LOOPBACK),
        Device("eth0", 4, LinkLayer.ETHERNET),
        Device("wg0", 5, LinkLayer.NONE),
        Device("br0", 6, LinkLayer.ETHERNET),
    )


def test_addresses_are_told_by_link() -> None:
    text = json.dumps(
        [
            {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}, {"local": "::1"}]},
            {"ifname": "eth0", "addr_info": [{"local": "10.0.0.2"}, {}]},
            {},
        ]
    )
    found = probe.parse_addresses(text)
    assert found == {"lo": LINKS["lo"], "eth0": (ip_address("10.0.0.2"),)}
    assert probe.parse_addresses("") == {}


def test_a_default_route_covers_everything_but_ours_covers_nothing() -> None:
    wanted = ip_network("240.240.0.0/16")
    default = {"dst": "default", "dev": "eth0", "protocol": "dhcp"}
    assert probe.covers([default], wanted, "157")
    assert not probe.covers([{**default, "type": "unreachable"}], wanted, "157")
    assert not probe.covers([{"dst": "240.240.0.0/16", "protocol": "157"}], wanted, "157")
    assert not probe.covers([{"dst": "240.240.0.0/17"}], wanted, "157")
    assert probe.covers([{"dst": "240.0.0.0/4"}], wanted, "157")
    assert probe.covers([{"dst": "default"}], ip_network("2001:2::/48"), "157")


def test_the_source_is_that_of_the_default_route() -> None:
    named = [{"dst": "default", "dev": "eth0", "prefsrc": "10.0.0.9"}]
    assert probe.source(named, LINKS, 4) == ip_address("10.0.0.9")
    assert probe.source([{"dst": "default", "dev": "eth1"}], LINKS, 4) == ip_address("192.0.2.1")
    assert probe.source([], LINKS, 6) == ip_address("fd10::2")
    assert probe.source([], {"lo": LINKS["lo"]}, 4) is None


def test_resolv_conf_is_read_as_libc_does() -> None:
    text = "# nameserver 9.9.9.9\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\n"
    text += "search a b\nnameserver 127.0.0.53\noptions edns0\nnameserver\n"
    assert resolver.parse_servers(text) == (ip_address("127.0.0.53"), ip_address("fe80::1"))


def test_the_cgroup2_mount_is_found_beside_others() -> None:
    text = (
        "30 23 0:26 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro\n"
        "31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n"
    )
    assert probe.parse_cgroup_mount(text) == "/sys/fs/cgroup/unified"
    assert probe.parse_cgroup_mount("") == ""


def test_cgroups_that_exist_have_an_id(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert probe.cgroups(str(tmp_path), ["/a", "b"]) == (("/a", (tmp_path / "a").stat().st_ino),)
