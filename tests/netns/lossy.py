"""One agent on a lab's VM that is to lose something, while the VM's names are asked for."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.snapshot import Snapshot
from interceptor.lab.world import Lab

OTHER, OTHER_ADDRESS = "www.corp.example", "10.77.0.61"
MESH, MESH_ADDRESS = "reviews.bookinfo.svc.cluster.local", "10.96.0.11"
SERVER = "10.77.0.53"
EXTRA = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: bookinfo}}
spec: {{hosts: [{name}.mesh.internal], addresses: [{address}], resolution: STATIC}}
"""


@dataclass
class Place:
    """A lab, its VM as it was before, and what is mounted over folders of its agent."""

    lab: Lab
    backend: str
    before: Snapshot
    agent: Agent
    mounts: list[Path] = field(default_factory=list)
    runs: int = 0

    @classmethod
    def open(cls, lab: Lab, backend: str) -> Place:
        agent = lab_agent.prepare(lab, "vm", {"capture": {"backend": backend}})
        shutil.copytree(agent.mesh, lab.folder / "mesh-as-it-was")
        return cls(lab, backend, snapshot.observe(lab, "vm"), agent)

    def prepare(self, over: Mapping[str, object] | None = None) -> Agent:
        """The agent with other settings over the documents as they were, and no state."""
        folder = self.lab.host_folder("vm")
        for path in (self.agent.mesh, folder / "state"):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.lab.folder / "mesh-as-it-was", self.agent.mesh)
        settings = {"capture": {"backend": self.backend}, "sidecar": {"mode": "none"}}
        merged = cast("dict[str, object]", {**settings, **(over or {})})
        self.agent = lab_agent.prepare(self.lab, "vm", merged, self.agent.mesh)
        return self.agent

    def mount(self, name: str, size: str) -> Path:
        """A small file system of its own for a folder of the agent's."""
        path = self.lab.host_folder("vm") / name
        path.mkdir(exist_ok=True)
        command.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)])
        self.mounts.append(path)
        return path

    def unmount(self) -> None:
        while self.mounts:
            command.run(["umount", "-l", str(self.mounts.pop())])

    def log(self) -> str:
        return self.agent.log()

    def status(self) -> dict[str, dict[str, object]]:
        """Without our own command line, whose start costs more than the answer."""
        socket = self.lab.host_folder("vm") / "run" / "control.sock"
        argv = ["curl", "--silent", "--max-time", "3", "--unix-socket", str(socket)]
        done = self.lab.run("vm", [*argv, "http://localhost/status"], check=False)
        return cast("dict[str, dict[str, object]]", json.loads(done.stdout or "{}"))

    def ask(self, name: str) -> str:
        argv = ["dig", "+short", "+tries=1", "+time=1", f"@{SERVER}", name]
        return self.lab.run("vm", argv, check=False).stdout.strip()

    def add(self, name: str, address: str) -> None:
        """One more host of the mesh."""
        text = EXTRA.format(name=name, address=address)
        (self.agent.mesh / f"{name}.yaml").write_text(text)

    def expect(self, name: str, address: str, timeout_s: float = 15) -> None:
        wait_until(lambda: self.ask(name) == address, f"{name} is {address}", timeout_s, 0.1)

    def expect_as_before(self) -> None:
        """The host is as it was without us."""
        assert snapshot.diff(self.before, snapshot.observe(self.lab, "vm")) == ""
        wait_until(lambda: not self.lab.pids("vm"), "the end of every process", 5)

    def end(self) -> None:
        """Whatever a test left behind."""
        self.agent.kill()
        self.unmount()
        self.agent.run("clean", check=False)

    @contextmanager
    def steady(self, *, dies: bool = False) -> Iterator[None]:
        """Meanwhile another name and one of the mesh are asked for, 20 times a second, each
        once; no query for the other name may be lost, no answer be wrong. Where a worker
        ``dies`` those may be that stood in its queue: the kernel drops them, and resolvers
        ask again."""
        self.runs += 1
        end, log = self.lab.folder / f"stop-{self.runs}", f"steady-{self.runs}"
        argv = [sys.executable, str(Path(__file__).with_name("steady.py"))]
        asker = self.lab.start("vm", [*argv, SERVER, str(end), OTHER, MESH], log)
        try:
            wait_until(lambda: OTHER_ADDRESS in self.lab.log("vm", log), "the first answers")
            began = time.monotonic()
            yield
            time.sleep(max(0.0, began + 1 - time.monotonic()))  # enough to judge by
        finally:
            end.touch()
            asker.wait(10)
        rows = [line.split(" ") for line in self.lab.log("vm", log).splitlines()]
        others = [row[3] for row in rows if row[0] == OTHER]
        assert len(others) > 5
        lost = [row for row in rows if row[0] == OTHER and row[3] != OTHER_ADDRESS]
        assert len(lost) <= (2 if dies and self.backend == "nftables" else 0), lost
        assert set(others) <= {OTHER_ADDRESS, ""}
        assert {row[3] for row in rows if row[0] == MESH} <= {MESH_ADDRESS, ""}


def fill(folder: Path) -> Path:
    """Take all room that there is, to the last byte. Returns the file that has it."""
    path = folder / "ballast"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    return path


@contextmanager
def few_files(pid: int, count: int) -> Iterator[None]:
    """A process may open no descriptor beyond number ``count`` meanwhile: prlimit(2)."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def open_files(pid: int) -> int:
    """One more than the highest descriptor that a process has open."""
    return max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1


def used_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def little_memory(pid: int) -> Iterator[None]:
    """A process gets no more memory than it has now (RLIMIT_DATA).

    Not by a cgroup: there the kernel would end it, which is what a SIGKILL is, and others on
    this machine may watch for that.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    limit = int(status.partition("VmData:")[2].split()[0]) * 1024
    before = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_DATA, before)
