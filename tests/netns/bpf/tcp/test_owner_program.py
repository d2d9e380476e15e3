"""owner: a UDP socket remembers whether its maker's group is exempt."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import bpfevent
from interceptor.host.layout import EventKind, Map, Number, Owner, PolicyFlag, State
from interceptor.host.ringbuf import RingBuffer

pytestmark = pytest.mark.root

SO_COOKIE = 57  # asm-generic/socket.h
GROUPS = PolicyFlag.SIDECAR | PolicyFlag.EXCLUDE_GIDS | PolicyFlag.INCLUDE_GIDS


@pytest.fixture
def owned(steered) -> Any:
    """What is kept of a socket that a process of some group makes; 0: nothing."""
    steered.numbers(Number.EXCLUDE_GID, 2000)
    steered.numbers(Number.INCLUDE_GID, 2000, 3000)
    steered.policy(GROUPS)
    steered.attach("owner")
    owners = steered.kernel.maps[Map.OWNERS]

    def make(kind: socket.SocketKind, family: socket.AddressFamily) -> int:
        with socket.socket(family, kind) as one:
            os.setresuid(0, 0, 0)
            raw = owners.lookup(struct.pack("=i", one.fileno()))
        return struct.unpack("=I", raw)[0] if raw else 0

    def find(
        gid: int, kind: Any = socket.SOCK_DGRAM, family: Any = socket.AF_INET, **at: Any
    ) -> int:
        return int(steered.run(make, kind, family, gid=gid, **at))

    return find


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_udp_sockets_remember_their_makers_group(owned, family) -> None:
    assert owned(1337, family=family) == Owner.EXCLUDED
    assert owned(2000, family=family) == Owner.EXCLUDED
    assert owned(3000, family=family) == Owner.INCLUDED
    assert owned(4000, family=family) == 0


def test_the_sidecars_group_elsewhere_is_not_remembered(owned, steered) -> None:
    home = steered.agent.stat().st_ino
    steered.policy(PolicyFlag.SIDECAR | PolicyFlag.CONFINED, sidecar_cgroup=home)
    assert owned(1337) == 0
    assert owned(1337, cgroup="agent") == Owner.EXCLUDED


def test_tcp_sockets_do_not(owned) -> None:
    assert owned(1337, socket.SOCK_STREAM) == 0


def test_sets_that_are_not_in_force_are_no_matter(owned, steered) -> None:
    steered.policy(PolicyFlag(0))
    assert [owned(gid) for gid in (1337, 2000, 3000)] == [0, 0, 0]


def test_sockets_of_another_namespace_do_not(owned, steered) -> None:
    assert owned(1337, namespace=steered.peer.name) == 0


def test_who_makes_a_socket_is_told_only_while_somebody_listens(owned, steered) -> None:
    ring = RingBuffer(steered.kernel.maps[Map.EVENTS])

    def make() -> tuple[int, str, int]:
        comm = Path("/proc/self/comm").read_text().strip()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            raw = one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
            return os.getpid(), comm, struct.unpack("=Q", raw)[0]

    steered.run(make)
    assert list(ring.read()) == []
    steered.state(State.TRACE_NS, time.monotonic_ns() + 10**10)
    made = steered.run(make)
    steered.state(State.TRACE_NS, 0)
    (found,) = map(bpfevent.decode, ring.read())
    assert (found.kind, found.uid) == (EventKind.SOCKET, 0)
    assert (found.pid, found.comm, found.cookie) == made
    ring.close()
