"""systemd-resolved's stub on 127.0.0.53, asked by packets and by nss-resolve's own socket."""

from __future__ import annotations

import pytest

from tests.vm.guest import agent, peer
from tests.vm.guest.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

UPLINK = f"""\
[Match]
Name=up0
[Network]
Address={peer.OWN}/24
Gateway={peer.PEER}
DNS={peer.PEER}
Domains=~.
LLMNR=no
IPv6AcceptRA=no
"""


def test_mesh_names_and_others_resolve_through_the_stub_and_nss_resolve(machine: Machine) -> None:
    machine.write("/etc/systemd/network/20-up0.network", UPLINK)
    machine.run(
        "networkctl reload; systemctl enable --now systemd-resolved\n"
        "ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf"
    )
    machine.wait_until(f"resolvectl query {peer.OTHER_NAME}")
    assert machine.read("readlink -f /etc/resolv.conf") == "/run/systemd/resolve/stub-resolv.conf"
    machine.wait_until(f"dig +short +tries=1 @127.0.0.53 {peer.MESH_NAME} | grep -qx {peer.VIP}")
    for way in ("getent ahostsv4", "getent -s resolve ahostsv4", "getent -s dns ahostsv4"):
        machine.run("resolvectl flush-caches")
        assert peer.VIP in machine.read(f"{way} {peer.MESH_NAME}"), way
        assert peer.OTHER_ADDRESS in machine.read(f"{way} {peer.OTHER_NAME}"), way
    assert machine.read(agent.CALL).startswith("shop")
