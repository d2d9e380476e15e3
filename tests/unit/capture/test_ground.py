"""Where the ebpf back end lives: from configuration and the daemon's own place."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.capture import ground
from interceptor.capture.backend import Choice
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.journal import Journal
from interceptor.config import Config
from interceptor.errors import InterceptorError


@pytest.mark.parametrize(
    ("named", "captured", "own", "expected"),
    [
        ("", "/", "/", "/interceptor"),
        ("", "/", "", "/interceptor"),
        ("", "/apps", "/", "/apps/interceptor"),
        ("", "/", "/system.slice/interceptor.service", "/system.slice/interceptor.service"),
        ("", "/apps", "/apps", "/apps/interceptor"),
        ("", "/apps/", "/apps/agent", "/apps/agent"),
        ("", "/apps", "/system.slice/interceptor.service", "/apps/interceptor"),
        ("x/y", "/", "/system.slice/interceptor.service", "x/y"),
    ],
)
def test_the_agent_has_a_cgroup_of_its_own(
    named: str, captured: str, own: str, expected: str
) -> None:
    config = Config.model_validate({"capture": {"cgroup": captured}, "agent": {"cgroup": named}})
    assert ground.agent_path(config, own) == expected


def test_another_back_end_asks_for_no_cgroup() -> None:
    config = Config.model_validate({"capture": {"bpf_dir": "/some/pins"}})
    assert ground.choose(config, Choice("nftables", "nftables")) == Sites(Path("/some/pins"))


def test_only_a_cgroup_of_our_making_is_removed(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "interceptor"
    for folder in (theirs, ours):
        folder.mkdir()
        assert ground.dismiss(folder, 0) is (folder is ours)
    assert theirs.exists()
    assert not ours.exists()


def test_what_the_kernel_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InterceptorError):
        ground.prepare(Sites(tmp_path / "file" / "x", tmp_path, tmp_path), Journal())
