"""A lab with a control plane on a host of its own, and an agent that is its member, over TLS."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab import caller, description
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

HOST, NUMBER, PORT = "istiod", 70, 15012
ADDRESS = f"10.77.0.{NUMBER}:{PORT}"
REVIEWS = "reviews.bookinfo.svc.cluster.local"
CALLED = f"http://{REVIEWS}:9080/"
READY_S = 60
EMPTY_AFTER_S = 4
NEW = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: bookinfo}}
spec:
  hosts: [{name}.mesh.internal]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: {endpoint}}}]
"""


def entry(name: str, endpoint: str = "10.77.0.61") -> str:
    """A ServiceEntry of NAME.mesh.internal."""
    return NEW.format(name=name, endpoint=endpoint)


@dataclass
class Control:
    """The control plane on its host. It may be killed and started as one likes."""

    lab: Lab
    process: command.Process | None = None
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = lab_agent.copy_mesh(self.home / "mesh")

    @property
    def home(self) -> Path:
        return self.lab.host_folder(HOST)

    @property
    def root(self) -> Path:
        return self.home / "given" / "root-cert.pem"

    @property
    def token(self) -> Path:
        return self.home / "given" / "istio-token"

    def start(self, **faults: object) -> None:
        """Start it, and wait until it listens."""
        argv = [sys.executable, "-m", "tests.controlplane", "--folder", str(self.folder)]
        argv += ["--listen", ADDRESS, "--tls", "--state", str(self.home / "state")]
        argv += ["--control", str(self.home / "control"), "--record", str(self.home / "record")]
        argv += ["--write", str(self.home / "given"), "--faults", json.dumps(faults)]
        log = self.lab.host_folder("vm") / "run" / "sidecar-access.log"
        argv += ["--bearer", "bookinfo:default", "--grace-s", "1", "--access-log", str(log)]
        (self.home / "controlplane.log").write_text("")
        self.process = self.lab.start(HOST, argv, "controlplane")
        wait_until(lambda: "ready" in self.lab.log(HOST, "controlplane"), "control plane", 30)

    def kill(self) -> None:
        """As a machine that loses its power: nobody is told."""
        if self.process is not None:
            self.process.signal(signal.SIGKILL)
            self.process.wait(5)
            self.process.close()
            self.process = None

    def order(self, do: str, **more: object) -> Any:
        """Have it do something: see tests.controlplane.__main__.ORDERS."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(20)
            link.connect(str(self.home / "control"))
            link.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
            with link.makefile("rb") as file:
                reply = json.loads(file.readline())
        assert "error" not in reply, reply
        return reply["result"]

    @contextmanager
    def spoilt(self, **faults: object) -> Iterator[None]:
        """With these faults, and all well again afterwards."""
        self.order("spoil", **faults)
        try:
            yield
        finally:
            self.order("spoil")

    def lines(self, what: str, **like: object) -> list[Mapping[str, Any]]:
        """What it has recorded since it was first started, restarts included."""
        text = (self.home / "record").read_text() if (self.home / "record").exists() else ""
        found = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [
            line
            for line in found
            if line["what"] == what and all(line.get(key) == value for key, value in like.items())
        ]

    def write(self, name: str, text: str) -> None:
        """Replace a file of the mesh by renaming, as whoever publishes one does."""
        fresh = self.folder / f".{name}.new"
        fresh.write_text(text)
        os.replace(fresh, self.folder / name)


@dataclass
class Member:
    """The agent of the lab's ``vm`` and its control plane."""

    agent: Agent
    control: Control

    @property
    def lab(self) -> Lab:
        return self.agent.lab

    def run(self, *argv: str) -> str:
        return self.lab.run("vm", argv, check=False, timeout_s=30).stdout.strip()

    def curl(self, url: str, *words: str) -> str:
        return self.run("curl", "-sS", "-m", "5", *words, url)

    def dig(self, name: str, kind: str = "A") -> list[str]:
        argv = ("dig", "+short", "+tries=1", "+time=2", "@10.77.0.53", name, kind)
        return self.run(*argv).splitlines()

    def status(self, key: str = "") -> Any:
        """What the daemon says of itself, or one key of it; nothing where it does not answer."""
        text = self.agent.run("status", "--json", check=False).stdout
        found = json.loads(text) if text else {}
        return found.get(key, {}) if key else found

    def wrong(self) -> str:
        """All that the status calls wrong with the control plane or with what it sends."""
        status = self.status()
        plane = status["control_plane"]
        found = (plane["last_error"], plane["refused"], status["table"]["rejected"])
        return " ".join(map(str, (*found, status["sidecar"]["refused"])))

    def wait(self, is_so: Callable[[], object], what: str, timeout_s: float = 30) -> float:
        """Wait for something; how long it took, in seconds."""
        start = time.monotonic()
        wait_until(lambda: bool(is_so()), what, timeout_s)
        return time.monotonic() - start


def settings(control: Control, over: Mapping[str, object] | None = None) -> dict[str, object]:
    """The agent's configuration as a member of ``control``'s mesh."""
    istiod: dict[str, object] = {"addresses": [ADDRESS], "token": str(control.token)}
    istiod["root_cert"] = str(control.root)
    istiod["empty_after_s"] = EMPTY_AFTER_S
    made: dict[str, object] = {
        "mesh": {"source": "istiod", "istiod": istiod},
        "identity": {"provider": "none"},
        "agent": {"on_exit": "keep"},
    }
    return description.merge(made, over or {})


@contextmanager
def opened() -> Iterator[Lab]:
    """The demo's lab with one host more, for the control plane."""
    world = description.default()
    host = description.Host(HOST, description.pair(NUMBER))
    with Lab.open(replace(world, hosts=(*world.hosts, host))) as lab:
        yield lab


@contextmanager
def member(
    over: Mapping[str, object] | None = None, files: Mapping[str, str] | None = None
) -> Iterator[Member]:
    """A control plane, with ``files`` more in its mesh, and its member, both at work."""
    with opened() as lab:
        control = Control(lab)
        for name, text in (files or {}).items():
            control.write(name, text)
        control.start()
        agent = lab_agent.prepare(lab, "vm", settings(control, over))
        try:
            agent.start(timeout_s=READY_S)
            yield Member(agent, control)
        except Exception as error:
            error.add_note(agent.log()[-6000:])
            raise
        finally:
            agent.stop()
            control.kill()


class Load:
    """Calls by name without a pause, a connection each, from the VM."""

    def __init__(
        self, member: Member, seconds: float, url: str = f"http://{REVIEWS}:9080/"
    ) -> None:
        self._member = member
        self._log = f"load-{time.monotonic_ns()}"
        argv = [sys.executable, "-m", caller.__name__, url, str(seconds)]
        self._process = member.lab.start("vm", argv, self._log)
        self._seconds = seconds
        wait_until(lambda: bool(self.calls()), "the first call")

    def calls(self) -> tuple[caller.Call, ...]:
        return caller.decode(self._member.lab.log("vm", self._log))

    def finish(self) -> tuple[caller.Call, ...]:
        """All calls, once the time is over."""
        self._process.wait(self._seconds + 60)
        return self.calls()

    def end(self) -> tuple[caller.Call, ...]:
        """All calls up to now."""
        self._process.stop()
        return self.calls()
