"""Beside Debian's nftables.service, whose file begins with `flush ruleset`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from interceptor.host import command
from interceptor.lab import caller
from interceptor.lab.removal import wait_until
from interceptor.lab.world import environment
from tests.systemd.load import MESH_ADDRESS
from tests.systemd.machine import HOST, Image
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


def test_an_open_connection_knows_nothing_of_a_flush_where_nothing_is_translated(
    scene: Scene,
) -> None:
    """With a redirect it may be reset: its translation is gone for a moment."""
    machine = scene.machine
    scene.start_agent("ebpf")
    url = f"http://{MESH_ADDRESS}:9080/"
    argv = machine.outside([sys.executable, "-m", caller.__name__, url, "3", "keep"])
    out = machine.lab.host_folder(HOST) / "caller.log"
    with out.open("wb") as file:
        child = command.start(argv, stdout=file, env=environment())
    wait_until(lambda: len(out.read_text().splitlines()) > 5, "calls")
    machine.systemctl("restart", "nftables")
    assert child.wait(30) == 0
    child.close()
    calls = caller.decode(out.read_text())
    assert len(calls) > 20
    assert not caller.failures(calls)
