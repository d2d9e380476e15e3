from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.source.inotify import Watch


@pytest.fixture
def watch() -> Iterator[Watch]:
    found = Watch()
    yield found
    found.close()


def rings(watch: Watch) -> bool:
    return bool(select.select([watch.fd], [], [], 0)[0])


def test_a_file_is_whole_when_its_writer_has_closed_it(watch: Watch, tmp_path: Path) -> None:
    watch.cover({str(tmp_path)})
    path = tmp_path / "a"
    with path.open("w") as file:
        file.write("x")
        file.flush()
        assert watch.recv() == set()
    assert watch.recv() == {str(path)}


def test_a_file_is_whole_when_it_is_moved_into_place(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("x")
    watch.cover({str(tmp_path)})
    (tmp_path / "b").rename(tmp_path / "a")
    assert watch.recv() == {str(tmp_path / "a")}


def test_removal_rings_and_names_nothing(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    watch.cover({str(tmp_path)})
    assert not rings(watch)
    (tmp_path / "a").unlink()
    assert rings(watch)
    assert watch.recv() == set()
    assert not rings(watch)


def test_two_paths_to_one_folder_are_both_named_and_no_news_twice(
    watch: Watch, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    os.symlink("d", tmp_path / "l")
    folders = {str(tmp_path / "d"), str(tmp_path / "l")}
    assert watch.cover(folders)
    assert not watch.cover(folders)
    (tmp_path / "d/a").touch()
    assert watch.recv() == {str(tmp_path / "d/a"), str(tmp_path / "l/a")}


def test_a_folder_that_was_made_again_is_news_again(watch: Watch, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    watch.cover({str(folder)})
    folder.rmdir()
    watch.recv()
    assert not watch.cover({str(folder)})
    folder.mkdir()
    assert watch.cover({str(folder)})
    (folder / "a").touch()
    assert watch.recv() == {str(folder / "a")}


def test_what_is_not_covered_any_more_is_silent(watch: Watch, tmp_path: Path) -> None:
    watch.cover({str(tmp_path)})
    watch.cover(set())
    watch.recv()
    (tmp_path / "a").touch()
    assert not rings(watch)
