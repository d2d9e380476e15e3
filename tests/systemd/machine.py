"""A machine with real systemd as PID 1: the lab's host `vm`, booted by systemd-nspawn.

The network namespace, the cgroup and the peers (DNS servers, services) are the lab's; the
root is an overlay, in memory, over trees that nobody changes. Mounts are made in a mount
namespace of the machine's own, so that they end with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import yaml

from interceptor.host import command
from interceptor.lab import agent, description, removal
from interceptor.lab.description import World
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import Lab

HOST = "vm"
UNIT = "interceptor.service"
BOOT_LIMIT_S = 60.0  # under two seconds on an idle machine

BOOT = """
echo 0 >"$1"
mount -t tmpfs tmpfs /run/systemd
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$3,upperdir=$2/upper,workdir=$2/work" "$2/root"
exec systemd-nspawn --quiet --directory="$2/root" --boot --notify-ready=yes \
    --machine="$4" --hostname=vm --network-namespace-path="/run/netns/$4" \
    --register=no --keep-unit --capability=all --system-call-filter=@known \
    --resolv-conf=off --timezone=off --link-journal=no --settings=no --console=pipe \
    --bind="$5":/sys/fs/bpf
"""
"""$1: cgroup.procs, $2: an empty folder, $3: the lower trees, $4: the namespace, $5: its bpffs."""

ENVIRONMENT = {
    # The payload gets cgroup2 alone, whatever mixture this machine has.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}
TWINS = Path("/sys/fs/cgroup/systemd")
"""nspawn puts the payload into systemd's own hierarchy too, where there is one."""
WORDS = {"LC_ALL": "C", "HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
ENTER = 'echo 0 >"$0"; exec "$@"'


def world() -> World:
    """The demo's lab without its second VM, with a second DNS server to change to, and with a
    host for whatever other server a test needs."""
    whole = description.default()
    hosts = tuple(host for host in whole.hosts if host.name != "vm2")
    other = description.Host("dns2", description.pair(63), records=description.RECORDS)
    return replace(whole, hosts=(*hosts, other, description.Host("spare", description.pair(73))))


@dataclass(frozen=True, slots=True)
class Image:
    """What a machine boots from. ``lower``: trees, the topmost first; never written to.

    ``settings`` are laid over those of the lab's agent. ``files`` and ``links`` (target by
    path; no target: what the trees have there is hidden) are there before systemd starts.
    """

    lower: tuple[Path, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def masked(self, *units: str) -> Image:
        links = {f"/etc/systemd/system/{unit}": "/dev/null" for unit in units}
        return replace(self, links={**self.links, **links})

    def unmasked(self, unit: str) -> Image:
        path = f"/etc/systemd/system/{unit}"
        return replace(self, links={k: v for k, v in self.links.items() if k != path})

    def linked(self, path: str, target: str) -> Image:
        return replace(self, links={**self.links, path: target})

    def hidden(self, *paths: str) -> Image:
        return replace(self, links={**self.links, **dict.fromkeys(paths, "")})

    def enabled(self, *units: str) -> Image:
        """As if `systemctl enable` had been run; units of multi-user.target only."""
        wants = "/etc/systemd/system/multi-user.target.wants"
        links = {f"{wants}/{unit}": f"/lib/systemd/system/{unit}" for unit in units}
        return replace(self, links={**self.links, **links})


@dataclass(slots=True)
class Machine:
    """A booted machine. ``leader``: its PID 1, as this machine numbers processes."""

    lab: Lab
    nspawn: command.Process
    leader: int = 0

    @classmethod
    def open(cls, image: Image) -> Self:
        """Boot one and wait until it is up. Nothing is left of one that fails: LabFailed."""
        _remove_orphans()
        lab = Lab.open(world())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
                path = lab.host_folder(HOST) / "notify"
                told.bind(str(path))
                machine = cls(lab, _boot(lab, image, path))
                machine._await_boot(told)
        except BaseException:
            _close(lab)
            raise
        return machine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def argv(self, argv: Sequence[str]) -> list[str]:
        """``argv`` as it runs in the machine: as root, in a cgroup that is no unit's."""
        procs = removal.cgroup(self.lab.token, HOST) / "payload" / "itest" / "cgroup.procs"
        words = [f"{name}={value}" for name, value in WORDS.items()]
        enter = ["nsenter", f"--target={self.leader}", "-m", "-u", "-i", "-n", "-p", "-C", "--wd=/"]
        return ["sh", "-euc", ENTER, str(procs), *enter, "env", "-i", *words, *argv]

    def outside(self, argv: Sequence[str]) -> list[str]:
        """``argv`` in the machine's network and cgroup, with the files and pids of this one."""
        procs = removal.cgroup(self.lab.token, HOST) / "payload" / "itest" / "cgroup.procs"
        enter = ["nsenter", f"--net=/run/netns/{self.lab.namespace(HOST)}"]
        return ["sh", "-euc", ENTER, str(procs), *enter, *argv]

    def run(
        self,
        argv: Sequence[str],
        stdin: str | None = None,
        *,
        timeout_s: float = 60,
        check: bool = True,
    ) -> command.Completed:
        """Run a program to its end. Raises CommandFailed unless ``check`` is false."""
        return command.run(self.argv(argv), stdin, timeout_s=timeout_s, check=check)

    def sh(self, script: str, *, check: bool = True, timeout_s: float = 60) -> str:
        """What a shell script prints."""
        return self.run(["sh", "-euc", script], check=check, timeout_s=timeout_s).stdout

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.run(["systemctl", *words], check=check).stdout

    def start(self, unit: str = UNIT) -> None:
        """Start a unit; it is ready when this returns. Raises LabFailed, with its journal."""
        if not self.run(["systemctl", "start", unit], check=False):
            raise LabFailed(f"{unit} did not start\n{self.journal(unit)}")

    def stop(self, unit: str = UNIT) -> None:
        self.systemctl("stop", unit)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, through links as the machine sees them."""
        self.run(["tee", path], text)
        self.run(["chmod", f"{mode:o}", path])

    def journal(self, unit: str = UNIT) -> str:
        return self.sh(f"journalctl --sync; journalctl --unit={unit} --output=short-precise")

    def pid_of(self, unit: str = UNIT) -> int:
        """The main process of a unit, as the machine numbers it; 0 without one."""
        return int(self.systemctl("show", "--property=MainPID", "--value", unit))

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What `systemctl show` says of a unit."""
        text = self.systemctl("show", f"--property={','.join(names)}", unit)
        return dict(line.split("=", 1) for line in text.splitlines())

    def close(self) -> None:
        """End every process at once, and remove everything."""
        _close(self.lab)
        self.nspawn.stop()

    def _await_boot(self, told: socket.socket) -> None:
        end = time.monotonic() + BOOT_LIMIT_S
        is_up = False
        told.settimeout(0.2)
        while not is_up:
            if self.nspawn.poll() is not None or time.monotonic() > end:
                raise LabFailed(f"the machine did not come up\n{self.lab.log(HOST, 'console')}")
            with suppress(TimeoutError):
                for line in told.recv(4096).decode().splitlines():
                    key, _, value = line.partition("=")
                    is_up |= (key, value) == ("READY", "1")
                    self.leader = int(value) if key == "X_NSPAWN_LEADER_PID" else self.leader
        (removal.cgroup(self.lab.token, HOST) / "payload" / "itest").mkdir()


def _boot(lab: Lab, image: Image, notify: Path) -> command.Process:
    folder = lab.host_folder(HOST)
    top, places = folder / "files", folder / "machine"
    places.mkdir()
    _lay(top, lab, image)
    procs = removal.cgroup(lab.token, HOST) / "cgroup.procs"
    lower = ":".join(map(str, (top, *image.lower)))
    bpffs = removal.bpffs(lab.token, HOST)
    words = [str(procs), str(places), lower, lab.namespace(HOST), str(bpffs)]
    argv = ["unshare", "--mount", "--propagation=private", "sh", "-euc", BOOT, "boot", *words]
    with (folder / "console.log").open("ab") as file:
        env = {**os.environ, **ENVIRONMENT, "NOTIFY_SOCKET": str(notify)}
        return command.start(argv, env=env, detached=True, stdout=file, stderr=file)


def _lay(top: Path, lab: Lab, image: Image) -> None:
    """The topmost tree: what is this very machine's."""
    files = {
        "/etc/resolv.conf": description.render_resolv_conf(lab.world),
        "/etc/interceptor/interceptor.yaml": yaml.safe_dump(settings(lab, image.settings)),
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 vm\n",
    }
    for path, text in {**files, **image.files}.items():
        if path not in image.links:
            _place(top, path).write_text(text)
    for path, target in image.links.items():
        if target:
            _place(top, path).symlink_to(target)
        else:
            os.mknod(_place(top, path), stat.S_IFCHR, os.makedev(0, 0))  # overlayfs: a whiteout
    shutil.copytree(agent.DEMO_MESH, top / "etc/interceptor/mesh")


def _place(top: Path, path: str) -> Path:
    place = top / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def settings(lab: Lab, over: Mapping[str, object]) -> dict[str, object]:
    """interceptor.yaml: every place is the default one."""
    host = lab.world.host(HOST)
    base: dict[str, object] = {
        "node": {
            "name": HOST,
            "namespace": host.namespace,
            "addresses": [str(address.ip) for address in host.addresses],
        },
        "agent": {"drain_s": 1.0},
        "sidecar": {"concurrency": 1},
    }
    return description.merge(base, over)


def _close(lab: Lab) -> None:
    """systemd takes SIGTERM for an order to start itself anew: no point in asking politely."""
    for pid in lab.pids(HOST):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    lab.close()
    twin = TWINS / removal.cgroup(lab.token).name
    wait_until(lambda: _is_removed(twin), f"end of {twin}")


def _is_removed(twin: Path) -> bool:
    """Whether a tree of cgroups is gone, or lets itself be removed."""
    with suppress(OSError):  # another test may be at the same orphan
        for folder in sorted((p for p in twin.rglob("*") if p.is_dir()), reverse=True):
            folder.rmdir()
        twin.rmdir()
    return not twin.exists()


def _remove_orphans() -> None:
    """Of machines whose test was killed: the lab itself is removed by whoever looks for them."""
    for twin in TWINS.glob(f"{removal.PREFIX}-*"):
        if not (removal.FOLDER / twin.name.removeprefix(f"{removal.PREFIX}-")).exists():
            _is_removed(twin)
