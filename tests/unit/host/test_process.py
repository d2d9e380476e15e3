"""Processes as a made-up /proc and the real one tell of them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.host import process, socketdiag
from interceptor.host.process import FDS_PER_S, NOBODY, Finder, Process
from interceptor.host.socketdiag import Socket

STATUS = "Name:\tcurl\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t8\t9\t10\n"


class Proc:
    """A /proc to be made up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now_s = 100.0

    def add(self, pid: int, *inodes: int, comm: str = "curl", began: int = 5) -> None:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} ({comm}) S " + "0 " * 18 + f"{began} 0")
        (folder / "status").write_text(STATUS)
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "cgroup").write_text(f"0::/system.slice/{comm}.service\n")
        for number, inode in enumerate(inodes):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")

    def remove(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


@pytest.fixture
def finder(proc: Proc) -> Iterator[Finder]:
    made = Finder(proc.root, lambda: proc.now_s, str(proc.root))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/nginx.service\n", "nginx.service"),
        ("0::/system.slice/nginx.service/worker\n", "nginx.service"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/a.service\n", "a.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", "session-1.scope"),
        ("0::/\n1:name=systemd:/system.slice/ssh.service\n", "ssh.service"),
        ("12:pids:/system.slice/x.service\n0::/\n", ""),
        ("0::/system.slice/a.service (deleted)\n", "a.service"),
        ("0::/kubepods/pod1\n", ""),
        ("", ""),
    ],
)
def test_a_unit_is_the_innermost_service_or_scope(text: str, unit: str) -> None:
    assert process.parse_unit(text) == unit


def test_ids_are_those_that_a_socket_gets() -> None:
    assert process.parse_ids(STATUS) == (1003, 10)
    assert process.parse_ids("") == (None, None)


def test_the_holder_of_a_socket_is_found_and_remembered(proc: Proc, finder: Finder) -> None:
    proc.add(7, 70, 71)
    wanted = Process(7, "curl", "curl.service", 1003, 10, "/system.slice/curl.service")
    assert finder.of(Socket(1003, 71)) == wanted
    proc.remove(7)
    assert finder.of(Socket(1003, 70)) == wanted, "it has ended, but was known"


def test_another_process_with_an_old_one_s_number_is_not_taken_for_it(
    proc: Proc, finder: Finder
) -> None:
    proc.add(7, 70)
    assert finder.of(Socket(1003, 70)).comm == "curl"
    proc.remove(7)
    proc.add(7, 80, comm="wget", began=6)
    assert finder.of(Socket(1003, 70)) == Process(uid=1003)
    assert finder.of(Socket(1003, 80)).comm == "wget"


def test_a_socket_that_nobody_holds_is_nobody_s(finder: Finder) -> None:
    assert finder.of(Socket(0, 0)) == NOBODY


def test_one_that_ended_before_we_looked_has_only_what_was_told(finder: Finder) -> None:
    assert finder.process(9, "gone") == Process(9, "gone")


def test_no_more_descriptors_are_looked_at_than_allowed(proc: Proc, finder: Finder) -> None:
    proc.add(7, 70)
    finder._left = -1.0
    assert finder.of(Socket(1003, 70)) == Process(uid=1003)
    assert finder.refused == 1
    proc.now_s += 2 / FDS_PER_S
    assert finder.of(Socket(1003, 70)).pid == 0, "not among all, for one"
    proc.now_s += 0.6
    assert finder.of(Socket(1003, 70)).pid == 7


def test_the_only_process_of_a_cgroup_need_not_be_looked_for(proc: Proc, finder: Finder) -> None:
    folder = proc.root / "system.slice/envoy.service"
    folder.mkdir(parents=True)
    home = folder.stat().st_ino
    proc.add(7, comm="envoy")
    (folder / "cgroup.procs").write_text("7\n")
    assert finder.of(Socket(1337, 70, cgroup=home)).comm == "envoy"
    assert finder._left == FDS_PER_S
    proc.add(8, 80)
    (folder / "cgroup.procs").write_text("7\n8\n")
    assert finder.of(Socket(1337, 80, cgroup=home)).pid == 8
    assert finder.of(Socket(1337, 90, cgroup=home)) == Process(
        *(0, "", "envoy.service", 1337, None, "/system.slice/envoy.service"),
    )


def test_the_last_thread_s_process_is_looked_at_first(proc: Proc, finder: Finder) -> None:
    proc.add(7, 70)
    proc.add(9, 70)  # its thread, which lists the same descriptors
    (proc.root / "9/status").write_text(f"Tgid:\t7\n{STATUS}")
    proc.add(5000, 80)
    (proc.root / "loadavg").write_text("0.00 0.00 0.00 1/100 10\n")
    for _ in range(2):
        assert finder.of(Socket(1003, 70)).pid == 7
    assert 80 not in finder._holders


def test_a_socket_that_systemd_made_is_its_holder_s(proc: Proc, finder: Finder) -> None:
    folder = proc.root / "init.scope"
    folder.mkdir()
    (folder / "cgroup.procs").write_text("1\n")
    proc.add(1, comm="systemd")
    proc.add(7, 70, comm="sshd")
    assert finder.of(Socket(0, 70, cgroup=folder.stat().st_ino)).comm == "sshd"


def test_an_exec_is_noticed(proc: Proc, finder: Finder) -> None:
    proc.add(7, comm="sh")
    assert finder.process(7).comm == "sh"
    proc.remove(7)
    proc.add(7, comm="curl")
    assert finder.process(7).comm == "curl"


def test_the_real_proc_knows_this_process(tmp_path: Path) -> None:
    finder = Finder()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        found = finder.find("udp", one.getsockname())
    assert (found.pid, found.uid, found.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert found.comm == Path("/proc/self/comm").read_text().strip()
    finder.close()


def test_the_real_proc_knows_another_process() -> None:
    finder = Finder()
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    end = ("127.0.0.1", int(child.stdout.readline()))
    listening = finder.ask("tcp", end)
    assert listening is not None
    assert listening.state == socketdiag.LISTEN
    assert finder.of(listening).pid == child.pid
    child.communicate("\n", timeout=5)
    assert finder.find("tcp", end) == NOBODY
    finder.close()
