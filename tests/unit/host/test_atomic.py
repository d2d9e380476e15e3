from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from interceptor.host import atomic


def test_a_file_is_replaced_as_a_whole_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "new/file"
    for data in (b"one", b"two"):
        atomic.replace(path, lambda file, data=data: file.write(data))
        assert path.read_bytes() == data
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_what_cannot_be_written_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half of the n")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        atomic.replace(path, write)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_the_draft_of_a_killed_writer_is_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / "file.new").write_bytes(b"a longer text than the next one")
    atomic.replace(tmp_path / "file", lambda file: file.write(b"x"))
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_link_in_the_draft_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"others'")
    (tmp_path / "file.new").symlink_to(tmp_path / "other")
    atomic.replace(tmp_path / "file", lambda file: file.write(b"x"))
    assert (tmp_path / "other").read_bytes() == b"others'"
    assert not (tmp_path / "file").is_symlink()
