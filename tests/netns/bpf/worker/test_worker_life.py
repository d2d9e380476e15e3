"""Workers that come, go and change their table, beside programs that answer all the while."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from interceptor.dns.frame import Settings
from interceptor.dns.plane import Plane
from interceptor.host.layout import State
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import Difference

if TYPE_CHECKING:
    from tests.netns.bpf.worker.conftest import World

pytestmark = pytest.mark.root

MARK, TCP_PORT = 0x1DC0, 15053
SERVER4, SERVER6, LINK_LOCAL = "10.99.0.1", "fd99::1", "fe80::1"
NS = "bookinfo.svc.cluster.local"


def wait(condition: Callable[[], bool], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def test_without_a_worker_its_names_pass_and_the_kernel_s_are_answered(world: World) -> None:
    first = world.plane()
    assert world.state(State.WORKER_NS) > 0
    world.call(first.close())
    assert world.state(State.WORKER_NS) == 0
    assert world.short("reviews.bookinfo.corp.test") == ["192.0.2.99"]
    assert world.short("reviews.bookinfo") == ["10.0.0.1"]


def test_a_killed_worker_is_replaced_and_the_kernel_never_misses_a_name(
    world: World, plane: Plane
) -> None:
    former = plane.pid
    assert former is not None
    number = world.state(State.VIEW)
    os.kill(former, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while world.state(State.VIEW) == number:
        assert world.short("reviews.bookinfo") == ["10.0.0.1"]
        assert time.monotonic() < deadline
    wait(lambda: plane.is_alive and plane.pid != former)
    assert world.short("reviews.bookinfo.corp.test") == [f"reviews.{NS}.", "10.0.0.1"]


def test_a_stopped_worker_loses_the_kernel_s_trust(world: World, plane: Plane) -> None:
    assert plane.pid is not None
    os.kill(plane.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        wait(lambda: world.short("reviews.bookinfo.corp.test", "+time=1") == ["192.0.2.99"], 4)
        assert time.monotonic() - began < 3
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(plane.pid, signal.SIGCONT)


def test_a_change_is_answered_at_once_by_both(world: World, plane: Plane) -> None:
    fresh = Host("new.test", "x", Kind.SERVICE_ENTRY, (ip_address("10.9.9.9"),))
    assert world.short("new.test") == []
    world.call(plane.send(Difference((fresh,))))
    wait(lambda: world.short("new.test") == ["10.9.9.9"], 1)
    assert world.short("new.test.corp.test") == ["new.test.", "10.9.9.9"]
    assert world.short("-x", "10.9.9.9") == ["new.test."]
    world.call(plane.send(Difference(removed=("new.test",))))
    wait(lambda: world.short("new.test") == [], 1)
    assert world.short("-x", "10.9.9.9") == []


def test_a_worker_without_its_maps_says_what_is_missing(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    async def start() -> None:
        made = Plane(
            Settings(-1, 1, TCP_PORT, MARK, str(world.folder / "absent")),
            lambda: (world.locale, ()),
            world.log.append,
        )
        with pytest.raises(TimeoutError):
            await made.open(timeout_s=1)
        await made.close()

    world.call(start())
    assert "state: no such map" in capfd.readouterr().err


class Asking:
    """A client that asks for one name as fast as it is answered, and keeps what it is told."""

    def __init__(self, world: World, name: str) -> None:
        self.answers: dict[bytes, int] = {}
        self.lost = 0
        self._stop, self._ended = threading.Event(), threading.Event()
        labels = b"".join(bytes((len(part),)) + part for part in name.encode().split(b"."))
        self._query = bytes.fromhex("01000001000000000000") + labels
        self._query += bytes.fromhex("0000010001")
        world.vm.thread(self._run)

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect((SERVER4, 53))
            number = 0
            while not self._stop.is_set():
                number = (number + 1) & 0xFFFF
                client.send(number.to_bytes(2, "big") + self._query)
                try:
                    answer = client.recv(2000)[-4:]
                except TimeoutError:
                    self.lost += 1
                    continue
                self.answers[answer] = self.answers.get(answer, 0) + 1
        self._ended.set()

    def stop(self) -> None:
        self._stop.set()
        assert self._ended.wait(5)


def test_no_query_is_lost_or_answered_by_others_while_everything_changes(
    world: World, plane: Plane
) -> None:
    ours = ip_address("10.0.0.1").packed
    kernels, workers = (
        Asking(world, "reviews.bookinfo"),
        Asking(world, "reviews.bookinfo.corp.test"),
    )
    others = {f"h{n}.test": host_of(n) for n in range(3000)}
    try:
        world.hosts |= others
        for _ in range(4):
            world.call(plane.load())
        for n in range(200):
            world.call(plane.send(Difference((host_of(n % 20, n),))))
        workers.stop()
        for _ in range(3):
            former, number = plane.pid, world.state(State.VIEW)
            assert former is not None
            os.kill(former, signal.SIGKILL)
            wait(partial(is_replaced, world, plane, former, number), 30)
    finally:
        kernels.stop()
        workers.stop()
        for name in others:
            del world.hosts[name]
    for asking in (kernels, workers):
        assert (set(asking.answers), asking.lost) == ({ours}, 0)
        assert asking.answers[ours] > 50


def is_replaced(world: World, plane: Plane, former: int, number: int) -> bool:
    """Whether another worker than ``former`` has loaded its table into the other view."""
    return world.state(State.VIEW) != number and plane.is_alive and plane.pid != former


def host_of(number: int, shift: int = 0) -> Host:
    addresses = (ip_address("10.128.0.0") + number + (shift << 10),)
    return Host(f"h{number}.test", "x", Kind.SERVICE_ENTRY, addresses)
