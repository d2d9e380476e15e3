"""Without a daemon the command line says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.debug import control


def test_no_daemon_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(control.NotRunning, match="interceptor run"):
        control.request(tmp_path, "GET", "/status")


def test_a_stream_without_a_daemon_says_the_same(tmp_path: Path) -> None:
    with pytest.raises(control.NotRunning, match="interceptor run"):
        next(control.stream(tmp_path, "/trace"))
