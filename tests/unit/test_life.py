"""What a daemon refuses before it touches the host. Its life is in tests/netns/test_daemon.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor import config, life
from interceptor.capture import trial
from interceptor.errors import InterceptorError, Unsupported
from interceptor.host.lock import NAME, Lock


def configured(tmp_path: Path, **flags: object) -> config.Config:
    return config.parse("", flags={"agent.run_dir": str(tmp_path / "run"), **flags})


def test_a_run_directory_has_one_daemon(tmp_path: Path) -> None:
    ours = configured(tmp_path)
    with Lock(ours.agent.run_dir / NAME), pytest.raises(InterceptorError, match="another daemon"):
        life.run(ours)


def test_a_back_end_that_is_not_there_is_unsupported_and_frees_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "observe", lambda: trial.Found(False, "", "more", "more"))
    ours = configured(tmp_path, **{"capture.backend": "ebpf"})
    with pytest.raises(Unsupported):
        life.run(ours)
    with Lock(ours.agent.run_dir / NAME):
        pass
