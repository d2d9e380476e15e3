"""Finding Envoy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from interceptor.errors import Unsupported
from interceptor.sidecar import binary


def program(path: Path, content: bytes = binary.ELF_MAGIC) -> Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_the_configured_one_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path / "envoy")
    other = program(tmp_path / "other")
    assert binary.find(other) == other
    assert binary.find() == tmp_path / "envoy"


def test_a_configured_one_that_cannot_run_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="nothing-here"):
        binary.find(tmp_path / "nothing-here")


def test_a_script_on_path_is_passed_over_for_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "envoy", b"#!/usr/bin/python3\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert binary.find().read_bytes()[:4] == binary.ELF_MAGIC


def test_that_of_the_package_comes_before_the_wheel_and_after_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = program(tmp_path / "packaged")
    monkeypatch.setattr(binary, "PACKAGED", packaged)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert binary.find() == packaged
    program(tmp_path / "envoy")
    assert binary.find() == tmp_path / "envoy"


def test_an_upgrade_changes_the_stamp(tmp_path: Path) -> None:
    path = program(tmp_path / "envoy")
    before = binary.stamp(path)
    assert binary.stamp(path) == before
    program(path, binary.ELF_MAGIC + b"more")
    assert binary.stamp(path) != before


@pytest.mark.root
def test_a_closed_folder_above_is_seen(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    path = program(closed / "envoy")
    nobody = 65534
    assert not binary.is_reachable(path, nobody, nobody)
    assert binary.is_reachable(path, 0, 0)
    assert binary.is_reachable(Path("/bin/sh").resolve(), nobody, nobody)


@pytest.mark.root
def test_a_closed_binary_is_opened_for_the_child(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    path = program(closed / "envoy")
    with binary.open_program(path, 65534, 65534) as (name, fds):
        (fd,) = fds
        assert name == f"/proc/self/fd/{fd}"
        assert os.fstat(fd).st_ino == path.stat().st_ino
    with pytest.raises(OSError):
        os.fstat(fd)
    with binary.open_program(Path("/bin/sh").resolve(), 65534, 65534) as (name, fds):
        assert not fds
        assert stat.S_ISREG(os.stat(name).st_mode)
