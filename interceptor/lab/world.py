"""Labs as they are: namespaces built from a description, and everything of them removed again.

All namespaces of a lab are called ``ilab-<token>-<host>``, its files stand in
``/run/interceptor-lab/<token>``; so a lab whose owner crashed is found and
removed by its name alone, and labs run side by side.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from interceptor.host import command
from interceptor.lab import description, removal, service
from interceptor.lab.description import Host, World
from interceptor.lab.removal import FOLDER, NETNS_ETC, PREFIX, LabFailed, wait_until

SWITCH = "switch"
PACKAGE_ROOT = Path(__file__).parents[2]
ENTER = """
echo 0 >"$0"
mount --bind "$1" /etc/resolv.conf
if [ -d /sys/fs/bpf ]; then mount --bind "$2" /sys/fs/bpf; fi
shift 2
exec "$@"
"""
"""Into the host's cgroup, with its resolv.conf and its own bpffs. Unlike `ip netns exec` it
leaves /sys as it is, so that the host can see its cgroup."""


class Lab:
    """One running lab. Use as a context manager; `close` may be called any number of times."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self.folder = FOLDER / token
        self._children: list[command.Process] = []

    @classmethod
    def open(
        cls, world: World | None = None, token: str | None = None, *, stays_up: bool = False
    ) -> Self:
        """Build a lab and start its servers; nothing is left of one that fails half-way.

        ``stays_up`` leaves it for a later process to use and remove. Raises
        LabFailed when a server does not come up.
        """
        lab = cls(world or description.default(), token or secrets.token_hex(3))
        try:
            lab.folder.mkdir(parents=True)
        except FileExistsError:
            raise LabFailed(f"there is a lab {lab.token} already: `interceptor lab down`") from None
        try:
            lab._record(0 if stays_up else os.getpid())
            lab._build()
            lab._serve()
        except BaseException:
            lab.close()
            raise
        return lab

    @classmethod
    def attach(cls, token: str, world: World | None = None) -> Self:
        """A lab that another process left up; leaving the ``with`` block removes it."""
        if not (FOLDER / token / "lab.json").exists():
            raise LabFailed(f"there is no lab {token}: `interceptor lab list`")
        return cls(world or description.default(), token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def namespace(self, host: str) -> str:
        """The network namespace that is ``host``."""
        return f"{PREFIX}-{self.token}-{host}"

    def host_folder(self, host: str) -> Path:
        """Files of one host: logs, and an agent's state and sockets."""
        return self.folder / host

    def argv(self, host: str, argv: Sequence[str]) -> list[str]:
        """``argv`` as it runs on ``host``: in its cgroup, with its resolv.conf and bpffs."""
        namespace = self.namespace(host)
        places = (
            str(removal.cgroup(self.token, host) / "cgroup.procs"),
            str(NETNS_ETC / namespace / "resolv.conf"),
            str(removal.bpffs(self.token, host)),
        )
        enter = ("nsenter", f"--net=/run/netns/{namespace}", "unshare", "--mount")
        return [*enter, "--propagation=slave", "sh", "-euc", ENTER, *places, *argv]

    def run(
        self,
        host: str,
        argv: Sequence[str],
        stdin: str | None = None,
        *,
        timeout_s: float = 30,
        check: bool = True,
    ) -> command.Completed:
        """Run a program on ``host`` to its end. Raises CommandFailed unless ``check`` is false."""
        return command.run(self.argv(host, argv), stdin, timeout_s=timeout_s, check=check)

    def start(
        self,
        host: str,
        argv: Sequence[str],
        log: str,
        *,
        detached: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> command.Process:
        """Start a program on ``host``; its output goes to ``<log>.log`` in the host's folder."""
        with (self.host_folder(host) / f"{log}.log").open("ab") as file:
            child = command.start(
                self.argv(host, argv),
                stdout=file,
                stderr=file,
                env=environment(),
                detached=detached,
                pass_fds=pass_fds,
            )
        self._children.append(child)
        return child

    def log(self, host: str, log: str) -> str:
        """What a program started with that log has written so far."""
        return (self.host_folder(host) / f"{log}.log").read_text(errors="replace")

    def pids(self, host: str) -> list[int]:
        """Every process that runs on ``host`` now, whoever started it."""
        return removal.pids([self.namespace(host)])

    def close(self) -> None:
        """End every process of the lab and remove its namespaces and files."""
        removal.down(self.token)
        for child in self._children:
            child.stop()
        self._children.clear()

    def _record(self, owner: int) -> None:
        hosts = [host.name for host in self.world.hosts]
        text = json.dumps({"owner": owner, "hosts": hosts})
        (self.folder / "lab.json").write_text(text)

    def _build(self) -> None:
        world, switch = self.world, self.namespace(SWITCH)
        _add_namespace(switch)
        _batch(switch, description.render_switch(world))
        for host in world.hosts:
            namespace = self.namespace(host.name)
            self.host_folder(host.name).mkdir()
            removal.cgroup(self.token, host.name).mkdir(parents=True)
            bpffs = removal.bpffs(self.token, host.name)
            bpffs.mkdir()
            command.run(["mount", "-t", "bpf", "bpf", str(bpffs)], check=False)
            etc = NETNS_ETC / namespace
            etc.mkdir(parents=True)
            (etc / "resolv.conf").write_text(description.render_resolv_conf(world))
            _add_namespace(namespace)
            _batch(switch, description.render_cable(host, namespace))
            _batch(namespace, description.render_host(world, host))

    def _serve(self) -> None:
        for host in self.world.hosts:
            if host.records:
                self._serve_names(host)
            if host.services:
                words = [service.encode(served) for served in host.services]
                argv = [sys.executable, "-P", "-m", service.__name__, *words]
                self.start(host.name, argv, "service", detached=True)
        for host in self.world.hosts:
            if host.services:
                self._await(host, "service", lambda text: "ready\n" in text)
            if host.records:
                self._await(host, "dnsmasq", lambda text: "started" in text)

    def _serve_names(self, host: Host) -> None:
        folder = self.host_folder(host.name)
        file = folder / "dnsmasq.conf"
        file.write_text(description.render_dnsmasq(host, str(folder / "dnsmasq.log")))
        argv = ["dnsmasq", f"--conf-file={file}"]
        self.start(host.name, argv, "dnsmasq-output", detached=True)

    def _await(self, host: Host, log: str, is_ready: Callable[[str], bool]) -> None:
        path = self.host_folder(host.name) / f"{log}.log"
        try:
            wait_until(
                lambda: path.exists() and is_ready(path.read_text()), f"{log} on {host.name}"
            )
        except LabFailed as error:
            logs = "\n".join(p.read_text() for p in self.host_folder(host.name).glob("*.log"))
            raise LabFailed(f"{error}\n{logs}") from error


def environment() -> dict[str, str]:
    """Ours, so that children import the very package that this process runs."""
    paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _add_namespace(namespace: str) -> None:
    """Without duplicate address detection: link-local addresses would change the routes later."""
    command.run(["ip", "netns", "add", namespace])
    setting = "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
    command.run(["ip", "netns", "exec", namespace, "sh", "-c", setting])


def _batch(namespace: str, lines: str) -> None:
    command.run(["ip", "-n", namespace, "-batch", "-"], lines)
