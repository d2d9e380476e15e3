"""TCP/53 on a VM: mesh names answered, the rest relayed to a real server."""

from __future__ import annotations

import os
import signal

import pytest

from tests.netns.dns.conftest import SERVER4, SERVER6, TCP_PORT, Running, World

pytestmark = pytest.mark.root
SERVERS = pytest.mark.parametrize("server", [SERVER4, SERVER6])


@SERVERS
def test_mesh_names_are_answered_over_tcp(world: World, plane: Running, server: str) -> None:
    assert world.short("+tcp", "v4.bookinfo", server=server) == ["10.0.0.4"]
    assert len(world.short("+tcp", "many.bookinfo", server=server)) == 100


@SERVERS
def test_other_names_are_relayed_to_the_chosen_server(
    world: World, plane: Running, server: str
) -> None:
    assert world.short("+tcp", "www.other.test", server=server) == ["192.0.2.1"]
    assert len(world.short("+tcp", "long.other.test", "TXT", server=server)[0]) > 600
    world.wait(lambda: plane.plane.counters.events.get("tcp-relayed", 0) >= 2, 3)


def test_several_queries_share_one_connection(world: World, plane: Running) -> None:
    names = ["v4.bookinfo", "www.other.test", "x.wild.test", "www.other.test"]
    said = world.short("+tcp", "+keepopen", *names)
    assert said == ["10.0.0.4", "192.0.2.1", "240.240.0.9", "192.0.2.1"]


def test_the_relays_own_connection_is_marked_and_comes_from_the_vm(
    world: World, plane: Running
) -> None:
    """If it were not marked it would be steered back to us: a loop."""
    before = plane.plane.counters.events.get("tcp-steered", 0)
    assert world.short("+tcp", "www.other.test") == ["192.0.2.1"]
    world.wait(lambda: plane.plane.counters.events.get("tcp-steered", 0) == before + 1, 3)


def test_a_server_that_refuses_is_no_answer_but_mesh_names_go_on(
    world: World, plane: Running
) -> None:
    world.dnsmasq.terminate()
    world.dnsmasq.wait(5)
    assert world.short("+tcp", "www.other.test") != ["192.0.2.1"]
    assert "connection reset" in world.dig("+tcp", "www.other.test").lower()
    assert world.short("+tcp", "v4.bookinfo") == ["10.0.0.4"]


def test_a_client_that_comes_outright_gets_mesh_names_only(world: World, plane: Running) -> None:
    direct = ("-p", str(TCP_PORT), "+tcp")
    assert world.short(*direct, "v4.bookinfo", server="127.0.0.1") == ["10.0.0.4"]
    assert world.short(*direct, "v4.bookinfo", server="::1") == ["10.0.0.4"]
    assert world.short(*direct, "www.other.test", server="127.0.0.1") != ["192.0.2.1"]


def test_tcp_goes_to_its_server_while_our_port_is_taken(world: World) -> None:
    """Nothing is steered to a port where somebody else, or nobody, listens."""
    squat = (
        "import socket, time\n"
        f"held = socket.create_server(('127.0.0.1', {TCP_PORT}))\n"
        "time.sleep(60)\n"
    )
    file = world.folder / "squat.py"
    file.write_text(squat)
    world.start(world.vm, f"python3 {file}")
    world.wait(lambda: f":{TCP_PORT}" in world.inside(world.vm, "ss -Hltn").stdout)
    world.rules()
    from interceptor.dns.frame import Settings
    from tests.netns.dns.conftest import MARK, QUEUE

    running = Running(world, Settings(QUEUE, 4096, TCP_PORT, MARK))
    try:
        assert world.short("v4.bookinfo") == ["10.0.0.4"]
        assert world.short("+tcp", "www.other.test") == ["192.0.2.1"]
        assert world.short("+tcp", "reviews.bookinfo") == ["198.51.100.66"]
    finally:
        running.close()


def test_a_stopped_worker_is_not_for_ever_in_the_way_of_tcp(world: World, plane: Running) -> None:
    pid = plane.plane.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    world.wait(lambda: world.short("+tcp", "+time=1", "www.other.test") == ["192.0.2.1"], 6)
