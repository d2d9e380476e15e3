"""The address of a VM with Docker on it, in a namespace that is made to look like one."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from interceptor.host import uplink

pytestmark = pytest.mark.root


def test_docker0_comes_first_and_is_still_not_the_address(namespaces: Callable[[str], Any]) -> None:
    vm = namespaces("uplink")
    vm.sh(
        "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0;"
        "ip link set docker0 up; ip link add u0 type veth peer name u1; ip link set u1 up;"
        "ip link set u0 up; ip addr add 10.0.0.2/24 dev u0; ip addr add fd10::2/64 dev u0 nodad;"
        "ip link add m0 type veth peer name m1; ip link set m1 up; ip link set m0 up;"
        "ip addr add 10.7.0.2/24 dev m0"
    )
    both = (ip_address("10.0.0.2"), ip_address("fd10::2"))
    assert vm.call(uplink.observe) == both
    vm.sh("ip route add default via 10.7.0.1")
    assert vm.call(uplink.observe)[0] == ip_address("10.7.0.2")
    assert vm.call(uplink.observe, ["10.0.0.9"]) == both
    assert vm.call(uplink.observe, ["172.17.0.2"])[0] == ip_address("10.7.0.2")
    got = vm.sh("ip route get 10.0.0.9")
    assert "src 10.0.0.2" in got
