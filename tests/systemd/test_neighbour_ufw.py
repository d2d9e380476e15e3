"""Beside a real ufw that denies everything in and out but for what its owner allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd import neighbour
from tests.systemd.machine import Image
from tests.systemd.neighbour import CHECKS, Neighbour, Scene

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

POLICY = "ufw default deny incoming; ufw default deny outgoing"
OWN = "ufw allow out 53; ufw allow out 5300; ufw allow out 80/tcp; ufw allow out 9080/tcp"
"""What the owner's applications need anyway: DNS (that of the control, too), and the ports of the
services they call."""
CURE = (
    "ufw allow out proto tcp to 127.0.0.1 port 15001,15053; "
    "ufw allow out proto tcp to ::1 port 15001,15053; "
    "ufw allow out proto udp from any port 53"
)
"""For the netfilter back ends: docs/NEIGHBOURS.md."""
UFW = Neighbour(
    f"{POLICY}; {OWN}; {CURE}; ufw --force enable",
    {
        "reload": "ufw reload",
        "restart": "systemctl restart ufw",
        "disable": "ufw disable",
        "enable": "ufw --force enable",
    },
)
OF_THE_MESH = frozenset(what for what in CHECKS if "other" not in what)


@pytest.fixture(scope="module")
def scene(image: Image) -> Iterator[Scene]:
    opened = Scene.open(image, UFW)
    yield opened
    opened.machine.close()


@pytest.mark.parametrize("backend", ["iptables", "ebpf"])
def test_names_and_connections_live_through_all_that_ufw_does(scene: Scene, backend: str) -> None:
    for number, event in enumerate(scene.neighbour.events):
        if number % 2 == 0:
            scene.start_agent(backend)
        scene.play(event)
        scene.await_works()
    scene.assert_alone_again()


def test_only_netfilter_needs_rules_of_its_own_where_everything_outgoing_is_denied(
    scene: Scene,
) -> None:
    scene.machine.sh("yes | ufw reset", check=False)
    scene.machine.sh(f"{POLICY}; {OWN}; ufw --force enable")
    scene.start_agent("ebpf")
    scene.await_works()
    scene.start_agent("nftables")
    scene.await_works(OF_THE_MESH)
    scene.machine.sh(CURE)
    scene.await_works()


@pytest.mark.parametrize(("backend", "wanted"), [("nftables", 15006), ("ebpf", neighbour.PORT)])
def test_an_inbound_port_is_opened_as_the_packet_shows_it_to_ufw(
    scene: Scene, backend: str, wanted: int
) -> None:
    machine = scene.machine
    scene.start_agent(backend)
    with neighbour.served(machine):
        assert not neighbour.is_reached(machine)
        machine.sh(f"ufw allow {wanted}/tcp")
        assert neighbour.is_reached(machine)
        machine.sh(f"ufw delete allow {wanted}/tcp")
