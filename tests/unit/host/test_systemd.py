"""What systemctl prints, read. tests/systemd has a real systemd."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.host import cgroup, systemd

JOBS = """\
 1201 interceptor.service restart running
 1202 chrony.service      start   waiting
"""


def test_a_unit_is_told_from_the_cgroup() -> None:
    assert systemd.decode_unit("/system.slice/interceptor.service") == "interceptor.service"
    assert systemd.decode_unit("/system.slice/a.service/interceptor") == "a.service"
    assert systemd.decode_unit("/user.slice/user-0.slice/session-1.scope") == ""


def test_the_job_of_one_unit_is_found_among_others() -> None:
    assert systemd.decode_job(JOBS, "interceptor.service") == "restart"
    assert systemd.decode_job(JOBS, "chrony.service") == "start"
    assert systemd.decode_job(JOBS, "ssh.service") == ""
    assert systemd.decode_job("No jobs running.\n", "interceptor.service") == ""


@pytest.mark.parametrize(("kind", "is_restart"), [("restart", True), ("stop", False)])
def test_systemd_is_asked_where_we_are_its_service(
    kind: str, is_restart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\necho '7 interceptor.service {kind} running'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(cgroup, "of", lambda: "/system.slice/interceptor.service")
    assert systemd.is_restarting({"INVOCATION_ID": "1"}) is is_restart
    assert not systemd.is_restarting({}), "started by hand"


def test_a_systemd_that_cannot_be_asked_means_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cgroup, "of", lambda: "/system.slice/interceptor.service")
    assert not systemd.is_restarting({"INVOCATION_ID": "1"})
