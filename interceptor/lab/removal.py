"""What bears a lab's name on this machine, and how to be rid of it, whoever made it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import command, probe

FOLDER = Path("/run/interceptor-lab")
NETNS_ETC = Path("/etc/netns")
PREFIX = "ilab"


BPFFS = "bpf"


def bpffs(token: str, host: str) -> Path:
    """Where a host's own bpffs is mounted; the host sees it as /sys/fs/bpf."""
    return FOLDER / token / host / BPFFS


def cgroup(token: str, host: str = "") -> Path:
    """The cgroup of a lab, or of one host in it: what runs there, and nothing else, is captured
    by programs that hang on cgroups. Raises LabFailed where there is no cgroup2."""
    mount = probe.cgroup_mount()
    if not mount:
        raise LabFailed("a lab's hosts are cgroups, and no cgroup2 is mounted")
    return Path(mount, f"{PREFIX}-{token}", host)


class LabFailed(InterceptorError):
    """A host of the lab did not come up, or did not do what it was asked in time."""


def wait_until(
    condition: Callable[[], bool], what: str, timeout_s: float = 10, pause_s: float = 0.02
) -> None:
    """Poll ``condition``. Raises LabFailed, naming ``what``, when the time is up."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise LabFailed(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)


@dataclass(frozen=True, slots=True)
class Listed:
    """One lab as `list_labs` finds it. ``owner`` 0: it was left up on purpose."""

    token: str
    owner: int
    hosts: tuple[str, ...]

    @property
    def is_orphan(self) -> bool:
        return self.owner != 0 and not Path(f"/proc/{self.owner}").exists()


def list_labs() -> tuple[Listed, ...]:
    """Every lab on this machine, running or left behind."""
    labs = []
    for file in sorted(FOLDER.glob("*/lab.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            tree = json.loads(file.read_text())
            labs.append(Listed(file.parent.name, int(tree["owner"]), tuple(tree["hosts"])))
    return tuple(labs)


def down(token: str) -> None:
    """Remove one lab by its token, whoever built it and however far that got."""
    prefix = f"{PREFIX}-{token}-"
    namespaces = [
        line.split()[0]
        for line in command.run(["ip", "netns", "list"]).stdout.splitlines()
        if line.startswith(prefix)
    ]
    _end_processes(namespaces)
    for namespace in namespaces:
        command.run(["ip", "netns", "delete", namespace], check=False)
    for etc in NETNS_ETC.glob(f"{prefix}*"):
        shutil.rmtree(etc, ignore_errors=True)
    for place in (FOLDER / token).glob(f"*/{BPFFS}"):
        # With the mount goes what is pinned in it, and with that what is attached.
        command.run(["umount", str(place)], check=False)
    _remove_cgroups(cgroup(token))
    shutil.rmtree(FOLDER / token, ignore_errors=True)
    for folder in (NETNS_ETC, FOLDER):
        with suppress(OSError):
            folder.rmdir()  # only where it is empty


def _remove_cgroups(top: Path) -> None:
    """Remove a tree of cgroups, deepest first. A process that is just ending keeps its own."""
    folders = sorted((path for path in (top, *top.rglob("*")) if path.is_dir()), reverse=True)
    for folder in folders:
        with suppress(LabFailed):
            wait_until(lambda folder=folder: _is_removed(folder), f"end of {folder}", 2)  # type: ignore[misc]


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def down_orphans() -> tuple[str, ...]:
    """Remove the labs whose owner is gone. Returns their tokens."""
    tokens = tuple(lab.token for lab in list_labs() if lab.is_orphan)
    for token in tokens:
        down(token)
    return tokens


def _end_processes(namespaces: Sequence[str]) -> None:
    """SIGTERM, and SIGKILL after two seconds, for whatever runs in the namespaces."""
    for number, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        left = pids(namespaces)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        with suppress(LabFailed):
            wait_until(lambda: not pids(namespaces), "the lab's processes", patience_s)
        if not left:
            return


def pids(namespaces: Sequence[str]) -> list[int]:
    """Every process that runs in the namespaces now."""
    return [
        int(word)
        for namespace in namespaces
        for word in command.run(["ip", "netns", "pids", namespace], check=False).stdout.split()
        if not _is_zombie(int(word))
    ]


def _is_zombie(pid: int) -> bool:
    """A zombie holds no namespace any more; its parent may be slow to reap it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
