"""Parts of the agent are stopped (SIGSTOP): the host has its DNS back within five seconds.

Three labs side by side, one a back end. A steady asker on the VM asks another name and one of
the mesh 20 times a second, each query once; what it lost is the oracle.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from interceptor.host import lock
from interceptor.lab import agent as lab_agent
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

BACKENDS = ("iptables", "nftables", "ebpf")
OTHER, OTHER_ADDRESS = "www.corp.example", "10.77.0.61"
MESH, MESH_ADDRESS = "reviews.bookinfo.svc.cluster.local", "10.96.0.11"
PROMISED_S = 5.0
RETURN_S = 30.0  # of mesh names: a start of worker or daemon, three at once on a busy machine
CALM_S = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """From the stop to the last query that failed, in seconds; 0.0 when none did."""

    other_s: float
    mesh_s: float
    lost: int
    wrong: int


@dataclass
class Host:
    """One agent on a lab's VM."""

    backend: str
    agent: Agent
    runs: int = 0
    stopped_s: float = 0.0

    def status(self) -> dict[str, dict[str, object]]:
        """Without our own command line, whose start costs more than the answer."""
        socket = self.agent.lab.host_folder("vm") / "run" / "control.sock"
        argv = ["curl", "--silent", "--unix-socket", str(socket), "http://localhost/status"]
        text = self.agent.lab.run("vm", argv).stdout
        return cast("dict[str, dict[str, object]]", json.loads(text))

    def daemon(self) -> int:
        return cast("int", self.status()["pid"])

    def worker(self) -> int:
        return cast("int", self.status()["dns"]["worker_pid"])

    def parent(self) -> int:
        assert self.agent.process is not None
        return self.agent.process.pid

    def measure(self, pids: list[int], is_back: Callable[[], bool]) -> Loss:
        """Stop ``pids`` under load, wait until all is well again."""
        lab, self.runs = self.agent.lab, self.runs + 1
        end, log = lab.folder / f"stop-{self.runs}", f"steady-{self.runs}"
        argv = [sys.executable, str(Path(__file__).with_name("steady.py"))]
        asker = lab.start("vm", [*argv, "10.77.0.53", str(end), OTHER, MESH], log)
        try:
            wait_until(lambda: MESH_ADDRESS in lab.log("vm", log), "the first answers")
            self.stopped_s = time.monotonic()
            for pid in pids:
                send(pid, signal.SIGSTOP)
            time.sleep(CALM_S)
            wait_until(is_back, "the agent's return", 60, 0.1)
            time.sleep(CALM_S)
        finally:
            end.touch()
            asker.wait(10)
        return judge(lab.log("vm", log), self.stopped_s)

    def again(self, over: dict[str, object]) -> Agent:
        """The same host with another configuration over the same documents."""
        mesh = self.agent.mesh
        settings = {"capture": {"backend": self.backend}, **over}
        return lab_agent.prepare(self.agent.lab, "vm", settings, mesh)

    def is_direct(self) -> bool:
        """Whether a pod of a headless service, which is captured, answers without Envoy."""
        argv = ["curl", "--silent", "--include", "--max-time", "1", "http://10.77.0.44:8080/"]
        text = self.agent.lab.run("vm", argv, check=False).stdout
        return text.endswith("web-0\n") and "envoy" not in text

    def holder(self) -> int:
        """The daemon that holds the run directory; 0: none that is known."""
        return max(0, lock.holder(self.agent.lab.host_folder("vm") / "run" / lock.NAME))

    def is_well(self) -> bool:
        return self.agent.is_ready()


def send(pid: int, number: signal.Signals) -> None:
    """A signal to one process. To kill(2) 0, 1 and -1 mean a group, init, and everybody."""
    assert pid > 1, f"{pid} is no process of ours"
    os.kill(pid, number)


def judge(text: str, stopped: float) -> Loss:
    """What the asker's lines say of the time after the stop."""
    last, lost, wrong = {OTHER: stopped, MESH: stopped}, 0, 0
    lines = [line.split() for line in text.splitlines()]
    for name, sent, took, *got in lines:
        right = OTHER_ADDRESS if name == OTHER else MESH_ADDRESS
        if float(took) < 0:
            lost += name == OTHER
        # While nobody answers, a name of the mesh is its server's to deny.
        wrong += bool(got) and got != [right]
        if got != [right]:
            last[name] = max(last[name], float(sent))
    assert len(lines) > 10
    return Loss(last[OTHER] - stopped, last[MESH] - stopped, lost, wrong)


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    with ExitStack() as stack:
        found = []
        for backend in BACKENDS:
            lab = stack.enter_context(Lab.open())
            agent = lab_agent.prepare(lab, "vm", {"capture": {"backend": backend}})
            agent.launch()
            found.append(Host(backend, agent))
        for host in found:
            host.agent.wait_ready()
        yield found
        for host in found:
            assert host.agent.stop() == 0, host.agent.log()


def everywhere(hosts: list[Host], what: Callable[[Host], Loss]) -> dict[str, Loss]:
    """On all back ends at once: most of the time is waiting."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        found = dict(zip(BACKENDS, pool.map(what, hosts), strict=True))
    for backend, loss in found.items():
        print(backend, loss)
        assert loss.other_s < PROMISED_S, (backend, loss)
        assert loss.wrong == 0, (backend, loss)
    assert found["ebpf"].lost == 0, "programs need nobody"
    assert found["ebpf"].mesh_s == 0.0
    return found


def restarted(host: Host, restarts: object) -> Callable[[], bool]:
    """Whether the supervisor has started another daemon, which is ready."""

    def is_back() -> bool:
        return host.is_well() and cast("int", host.status()["looked_after"]["restarts"]) == restarts

    return is_back


def next_restart(host: Host) -> int:
    return cast("int", host.status()["looked_after"]["restarts"]) + 1


def test_a_stopped_daemon_costs_nobody_dns_and_is_replaced(hosts: list[Host]) -> None:
    def stop(host: Host) -> Loss:
        wanted = next_restart(host)
        envoy = host.status()["sidecar"]["pid"]
        loss = host.measure([host.daemon()], restarted(host, wanted))
        assert "no life sign" in str(host.status()["looked_after"]["why"])
        assert (host.status()["sidecar"]["pid"], host.status()["sidecar"]["adopted"]) == (
            envoy,
            True,
        )
        return loss

    for loss in everywhere(hosts, stop).values():
        assert loss.mesh_s < RETURN_S


def test_a_stopped_worker_is_replaced(hosts: list[Host]) -> None:
    def stop(host: Host) -> Loss:
        before = host.worker()

        def is_back() -> bool:
            dns = host.status()["dns"]
            return dns["worker_pid"] not in (before, None) and dns["alive"] is True

        return host.measure([before], is_back)

    found = everywhere(hosts, stop)
    assert found["nftables"].lost > 10, "a stopped queue holds what is sent to it"
    for loss in found.values():
        assert loss.mesh_s < RETURN_S


def test_a_stopped_daemon_and_worker_give_dns_back(hosts: list[Host]) -> None:
    """Nobody of ours is left to notice it but the supervisor."""

    def stop(host: Host) -> Loss:
        wanted = next_restart(host)
        return host.measure([host.worker(), host.daemon()], restarted(host, wanted))

    found = everywhere(hosts, stop)
    assert found["nftables"].lost > 10
    for loss in found.values():
        assert loss.mesh_s < RETURN_S


ASK_ONCE = (
    f"seq 12 | xargs -P 12 -I N dig +short +tries=1 +timeout=5 @10.77.0.53 {OTHER} | sort | uniq -c"
)


def test_what_waits_when_the_worker_dies_under_a_stopped_daemon_goes_on(hosts: list[Host]) -> None:
    """The daemon's hold on the queue would end with it; the supervisor takes it over."""

    def lose(host: Host) -> str:
        wanted, worker, daemon = next_restart(host), host.worker(), host.daemon()
        send(daemon, signal.SIGSTOP)
        send(worker, signal.SIGKILL)
        answers = host.agent.lab.run("vm", ["sh", "-c", ASK_ONCE], timeout_s=20).stdout
        wait_until(restarted(host, wanted), "the next daemon", 60, 0.1)
        assert "12 queries that waited go on" in host.agent.log()
        return answers

    with ThreadPoolExecutor(2) as pool:
        for answers in pool.map(lose, hosts[:2]):
            assert answers.split() == ["12", OTHER_ADDRESS]


def test_a_stopped_supervisor_costs_nobody_anything(hosts: list[Host]) -> None:
    def stop(host: Host) -> Loss:
        restarts = next_restart(host) - 1
        until = time.monotonic() + 4
        try:
            loss = host.measure([host.parent()], lambda: time.monotonic() > until)
        finally:
            send(host.parent(), signal.SIGCONT)
        time.sleep(CALM_S)
        assert host.status()["looked_after"]["restarts"] == restarts, "nobody was blamed"
        return loss

    for loss in everywhere(hosts, stop).values():
        assert (loss.lost, loss.other_s, loss.mesh_s) == (0, 0.0, 0.0)


def test_a_stopped_envoy_is_noticed_left_out_and_replaced(hosts: list[Host]) -> None:
    """on_sidecar_loss: bypass. DNS is not Envoy's; connections go direct while it hangs."""

    def stop(host: Host) -> Loss:
        host.agent.stop()
        host.agent = host.again({"agent": {"on_sidecar_loss": "bypass"}})
        host.agent.start()
        envoy = cast("int", host.status()["sidecar"]["pid"])
        times: list[float] = []

        def is_back() -> bool:
            if not times and host.is_direct():
                times.append(time.monotonic())
            now = host.status()["sidecar"]
            return bool(times) and now["pid"] != envoy and now["state"] == "live"

        loss = host.measure([envoy], is_back)
        print(host.backend, "left out after", times[0] - host.stopped_s)
        assert times[0] - host.stopped_s < PROMISED_S
        assert host.status()["sidecar"]["hangs"] == 1
        assert not host.is_direct()
        return loss

    for loss in everywhere(hosts, stop).values():
        assert (loss.lost, loss.mesh_s) == (0, 0.0)


def test_a_daemon_that_does_not_come_back_is_released_from_and_captures_again(
    hosts: list[Host],
) -> None:
    """on_agent_loss: release. Rules need somebody to empty them: the supervisor has it done.
    That a program sees the lease by itself is shown in tests/netns/bpf."""

    def lose(host: Host) -> None:
        host.agent.stop()
        host.agent = host.again({"agent": {"on_agent_loss": "release", "lease_s": 1}})
        host.agent.start()
        assert not host.is_direct()
        killed: set[int] = set()
        for _ in range(6):  # the pauses between starts grow beyond the lease
            wait_until(lambda: host.holder() not in {0, *killed}, "the next daemon", 20)
            if host.is_direct():
                break
            if not killed:
                wait_until(host.is_well, "the first daemon", 20)
            victim = host.holder()
            killed.add(victim)
            send(victim, signal.SIGKILL)
        wait_until(host.is_direct, "the release", 10)
        wait_until(lambda: host.is_well() and not host.is_direct(), "capture again", 20)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lose, hosts[:2]))


def test_everything_stopped_ends_at_once_by_the_kill_of_the_launched_process(
    hosts: list[Host],
) -> None:
    """What our promise needs where even the supervisor hangs: one SIGKILL, by whomever."""

    def stop(host: Host) -> Loss:
        pids = [host.worker(), host.daemon(), host.parent()]
        lab = host.agent.lab

        def is_back() -> bool:
            host.agent.kill()
            argv = ["dig", "+short", "+tries=1", "+time=1", OTHER]
            return lab.run("vm", argv, check=False).stdout.strip() == OTHER_ADDRESS

        loss = host.measure(pids, is_back)
        wait_until(lambda: not set(pids) & set(lab.pids("vm")), "the end of all three", 2)
        host.agent.start()
        return loss

    everywhere(hosts, stop)
