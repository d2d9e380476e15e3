"""Whose a socket is: process, name, systemd unit. Cheap, bounded, and honest where it cannot know.

The kernel tells a socket's inode (`socketdiag`); which process holds it stands in /proc/PID/fd
alone. It is looked for at once among the youngest processes, which are the ones that are soon gone.
Else, where the socket's cgroup has one process only, it is that one. Else it is looked for where
sockets were found lately, then among all; and never at more than FDS_PER_S descriptors. What was
closed, or its process ended, before we looked is nobody's: fields are empty then, never a guess.
"""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TypeVar

from interceptor.host import cgroup, probe, socketdiag
from interceptor.host.socketdiag import End, Socket

FDS_PER_S = 10_000
"""Descriptors that may be looked at in a second: about 50 ms of it at most."""
KNOWN = 4096  # sockets and processes that are remembered, each
LATELY = 16  # processes where sockets were found
LATEST = 6  # threads that began last
WALKS_S = 2.0  # between two walks through the tree of cgroups
UNITS = (".service", ".scope")
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Process:
    """Who it is. Nothing is known of pid 0. ``gid`` is None and texts are empty where the process
    had ended before it was looked at."""

    pid: int = 0
    comm: str = ""
    unit: str = ""
    uid: int | None = None
    gid: int | None = None
    cgroup: str = ""


NOBODY = Process()


def parse_unit(text: str) -> str:
    """The systemd unit of /proc/PID/cgroup: of version 2's line, else (hybrid) of systemd's own
    hierarchy. Of a user's services it is the user's unit. Empty where there is none."""
    paths = [cgroup.parse_membership(text)]
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        name, _, path = rest.partition(":")
        if number != "0" and name == "name=systemd":
            paths.append(path)
    return next(filter(None, map(unit_of, paths)), "")


def unit_of(path: str) -> str:
    """The innermost service or scope of a cgroup's path; empty without one."""
    parts = path.removesuffix(" (deleted)").split("/")
    return next((part for part in reversed(parts) if part.endswith(UNITS)), "")


def parse_ids(status: str) -> tuple[int | None, int | None]:
    """The ids that files and sockets of a process get (the last of the four): /proc/PID/status."""
    ids: dict[str, int] = {}
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        if name in ("Uid", "Gid"):
            ids[name] = int(rest.split()[3])
    return ids.get("Uid"), ids.get("Gid")


class Finder:
    """Ask it from one thread. `close` it; it opens anew where it is asked after that. ``root`` is
    /proc, ``mount`` where cgroup2 is mounted (None: look); ``clock`` counts seconds."""

    def __init__(
        self,
        root: Path = Path("/proc"),
        clock: Callable[[], float] = monotonic,
        mount: str | None = None,
    ) -> None:
        self._root = str(root)
        self._clock = clock
        self._mount = probe.cgroup_mount() if mount is None else mount
        self._channel: socket.socket | None = None
        self._holders: OrderedDict[int, tuple[int, str]] = OrderedDict()  # inode: pid, its start
        self._known: OrderedDict[int, tuple[str, Process]] = OrderedDict()  # pid: its start
        self._lately: OrderedDict[int, None] = OrderedDict()
        self._left, self._filled_s = float(FDS_PER_S), clock()
        self._cgroups: dict[int, str] = {}
        self._walked_s = float("-inf")
        self.refused = 0
        """Times that nobody was looked for, because that would have been too much work."""

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def ask(self, protocol: str, local: End, remote: End | None = None) -> Socket | None:
        """The socket with these ends (as `socketdiag.find`); None also where that cannot be
        asked."""
        try:
            if self._channel is None:
                self._channel = socketdiag.open_channel()
            return socketdiag.ask(self._channel, protocol, local, remote)
        except (OSError, ValueError):
            self.close()  # an answer may be under way still: it would be taken for the next one's
            return None

    def find(self, protocol: str, local: End, remote: End | None = None) -> Process:
        """Whose the socket with these ends is, as far as that can be told."""
        found = self.ask(protocol, local, remote)
        return NOBODY if found is None else self.of(found)

    def of(self, one: Socket) -> Process:
        """Whose a socket is. Where its process is not found, its owner and unit are told."""
        pid = self._holder(one) if one.inode else 0
        if pid:
            return self.process(pid)
        path = self.cgroup(one.cgroup)
        uid = one.uid if one.inode else None  # 0 of a socket that nobody holds is not root's
        return Process(0, "", unit_of(path), uid, None, path)

    def process(self, pid: int, comm: str = "") -> Process:
        """A process by its pid; of one that has ended, what was known, or ``comm``."""
        began, known = self._began(pid), self._known.get(pid)
        if known is not None and began in ("", known[0]):
            return known[1]
        found = self._read(pid) if began else NOBODY
        if not found.comm:  # it has ended, or ends now
            return Process(pid, comm)
        _keep(self._known, pid, (began, found))
        return found

    def cgroup(self, inode: int) -> str:
        """The path of a cgroup by its folder's inode; empty where it is not found."""
        if inode and inode not in self._cgroups and self._clock() - self._walked_s >= WALKS_S:
            self._walked_s = self._clock()
            self._cgroups = dict(_cgroups(self._mount))
        return self._cgroups.get(inode, "")

    def _holder(self, one: Socket) -> int:
        inode = one.inode
        pid, began = self._holders.get(inode, (0, ""))
        if pid and self._began(pid) in ("", began):  # not another one of that number
            return pid
        if not self._may_look():
            return 0
        for pid in self._latest():
            if inode in self._look(pid):
                return self._holders[inode][0]
        if pid := self._only_one(self.cgroup(one.cgroup)):
            _keep(self._holders, inode, (pid, self._began(pid)))
            return pid
        for pid in chain(reversed(tuple(self._lately)), self._youngest()):
            # The second half is for those that are looked for at a likely place.
            if not self._may_look(FDS_PER_S / 2):
                return 0
            if inode in self._look(pid):
                _keep(self._lately, pid, None, LATELY)
                return pid
        return 0

    def _latest(self) -> Iterator[int]:
        """The threads that began last, as the kernel counts them: soon they may be gone."""
        with suppress(OSError, ValueError, IndexError):
            with open(f"{self._root}/loadavg") as file:
                last = int(file.read().split()[4])
            yield from range(last, max(1, last - LATEST), -1)

    def _leader(self, thread: int) -> int:
        """The process of a thread."""
        with suppress(OSError, ValueError):
            for line in self._text(thread, "status").splitlines():
                if line.startswith("Tgid:"):
                    return int(line[5:])
        return thread

    def _only_one(self, path: str) -> int:
        """The process of a cgroup that has but one; 0: it has none or several. systemd's own does
        not count: it makes sockets that it gives to services."""
        if path in ("", "/") or path.endswith("/init.scope"):
            return 0
        try:
            pids = cgroup.processes(cgroup.folder(path, Path(self._mount)))
        except OSError:
            return 0
        return pids[0] if len(pids) == 1 else 0

    def _may_look(self, besides: float = 0) -> bool:
        now = self._clock()
        self._left = min(FDS_PER_S, self._left + (now - self._filled_s) * FDS_PER_S)
        self._filled_s = now
        if self._left >= besides:
            return True
        self.refused += 1
        return False

    def _look(self, pid: int) -> set[int]:
        """The inodes of a process's sockets, all of which are remembered."""
        folder = f"{self._root}/{pid}/fd"
        inodes = set[int]()
        with suppress(OSError):  # it has ended, or is not ours to look into
            names = os.listdir(folder)
            self._left -= 1 + len(names)
            for name in names:
                with suppress(OSError):
                    kind, _, inode = os.readlink(f"{folder}/{name}").partition(":[")
                    if kind == "socket":
                        inodes.add(int(inode[:-1]))
        if inodes:
            holder = self._leader(pid)
            began = self._began(holder)
            for held in inodes:
                _keep(self._holders, held, (holder, began))
        return inodes

    def _youngest(self) -> Iterator[int]:
        yield from sorted(int(name) for name in os.listdir(self._root) if name.isdigit())[::-1]

    def _began(self, pid: int) -> str:
        """When it began (field 22 of /proc/PID/stat, proc(5)) and its name, which exec changes;
        empty where it has ended."""
        try:
            name, _, rest = self._text(pid, "stat").rpartition(")")
            return f"{rest.split()[19]} {name}"
        except (OSError, IndexError):
            return ""

    def _read(self, pid: int) -> Process:
        found = Process(pid)
        with suppress(OSError, ValueError, IndexError):
            uid, gid = parse_ids(self._text(pid, "status"))
            comm, told = self._text(pid, "comm").rstrip("\n"), self._text(pid, "cgroup")
            path = cgroup.parse_membership(told)
            found = Process(pid, comm, parse_unit(told), uid, gid, path)
        return found

    def _text(self, pid: int, name: str) -> str:
        with open(f"{self._root}/{pid}/{name}", errors="replace") as file:
            return file.read()


def _keep(into: OrderedDict[K, V], key: K, value: V, room: int = KNOWN) -> None:
    """Remember as the latest; the oldest goes where there is no room."""
    into[key] = value
    into.move_to_end(key)
    if len(into) > room:
        into.popitem(last=False)


def _cgroups(mount: str) -> Iterator[tuple[int, str]]:
    """Inode and path of every cgroup of version 2."""
    for folder, _, _ in os.walk(mount) if mount else ():
        with suppress(OSError):
            yield os.stat(folder).st_ino, folder[len(mount) :] or "/"
