"""`extcap`: Wireshark's questions, each with one answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.host import command

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--extcap-interfaces", "--extcap-version=4.0"), "interface {value=interceptor}"),
        (("--extcap-dlts", "--extcap-interface", "interceptor"), "dlt {number=1}"),
        (("--extcap-config", "--extcap-interface", "interceptor"), "{call=--names}"),
    ],
)
def test_a_question_is_answered(run: Run, words: tuple[str, ...], said: str) -> None:
    code, out, _ = run("extcap", *words)
    assert code == 0
    assert said in out


def test_a_filter_is_judged_by_what_is_said_of_it(run: Run) -> None:
    assert run("extcap", "--extcap-capture-filter", "port 53") == (0, "", "")
    _, out, _ = run("extcap", "--extcap-capture-filter", "port domains")
    assert "legal: a filter" in out


def test_other_interfaces_are_refused(run: Run) -> None:
    code, _, err = run("extcap", "--extcap-dlts", "--extcap-interface", "eth0")
    assert code == 2
    assert "legal: interceptor" in err


def test_without_a_question_it_says_what_is_legal(run: Run) -> None:
    code, _, err = run("extcap")
    assert code == 2
    assert "--install" in err


def test_it_is_installed_as_a_program_that_answers(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("extcap", "--install", "--folder", str(tmp_path / "extcap"))
    assert code == 0
    program = tmp_path / "extcap" / "interceptor-extcap"
    assert str(program) in out
    assert os.access(program, os.X_OK)
    assert "interface {value=" in command.run([str(program), "--extcap-interfaces"]).stdout
