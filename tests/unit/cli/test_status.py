"""`status` without a daemon says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def test_status_without_a_daemon_ends_with_1_and_says_what_to_do(
    run: Run, configuration: Path
) -> None:
    code, _, err = run("status", "--config", str(configuration))
    assert code == 1
    assert "interceptor run" in err
