"""Beside a real firewalld whose zone lets nothing in, through everything that it does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd import neighbour
from tests.systemd.load import OTHER, OTHER_ADDRESS, SERVER
from tests.systemd.machine import Image
from tests.systemd.neighbour import Neighbour, Scene

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

LOADED = "firewall-cmd --state"
"""systemd is told as soon as there is somebody to ask; rules are in once something is answered."""
FIREWALLD = Neighbour(
    f"firewall-offline-cmd --set-default-zone=drop; systemctl start firewalld; {LOADED}",
    {
        "reload": "firewall-cmd --reload",
        "complete reload": "firewall-cmd --complete-reload",
        "restart": f"systemctl restart firewalld; {LOADED}",
        "stop": "systemctl stop firewalld",
        "start": f"systemctl start firewalld; {LOADED}",
    },
)
CONFIG = "/etc/firewalld/firewalld.conf"
IPV6 = frozenset({"captured, IPv6"})
"""A redirected packet is still on its way out of eth0 for the rules that follow, and firewalld
refuses ::/96 there, ::1 with it (RFC3964_IPv4): docs/NEIGHBOURS.md."""


@pytest.fixture(scope="module")
def scene(image: Image) -> Iterator[Scene]:
    opened = Scene.open(image, FIREWALLD)
    yield opened
    opened.machine.close()


@pytest.mark.parametrize(("backend", "known"), [("nftables", IPV6), ("ebpf", frozenset())])
def test_names_and_connections_live_through_all_that_firewalld_does(
    scene: Scene, backend: str, known: frozenset[str]
) -> None:
    for number, event in enumerate(scene.neighbour.events):
        if number % 2 == 0:
            scene.start_agent(backend)
        scene.play(event)
        scene.await_works(frozenset() if event == "stop" else known)
    scene.assert_alone_again()


def test_with_one_setting_firewalld_lets_redirected_ipv6_pass(scene: Scene) -> None:
    scene.start_agent("nftables")
    scene.machine.sh(f"sed -i s/RFC3964_IPv4=yes/RFC3964_IPv4=no/ {CONFIG}; firewall-cmd --reload")
    scene.await_works()
    scene.machine.sh(f"sed -i s/RFC3964_IPv4=no/RFC3964_IPv4=yes/ {CONFIG}; firewall-cmd --reload")
    scene.assert_alone_again()


def test_panic_stops_all_and_nothing_has_to_be_done_by_hand_after_it(scene: Scene) -> None:
    scene.start_agent("ebpf")
    scene.machine.sh("firewall-cmd --panic-on")
    asked = scene.machine.sh(f"dig +short +time=1 +tries=1 @{SERVER} {OTHER}", check=False)
    assert OTHER_ADDRESS not in asked, "panic is not what it was"
    scene.machine.sh("firewall-cmd --panic-off")
    scene.await_works()
    scene.assert_alone_again()


@pytest.mark.parametrize(
    ("backend", "mode", "is_open"),
    [("nftables", "redirect", True), ("nftables", "tproxy", False), ("ebpf", "redirect", False)],
)
def test_what_firewalld_closes_is_closed_unless_it_takes_a_redirect_for_its_owners_word(
    scene: Scene, backend: str, mode: str, is_open: bool
) -> None:
    """firewalld accepts whatever was translated (`ct status dnat accept`): docs/NEIGHBOURS.md."""
    machine = scene.machine
    scene.start_agent(backend, mode)
    with neighbour.served(machine):
        assert neighbour.is_reached(machine) is is_open
        machine.sh(f"firewall-cmd --add-port={neighbour.PORT}/tcp")
        assert neighbour.is_reached(machine)
        machine.sh(f"firewall-cmd --remove-port={neighbour.PORT}/tcp")
    scene.assert_alone_again()
