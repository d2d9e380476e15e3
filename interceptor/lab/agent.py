"""interceptor itself on a host of a lab: its settings, its daemon, its commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import yaml

from interceptor.host import command, probe
from interceptor.lab import description, removal
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import PACKAGE_ROOT, Lab

DEMO_MESH = Path(__file__).parent / "mesh"
READY_URL = "http://127.0.0.1:15020/healthz/ready"
UNPRIVILEGED = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)


def interceptor_argv() -> tuple[str, ...]:
    """How this very installation is started: its console script, or its package."""
    script = Path(sys.executable).with_name("interceptor")
    if script.exists():
        return (str(script),)
    return (sys.executable, "-c", "from interceptor.cli.main import main; main()")


def copy_mesh(folder: Path, source: Path = DEMO_MESH) -> Path:
    """A copy of the mesh documents to change at will; Envoy's user may pass through."""
    shutil.copytree(source, folder)
    folder.chmod(0o755)
    return folder


@dataclass(slots=True)
class Agent:
    """The agent of one host. ``config`` is its file; the daemon may run or not."""

    lab: Lab
    host: str
    config: Path
    mesh: Path
    process: command.Process | None = None

    def argv(self, *words: str) -> tuple[str, ...]:
        """One of interceptor's commands with this agent's configuration."""
        return (*interceptor_argv(), *words, "--config", str(self.config))

    def run(self, *words: str, timeout_s: float = 30, check: bool = True) -> command.Completed:
        """A command of the agent, as root on its host."""
        argv = ["env", f"PYTHONPATH={PACKAGE_ROOT}", *self.argv(*words)]
        return self.lab.run(self.host, argv, timeout_s=timeout_s, check=check)

    def run_unprivileged(self, *words: str, timeout_s: float = 30) -> command.Completed:
        """A command of the agent as an unprivileged user on its host.

        It may read what root may, because a checkout often lies in somebody's
        closed home; it may do nothing else that nobody may not.
        """
        argv = [*UNPRIVILEGED, "env", f"PYTHONPATH={PACKAGE_ROOT}", *self.argv(*words)]
        return self.lab.run(self.host, argv, timeout_s=timeout_s)

    def read(self, *words: str) -> dict[str, object]:
        """The JSON object that a command prints. Raises LabFailed where it prints none."""
        text = self.run(*words, "--json").stdout
        try:
            return cast("dict[str, object]", json.loads(text))
        except ValueError as error:
            raise LabFailed(f"{' '.join(words)} --json printed no JSON: {text!r}") from error

    def launch(self, *options: str) -> command.Process:
        """Start the daemon and do not wait."""
        argv = self.argv("run", *options)
        self.process = self.lab.start(self.host, argv, "agent", detached=True)
        return self.process

    def start(self, *options: str, timeout_s: float = 30) -> None:
        """Start the daemon and wait until it is ready. Raises LabFailed, with its log, if not."""
        self.launch(*options)
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until a daemon that was launched is ready. Raises LabFailed, with its log."""
        try:
            wait_until(self._ready_or_dead, f"agent on {self.host}", timeout_s)
        except LabFailed as error:
            raise LabFailed(f"{error}\n{self.log()}") from error

    def _ready_or_dead(self) -> bool:
        if self.process is None:
            raise LabFailed(f"no agent was started on {self.host}")
        if (code := self.process.poll()) is not None:
            raise LabFailed(f"the agent on {self.host} ended with {code}")
        return self.is_ready()

    def is_ready(self) -> bool:
        """Whether rules and table are in, by the agent's own word."""
        argv = ["curl", "--silent", "--fail", "--max-time", "1", "--output", "/dev/null", READY_URL]
        return bool(self.lab.run(self.host, argv, check=False))

    def stop(self, grace_s: float = 20) -> int:
        """End the daemon as systemd would. Returns its exit code."""
        if self.process is None:
            return 0
        code = self.process.stop(grace_s)
        self.process = None
        return code

    def kill(self) -> None:
        """End the daemon as the OOM killer would."""
        if self.process is not None:
            self.process.signal(signal.SIGKILL)
            self.process.wait(5)
            self.process.close()
            self.process = None

    def log(self) -> str:
        """What the daemon has logged since the lab was opened."""
        return self.lab.log(self.host, "agent")

    def access_log(self) -> tuple[str, ...]:
        """The sidecar's access log, a line a connection or request."""
        file = self.lab.host_folder(self.host) / "run" / "sidecar-access.log"
        return tuple(file.read_text().splitlines()) if file.exists() else ()


def prepare(
    lab: Lab,
    host: str,
    over: Mapping[str, object] | None = None,
    mesh: Path | None = None,
) -> Agent:
    """The agent of ``host``, not started, its settings the lab's with ``over`` laid over them."""
    folder = lab.host_folder(host)
    mesh = mesh or copy_mesh(folder / "mesh")
    place = f"/{removal.cgroup(lab.token, host).relative_to(probe.cgroup_mount())}"
    settings = description.agent_settings(lab.world.host(host), str(folder), str(mesh), place)
    config = folder / "interceptor.yaml"
    config.write_text(yaml.safe_dump(description.merge(settings, over or {}), sort_keys=False))
    return Agent(lab, host, config, mesh)


def execute(lab: Lab, host: str, argv: Sequence[str]) -> NoReturn:
    """`interceptor lab exec`: become a program on ``host``, with this terminal."""
    words = lab.argv(host, argv or (os.environ.get("SHELL", "/bin/sh"),))
    os.execvp(words[0], words)
