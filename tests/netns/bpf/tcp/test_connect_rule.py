"""connect4, connect6: the rules of what is captured, in their order."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import cgroup
from interceptor.host.layout import Network, Number, PolicyFlag, State

pytestmark = pytest.mark.root

BOTH = PolicyFlag.IPV4 | PolicyFlag.IPV6
ON = BOTH | PolicyFlag.OUTBOUND | PolicyFlag.SIDECAR
CALLED = (
    pytest.param("10.96.0.7", id="v4"),
    pytest.param("2001:2::7", id="v6"),
    pytest.param("::ffff:10.96.0.7", id="mapped"),
)
ELSEWHERE = {
    "10.96.0.7": "10.50.0.1",
    "2001:2::7": "fd50::1",
    "::ffff:10.96.0.7": "::ffff:10.50.0.1",
}


@pytest.fixture
def fate(on: Any, client: Callable[..., Any]) -> Callable[..., str]:
    """How a connection ends: at which port of the stand-in, or ``refused`` by the peer."""

    def find(destination: str, port: int = 80, **owner: Any) -> str:
        def connect() -> str:
            try:
                return str(client(destination, port, **by_socket)["place"].split(":")[0])
            except ConnectionRefusedError:
                return "refused"

        names = ("uid", "gid", "cgroup", "namespace")
        by_process = {name: owner.pop(name) for name in names if name in owner}
        by_socket = owner
        return str(on.run(connect, **by_process))

    return find


def marked(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x1DC1)


OWN = {"10.96.0.7": "10.0.0.2", "2001:2::7": "fd10::2", "::ffff:10.96.0.7": "::ffff:10.0.0.2"}
THROUGH = {
    "10.96.0.7": "127.0.0.6",
    "2001:2::7": "::6",
    "::ffff:10.96.0.7": "::ffff:127.0.0.6",
}
"""What the sidecar binds the sockets to that have been through inbound."""


@pytest.mark.parametrize("destination", CALLED)
class TestRules:
    def test_a_destination_in_no_network_passes(self, fate, on, destination) -> None:
        assert fate(ELSEWHERE[destination]) == "refused"
        assert on.counted() == {"pass": 1}

    def test_the_sidecar_passes_by_its_user(self, fate, on, destination) -> None:
        assert fate(destination, uid=1337) == "refused"
        assert on.counted() == {"exempt": 1}

    def test_the_sidecar_passes_by_its_group(self, fate, on, destination) -> None:
        assert fate(destination, gid=1337) == "refused"
        assert on.counted() == {"exempt": 1}

    def test_its_user_and_group_are_nobody_special_elsewhere(self, fate, on, destination) -> None:
        on.policy(ON | PolicyFlag.CONFINED, sidecar_cgroup=on.agent.stat().st_ino)
        assert fate(destination, uid=1337) == "15001"
        assert fate(destination, gid=1337) == "15001"
        assert fate(destination, uid=1337, gid=1337, cgroup="agent") == "refused"
        assert fate(destination, uid=1000, cgroup="agent") == "15001"

    def test_another_user_is_captured(self, fate, destination) -> None:
        assert fate(destination, uid=1000, gid=1000) == "15001"

    def test_the_agent_passes_by_its_mark(self, fate, on, destination) -> None:
        assert fate(destination, prepare=marked) == "refused"
        assert on.counted() == {"exempt": 1}

    def test_without_a_sidecar_its_user_is_nobody_special(self, fate, on, destination) -> None:
        on.policy(BOTH | PolicyFlag.OUTBOUND)
        assert fate(destination, uid=1337, gid=1337) == "15001"

    def test_an_excluded_user_passes(self, fate, on, destination) -> None:
        on.numbers(Number.EXCLUDE_UID, 1000)
        on.policy(ON | PolicyFlag.EXCLUDE_UIDS)
        assert fate(destination, uid=1000) == "refused"
        assert fate(destination, uid=1001) == "15001"

    def test_an_excluded_group_passes(self, fate, on, destination) -> None:
        on.numbers(Number.EXCLUDE_GID, 1000)
        on.policy(ON | PolicyFlag.EXCLUDE_GIDS)
        assert fate(destination, uid=7, gid=1000) == "refused"
        assert fate(destination, uid=7, gid=7) == "15001"

    def test_an_excluded_cgroup_passes_and_all_below_it(self, fate, on, destination) -> None:
        below = on.cgroup / "a" / "b"
        below.mkdir(parents=True)
        on.policy(ON, excluded=[refer(on.cgroup / "a")])
        assert fate(destination, cgroup="a") == "refused"
        assert fate(destination, cgroup="a/b") == "refused"
        assert fate(destination) == "15001"

    def test_who_is_in_none_of_the_included_kinds_passes(self, fate, on, destination) -> None:
        (on.cgroup / "in").mkdir()
        on.numbers(Number.INCLUDE_UID, 1000)
        on.numbers(Number.INCLUDE_GID, 2000)
        included = [(2**40, 0)] * 7 + [refer(on.cgroup / "in")]
        on.policy(ON | PolicyFlag.INCLUDE_UIDS | PolicyFlag.INCLUDE_GIDS, included=included)
        assert fate(destination, uid=7, gid=7) == "refused"
        assert fate(destination, uid=1000, gid=7) == "15001"
        assert fate(destination, uid=7, gid=2000) == "15001"
        assert fate(destination, uid=7, gid=7, cgroup="in") == "15001"

    def test_exclusion_beats_inclusion(self, fate, on, destination) -> None:
        on.numbers(Number.INCLUDE_UID, 1000)
        on.numbers(Number.EXCLUDE_GID, 2000)
        on.policy(ON | PolicyFlag.INCLUDE_UIDS | PolicyFlag.EXCLUDE_GIDS)
        assert fate(destination, uid=1000, gid=2000) == "refused"

    def test_dns_goes_to_the_responder_whatever_the_networks(self, fate, on, destination) -> None:
        on.policy(ON | PolicyFlag.DNS | PolicyFlag.DNS_ALL)
        on.networks(Network.SPARED, "10.50.0.0/16", "fd50::/32")
        on.numbers(Number.OUT_PORT_SPARED, 53)
        assert fate(ELSEWHERE[destination], 53) == "15053"
        assert fate(destination, 53, uid=1337) == "refused"
        assert on.counted() == {"dns": 1, "exempt": 1}

    def test_dns_to_a_server_that_is_not_captured_is_no_dns(self, fate, on, destination) -> None:
        on.policy(ON | PolicyFlag.DNS)
        on.networks(Network.SERVER, "10.50.0.1/32", "fd50::1/128")
        assert fate(ELSEWHERE[destination], 53) == "15053"
        assert fate(ELSEWHERE[destination].replace("0.1", "0.2").replace("::1", "::2"), 53) == (
            "refused"
        )
        assert fate(destination, 53) == "15001"

    def test_dns_passes_while_no_responder_listens(self, fate, on, destination) -> None:
        on.policy(ON | PolicyFlag.DNS | PolicyFlag.DNS_ALL)
        on.kill(on.standins[0])
        on.sidecar("15001:4:127.0.0.1", "15001:6:::1")
        assert fate(ELSEWHERE[destination], 53) == "refused"
        assert on.counted() == {"bypass": 1}

    def test_a_spared_port_passes(self, fate, on, destination) -> None:
        on.numbers(Number.OUT_PORT_SPARED, 22)
        on.policy(ON | PolicyFlag.OUT_PORTS_SPARED)
        assert fate(destination, 22) == "refused"
        assert fate(destination, 23) == "15001"

    def test_a_spared_network_passes_within_a_captured_one(self, fate, on, destination) -> None:
        on.networks(Network.SPARED, "10.96.0.0/24", "2001:2::/64")
        assert fate(destination) == "refused"
        assert on.counted() == {"pass": 1}

    def test_an_included_port_is_captured_wherever_it_is(self, fate, on, destination) -> None:
        on.numbers(Number.OUT_PORT, 8443)
        on.policy(ON | PolicyFlag.OUT_PORTS)
        assert fate(ELSEWHERE[destination], 8443) == "15001"
        assert fate(ELSEWHERE[destination], 8444) == "refused"

    def test_an_included_port_on_this_host_passes(self, fate, on, destination) -> None:
        on.numbers(Number.OUT_PORT, 8443)
        on.policy(ON | PolicyFlag.OUT_PORTS)
        loopback = {"10.0.0.2": "127.0.0.1", "fd10::2": "::1"}
        for address in (OWN[destination], loopback.get(OWN[destination], "::ffff:127.0.0.1")):
            assert fate(address, 8443) == "refused"
        assert on.counted() == {"pass": 2}

    def test_everything_can_be_captured(self, fate, on, destination) -> None:
        on.networks(Network.OUTBOUND, "0.0.0.0/0", "::/0")
        assert fate(ELSEWHERE[destination]) == "15001"

    def test_a_family_that_is_off_passes(self, fate, on, destination) -> None:
        six = destination == "2001:2::7"
        on.policy(ON & ~(PolicyFlag.IPV6 if six else PolicyFlag.IPV4))
        assert fate(destination) == "refused"
        assert on.counted() == {}
        on.policy(ON & ~(PolicyFlag.IPV4 if six else PolicyFlag.IPV6))
        assert fate(destination) == "15001"

    def test_bypass_passes_while_no_sidecar_listens(self, fate, on, destination) -> None:
        on.policy(ON | PolicyFlag.BYPASS)
        assert fate(destination) == "15001"
        on.kill(on.standins[0])
        assert fate(destination) == "refused"
        assert on.counted() == {"outbound": 1, "bypass": 1}

    def test_an_expired_lease_releases(self, fate, on, destination) -> None:
        on.policy(ON | PolicyFlag.RELEASE, lease_ns=10**9)
        on.state(State.BEAT_NS, time.monotonic_ns())
        assert fate(destination) == "15001"
        on.state(State.BEAT_NS, time.monotonic_ns() - 10**9)
        assert fate(destination) == "refused"
        assert on.counted() == {"outbound": 1, "lease": 1}

    def test_an_expired_lease_is_no_matter_to_keep(self, fate, on, destination) -> None:
        on.policy(ON, lease_ns=1)
        assert fate(destination) == "15001"

    def test_another_namespace_in_the_cgroup_is_left_alone(
        self, fate, on, destination, namespaces
    ) -> None:
        box = namespaces("box")
        box.sh("ip route add local 10.96.0.0/12 dev lo; ip -6 route add local 2001:2::/48 dev lo")
        assert fate(destination, namespace=box.name) == "refused"
        assert on.counted() == {}
        assert fate(destination) == "15001"

    def test_what_was_through_inbound_passes_to_this_host(self, fate, on, destination) -> None:
        on.policy(ON | PolicyFlag.DNS | PolicyFlag.DNS_ALL)
        on.vm.sh("ip -6 addr add ::6/128 dev lo nodad")
        assert fate(OWN[destination], 53) == "15053"
        assert fate(OWN[destination], 53, source=THROUGH[destination]) == "refused"
        assert on.counted() == {"dns": 1, "exempt": 1}

    def test_the_sidecars_call_of_this_host_goes_through_inbound(
        self, fate, on, destination
    ) -> None:
        on.policy(ON | PolicyFlag.SELF)
        on.numbers(Number.SELF_PORT_SPARED, 15020)
        on.vm.sh("ip -6 addr add ::6/128 dev lo nodad")
        own = OWN[destination]
        assert fate(own, uid=1337) == "15006"
        assert fate(own, 15020, uid=1337) == "refused"
        assert fate(own) == "refused"
        assert fate(own, uid=1337, source=THROUGH[destination]) == "refused"
        assert on.counted() == {"self": 1, "exempt": 2, "pass": 1}


def refer(folder: Path) -> tuple[int, int]:
    found = cgroup.refer(folder)
    return found.id, found.level


def test_the_sidecars_call_of_this_host_knows_its_destination(on, client) -> None:
    on.policy(ON | PolicyFlag.SELF)
    told = on.run(client, "10.0.0.2", 8080, uid=1337)
    assert told["ip"][:2] == ["10.0.0.2", 8080]
    assert told["peer"][0] == "10.0.0.2"


@pytest.mark.parametrize("uid", [1337, 1000, 0])
@pytest.mark.parametrize("way", ["127.96.0.7", "127.160.0.7", "127.224.0.7"])
def test_nobody_can_dial_an_alias(on, client, way: str, uid: int) -> None:
    """A sidecar to whom it was not translated would call itself without end; others would be
    taken to the sidecar's inbound side, or to the agent's DNS relay and any port behind it."""
    assert on.run(client, "10.96.0.7", 80)["ip"][:2] == ["10.96.0.7", 80]
    with pytest.raises(ConnectionRefusedError):
        on.run(client, way, 80, uid=uid)
    assert on.run(client, "10.96.0.7", 80)["ip"][:2] == ["10.96.0.7", 80]


def test_a_daemon_without_a_policy_captures_nothing(on, client) -> None:
    on.policy(PolicyFlag(0))
    with pytest.raises(ConnectionRefusedError):
        on.run(client, "10.96.0.7", 80)
    assert on.counted() == {}
