"""`top` without a daemon says what to do, and nonsense is refused before anything is asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_without_a_daemon_it_ends_with_1_and_says_what_to_do(run: Run, configuration: Path) -> None:
    code, _, err = run("top", "--once", "--config", str(configuration))
    assert code == 1
    assert "interceptor run" in err


@pytest.mark.parametrize("interval", ["0", "10ms", "2h", "soon"])
def test_an_interval_that_makes_no_sense_is_a_usage_error(
    run: Run, configuration: Path, interval: str
) -> None:
    code, _, err = run("top", "--interval", interval, "--config", str(configuration))
    assert code == 2
    assert "legal" in err


def test_other_commands_do_not_pay_for_it() -> None:
    code = "import sys, interceptor.cli.top; print('rich' in sys.modules, 'termios' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
