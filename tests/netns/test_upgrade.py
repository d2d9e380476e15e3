"""Restart, kill -9 and upgrade under connections: none is lost, refused, or goes past Envoy.

Three labs side by side, one a back end. Oracles: the connections themselves (see traffic.py),
`nft monitor`, a foreign rule's handle and counter, and the inodes of the pins.
"""

from __future__ import annotations

import json
import re
import shutil
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
import yaml

from interceptor.host.command import Process
from interceptor.lab import agent as lab_agent
from interceptor.lab import description, service
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import PACKAGE_ROOT, Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

BACKENDS = ("iptables", "nftables", "ebpf")
KEEP: dict[str, object] = {"agent": {"on_exit": "keep"}}
INBOUND_PORT = 3307
VERSION = "99.0.0"

OUTWARD = (
    "stream:10.96.0.33:3306",
    "keep:10.96.0.11:9080",
    "open:10.96.0.11:9080:envoy",  # an address that nobody has: past Envoy there is nothing
    "open:10.77.0.44:8080:envoy",  # a pod, which would answer directly, too
)
INWARD = (f"stream:10.77.0.10:{INBOUND_PORT}", f"greet:10.77.0.10:{INBOUND_PORT}:127.0.0.6")


@dataclass
class Host:
    """One agent on a lab's VM, which has an application of its own."""

    backend: str
    agent: Agent
    upgraded: Path
    monitors: int = 0

    @property
    def lab(self) -> Lab:
        return self.agent.lab

    def status(self) -> dict[str, object]:
        socket = self.lab.host_folder("vm") / "run" / "control.sock"
        argv = ["curl", "--silent", "--unix-socket", str(socket), "http://localhost/status"]
        return cast("dict[str, object]", json.loads(self.lab.run("vm", argv).stdout))

    def envoy(self) -> object:
        return cast("dict[str, object]", self.status()["sidecar"])["pid"]

    def restart(self) -> None:
        assert self.agent.stop() == 0
        self.agent.start(timeout_s=60)

    def kill(self) -> None:
        self.agent.kill()
        time.sleep(0.5)
        self.agent.start(timeout_s=60)

    def reload(self) -> None:
        """SIGHUP: another TTL, and one rule more; a second one with a mistake changes nothing."""
        assert self.agent.process is not None
        before = self.status()["pid"]
        text = self.agent.config.read_text()
        tree = description.merge(yaml.safe_load(text), {"dns": {"ttl_s": 7}})
        more = {"capture": {"outbound": {"exclude_ports": [9]}}}
        self.agent.config.write_text(yaml.safe_dump(description.merge(tree, more)))
        self.agent.process.signal(signal.SIGHUP)
        wait_until(lambda: self.is_another(before), "the successor", 30, 0.1)
        answer = self.lab.run("vm", ["dig", "@10.77.0.53", "reviews.bookinfo", "+noall", "+answer"])
        assert answer.stdout.split()[1] == "7"
        self.agent.config.write_text(text + "nonsense: 1\n")
        self.agent.process.signal(signal.SIGHUP)
        wait_until(lambda: "nonsense" in str(self.status()["reload_refused"]), "the refusal", 10)
        assert self.status()["ready"] is True
        self.agent.config.write_text(text)

    def is_another(self, before: object) -> bool:
        return self.agent.is_ready() and self.status()["pid"] != before

    def upgrade(self) -> None:
        """The other version. It must not be found in the folder that we run in."""
        assert self.agent.stop() == 0
        words = ["env", f"--chdir={self.upgraded}", f"PYTHONPATH={self.upgraded}"]
        argv = [*words, *self.agent.argv("run")]
        self.agent.process = self.lab.start("vm", argv, "agent", detached=True)
        self.agent.wait_ready(60)
        assert self.status()["version"] == VERSION


def copy_upgraded(folder: Path) -> Path:
    """This package with another version, another comment on each rule, and one rule more."""
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE_ROOT / "interceptor", folder / "interceptor", ignore=hidden)
    package = folder / "interceptor"
    _replace(package / "__init__.py", r'__version__ = ".*"', f'__version__ = "{VERSION}"')
    _replace(
        package / "capture/order.py", "the sidecar's own traffic, by", "what the sidecar sends, by"
    )
    port = r"(    exclude_ports: tuple\[PortNumber, \.\.\.\] = )\(\)"
    _replace(package / "config/tree.py", port, r"\1(9,)")
    return folder


def _replace(file: Path, pattern: str, by: str) -> None:
    text, count = re.subn(pattern, by, file.read_text())
    assert count, f"{file} has no {pattern}"
    file.write_text(text)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    upgraded = copy_upgraded(tmp_path_factory.mktemp("upgraded"))
    with ExitStack() as stack:
        found = []
        for backend in BACKENDS:
            lab = stack.enter_context(Lab.open())
            for host, port in (("vm", INBOUND_PORT), ("vm2", 3306)):
                word = service.encode(description.local(f"own-{host}", port))
                lab.start(host, [sys.executable, "-m", service.__name__, word], "own")
            capture = {"backend": backend, "inbound": {"ports": [INBOUND_PORT]}}
            agent = lab_agent.prepare(lab, "vm", {"capture": capture, **KEEP})
            agent.launch()
            found.append(Host(backend, agent, upgraded))
        for each in found:
            each.agent.wait_ready()
        yield found
        for each in found:
            each.agent.stop()
            each.agent.run("clean")


def everywhere(hosts: list[Host], what: Callable[[Host], None]) -> None:
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(what, hosts))


def start(host: Host, where: str, words: tuple[str, ...], stop: Path) -> Process:
    program = str(Path(__file__).with_name("traffic.py"))
    return host.lab.start(where, [sys.executable, program, str(stop), *words], "traffic")


def under_traffic(host: Host, actions: dict[str, Callable[[], None]]) -> None:
    """Do it all; assert that no connection noticed, and that it was one Envoy all along."""
    lab, stop = host.lab, host.lab.folder / "stop"
    stop.unlink(missing_ok=True)
    envoy = host.envoy()
    running = [start(host, "vm", OUTWARD, stop), start(host, "svc1", INWARD, stop)]
    try:
        for where in ("vm", "svc1"):
            wait_until(lambda where=where: "begun" in lab.log(where, "traffic"), "traffic", 20)  # type: ignore[misc]
        for name, action in actions.items():
            action()
            assert host.envoy() == envoy, name
        time.sleep(0.5)
    finally:
        stop.touch()
        for process in running:
            process.wait(15)
    for where in ("vm", "svc1"):
        flows = json.loads(lab.log(where, "traffic").splitlines()[-1])
        for word, flow in flows.items():
            print(host.backend, word, flow["bytes"], "bytes", flow["done"], "done", flow["faults"])
            assert flow["faults"] == [], (host.backend, word)
            assert flow["done"] > 20


def test_connections_live_through_restart_kill_and_upgrade(hosts: list[Host]) -> None:
    def act(host: Host) -> None:
        under_traffic(
            host,
            {
                "restart": host.restart,
                "kill -9": host.kill,
                "reload": host.reload,
                "upgrade": host.upgrade,
                "downgrade": host.restart,
            },
        )

    everywhere(hosts, act)


def monitored(host: Host, action: Callable[[], None]) -> str:
    """What netfilter tells of its tables during an action, trials in other namespaces aside."""
    monitor = host.lab.start("vm", ["stdbuf", "-oL", "nft", "monitor"], f"monitor-{host.monitors}")
    log, host.monitors = f"monitor-{host.monitors}", host.monitors + 1
    mark = ["nft", "add table ip itest-mark; delete table ip itest-mark"]

    def is_told(times: int) -> bool:
        host.lab.run("vm", mark)
        return host.lab.log("vm", log).count("delete table ip itest-mark") >= times

    try:
        wait_until(lambda: is_told(1), "the monitor", 5)
        seen = host.lab.log("vm", log).count("delete table ip itest-mark")
        action()
        wait_until(lambda: is_told(seen + 2), "its end", 5)
    finally:
        monitor.signal(signal.SIGKILL)
        monitor.wait(5)
    told = host.lab.log("vm", log).splitlines()
    return "\n".join(line for line in told if "itest-mark" not in line and line[:1] != "#")


def pins(host: Host) -> str:
    """What is pinned, by inode: what was made anew has another."""
    argv = [
        "find",
        "/sys/fs/bpf",
        "-type",
        "f",
        "-path",
        "*/interceptor/v*",
        "-printf",
        "%i %p\\n",
    ]
    return host.lab.run("vm", argv).stdout


def test_a_restart_changes_nothing_in_the_kernel(hosts: list[Host]) -> None:
    def act(host: Host) -> None:
        before = pins(host)
        assert monitored(host, host.restart) == ""
        assert pins(host) == before
        assert (before != "") is (host.backend == "ebpf")

    everywhere(hosts, act)


FOREIGN = "-m comment --comment foreign -j ACCEPT"


def test_an_upgrade_applies_the_difference_and_deletes_no_chain(hosts: list[Host]) -> None:
    def act(host: Host) -> None:
        sh = "iptables -t nat -A OUTPUT -d 192.0.2.77 " + FOREIGN
        host.lab.run("vm", ["sh", "-euc", sh])
        listed = ["nft", "-a", "list", "chain", "ip", "nat", "OUTPUT"]
        handle = re.search(r"192\.0\.2\.77.*# handle (\d+)", host.lab.run("vm", listed).stdout)
        before = pins(host)
        events = monitored(host, host.upgrade)
        try:
            assert "delete table" not in events
            assert "delete chain" not in events
            # A set without a name of its own is part of its rule.
            assert not re.search(r"delete set \S+ interceptor (?!__set)", events)
            # Programs have no rules; the others have a new one, and the old sets.
            assert ("add rule" in events) is (host.backend != "ebpf")
            after = re.search(r"192\.0\.2\.77.*# handle (\d+)", host.lab.run("vm", listed).stdout)
            assert handle is not None
            assert after is not None
            assert handle[1] == after[1], "others' rules stay where they are"
            assert pins(host) == before
            assert host.agent.run("plan", "--diff", check=False).code == 4, "by this version's plan"
        finally:
            host.restart()
            host.lab.run("vm", ["sh", "-euc", sh.replace("-A", "-D")])
        assert host.agent.run("plan", "--diff", check=False).code == 0

    everywhere(hosts, act)
