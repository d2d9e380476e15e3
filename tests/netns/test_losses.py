"""What an agent may lose on a host, and the host does not: its source, its disk, descriptors,
memory, the clock. A steady asker on the VM is the oracle for names of others."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from interceptor.lab import snapshot
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from tests.netns import lossy
from tests.netns.lossy import MESH, MESH_ADDRESS, OTHER, OTHER_ADDRESS, Place

pytestmark = [pytest.mark.root, pytest.mark.envoy]

ONCE = pytest.mark.parametrize("opened", ["nftables"], indirect=True)
"""Of what no back end has a part in."""
NEW, NEW_ADDRESS = "extra.mesh.internal", "192.0.2.7"


@pytest.fixture(scope="module", params=["nftables", "ebpf"])
def opened(request: pytest.FixtureRequest) -> Iterator[Place]:
    with Lab.open() as lab:
        yield Place.open(lab, request.param)


@pytest.fixture
def place(opened: Place) -> Iterator[Place]:
    try:
        yield opened
    finally:
        opened.end()


def table(place: Place) -> dict[str, object]:
    return place.status()["table"]


# --- the source


def test_a_start_without_a_source_answers_from_the_last_good_table(place: Place) -> None:
    agent = place.prepare()
    agent.start()
    assert table(place)["from"] == "source"
    agent.stop()
    agent.mesh.rename(agent.mesh.with_name("away"))
    agent.start()
    row = table(place)
    assert (row["from"], cast("int", row["held"]) > 0) == ("disk", True)
    assert 0 < cast("float", row["good_age_s"]) < 120
    assert row["rejected"]
    assert place.ask(MESH) == MESH_ADDRESS
    assert place.ask(OTHER) == OTHER_ADDRESS
    metrics = ["curl", "--silent", "http://127.0.0.1:15020/metrics"]
    (line,) = [
        line
        for line in place.lab.run("vm", metrics).stdout.splitlines()
        if line.startswith("interceptor_table_age_seconds ")
    ]
    assert float(line.split(" ")[1]) > 0
    agent.mesh.with_name("away").rename(agent.mesh)
    wait_until(lambda: table(place)["from"] == "source", "the source's return", 15, 0.2)
    assert (table(place)["good_age_s"], table(place)["rejected"]) == (0.0, [])
    place.add("extra", NEW_ADDRESS)
    place.expect(NEW, NEW_ADDRESS)
    assert agent.stop() == 0
    place.expect_as_before()


@ONCE
def test_a_folder_that_empties_while_the_daemon_runs_takes_no_name_away(place: Place) -> None:
    agent = place.prepare()
    agent.start()
    with place.steady():
        for path in agent.mesh.iterdir():
            path.unlink()
        wait_until(lambda: bool(table(place)["rejected"]), "the emptied folder is told", 10, 0.2)
        time.sleep(0.5)
        assert place.ask(MESH) == MESH_ADDRESS
    agent.kill()
    agent.start()
    assert place.ask(MESH) == MESH_ADDRESS, "nor does the next daemon"
    (agent.mesh / "none.yaml").write_text("# no mesh here\n")
    place.expect(MESH, "")
    assert agent.stop() == 0


# --- the disk


def test_a_start_with_a_full_run_directory_changes_nothing(place: Place) -> None:
    agent = place.prepare()
    ballast = lossy.fill(place.mount("run", "64k"))
    with place.steady():
        assert agent.run("run", check=False).code == 1
        code, error = (done := agent.run("run", check=False)).code, done.stderr
        assert (code, "No space left" in error, "Traceback" in error) == (1, True, False), error
    ballast.unlink()
    agent.start()
    assert place.ask(MESH) == MESH_ADDRESS
    assert agent.stop() == 0
    place.unmount()
    place.expect_as_before()


def test_a_run_directory_that_fills_up_costs_nobody_anything(place: Place) -> None:
    agent = place.prepare({"sidecar": {"mode": "managed", "concurrency": 1}})
    folder = place.mount("run", "2m")
    agent.start()
    lossy.fill(folder)
    url = ["curl", "--silent", "--fail", "--max-time", "3", f"http://{MESH}:9080/"]
    with place.steady():
        for _ in range(5):
            place.lab.run("vm", url)
        place.add("extra", NEW_ADDRESS)
        place.expect(NEW, NEW_ADDRESS)
        remove = "nft delete table inet interceptor || tc filter del dev lo egress"
        if place.backend == "ebpf":
            remove = "rm /sys/fs/bpf/interceptor/links/egress-*"
        place.lab.run("vm", ["sh", "-c", remove], check=False)
        place.expect(MESH, MESH_ADDRESS)
        pid = cast("int", place.status()["sidecar"]["pid"])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: bool(place.lab.run("vm", url, check=False)), "Envoy's return", 20, 0.2)
        assert place.status()["sidecar"]["pid"] != pid
        assert agent.process is not None
        assert agent.process.poll() is None
    assert agent.stop() == 0, agent.log()
    assert snapshot.diff(place.before, snapshot.observe(place.lab, "vm")) == ""


def test_clean_after_a_kill_works_on_a_full_disk(place: Place) -> None:
    agent = place.prepare({"sidecar": {"mode": "managed", "concurrency": 1}})
    folder = place.mount("run", "2m")
    agent.start()
    lossy.fill(folder)
    agent.kill()
    assert agent.run("clean").code == 0
    place.expect_as_before()


@ONCE
def test_a_full_state_directory_keeps_what_stands_in_it(place: Place) -> None:
    agent = place.prepare()
    folder = place.mount("state", "256k")
    place.add("extra", NEW_ADDRESS)
    agent.start()
    wait_until((folder / "last-good").exists, "the last good table")
    agent.stop()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    lossy.fill(folder)
    place.add("other", "192.0.2.8")
    agent.start()
    place.expect("other.mesh.internal", "192.0.2.8")
    assert agent.stop() == 0
    assert "is not kept: [Errno 28]" in agent.log()
    now = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "ballast"}
    assert now == before
    shutil.rmtree(agent.mesh)
    agent.start()
    assert place.ask(NEW) == NEW_ADDRESS
    assert agent.stop() == 0


# --- descriptors


def connect(lab: Lab, folder: Path, number: int, stack: ExitStack) -> None:
    """Connections to the agent's three listeners, from the VM, that say nothing."""
    code = (
        "import socket, sys, time\n"
        "held = []\n"
        f"for _ in range({number}):\n"
        "    for family, place in ((socket.AF_INET, ('127.0.0.1', 15020)),"
        f" (socket.AF_INET, ('127.0.0.1', 15053)), (socket.AF_UNIX, '{folder}/control.sock')):\n"
        "        one = socket.socket(family)\n"
        "        one.setblocking(False)\n"
        "        held.append(one)\n"
        "        try:\n"
        "            one.connect(place)\n"
        "        except (BlockingIOError, ConnectionError):\n"
        "            pass\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = lab.start("vm", [sys.executable, "-c", code], "hogs")
    stack.callback(child.stop, 0.1)
    wait_until(lambda: "held" in lab.log("vm", "hogs"), "connections")


def test_without_descriptors_dns_goes_on_and_everything_recovers(place: Place) -> None:
    agent = place.prepare()
    agent.start()
    status = place.status()
    daemon, worker = cast("int", status["pid"]), cast("int", status["dns"]["worker_pid"])
    restarts = status["dns"]["restarts"]
    with place.steady(), ExitStack() as stack:
        for pid in (daemon, worker):
            stack.enter_context(lossy.few_files(pid, lossy.open_files(pid) + 8))
        connect(place.lab, place.lab.host_folder("vm") / "run", 30, stack)
        used_s, began_s = [lossy.used_s(pid) for pid in (daemon, worker)], time.monotonic()
        place.add("extra", NEW_ADDRESS)
        links = "ip address add 192.0.2.99/32 dev lo; ip address del 192.0.2.99/32 dev lo"
        place.lab.run("vm", ["sh", "-c", links])
        time.sleep(3)
        assert place.ask(OTHER) == OTHER_ADDRESS
        assert place.ask(MESH) == MESH_ADDRESS
        took_s = time.monotonic() - began_s
        for pid, before_s in zip((daemon, worker), used_s, strict=True):
            assert lossy.used_s(pid) - before_s < 0.5 * took_s, "nobody spins"
    assert 0 < place.log().count("out of system resource") < 60, "one line a second and listener"
    place.expect(NEW, NEW_ADDRESS)
    status = place.status()
    assert (status["pid"], status["dns"]["worker_pid"]) == (daemon, worker)
    assert status["dns"]["restarts"] == restarts
    argv = ["dig", "+short", "+tcp", "+tries=1", "+time=3", f"@{lossy.SERVER}", MESH]
    assert place.lab.run("vm", argv).stdout.strip() == MESH_ADDRESS
    assert agent.stop() == 0
    place.expect_as_before()


@ONCE
def test_a_worker_that_cannot_be_started_is_started_as_soon_as_it_can(place: Place) -> None:
    agent = place.prepare()
    agent.start()
    status = place.status()
    daemon, worker = cast("int", status["pid"]), cast("int", status["dns"]["worker_pid"])
    with place.steady(dies=True):
        with lossy.few_files(daemon, 3):
            os.kill(worker, signal.SIGKILL)
            time.sleep(2)
            assert place.ask(OTHER) == OTHER_ADDRESS
        wait_until(lambda: place.status()["dns"]["alive"] is True, "another worker", 15, 0.2)
    assert place.status()["pid"] == daemon
    assert place.ask(MESH) == MESH_ADDRESS
    assert agent.stop() == 0


# --- memory


@ONCE
def test_a_daemon_without_memory_costs_no_other_name_and_recovers(place: Place) -> None:
    """It may live through it, or end and be started again."""
    agent = place.prepare()
    agent.start()
    daemon = cast("int", place.status()["pid"])
    with place.steady(dies=True):
        with lossy.little_memory(daemon):
            for number in range(4):
                texts = (
                    lossy.EXTRA.format(name=f"n{number}-{one}", address="192.0.2.9")
                    for one in range(5000)
                )
                (agent.mesh / f"large{number}.yaml").write_text("---\n".join(texts))
            wait_until(lambda: "the memory that there is" in place.log(), "want of memory", 15)
            assert place.ask(OTHER) == OTHER_ADDRESS
            for path in agent.mesh.glob("large*"):
                path.unlink()
        place.add("extra", NEW_ADDRESS)
        place.expect(NEW, NEW_ADDRESS, 30)
        place.expect(MESH, MESH_ADDRESS)
    assert agent.stop() == 0
    place.expect_as_before()


@ONCE
def test_a_file_of_two_gigabytes_is_a_problem_and_no_memory(place: Place) -> None:
    agent = place.prepare()
    agent.start()
    pid = cast("int", place.status()["pid"])
    with (agent.mesh / "huge.yaml").open("wb") as file:
        file.truncate(2 << 30)
    wait_until(lambda: bool(table(place)["rejected"]), "the file is told", 10, 0.2)
    assert "at most 67108864 bytes" in agent.log()
    peak = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    assert int(peak) < 200_000
    place.add("extra", NEW_ADDRESS)
    place.expect(NEW, NEW_ADDRESS)
    assert agent.stop() == 0


# --- clocks


@pytest.mark.parametrize("offset_s", [1_000_000, -60])
def test_in_a_time_namespace_the_lease_holds(place: Place, offset_s: int) -> None:
    """A container's monotonic clock is not that of the kernel's programs."""
    agent = place.prepare({"agent": {"lease_s": 3, "on_agent_loss": "release"}})
    enter = ["unshare", "--time", f"--monotonic={offset_s}", "--fork", "--kill-child"]
    agent.process = place.lab.start("vm", [*enter, *agent.argv("run")], "agent", detached=True)
    agent.wait_ready()
    time.sleep(4)
    for _ in range(5):
        assert place.ask(MESH) == MESH_ADDRESS
    argv = ["dig", "+short", "+tcp", "+tries=1", "+time=3", f"@{lossy.SERVER}", MESH]
    assert place.lab.run("vm", argv).stdout.strip() == MESH_ADDRESS
    daemon = cast("int", place.status()["pid"])
    agent.kill()
    wait_until(lambda: not Path(f"/proc/{daemon}").exists(), "the daemon's end", 5)
    if place.backend == "ebpf":
        place.expect(MESH, "", 10)
    assert place.ask(OTHER) == OTHER_ADDRESS
