"""A real supervisor over small programs that play the daemon, in good health and in bad."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interceptor.host import supervisor
from interceptor.host.supervisor import FIRST_SIGN_S, HANG_S, Silence

BEGIN = """
import os, signal, sys, time
from interceptor.host import supervisor
supervisor.HANG_S = 0.8
supervisor.BACK_OFF_S = (0.0, 0.2)
life = supervisor.live()
def say(*words): print(*words, flush=True)
def beat(times=10**6):
    for _ in range(times):
        life.tell("WATCHDOG=1")
        time.sleep(0.1)
say("born", os.getpid(), life.restarts, life.why)
"""


@pytest.fixture(autouse=True)
def _unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


def start(body: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BEGIN + body]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def words(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split(maxsplit=3)


def outcome(body: str) -> tuple[int, list[str], str]:
    """Exit code, lines and errors of a supervised program."""
    process = start(body)
    out, err = process.communicate(timeout=30)
    return process.returncode, out.splitlines(), err


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_an_exit_code_passes_through_and_nothing_starts_again(code: int) -> None:
    found, lines, err = outcome(f"beat(1); sys.exit({code})")
    assert (found, len(lines), err) == (code, 1, "")


@pytest.mark.parametrize(
    "hang", ["os.kill(os.getpid(), signal.SIGSTOP)", "while True: pass", "time.sleep(30)"]
)
def test_a_daemon_that_hangs_is_ended_and_started_again(hang: str) -> None:
    began_s = time.monotonic()
    code, lines, err = outcome(f"beat(2)\nif life.restarts: sys.exit(0)\n{hang}")
    assert (code, len(lines)) == (0, 2)
    assert "gave no life sign for" in lines[1]
    assert "gave no life sign for" in err
    assert 0.8 < time.monotonic() - began_s < 6


def test_a_daemon_that_dies_by_a_signal_is_started_again() -> None:
    code, lines, _ = outcome(
        "beat(1)\nif life.restarts > 1: sys.exit(0)\nos.kill(os.getpid(), signal.SIGSEGV)"
    )
    assert code == 0
    assert [line.split(maxsplit=2)[2].strip() for line in lines] == [
        "0",
        "1 was ended by SIGSEGV",
        "2 was ended by SIGSEGV",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(number: signal.Signals) -> None:
    process = start(
        f"signal.signal({int(number)}, lambda *_: (say('got'), sys.exit(7)))\nsay('on')\nbeat()"
    )
    words(process), words(process)
    process.send_signal(number)
    assert process.communicate(timeout=10)[0] == "got\n"
    assert process.returncode == 7


def test_a_daemon_that_a_passed_signal_ends_ends_us_by_the_same() -> None:
    process = start("beat()")
    words(process)
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM


def test_a_daemon_that_hangs_while_it_stops_is_ended_and_not_started_again() -> None:
    process = start(
        "signal.signal(15, lambda *_: say('stopping'))\nsay('on')\nbeat(3)\ntime.sleep(9)"
    )
    words(process), words(process)
    process.terminate()
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "stopping\n")


@pytest.mark.parametrize("state", ["beat()", "beat(1); os.kill(os.getpid(), signal.SIGSTOP)"])
def test_when_the_supervisor_is_killed_the_daemon_is_at_once(state: str) -> None:
    process = start(state)
    pid = int(words(process)[1])
    time.sleep(0.2)
    stop(process)
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return  # nobody here reaps it
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError("the daemon lives")


def test_a_stopped_supervisor_stops_nobody_and_blames_nobody_afterwards() -> None:
    process = start("beat()")
    first = words(process)[1]
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    os.kill(int(first), 0)
    stop(process)
    assert process.returncode == -signal.SIGKILL


def test_both_stopped_and_continued_is_no_hang() -> None:
    """As Ctrl-Z and `fg` do it."""
    process = start("beat()")
    first = int(words(process)[1])
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in (first, process.pid):
            os.kill(pid, number)
        time.sleep(1.5)
    os.kill(first, 0)
    stop(process)


def test_a_long_step_that_is_announced_is_no_hang() -> None:
    code, lines, _ = outcome("beat(1)\nlife.extend(2)\ntime.sleep(1.6)\nbeat(1)\nsys.exit(5)")
    assert (code, len(lines)) == (5, 1)


def test_a_daemon_that_makes_room_for_another_configuration_has_a_successor_at_once(
    tmp_path: Path,
) -> None:
    code, lines, err = outcome(
        f"mark = {str(tmp_path / 'mark')!r}\nif os.path.exists(mark): sys.exit(5)\n"
        "open(mark, 'w').close()\nlife.tell('X_AGAIN=1')\nsys.exit(0)"
    )
    assert (code, len(lines), err) == (5, 2, "")
    assert lines[1].split()[2] == "0", "it is no restart"


def test_a_confirmation_outlives_the_daemon_that_had_it() -> None:
    code, lines, _ = outcome(
        "beat(1)\nsay(life.is_confirmed)\nif life.restarts: sys.exit(0)\n"
        "life.tell('X_CONFIRMED=1')\nos.kill(os.getpid(), 9)"
    )
    assert (code, lines[1], lines[3]) == (0, "False", "True")


def test_a_loss_longer_than_the_lease_is_answered_by_a_release_and_then_a_daemon() -> None:
    code, lines, _ = outcome(
        "say(life.releases)\nif life.releases: sys.exit(0)\n"
        "if life.restarts > 4: sys.exit(0)\n"
        "if not life.restarts: life.tell('X_RELEASE_S=0.3'); beat(1)\n"
        "os.kill(os.getpid(), 9)"
    )
    assert code == 0
    assert lines[1::2].count("True") == 1
    assert lines[-1] == "False"


def test_its_own_word_for_systemd_goes_on_to_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert outcome("life.tell('READY=1', 'WATCHDOG=1')\nsys.exit(0)")[0] == 0
        assert systemd.recv(100) == b"READY=1"


def test_only_a_daemon_that_nobody_looks_after_is_supervised() -> None:
    mine = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    theirs = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
    assert supervisor.is_wanted(["run"], {})
    assert supervisor.is_wanted(["run", "--confirm", "1s"], theirs)
    assert not supervisor.is_wanted(["run"], mine)
    assert not supervisor.is_wanted(["run", "--no-supervisor"], {})
    assert not supervisor.is_wanted(["run", "--help"], {})
    assert not supervisor.is_wanted(["status"], {})
    assert not supervisor.is_wanted([], {})


def test_silence_counts_only_while_we_could_hear() -> None:
    silence = Silence(FIRST_SIGN_S)
    silence.wait(3600)
    assert silence.silent_s == 0.5
    silence.hear("WATCHDOG=1")
    assert (silence.silent_s, silence.limit_s) == (0, HANG_S)
    silence.hear("EXTEND_TIMEOUT_USEC=nonsense")
    assert silence.limit_s == HANG_S
    for _ in range(13):
        silence.wait(0.25)
    assert silence.is_too_long


def test_nothing_large_is_imported_above_the_daemon() -> None:
    """The parent lives as long as the daemon: each import here is memory for ever."""
    large = "{'asyncio', 'click', 'pydantic', 'yaml', 'ctypes', 'socket', 'subprocess', 'logging'}"
    code = f"import sys, interceptor.cli.main; print({large} & set(sys.modules))"
    argv = [sys.executable, "-S", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
