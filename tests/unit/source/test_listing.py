from __future__ import annotations

import os
from pathlib import Path

import pytest

from interceptor.errors import ConfigError
from interceptor.source import listing


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def test_documents_are_told_from_other_files(tmp_path: Path) -> None:
    wanted = [touch(tmp_path / name) for name in ("a.yaml", "b/c.yml", "d.json")]
    for name in ("e.txt", ".f.yaml", "g.yaml~", ".h/i.yaml"):
        touch(tmp_path / name)
    listed = listing.observe([tmp_path])
    assert list(listed.seen) == sorted(map(str, wanted))
    assert not listed.missing
    assert not listed.bare


def test_a_folder_without_documents_is_bare_and_one_that_is_not_there_missing(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    listed = listing.observe([tmp_path / "empty", tmp_path / "none"])
    assert listed.bare == {str(tmp_path / "empty")}
    assert set(listed.missing) == {str(tmp_path / "none")}


def test_one_link_to_nowhere_hides_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    touch(tmp_path / "b.yaml")
    listed = listing.observe([tmp_path])
    assert set(listed.seen) == {str(tmp_path / "b.yaml")}
    assert set(listed.missing) == {str(tmp_path / "a.yaml")}


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"x" * 1024)
    assert listing.recv(str(path), 1024) == b"x" * 1024
    with pytest.raises(ConfigError, match="1024 bytes: at most 1023 bytes"):
        listing.recv(str(path), 1023)


def test_a_file_that_lies_about_its_size_is_read_no_further(tmp_path: Path) -> None:
    """Files of /proc say that they hold nothing."""
    with pytest.raises(ConfigError, match="at most 10 bytes"):
        listing.recv("/proc/self/mountinfo", 10)


def test_two_gigabytes_of_holes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(ConfigError, match="2147483648 bytes: at most"):
        listing.recv(str(path), 64 << 20)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_refused_and_nobody_waits_for_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="no regular file"):
        listing.recv(str(path), 1024)


def test_below_is_told_by_whole_names() -> None:
    assert listing.is_below("/a/b", ["/a"])
    assert listing.is_below("/a", ["/a"])
    assert not listing.is_below("/ab", ["/a"])
