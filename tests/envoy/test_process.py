"""Envoy's life: it outlives the daemon, comes back when it dies, ends when it is told."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from interceptor.mesh.model import AppProtocol
from interceptor.sidecar import pid
from interceptor.sidecar.process import State

pytestmark = [pytest.mark.root, pytest.mark.envoy]
DB = ("db.shop.svc.cluster.local", "10.96.0.11")
TCP = {"port": 3306, "protocol": AppProtocol.TCP}


@pytest.fixture(scope="module")
def servers(net):
    return net.serve(net.far, "tcp:t1:9000:10.77.0.2", "tcp:t2:9000:10.77.0.3")


def wait_until(condition, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)


def is_alive(number: int) -> bool:
    return pid.read_start_ticks(number) >= 0


def test_a_new_daemon_adopts_envoy_and_its_connections(world, servers, make_service):
    world.mesh(make_service(*DB, (("10.77.0.2", 9000),), **TCP))
    before = world.sidecar.pid
    with world.connect("10.96.0.11", 3306) as connection:
        assert connection.recv(100).startswith(b"t1")
        world.loop.run(world.sidecar.leave())
        world.close_server()
        with world.connect("10.96.0.11", 3306) as meanwhile:
            assert meanwhile.recv(100).startswith(b"t1")
        world.open_server()
        adopted = world.start_sidecar()
        assert (adopted.pid, adopted.was_adopted) == (before, True)
        world.settle()
        status = world.loop.call(world.server.status)
        assert status.counts == {}, "Envoy told what it has, so that nothing had to be sent"
        world.mesh(make_service(*DB, (("10.77.0.3", 9000),), **TCP))
        with world.connect("10.96.0.11", 3306) as after:
            assert after.recv(100).startswith(b"t2")
        connection.sendall(b"still")
        assert connection.recv(100) == b"still"


def test_another_configuration_replaces_envoy(world, servers):
    before = world.sidecar.pid
    world.loop.run(world.sidecar.leave())
    world.config = world.config.model_copy(
        update={"sidecar": world.config.sidecar.model_copy(update={"concurrency": 1})}
    )
    fresh = world.start_sidecar()
    assert fresh.pid != before
    assert not fresh.was_adopted
    assert not is_alive(before)


def test_a_later_process_with_the_same_pid_is_not_adopted(world, servers):
    before = world.sidecar.pid
    world.loop.run(world.sidecar.stop(0))
    record = f'{{"pid": {os.getpid()}, "start_ticks": 1, "digest": "{world.wanted().digest}"}}'
    world.files.record.write_text(record)
    fresh = world.start_sidecar()
    assert fresh.pid not in (before, os.getpid())


def test_an_envoy_that_dies_is_started_again(world, servers, make_service):
    world.mesh(make_service(*DB, (("10.77.0.2", 9000),), **TCP))
    before = world.sidecar.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: world.sidecar.pid != before and world.sidecar.state is State.LIVE)
    assert world.sidecar.restarts == 1
    world.settle()
    with world.connect("10.96.0.11", 3306) as connection:
        assert connection.recv(100).startswith(b"t1")


def test_an_adopted_envoy_that_dies_is_started_again(world, servers):
    world.loop.run(world.sidecar.leave())
    adopted = world.start_sidecar()
    before = adopted.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: adopted.pid != before and adopted.state is State.LIVE)


def test_an_envoy_that_hangs_is_noticed_and_goes_on_where_it_was(world, servers, make_service):
    world.mesh(make_service(*DB, (("10.77.0.2", 9000),), **TCP))
    before = world.sidecar.pid
    with world.connect("10.96.0.11", 3306) as connection:
        assert connection.recv(100).startswith(b"t1")
        stopped = time.monotonic()
        os.kill(before, signal.SIGSTOP)
        wait_until(lambda: world.sidecar.state is State.HUNG)
        assert time.monotonic() - stopped < 5
        os.kill(before, signal.SIGCONT)
        wait_until(lambda: world.sidecar.state is State.LIVE)
        assert (world.sidecar.pid, world.sidecar.hangs, world.sidecar.restarts) == (before, 1, 0)
        connection.sendall(b"still")
        assert connection.recv(100) == b"still"


def test_an_envoy_that_hangs_for_long_is_ended_and_started_again(world, servers):
    before = world.sidecar.pid
    os.kill(before, signal.SIGSTOP)
    wait_until(lambda: world.sidecar.pid != before and world.sidecar.state is State.LIVE, 20)
    assert not is_alive(before)
    assert (world.sidecar.hangs, world.sidecar.restarts) == (1, 1)


def test_an_envoy_that_hangs_when_it_is_adopted_is_replaced(world, servers):
    before = world.sidecar.pid
    world.loop.run(world.sidecar.leave())
    os.kill(before, signal.SIGSTOP)
    fresh = world.start_sidecar()
    assert fresh.pid != before
    assert not is_alive(before)


def test_a_stop_waits_for_connections_but_not_for_ever(world, servers, make_service):
    world.mesh(make_service(*DB, (("10.77.0.2", 9000),), **TCP))
    number = world.sidecar.pid
    with world.connect("10.96.0.11", 3306) as connection:
        assert connection.recv(100).startswith(b"t1")
        began = time.monotonic()
        world.loop.run(world.sidecar.stop(1.0))
        assert 1.0 <= time.monotonic() - began < 3.0
    assert not is_alive(number)
    assert not world.files.record.exists()
    assert world.sidecar.state is State.STOPPED


def test_a_stop_without_connections_is_quick(world, servers):
    began = time.monotonic()
    world.loop.run(world.sidecar.stop(20.0))
    assert time.monotonic() - began < 2.0


def test_a_stop_is_bounded_when_envoy_hangs(world, servers):
    number = world.sidecar.pid
    os.kill(number, signal.SIGSTOP)
    began = time.monotonic()
    world.loop.run(world.sidecar.stop(1.0))
    assert time.monotonic() - began < 8.0
    assert not is_alive(number)


def test_envoy_runs_from_a_folder_that_its_user_may_not_enter(make_world, tmp_path, servers):
    """As from a virtual environment below /root."""
    from interceptor.sidecar import binary

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.link(binary.find(), closed / "envoy")
    assert not binary.is_reachable(closed / "envoy", 1337, 1337)
    world = make_world(f"  binary: {closed / 'envoy'}\n")
    world.start()
    assert world.sidecar.state is State.LIVE


def test_tproxy_leaves_envoy_one_capability(make_world, servers):
    world = make_world("capture: {inbound: {mode: tproxy}}\n")
    world.start()
    status = Path(f"/proc/{world.sidecar.pid}/status").read_text()
    assert "Uid:\t1337\t1337" in status
    assert "CapEff:\t0000000000001000" in status
    assert world.loop.call(world.server.status).refusals == ()


def test_nobody_else_reads_the_sidecars_files(world, servers):
    for path in (world.files.record, world.files.log):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(world.files.bootstrap.stat().st_mode) == 0o640
    assert stat.S_IMODE(Path(world.settings.access_log).stat().st_mode) == 0o640


def test_a_listening_port_is_seen(world, servers):
    assert world.loop.call(pid.is_listening, 15001)
    assert not world.loop.call(pid.is_listening, 15008)
