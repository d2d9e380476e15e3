"""Devices as rtnetlink tells them, against `ip -json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.host import link
from interceptor.host.link import Flag, Hardware, Link

pytestmark = pytest.mark.root

SETUP = """
ip link add br0 type bridge; ip link add v0 type veth peer name v1
ip link set v0 master br0; ip link set v0 up; ip link add link v1 m0 type macvlan
ip tuntap add t0 mode tun; ip tuntap add t1 mode tap
"""


@pytest.fixture
def space(namespaces: Callable[[str], Any]) -> Any:
    made = namespaces("link")
    made.sh(SETUP)
    return made


def test_names_indices_masters_and_kinds_are_those_that_ip_tells(space: Any) -> None:
    told = json.loads(space.sh("ip -json -details link show"))
    index = {each["ifname"]: each["ifindex"] for each in told}
    found = {each.name: each for each in space.call(link.observe)}
    assert found.keys() == index.keys()
    for each in told:
        one: Link = found[each["ifname"]]
        info = each.get("linkinfo", {})
        assert one.index == each["ifindex"]
        assert one.kind == info.get("info_kind", "")
        assert one.master_kind == info.get("info_slave_kind", "")
        assert one.master == index.get(each.get("master", ""), 0)
        assert bool(one.flags & Flag.UP) == ("UP" in each["flags"])


def test_hardware_tells_devices_with_an_ethernet_header_from_those_without(space: Any) -> None:
    found = {each.name: each.hardware for each in space.call(link.observe)}
    assert found["lo"] == Hardware.LOOPBACK
    assert found["t0"] == Hardware.NONE
    assert {found[name] for name in ("br0", "v0", "t1", "m0")} == {Hardware.ETHER}
