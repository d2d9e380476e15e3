"""The journal: the inverse is on disk before the step, whatever happens then."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture.journal import Journal, decode
from interceptor.capture.step import Command, Step
from interceptor.errors import CommandFailed, InterceptorError


def touch(path: Path, undo: Path | None = None) -> Step:
    return Step("a file", Command(("touch", str(path))), (Command(("rm", str(undo or path))),))


def test_the_inverse_is_written_before_the_step_is_taken(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run" / "journal")
    look = Step(
        "look",
        Command(("grep", "-q", "undo", str(tmp_path / "run" / "journal"))),
        (Command(("true",)),),
    )
    journal.take([look])


def test_replay_undoes_the_last_step_first_and_minds_nothing_missing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    first, second = tmp_path / "first", tmp_path / "second"
    journal.take([touch(first), touch(second)])
    assert [item.argv[1] for item in journal.read()] == [str(second), str(first)]
    first.unlink()
    journal.replay()
    assert not second.exists()
    journal.remove()
    assert journal.read() == ()


def test_a_step_that_fails_stops_the_rest_and_is_undone_all_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    bad = Step("bad", Command(("false",)), (Command(("touch", str(tmp_path / "undone"))),))
    with pytest.raises(CommandFailed):
        journal.take([bad, touch(tmp_path / "never")])
    assert not (tmp_path / "never").exists()
    journal.replay()
    assert (tmp_path / "undone").exists()


def test_a_tolerant_step_may_fail(tmp_path: Path) -> None:
    Journal().take([Step("maybe", Command(("false",), tolerant=True)), touch(tmp_path / "next")])
    assert (tmp_path / "next").exists()


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.take([touch(tmp_path / "x")])
    with (tmp_path / "journal").open("a") as file:
        file.write('{"why": "half", "undo": [[["rm')
    assert len(journal.read()) == 1


def test_the_same_inverse_is_kept_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for _ in range(3):
        journal.take([touch(tmp_path / "x")])
    assert len(journal.read()) == 1


def test_what_stands_there_is_not_written_again(tmp_path: Path) -> None:
    """Rules are put back for months; /run is memory."""
    path = tmp_path / "journal"
    journal = Journal(path)
    for _ in range(100):
        journal.take([touch(tmp_path / "x"), touch(tmp_path / "y")])
    assert len(path.read_text().splitlines()) == 2
    Journal(path).take([touch(tmp_path / "x")])
    assert len(path.read_text().splitlines()) == 2, "nor by the next daemon"
    path.unlink()
    journal.take([touch(tmp_path / "x")])
    assert len(path.read_text().splitlines()) == 1, "and is, where somebody removed it"


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"why": "half", "undo": [[["rm')
    Journal(path).take([touch(tmp_path / "x")])
    assert [item.argv[1] for item in Journal(path).read()] == [str(tmp_path / "x")]


@pytest.mark.parametrize("fails", ["short", "write", "fsync"])
def test_a_step_that_could_not_be_undone_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    journal = Journal(tmp_path / "journal")
    journal.take([touch(tmp_path / "x")])
    whole = (tmp_path / "journal").read_bytes()
    write = os.write

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if fails == "short":
            patch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        else:
            patch.setattr(os, fails, full)
        with pytest.raises(InterceptorError, match="No space left.*make room there"):
            journal.take([touch(tmp_path / "y")])
    assert not (tmp_path / "y").exists()
    assert (tmp_path / "journal").read_bytes() == whole
    journal.take([touch(tmp_path / "y")])
    assert (tmp_path / "y").exists()


@given(st.text())
def test_whatever_stands_in_a_journal_is_read_or_refused(line: str) -> None:
    try:
        decode(line)
    except (ValueError, KeyError, TypeError):
        pass


@pytest.mark.parametrize(
    "undo",
    ["[[5, null]]", "[[[], null]]", '[[["rm", 5], null]]', '[[["a\\u0000b"], null]]', '[["x", 7]]'],
)
def test_what_is_no_command_is_left_out(tmp_path: Path, undo: str) -> None:
    path = tmp_path / "journal"
    path.write_text(f'{{"why": "x", "undo": {undo}}}\n{"[" * 100_000}\n')
    assert Journal(path).read() == ()
