"""Notifications of the kernel, caused by other programs; rtnetlink asked from threads."""

from __future__ import annotations

import asyncio
import errno
import os
import select
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.host import link, netlink

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("opener", "cause"),
    [
        (netlink.open_nftables, "nft add table inet x"),
        (netlink.open_nftables, "iptables-nft -t raw -N X"),
        (netlink.open_links, "ip addr add 10.9.9.9/32 dev lo"),
        (netlink.open_links, "ip -6 route add fd99::/64 dev lo"),
        (netlink.open_links, "ip link add v8 type veth peer name v9"),
        (netlink.open_links, "ip rule add fwmark 9 lookup 99"),
        (netlink.open_links, "ip -6 rule add fwmark 9 lookup 99"),
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


def test_threads_ask_at_once_each_in_its_namespace_and_leave_nothing_open(
    namespaces: Callable[[str], Any],
) -> None:
    made = {f"v{number}": namespaces("ask") for number in range(4)}
    for name, namespace in made.items():
        namespace.sh(f"ip link add {name} type bridge")

    async def ask() -> list[set[str]]:
        """Beside an event loop, as the daemon does."""
        asked = [asyncio.to_thread(each.call, link.observe) for each in made.values()]
        return [{one.name for one in found} for found in await asyncio.gather(*asked)]

    async def ask_often() -> list[list[set[str]]]:
        return [await ask() for _ in range(25)]

    asyncio.run(ask())  # whatever is opened once and for all is open now
    before = sorted(os.listdir("/proc/self/fd"))
    for answers in asyncio.run(ask_often()):
        assert answers == [{"lo", name} for name in made]
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_refusal_bears_the_kernels_number_and_its_sentence(
    namespaces: Callable[[str], Any],
) -> None:
    def remove() -> None:
        with netlink.open_route() as route:
            route.tc("del", "clsact", 1)

    with pytest.raises(OSError) as refused:
        namespaces("refuse").call(remove)
    assert refused.value.errno == errno.ENOENT
    assert "Cannot find specified qdisc" in str(refused.value)
