"""`plan`: what this host cannot is exit code 3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.capture import trial

Run = Callable[..., tuple[int, str, str]]


def test_what_this_host_cannot_ends_with_3(
    run: Run, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "observe", lambda: trial.Found(False, "", "more", "more"))
    argv = ("plan", "--backend", "ebpf", "--config", str(configuration))
    code, _, err = run(*argv)
    assert code == 3
    assert "ebpf" in err
