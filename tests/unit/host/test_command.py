"""Commands of the host: their ends, their time limits, their children."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys

import pytest

from interceptor.errors import CommandFailed
from interceptor.host import command


def test_a_command_gets_stdin_and_gives_both_outputs() -> None:
    done = command.run(["sh", "-c", "cat; echo oops >&2"], "hello\n")
    assert (done.code, done.stdout, done.stderr) == (0, "hello\n", "oops\n")


def test_a_failed_command_says_what_was_run_and_why() -> None:
    with pytest.raises(CommandFailed) as caught:
        command.run(["sh", "-c", "echo broken >&2; exit 3"])
    assert caught.value.code == 3
    assert "broken" in str(caught.value)
    assert "sh -c" in str(caught.value)


def test_without_check_a_failure_is_a_value() -> None:
    done = command.run(["false"], check=False)
    assert not done
    assert done.code == 1


def test_a_missing_command_is_code_127() -> None:
    assert command.run(["no-such-program"], check=False).code == command.NOT_FOUND
    with pytest.raises(CommandFailed, match="no-such-program"):
        command.start(["no-such-program"])


def test_a_command_that_overruns_is_ended() -> None:
    with pytest.raises(CommandFailed, match=r"no end after 0\.1 s"):
        command.run(["sleep", "30"], timeout_s=0.1)


def test_every_command_is_echoed_as_it_can_be_pasted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="interceptor.host.command"):
        command.run(["echo", "a b"])
    assert "+ echo 'a b'" in caplog.text


def test_the_asynchronous_form_does_not_hold_up_the_loop() -> None:
    async def both() -> list[command.Completed]:
        return list(await asyncio.gather(*(command.run_async(["echo", "x"]) for _ in range(3))))

    assert [done.stdout for done in asyncio.run(both())] == ["x\n"] * 3


def test_a_child_that_ended_makes_its_pidfd_readable() -> None:
    child = command.start(["sh", "-c", "exit 7"])
    assert select.select([child.pidfd], [], [], 10)[0]
    assert child.poll() == 7
    child.close()


def test_stop_ends_a_child_that_ignores_sigterm() -> None:
    reader, writer = os.pipe()
    child = command.start(["sh", "-c", "trap '' TERM; echo up; exec sleep 30"], stdout=writer)
    os.close(writer)
    assert os.read(reader, 3) == b"up\n"
    os.close(reader)
    assert child.stop(grace_s=0.1) == -9
    assert child.stop() == -9


def test_a_detached_child_has_its_own_session() -> None:
    child = command.start(["sleep", "30"], detached=True)
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        child.stop()


def test_descriptors_can_be_handed_over() -> None:
    reader, writer = os.pipe()
    child = command.start(["sh", "-c", f"echo over >/proc/self/fd/{writer}"], pass_fds=[writer])
    os.close(writer)
    assert os.read(reader, 9) == b"over\n"
    os.close(reader)
    assert child.wait(10) == 0
    child.close()


def test_without_descriptors_a_command_fails_and_no_child_is_left() -> None:
    code = """
import os, resource
from interceptor.errors import CommandFailed
from interceptor.host import command
taken = []
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
def fill(left):
    while True:
        try:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            break
    for _ in range(left):
        os.close(taken.pop())
for left in range(12):
    fill(left)
    done = command.run(["true"], check=False)
    assert done.code in (0, command.NOT_STARTED, command.NOT_FOUND), done
    try:
        command.start(["true"]).stop()
    except CommandFailed:
        pass
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        continue
    raise SystemExit("a child is left")
print(done.code)
"""
    assert command.run([sys.executable, "-c", code]).stdout == "0\n"
