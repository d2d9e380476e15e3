"""The choice of a log format, and what each format looks like."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from interceptor.debug import log


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("setting", "is_terminal", "has_journal", "expected"),
    [
        ("auto", True, False, "text"),
        ("auto", False, False, "json"),
        ("auto", True, True, "logfmt"),
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


def test_the_journal_gets_priorities_and_no_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    log.open_log("info", "auto")
    structlog.get_logger("a").error("table rejected", file="a.yaml")
    assert capsys.readouterr().err == '<3>level=error event="table rejected" file=a.yaml\n'


def test_what_libraries_say_of_every_message_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.open_log("debug", "json")
    logging.getLogger("pyroute2.netlink.core").debug("message %s", {"index": 1})
    logging.getLogger("interceptor.host.command").debug("+ ip route")
    told = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert told == ["+ ip route"]
