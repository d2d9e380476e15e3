from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interceptor.host import cgroup


def test_the_membership_is_version_2_s_line() -> None:
    text = "9:name=systemd:/x\n1:cpu:/y\n0::/system.slice/a.service\n"
    assert cgroup.parse_membership(text) == "/system.slice/a.service"


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("1:cpu:/y\n", ""), ("0::/\n", "/"), ("0::/a (deleted)\n", "/a")]
)
def test_the_membership_may_be_the_root_or_gone_or_none(text: str, path: str) -> None:
    assert cgroup.parse_membership(text) == path


def test_a_path_counts_from_the_root_of_the_tree() -> None:
    assert cgroup.folder("/a/b", Path("/m")) == Path("/m/a/b")
    assert cgroup.folder("/", Path("/m")) == Path("/m")


def test_the_level_is_the_depth_below_the_root_and_the_id_the_inode(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    cgroup.create(below)
    assert cgroup.refer(below, tmp_path) == cgroup.Reference(below.stat().st_ino, 2)
    assert cgroup.refer(tmp_path, tmp_path).level == 0
    with pytest.raises(ValueError, match="subpath"):
        cgroup.refer(Path("/"), tmp_path)


def test_a_command_joins_before_its_program_begins(tmp_path: Path) -> None:
    folder = tmp_path / "with 'quotes' $x"
    folder.mkdir()
    argv = cgroup.join_argv(folder, ["printf", "%s|", "a b", "$c"])
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "a b|$c|"
    assert (folder / "cgroup.procs").read_text() == "0\n"


def test_a_command_that_cannot_join_does_not_begin(tmp_path: Path) -> None:
    done = subprocess.run(
        cgroup.join_argv(tmp_path / "none", ["echo", "ran"]), capture_output=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == b""


def test_a_cgroup_with_something_in_it_is_not_removed(tmp_path: Path) -> None:
    cgroup.create(tmp_path / "a" / "b")
    assert not cgroup.remove(tmp_path / "a")
    assert cgroup.remove(tmp_path / "a" / "b")
    assert cgroup.remove(tmp_path / "a")
    assert cgroup.remove(tmp_path / "a")
