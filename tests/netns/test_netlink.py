"""Notifications of the kernel, caused by other programs."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.host import netlink

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("opener", "cause"),
    [
        (netlink.open_nftables, "nft add table inet x"),
        (netlink.open_nftables, "iptables-nft -t raw -N X"),
        (netlink.open_links, "ip addr add 10.9.9.9/32 dev lo"),
        (netlink.open_links, "ip -6 route add fd99::/64 dev lo"),
        (netlink.open_links, "ip link add v8 type veth peer name v9"),
    ],
)
def test_a_change_is_told_once_and_drained(
    namespaces: Callable[[str], Any], opener: Callable[[], Any], cause: str
) -> None:
    namespace = namespaces("netlink")
    with namespace.call(opener) as events:
        assert not select.select([events], [], [], 0)[0]
        namespace.sh(cause)
        assert select.select([events], [], [], 5)[0]
        assert netlink.drain(events.fileno()) >= 1
        assert netlink.drain(events.fileno()) == 0
