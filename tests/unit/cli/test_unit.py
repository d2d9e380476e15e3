"""The unit that `interceptor unit` prints."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest

from interceptor.cli import unit
from interceptor.cli.main import main


def test_the_unit_starts_the_program_that_prints_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "interceptor"
    program.write_text("")
    monkeypatch.setattr(sys, "argv", [str(program)])
    with pytest.raises(SystemExit):
        main(["unit"])
    text = capsys.readouterr().out
    assert f"\nExecStart={program} run\n" in text
    assert unit.PLACE not in text


def test_without_a_program_of_that_name_it_is_started_as_a_module() -> None:
    assert unit.choose("-c", "/opt/venv/bin/python") == "/opt/venv/bin/python -m interceptor"
    assert unit.choose("/gone/interceptor", "/p") == "/p -m interceptor"


def test_a_program_below_home_is_not_hidden_from_its_own_service() -> None:
    assert "\nProtectHome=read-only\n" in unit.render("/home/ann/interceptor/.venv/bin/interceptor")
    assert "\nProtectHome=yes\n" in unit.render("/usr/bin/interceptor")


def test_the_unit_is_ready_when_the_daemon_says_so_and_is_never_given_up() -> None:
    read = configparser.RawConfigParser(strict=False)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(unit.render("/usr/bin/interceptor"))
    service = read["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert (service["WatchdogSec"], service["WatchdogSignal"]) == ("3s", "SIGKILL")
    assert service["KillMode"] == "process", "Envoy outlives the daemon"
    assert service["RuntimeDirectoryPreserve"] == "restart"
    assert read["Unit"]["StartLimitIntervalSec"] == "0"
