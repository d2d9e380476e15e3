"""Whose queries are left alone, and which servers': rules 2 to 5 on sockets of applications."""

from __future__ import annotations

import os
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from interceptor.host import bpflink
from interceptor.host.bpf import AttachType
from interceptor.host.layout import NUMBER_KEY, Map, Network, Number, PolicyFlag, State, network_key

if TYPE_CHECKING:
    from tests.netns.bpf.dns.live.conftest import World

pytestmark = pytest.mark.root

SERVER4, SERVER6 = "10.99.0.1", "fd99::1"
MARK = 0x1DC0
ALL = PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.IPV4 | PolicyFlag.IPV6
USERS = (0, 65001, 65002, 65003)
ANSWERED, PASSED = "10.0.0.4", "rcode 5"


def test_the_agents_mark_passes(world: World) -> None:
    assert world.ask(world.vm, SERVER4, "v4.bookinfo", "A", str(MARK)) == "rcode 5"
    assert world.ask(world.vm, SERVER4, "v4.bookinfo", "A", str(MARK + 1)) == "10.0.0.4"


def test_owners_by_user(world: World) -> None:
    number = NUMBER_KEY.pack(Number.EXCLUDE_UID, 0, 65001)
    world.kernel.maps[Map.NUMBERS].update(number, b"\1")
    world.kernel.maps[Map.NUMBERS].update(NUMBER_KEY.pack(Number.INCLUDE_UID, 0, 65002), b"\1")
    world.set_policy(ALL | PolicyFlag.SIDECAR | PolicyFlag.EXCLUDE_UIDS, sidecar_uid=65003)
    asked = {uid: world.ask(world.vm, SERVER4, "v4.bookinfo", user=uid) for uid in USERS}
    assert asked == {0: ANSWERED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}
    world.set_policy(ALL | PolicyFlag.INCLUDE_UIDS)
    asked = {uid: world.ask(world.vm, SERVER4, "v4.bookinfo", user=uid) for uid in USERS}
    assert asked == {0: PASSED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}


def test_the_sidecars_user_is_nobody_special_outside_of_its_cgroup(
    world: World, cgroup: str
) -> None:
    flags = ALL | PolicyFlag.SIDECAR | PolicyFlag.CONFINED
    home = os.stat(cgroup).st_ino
    world.set_policy(flags, sidecar_uid=0, sidecar_cgroup=home)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo", cgroup=cgroup) == PASSED
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == ANSWERED
    world.set_policy(flags, sidecar_uid=65003, sidecar_cgroup=home)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo", cgroup=cgroup) == ANSWERED


def test_owners_by_group_and_cgroup(world: World, cgroup: str) -> None:
    kernel = world.kernel
    kernel.maps[Map.NUMBERS].update(NUMBER_KEY.pack(Number.EXCLUDE_GID, 0, 65001), b"\1")
    kernel.maps[Map.NUMBERS].update(NUMBER_KEY.pack(Number.INCLUDE_GID, 0, 65002), b"\1")
    groups = (0, 65001, 65002, 65003)
    descriptor = os.open(cgroup, os.O_RDONLY)
    link = bpflink.create(kernel.load("owner"), descriptor, AttachType.CGROUP_INET_SOCK_CREATE)

    def asked(where: str | None = cgroup) -> dict[int, str]:
        return {
            gid: world.ask(
                world.vm, SERVER4, "v4.bookinfo", group=gid, extra_groups=[], cgroup=where
            )
            for gid in groups
        }

    try:
        world.set_policy(ALL | PolicyFlag.SIDECAR | PolicyFlag.EXCLUDE_GIDS, sidecar_gid=65003)
        assert asked() == {0: ANSWERED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}
        world.set_policy(ALL | PolicyFlag.INCLUDE_GIDS)
        assert asked() == {0: PASSED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}
        world.set_policy(ALL | PolicyFlag.INCLUDE_GIDS, include=[cgroup])
        assert set(asked().values()) == {ANSWERED}
        assert asked(None)[0] == PASSED
    finally:
        os.close(link)
        os.close(descriptor)
    world.set_policy(exclude=[cgroup])
    assert set(asked().values()) == {PASSED}
    assert set(asked(None).values()) == {ANSWERED}


def test_servers_that_are_not_captured_pass(world: World) -> None:
    key = network_key(Network.SERVER, 0, ip_network(f"{SERVER4}/32"))
    world.kernel.maps[Map.NETWORKS].update(key, b"\1")
    world.set_policy(ALL & ~PolicyFlag.DNS_ALL)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == ANSWERED
    assert world.ask(world.container, SERVER4, "v4.bookinfo") == ANSWERED
    assert world.ask(world.vm, SERVER6, "v4.bookinfo") == PASSED
    assert world.ask(world.container, SERVER6, "v4.bookinfo") == PASSED


def test_a_lease_that_has_run_out_lets_go_only_where_that_is_wanted(world: World) -> None:
    world.set_state(State.BEAT_NS, 1)
    world.set_policy(lease_ns=10**9)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == ANSWERED
    world.set_policy(ALL | PolicyFlag.RELEASE, lease_ns=10**9)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == PASSED
    world.set_state(State.BEAT_NS, time.monotonic_ns())
    world.set_policy(ALL | PolicyFlag.RELEASE, lease_ns=10**11)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == ANSWERED


def test_rules_on_owners_are_none_of_a_containers(world: World) -> None:
    world.set_policy(ALL | PolicyFlag.SIDECAR | PolicyFlag.INCLUDE_UIDS, sidecar_uid=0)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == PASSED
    assert world.ask(world.container, SERVER4, "v4.bookinfo") == ANSWERED


def test_what_came_through_inbound_passes_on_lo(world: World) -> None:
    """Rule 3: Envoy's passthrough calls the application from 127.0.0.6."""
    assert world.ask(world.vm, "127.0.0.53", "v4.bookinfo") == ANSWERED
    world.vm.sh("dig +tries=1 +time=1 -b 127.0.0.6 @127.0.0.53 v4.bookinfo")
    heard = world.log(world.vm).read_text()
    assert "v4.bookinfo from 127.0.0.6" in heard
    assert "v4.bookinfo from 127.0.0.1" not in heard
