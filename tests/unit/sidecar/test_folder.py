"""The sidecar's files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from interceptor.config import parse
from interceptor.sidecar import folder, launch


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_made_with_their_modes_and_twice_changes_nothing(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    files = launch.files(run_dir)
    text = f"sidecar: {{uid: {os.getuid()}, gid: {os.getgid()}}}"
    wanted = launch.build(parse(text), Path("/e"), "", '{"a": 1}')
    log = run_dir / "access.log"
    for _ in range(2):
        folder.prepare(wanted, files, str(log))
        assert mode(run_dir) == 0o711
        assert mode(files.folder) == 0o750
        assert mode(files.bootstrap) == 0o640
        assert mode(files.admin.parent) == 0o2770
        assert files.admin.parent.stat().st_uid == os.getuid()
        assert files.bootstrap.read_text() == '{"a": 1}'
        assert mode(log) == 0o640
        log.write_text("kept")
    assert log.read_text() == "kept"
    assert sorted(path.name for path in files.folder.iterdir()) == ["admin", "bootstrap.json"]


def test_a_closed_folder_above_gets_passage_and_no_more(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    text = f"sidecar: {{uid: {os.getuid()}, gid: {os.getgid()}}}"
    wanted = launch.build(parse(text), Path("/e"), "", "")
    folder.prepare(wanted, launch.files(run_dir))
    assert mode(run_dir) == 0o711


def test_a_log_that_has_grown_too_long_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.log"
    path.write_bytes(b"x" * (folder.LOG_BYTES + 1))
    with folder.open_log(path) as fd:
        os.write(fd, b"first\nlast\n")
    assert path.read_text() == "first\nlast\n"
    assert folder.tail(path) == "last"
    assert (tmp_path / "sidecar.log.1").exists()


def test_a_log_that_is_not_there_has_no_last_line(tmp_path: Path) -> None:
    assert folder.tail(tmp_path / "none") == ""


def test_a_full_disk_leaves_the_old_file_and_is_told_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bootstrap.json"
    folder.write(path, "old", 0o600)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fchown", full)
    with pytest.raises(OSError, match="No space left on device: '.*bootstrap.json'"):
        folder.write(path, "new", 0o600)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["bootstrap.json"]
