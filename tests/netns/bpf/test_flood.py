"""Whoever else sends by the devices that we attach to loses nothing by it.

A stream of numbered packets crosses the host's uplink while the back end comes, changes and goes.
By tcx none is missing. By clsact some may be: when a qdisc comes or goes the kernel takes the
device's queues down for a moment (dev_deactivate in net/sched/sch_generic.c, called by
qdisc_graft), and what is sent then is dropped. Twenty of them by themselves show that it is seen.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interceptor.host import command
from tests.netns.bpf.ebpf_host import Host, changed

pytestmark = pytest.mark.root

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PAUSE_S = 0.0002
SETTLE_S = 0.1
ROUNDS = 3
PORT = 9
QDISC = "for i in $(seq 20); do tc qdisc add dev d0 clsact; tc qdisc del dev d0 clsact; done"
ADDRESSES = "ip -n {peer} addr add {network}.9/24 dev {end}; ip -n {peer} link set {end} up"


class Flood:
    """Packets from one namespace to another, about 4,000 a second, and which of them arrive."""

    def __init__(self, source: Any, sink: Any, address: str) -> None:
        self._address, self._ended = address, threading.Event()
        self._sent, self._got = 0, set[int]()
        receiver = sink.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        receiver.bind((address, PORT))
        receiver.settimeout(0.1)
        self._receiver: socket.socket = receiver
        self._sender: socket.socket = source.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self._threads = [threading.Thread(target=each) for each in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        self._sender.connect((self._address, PORT))
        while not self._ended.is_set():
            self._sender.send(str(self._sent).encode())
            self._sent += 1
            time.sleep(PAUSE_S)

    def _receive(self) -> None:
        while True:
            try:
                self._got.add(int(self._receiver.recv(20)))
            except TimeoutError:
                if self._ended.is_set():
                    return

    def lost(self, act: Callable[[], object]) -> int:
        """How many packets are lost while ``act`` runs, and shortly after."""
        first = self._sent
        act()
        time.sleep(SETTLE_S)
        last = self._sent
        time.sleep(SETTLE_S)
        assert last - first > 100, "nobody sent"
        return len(set(range(first, last)) - self._got)

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()


@pytest.fixture
def flood(host: Host, namespaces: Callable[[str], Any]) -> Iterator[Callable[[str, str], Flood]]:
    """A maker of floods by a cable: its other end moves to a namespace of its own."""
    floods: list[Flood] = []

    def one(end: str, network: str) -> Flood:
        peer = namespaces("peer")
        host.sh(f"ip link set {end} netns {peer.name}")
        host.sh(ADDRESSES.format(peer=peer.name, network=network, end=end))
        floods.append(Flood(host.vm, peer, f"{network}.9"))
        time.sleep(SETTLE_S)  # the neighbour is found
        return floods[-1]

    yield one
    for each in floods:
        each.close()


def test_whatever_comes_and_goes_costs_others_nothing_by_tcx(
    host: Host, flood: Callable[[str, str], Flood], kind: str
) -> None:
    uplink, plan, lost = flood("d1", "10.0.0"), host.plan(), dict[str, int]()

    def count(what: str, act: Callable[..., object], *words: object) -> None:
        lost[what] = lost.get(what, 0) + uplink.lost(lambda: host.vm.call(act, *words))

    count("nothing", time.sleep, 0.3)
    for _ in range(ROUNDS):
        one = host.backend()
        count("install", one.apply, plan)
        count("restart", host.backend().apply, plan)
        newer = host.backend(changed(host.code))
        count("upgrade", newer.apply, plan)
        count("clean", newer.revert)
    count("a qdisc by itself", command.run, ["sh", "-euc", QDISC])
    print(kind, lost)
    assert lost["nothing"] == lost["restart"] == lost["upgrade"] == 0
    assert lost["a qdisc by itself"] > 0, "or it would not be seen"
    if kind == "tcx":
        assert lost["install"] == lost["clean"] == 0


@pytest.mark.parametrize("kind", ["tcx"], indirect=True)
def test_an_uplink_that_is_in_use_when_we_see_it_loses_nothing(
    host: Host, flood: Callable[[str, str], Flood]
) -> None:
    one = host.backend()
    host.vm.call(one.apply, host.plan())
    host.sh(
        "ip link add e0 type veth peer name e1; ip addr add 10.1.0.2/24 dev e0; ip link set e0 up"
    )
    there = flood("e1", "10.1.0")
    assert there.lost(lambda: host.vm.call(one.apply, host.plan())) == 0
    assert host.runs("e0") == ["dns_egre"]
    assert there.lost(lambda: host.sh("ip link del d0")) == 0
