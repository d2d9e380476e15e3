"""The choice of a log format, and what each format looks like."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from interceptor.debug import log
from interceptor.host import journald


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    for handler in root.handlers:
        if isinstance(handler, log.JournalSink):
            handler.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("setting", "is_terminal", "has_journal", "expected"),
    [
        ("auto", True, False, "text"),
        ("auto", False, False, "json"),
        ("auto", True, True, "journal"),
        ("text", False, True, "text"),
        ("json", True, True, "json"),
    ],
)
def test_the_format_follows_where_it_goes(
    setting: str, is_terminal: bool, has_journal: bool, expected: str
) -> None:
    assert log.choose(setting, is_terminal=is_terminal, has_journal=has_journal) == expected


def test_json_lines_hold_keys_and_the_standard_loggers_records(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.open_log("info", "json")
    structlog.get_logger("a").info("backend", chosen="iptables")
    logging.getLogger("b").warning("no %s", "ipset")
    logging.getLogger("b").debug("not shown")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["chosen"], first["level"]) == ("backend", "iptables", "info")
    assert (second["event"], second["level"]) == ("no ipset", "warning")


def test_a_record_of_the_journal_is_a_line_and_its_parts() -> None:
    event = {"level": "error", "event": "table rejected", "file": "a b.yaml", "hosts": 3}
    assert log.fields(event, "interceptor.daemon") == {
        "MESSAGE": 'table rejected file="a b.yaml" hosts=3',
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "interceptor",
        "INTERCEPTOR_EVENT": "table rejected",
        "INTERCEPTOR_LOGGER": "interceptor.daemon",
        "INTERCEPTOR_FILE": "a b.yaml",
        "INTERCEPTOR_HOSTS": "3",
    }


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What stands for the journal: its socket, and standard error said to lead to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind(str(tmp_path / "socket"))
        taken.setblocking(False)
        monkeypatch.setattr(journald, "SOCKET", tmp_path / "socket")
        monkeypatch.setattr(journald, "observe_connected", lambda fd: fd == 2)
        monkeypatch.setattr(journald.Channel.__init__, "__defaults__", (tmp_path / "socket",))
        yield taken


def test_under_the_journal_both_kinds_of_records_go_there(
    journal: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    log.open_log("info", "auto")
    structlog.get_logger("a").warning("backend", chosen="iptables")
    assert b"MESSAGE=backend chosen=iptables\nPRIORITY=4\n" in journal.recv(4096)
    logging.getLogger("b").error("no %s", "ipset")
    assert b"MESSAGE=no ipset\nPRIORITY=3\n" in journal.recv(4096)
    assert capsys.readouterr().err == ""


def test_a_failure_is_told_with_where_it_happened(journal: socket.socket) -> None:
    log.open_log("info", "auto")
    try:
        raise OSError("no room")
    except OSError:
        structlog.get_logger("a").exception("a step failed")
    told = journal.recv(65536)
    assert b"a step failed\nTraceback" in told
    assert b"OSError: no room" in told


def test_a_journal_that_takes_nothing_holds_nobody_up_and_the_loss_is_told(
    journal: socket.socket,
) -> None:
    log.open_log("info", "auto")
    logger, count = logging.getLogger("a"), 3000
    for number in range(count):
        logger.info("line %d", number)
    taken = 0
    with suppress(BlockingIOError):
        while journal.recv(4096):
            taken += 1
    assert 0 < taken < count
    logger.info("the last")
    assert f"INTERCEPTOR_DROPPED_BEFORE={count - taken}\n".encode() in journal.recv(4096)
    logger.info("none lost since")
    assert b"DROPPED" not in journal.recv(4096)


def test_what_libraries_say_of_every_message_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.open_log("debug", "json")
    logging.getLogger("pyroute2.netlink.core").debug("message %s", {"index": 1})
    logging.getLogger("interceptor.host.command").debug("+ ip route")
    told = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert told == ["+ ip route"]
