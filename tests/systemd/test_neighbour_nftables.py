"""Beside Debian's nftables.service, whose file begins with `flush ruleset`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd.machine import Image
from tests.systemd.neighbour import Neighbour, Scene

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

NFTABLES = Neighbour(
    "systemctl start nftables",
    {
        "restart": "systemctl restart nftables",
        "reload": "systemctl reload nftables",
        "stop": "systemctl stop nftables",
        "start": "systemctl start nftables",
    },
)


@pytest.fixture(scope="module")
def scene(image: Image) -> Iterator[Scene]:
    opened = Scene.open(image, NFTABLES)
    yield opened
    opened.machine.close()


def reasserted(scene: Scene) -> float:
    """How often something of ours was put back, by the agent's own count."""
    text = scene.machine.sh("curl -s http://127.0.0.1:15020/metrics")
    lines = [line for line in text.splitlines() if line.startswith("interceptor_reassert_total{")]
    return sum(float(line.split()[-1]) for line in lines)


@pytest.mark.parametrize(("backend", "flushed"), [("nftables", True), ("ebpf", False)])
def test_what_the_service_flushes_is_back_at_once_and_counted(
    scene: Scene, backend: str, flushed: bool
) -> None:
    for number, event in enumerate(scene.neighbour.events):
        if number % 2 == 0:
            scene.start_agent(backend)
        before = reasserted(scene)
        scene.play(event)
        scene.await_works()
        assert (reasserted(scene) > before) is flushed
    scene.assert_alone_again()
