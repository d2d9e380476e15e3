"""One path, changed in some way and made again what it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interceptor.host import former
from interceptor.host.former import Kind


def make(path: Path, kind: Kind) -> None:
    if kind is Kind.FILE:
        path.write_bytes(b"before")
        path.chmod(0o640)
        os.utime(path, ns=(1, 1_500_000_000_123_456_789))
    elif kind is Kind.LINK:
        path.symlink_to("somewhere")
        os.utime(path, ns=(1, 1_500_000_000_000_000_001), follow_symlinks=False)
    elif kind is Kind.FOLDER:
        path.mkdir(mode=0o711)


@pytest.mark.parametrize("before", [Kind.ABSENT, Kind.FILE, Kind.LINK, Kind.FOLDER])
@pytest.mark.parametrize("after", [Kind.ABSENT, Kind.FILE, Kind.LINK])
def test_any_kind_is_made_again_from_any_other(tmp_path: Path, before: Kind, after: Kind) -> None:
    path = tmp_path / "it"
    make(path, before)
    was, data = former.observe(path)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    if after is Kind.FILE:
        path.write_bytes(b"after")
    elif after is Kind.LINK:
        path.symlink_to("elsewhere")
    former.revert(path, was, data)
    assert former.observe(path) == (was, data)
    assert [one.name for one in tmp_path.iterdir()] == ([] if before is Kind.ABSENT else ["it"])


def test_attributes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"x")
    try:
        os.setxattr(path, "user.note", b"mine")
    except OSError:
        return  # a file system without any
    was, data = former.observe(path)
    path.unlink()
    former.revert(path, was, data)
    assert os.getxattr(path, "user.note") == b"mine"


def test_a_link_is_looked_at_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "it").symlink_to("/etc/passwd")
    found, data = former.observe(tmp_path / "it")
    assert (found.kind, found.target, data) == (Kind.LINK, "/etc/passwd", b"")


def test_a_folder_is_another_one_when_other_names_are_in_it(tmp_path: Path) -> None:
    empty, _ = former.observe(tmp_path)
    (tmp_path / "x").touch()
    full, _ = former.observe(tmp_path)
    assert not former.is_same(empty, full)
