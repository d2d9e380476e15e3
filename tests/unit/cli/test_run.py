"""`run` refuses what it cannot do before it touches anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.capture import trial

Run = Callable[..., tuple[int, str, str]]


def test_a_back_end_that_is_not_there_ends_with_3(
    run: Run, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "observe", lambda: trial.Found(False, "", "more", "more"))
    code, _, err = run("run", "--backend", "ebpf", "--config", str(configuration))
    assert (code, "ebpf" in err) == (3, True)
    assert not (configuration.parent / "run" / "control.sock").exists()
