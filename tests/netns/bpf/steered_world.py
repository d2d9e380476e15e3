"""The world of `tests.netns.world` with the ebpf back end in its VM.

Programs ask who the process is that calls: whoever sends something is a
process of a cgroup, and really that user and group.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from multiprocessing.connection import Connection
from typing import Any

from interceptor.capture import ground
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.journal import Journal
from interceptor.dns.publisher import Publisher
from interceptor.mesh import record
from interceptor.mesh.directory import Directory
from interceptor.mesh.model import Host, Kind, Locale
from tests.netns.bpf.tcp.client import enter
from tests.netns.scope_case import Trial
from tests.netns.world import AGENT, IP_FREEBIND, World, connect, serve

FORK = multiprocessing.get_context("fork")
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_SECUREBITS, NO_SETUID_FIXUP = 28, 4  # linux/prctl.h, linux/securebits.h
NAME, ADDRESS = "probe.mesh.test", ip_address("192.0.2.53")
QUESTION = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
QUESTION += struct.pack("!BHH", 0, 1, 1)  # A, IN


class Caller:
    """A process of a namespace and a cgroup that sends one thing after another."""

    def __init__(self, namespace: str, folder: Any) -> None:
        self._end, theirs = FORK.Pipe()
        self._process = FORK.Process(target=_call, args=(theirs, namespace, folder), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, trial: Trial) -> str:
        """Where it ended."""
        self._end.send(trial)
        assert self._end.poll(20), trial
        return str(self._end.recv())

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._end.close()


class SteeredWorld(World):
    """``sites`` are the back end's. `sub` is a cgroup below the captured one's."""

    def __init__(self, make: Callable[[str], Any], sites: Sites) -> None:
        self.sites, self.sub = sites, sites.capture / "sub"
        self.fates: Counter[str] = Counter()
        (self.sub / "deep").mkdir(parents=True)
        super().__init__(make)
        self._callers = {
            "vm": Caller(self.vm.name, sites.capture),
            "sub": Caller(self.vm.name, self.sub / "deep"),
            "box": Caller(self.box.name, sites.capture),
            "peer": Caller(self.peer.name, sites.capture),
        }

    def intercept(self) -> None:
        """The listeners are the agent's, or the programs would not tell them destinations."""
        ready, arguments = FORK.Event(), (self.vm.name, self.sites.agent)
        self._agent = FORK.Process(target=_listen, args=(*arguments, ready), daemon=True)
        self._agent.start()
        assert ready.wait(10)

    def publish(self) -> None:
        """As the DNS worker does, into maps that are pinned from now on."""
        maps = ground.prepare(self.sites, Journal())
        directory = Directory(Locale("vm"))
        host = Host(NAME, "x", Kind.SERVICE, (ADDRESS,))
        directory.put(host.name, record.encode(host))
        publisher = Publisher(maps)
        asyncio.run(publisher.load(directory))
        publisher.close()
        for each in maps.values():
            each.close()

    def send(self, trial: Trial) -> str:
        """A place and the address dialled; of a datagram the place alone; ``refused``, ``lost``."""
        fate = self._callers["sub" if trial.in_cgroup else trial.where].send(trial)
        self.fates[f"{trial.where} {trial.protocol} {fate.split()[0]}"] += 1
        return fate

    def close(self) -> None:
        for caller in self._callers.values():
            caller.close()
        self._agent.kill()
        self._agent.join()
        super().close()
        (self.sub / "deep").rmdir()
        self.sub.rmdir()


def _listen(namespace: str, folder: Any, ready: Any) -> None:
    enter(namespace, folder, 0, 0)
    serve(list(AGENT), ready, FORK.Event())


def _call(pipe: Connection, namespace: str, folder: Any) -> None:
    enter(namespace, folder, 0, 0)
    # Whatever user it becomes, it may set marks, and become another one.
    assert LIBC.prctl(PR_SET_SECUREBITS, NO_SETUID_FIXUP) == 0
    while True:
        trial = pipe.recv()
        os.setresgid(trial.gid, trial.gid, trial.gid)
        os.setresuid(trial.uid, trial.uid, trial.uid)
        try:
            fate = _send(trial)
        except OSError as error:
            fate = repr(error)
        pipe.send(fate)


def _send(trial: Trial) -> str:
    kind = socket.SOCK_STREAM if trial.protocol == "tcp" else socket.SOCK_DGRAM
    prefix = "::ffff:" if trial.mapped else ""
    destination = f"{prefix}{trial.destination}"
    with socket.socket(socket.AF_INET6 if ":" in destination else socket.AF_INET, kind) as one:
        one.settimeout(3)
        if trial.mark:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, trial.mark)
        if trial.source:
            one.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            one.bind((f"{prefix}{trial.source}", 0))
        if trial.protocol == "udp":
            return _ask(one, destination, trial.port)
        fate = connect(one, destination, trial.port)
        if fate not in ("refused", "lost") and one.getpeername()[:2] != (destination, trial.port):
            return f"{fate}, but the peer's name is {one.getpeername()}"
        return fate


def _ask(one: socket.socket, server: str, port: int) -> str:
    """``dns`` where the answer is the kernel's, else who answers."""
    number = os.urandom(2)
    one.connect((server, port))
    one.send(number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + QUESTION)
    try:
        answer = one.recv(512)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "lost"
    if answer == b"peer":
        return "peer"
    right = answer[:2] == number and answer.endswith(ADDRESS.packed)
    return "dns" if right else f"answered {answer!r}"
