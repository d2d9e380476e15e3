"""The managed sidecar as the daemon has it: opened with a table, following, left and adopted."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.mesh.model import AppProtocol
from interceptor.mesh.table import MeshTable, diff
from interceptor.sidecar.managed import Belonging, Managed
from interceptor.sidecar.process import State

pytestmark = [pytest.mark.root, pytest.mark.envoy]
TCP = AppProtocol.TCP


@pytest.fixture(scope="module")
def servers(net):
    return net.serve(net.far, "tcp:t1:9000:10.77.0.2", "tcp:t2:9000:10.77.0.3")


def test_a_daemon_opens_follows_leaves_and_comes_back(make_world, servers, make_service):
    world = make_world()
    states: list[State] = []
    loop, settings = world.loop, world.settings

    async def make() -> Managed:
        return Managed(world.config, settings, Belonging(world.node), states.append)

    def table(endpoint: str) -> MeshTable:
        host = make_service("db.com", "10.96.0.11", ((endpoint, 9000),), port=3306, protocol=TCP)
        return MeshTable({host.name: host})

    first, second = table("10.77.0.2"), table("10.77.0.3")
    sidecar = loop.run(make())
    try:
        loop.run(sidecar.open(first))
        assert states == [State.STARTING, State.LIVE]
        with world.connect("10.96.0.11", 3306) as connection:
            assert connection.recv(99).startswith(b"t1")
            loop.run(sidecar.follow(diff(first, second)))
            number = sidecar.process.pid
            loop.run(sidecar.close(None))
            sidecar = loop.run(make())
            loop.run(sidecar.open(second))
            assert (sidecar.process.pid, sidecar.process.was_adopted) == (number, True)
            connection.sendall(b"still")
            assert connection.recv(99) == b"still"
        with world.connect("10.96.0.11", 3306) as connection:
            assert connection.recv(99).startswith(b"t2")
        log = Path(settings.access_log)
        log.rename(log.with_suffix(".1"))
        loop.run(sidecar.reopen_logs())
        with world.connect("10.96.0.11", 3306) as connection:
            assert connection.recv(99).startswith(b"t2")
        assert world.access_log("db.com")[0]["service"] == "db.com"
    finally:
        loop.run(sidecar.close(0))
    assert states[-1] is State.STOPPED


def test_hosts_that_lose_an_address_are_told(make_world, servers, make_service):
    world = make_world()

    async def conflicts() -> list[str]:
        sidecar = Managed(world.config, world.settings, Belonging(world.node), lambda state: None)
        hosts = [make_service(name, "10.96.0.11", port=1, protocol=TCP) for name in ("a.b", "c.d")]
        await sidecar.follow(diff(MeshTable(), MeshTable({host.name: host for host in hosts})))
        return sidecar.conflicts

    (conflict,) = world.loop.run(conflicts())
    assert conflict.startswith("c.d cannot be reached at 10.96.0.11 port 1: a.b has it")
