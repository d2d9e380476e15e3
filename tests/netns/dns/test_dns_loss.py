"""What becomes of DNS while the worker hangs, dies, is full, or cannot listen."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.netns.dns.conftest import Running, World

pytestmark = pytest.mark.root
SERVER4 = "10.99.0.1"
TCP_PORT = 15053


def test_a_hanging_worker_is_replaced_within_five_seconds(
    own_world: World, own_plane: Running
) -> None:
    first = own_plane.plane.pid
    assert first is not None
    assert own_world.short("v4.bookinfo") == ["10.0.0.4"]
    stopped = time.monotonic()
    os.kill(first, signal.SIGSTOP)
    own_world.wait(lambda: own_world.short("+time=1", "www.other.test") == ["192.0.2.1"], 5)
    own_world.wait(lambda: own_world.short("+time=1", "v4.bookinfo") == ["10.0.0.4"], 5)
    assert time.monotonic() - stopped < 5
    assert own_plane.plane.pid != first
    assert "no life sign" in own_world.log[0]


ASK_ONCE = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], 53)); sock.settimeout(6)
for number in range(20): sock.send(number.to_bytes(2, "big") + bytes.fromhex(sys.argv[2])[2:])
print(len({sock.recv(600)[:2] for _ in range(20)}))
"""


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_what_waits_for_a_lost_worker_goes_on(
    own_world: World, own_plane: Running, number: signal.Signals
) -> None:
    """No client asks twice here: what the kernel dropped would stay lost."""
    pid = own_plane.plane.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    query = "000001000001000000000000" + b"\3www\5other\4test\0".hex() + "00010001"
    script = own_world.folder / "once.py"
    script.write_text(ASK_ONCE)
    line = f"python3 {script} {SERVER4} {query}"
    asking = own_world.start(own_world.vm, line, stdout=subprocess.PIPE)
    queue = Path("/proc/net/netfilter/nfnetlink_queue")
    waits = ["cat", str(queue)]
    own_world.wait(lambda: own_world.inside(own_world.vm, waits).stdout.split()[2:3] == ["20"], 3)
    os.kill(pid, number)
    assert asking.communicate(timeout=8)[0] == b"20\n"
    own_world.wait(lambda: any("20 queries that waited" in line for line in own_world.log))


def test_without_a_worker_every_name_goes_to_the_hosts_own_resolver(
    own_world: World, own_plane: Running
) -> None:
    own_plane.call(own_plane.plane.close())
    assert own_world.short("reviews.bookinfo") == ["198.51.100.66"]
    assert own_world.short("www.other.test") == ["192.0.2.1"]
    assert own_world.short("+tcp", "reviews.bookinfo") == ["198.51.100.66"]


def test_a_killed_worker_is_replaced(own_world: World, own_plane: Running) -> None:
    first = own_plane.plane.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    own_world.wait(lambda: own_plane.plane.pid not in (first, None) and own_plane.plane.is_alive, 5)
    assert own_world.short("v4.bookinfo") == ["10.0.0.4"]


def test_a_full_queue_lets_further_queries_pass(own_world: World) -> None:
    """The kernel's fail-open flag, which the library does not know: set by hand."""
    running = own_world.run_plane(64)
    try:
        pid = running.plane.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        burst = (
            "import socket, sys\n"
            "sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "sock.connect((sys.argv[1], 53)); sock.settimeout(1)\n"
            "for _ in range(100): sock.send(bytes.fromhex(sys.argv[2]))\n"
            "count = 0\n"
            "try:\n"
            "    while count < 36: sock.recv(600); count += 1\n"
            "except TimeoutError: pass\n"
            "print(count)\n"
        )
        query = "471101000001000000000000" + b"\3www\5other\4test\0".hex() + "00010001"
        done = own_world.inside(own_world.vm, ["python3", "-c", burst, SERVER4, query])
        assert done.stdout.strip() == "36"
    finally:
        running.close()


def test_a_server_that_refuses_is_no_answer_but_mesh_names_go_on(
    own_world: World, own_plane: Running
) -> None:
    own_world.dnsmasq.terminate()
    own_world.dnsmasq.wait(5)
    assert own_world.short("+tcp", "www.other.test") != ["192.0.2.1"]
    assert "connection reset" in own_world.dig("+tcp", "www.other.test").lower()
    assert own_world.short("+tcp", "v4.bookinfo") == ["10.0.0.4"]


def test_tcp_goes_to_its_server_while_our_port_is_taken(own_world: World) -> None:
    """Nothing is steered to a port where somebody else, or nobody, listens."""
    squat = (
        "import socket, time\n"
        f"held = socket.create_server(('127.0.0.1', {TCP_PORT}))\n"
        "time.sleep(60)\n"
    )
    file = own_world.folder / "squat.py"
    file.write_text(squat)
    own_world.start(own_world.vm, f"python3 {file}")
    own_world.wait(lambda: f":{TCP_PORT}" in own_world.inside(own_world.vm, "ss -Hltn").stdout)
    running = own_world.run_plane()
    try:
        assert own_world.short("v4.bookinfo") == ["10.0.0.4"]
        assert own_world.short("+tcp", "www.other.test") == ["192.0.2.1"]
        assert own_world.short("+tcp", "reviews.bookinfo") == ["198.51.100.66"]
    finally:
        running.close()


def test_a_stopped_worker_is_not_for_ever_in_the_way_of_tcp(
    own_world: World, own_plane: Running
) -> None:
    pid = own_plane.plane.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    own_world.wait(lambda: own_world.short("+tcp", "+time=1", "www.other.test") == ["192.0.2.1"], 6)


STEADY = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], 53)); sock.settimeout(2)
lost = 0
for number in range(int(sys.argv[3])):
    query = number.to_bytes(2, "big") + bytes.fromhex(sys.argv[2])
    sock.send(query)
    try:
        while sock.recv(600)[:2] != query[:2]: pass
    except TimeoutError:
        lost += 1
print(lost)
"""


def test_an_orderly_end_loses_no_query(own_world: World) -> None:
    """The queue is drained before it is given back; the rule's bypass does the rest."""
    query = "01000001000000000000" + b"\3www\5other\4test\0".hex() + "00010001"
    file = own_world.folder / "steady.py"
    file.write_text(STEADY)
    for number in range(4):
        out = own_world.folder / f"lost{number}"
        running = own_world.run_plane()
        with out.open("wb") as stdout:
            line = f"python3 {file} {SERVER4} {query} 40000"
            client = own_world.start(own_world.vm, line, stdout=stdout)
            own_world.wait(partial(_is_busy, running))
            running.close()
            assert client.poll() is None
            client.wait(30)
        assert out.read_text().strip() == "0"


def _is_busy(running: Running) -> bool:
    return running.plane.counters.queries.get(("nfqueue", "pass", "A"), 0) > 0
