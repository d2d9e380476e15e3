"""Steering on hosts that are set up in their own ways."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from interceptor.host.layout import PolicyFlag

pytestmark = pytest.mark.root

FIREWALL = """nft -f - <<'X'
table inet t { chain input { type filter hook input priority 0; policy drop
  ct state established,related accept
  iif lo accept
  meta l4proto ipv6-icmp accept
  ct state invalid drop
}
}
X
"""
SETTINGS = {
    "a strict reverse path filter": """
        sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.lo.rp_filter=1
        sysctl -qw net.ipv4.conf.v0.rp_filter=1""",
    "a router": "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    "routed loopback": "sysctl -qw net.ipv4.conf.all.route_localnet=1",
    "a stateful firewall": FIREWALL,
    "no default route": "ip route del default; ip -6 route del default",
    "marks that have a route table of their own": """
        for family in -4 -6; do ip $family rule add pref 100 lookup 77
        ip $family route add unreachable default table 77; done""",
}


@pytest.fixture(params=SETTINGS)
def host(request: pytest.FixtureRequest, on: Any) -> Any:
    on.vm.sh(SETTINGS[request.param])
    return on


@pytest.mark.parametrize("destination", ["10.96.0.7", "2001:2::7", "::ffff:10.96.0.7"])
def test_connections_are_captured(host, client, destination: str) -> None:
    told = host.run(client, destination, 80)
    assert told["place"].startswith("15001")
    assert told["client_peer"] == [destination, 80]
    assert told["client_own"][0].removeprefix("::ffff:") in ("10.0.0.2", "fd10::2")


def test_with_routed_loopback_another_host_still_cannot_use_an_alias(on, client) -> None:
    on.vm.sh("sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.v0.route_localnet=1")
    on.peer.sh(
        "sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.p0.route_localnet=1;"
        "ip route del local 127.0.0.0/8 dev lo table local; ip route add 127.96.0.0/16 via 10.0.0.2"
    )
    assert on.run(client, "10.96.0.7", 80)["own"] == ["127.96.0.7", 80]

    def dial() -> str:
        with socket.socket() as one:
            one.settimeout(1)
            one.bind(("10.0.0.1", 0))
            try:
                one.connect(("127.96.0.7", 80))
            except (ConnectionRefusedError, TimeoutError):
                return "kept out"
            return "reached it"

    assert on.peer.call(dial) == "kept out"
    assert on.counted().get("refused") == 1, "the packet did arrive"


def test_a_host_without_ipv6_is_served(steered, client) -> None:
    steered.vm.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    steered.policy(PolicyFlag.IPV4 | PolicyFlag.OUTBOUND | PolicyFlag.SIDECAR)
    steered.attach()
    steered.sidecar("15001:4:127.0.0.1")
    assert steered.run(client, "10.96.0.7", 80)["client_peer"][0] == "10.96.0.7"
    assert steered.run(client, "::ffff:10.96.0.7", 80)["client_peer"][0] == "::ffff:10.96.0.7"
