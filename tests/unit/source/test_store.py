from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.source import moment, pace, store
from interceptor.source.moment import Moment
from interceptor.source.store import Store

LARGE = b"apiVersion: v1\n" * 1000
DOCUMENTS = {"/etc/a.yaml": b"kind: A\n", "/etc/b.yaml": b"", "/etc/c.yaml": LARGE}


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.moment = Moment(1_000_000.0, "boot", 100.0)
        self.s = 100.0

    def now(self) -> Moment:
        return self.moment

    def clock(self) -> float:
        return self.s

    def go(self, s: float) -> None:
        self.s += s
        self.moment = replace(
            self.moment, wall_s=self.moment.wall_s + s, boot_s=self.moment.boot_s + s
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / store.NAME


def written(path: Path, documents: dict[str, bytes] = DOCUMENTS) -> None:
    one = Store(path, "files")
    for name, data in documents.items():
        one.put(name, data)
    one.save()
    one.close()


def recalled(path: Path) -> dict[str, bytes | None]:
    one = Store(path, "files")
    try:
        return {name: one.get(name) for name in one.names()}
    finally:
        one.close()


@settings(max_examples=60)
@given(st.dictionaries(st.text(), st.binary() | st.sampled_from([LARGE, os.urandom(5000)])))
def test_what_is_put_is_found_by_the_next_one(
    tmp_path_factory: pytest.TempPathFactory, documents: dict[str, bytes]
) -> None:
    path = tmp_path_factory.mktemp("store") / store.NAME
    written(path, documents)
    assert recalled(path) == documents
    if documents:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_that_is_no_text_is_kept(path: Path) -> None:
    name = os.fsdecode(b"/etc/\xff.yaml")
    written(path, {name: b"x"})
    assert recalled(path) == {name: b"x"}


def test_no_path_keeps_nothing(tmp_path: Path) -> None:
    one = Store(None)
    one.put("a", b"x")
    one.save(is_last=True)
    assert one.names() == ()
    assert list(tmp_path.iterdir()) == []


def test_cut_short_anywhere_each_document_is_right_or_absent(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        for name, data in recalled(path).items():
            assert data in (DOCUMENTS[name], None)
    assert caplog.records


def test_a_bit_that_has_flipped_costs_one_document_or_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        caplog.clear()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        found = recalled(path)
        wrong = [name for name in DOCUMENTS if found.get(name) != DOCUMENTS[name]]
        assert all(found.get(name) is None for name in wrong)
        # The newline behind the index means nothing.
        assert len(caplog.records) == (1 if wrong else 0)
        assert len(wrong) in (0, 1, 3)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"last-good 1 ", b"last-good 2 ", "its format is 2, this version reads 1"),
        (b"interceptor last", b"somebody's last", "something else"),
    ],
)
def test_a_file_of_another_version_or_program_is_one_line_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture, old: bytes, new: bytes, why: str
) -> None:
    written(path)
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    assert recalled(path) == {}
    (record,) = caplog.records
    assert why in record.getMessage()


def test_another_source_s_documents_are_none_of_ours(path: Path) -> None:
    written(path)
    assert Store(path, "nametable").names() == ()


def test_a_file_that_cannot_be_read_is_one_line_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir(parents=True)
    assert Store(path, "files").names() == ()
    assert len(caplog.records) == 1


def test_only_what_changed_is_written_and_not_too_often(path: Path) -> None:
    time = Time()
    one = Store(path, "files", time.now, time.clock)
    assert not one.is_due
    one.put("a", b"1")
    assert one.is_due
    one.save()
    for number in range(50):
        one.put("a", b"%d" % number)
        one.save()
    assert recalled(path) == {"a": b"1"}
    time.go(pace.PAUSE_S)
    assert one.is_due
    one.save()
    assert recalled(path) == {"a": b"49"}
    one.put("a", b"49")
    time.go(pace.PAUSE_S)
    assert not one.is_due
    one.put("a", b"the end")
    one.save(is_last=True)
    assert recalled(path) == {"a": b"the end"}


def test_what_others_remove_is_written_again_from_what_was_read(path: Path) -> None:
    written(path)
    time = Time()
    one = Store(path, "files", time.now, time.clock)
    path.unlink()
    assert one.is_due
    one.save()
    assert recalled(path) == DOCUMENTS


def test_a_document_that_was_damaged_is_written_again(path: Path) -> None:
    written(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + bytes(20))
    assert "/etc/c.yaml" not in recalled(path)
    written(path)
    assert recalled(path) == DOCUMENTS


def test_a_document_that_is_dropped_is_gone(path: Path) -> None:
    written(path)
    one = Store(path, "files")
    one.drop("/etc/a.yaml")
    one.drop("nobody")
    one.save()
    assert set(recalled(path)) == set(DOCUMENTS) - {"/etc/a.yaml"}


def test_age_counts_from_when_it_was_last_right(path: Path) -> None:
    time = Time()
    one = Store(path, "files", time.now, time.clock)
    one.put("a", b"1")
    one.put("b", b"1")
    time.go(1000)
    assert one.age_s(one.names()) == 0
    one.hold("a")
    time.go(7)
    assert one.age_s(["a"]) == 7
    assert one.age_s(["b"]) == 0
    one.save(is_last=True)
    time.go(3)
    after = Store(path, "files", time.now, time.clock)
    assert after.age_s(["a"]) == 10
    assert after.age_s(["b"]) == 3, "nobody looked since"
    after.put("a", b"1")
    assert after.age_s(["a"]) == 0
    after.release("b")
    assert after.age_s(after.names()) == 0
    after.hold("b")
    time.go(5)
    after.hold("b")
    assert after.age_s(["b"]) == 5


def test_a_quiet_daemon_refreshes_the_date_now_and_then(path: Path) -> None:
    time = Time()
    one = Store(path, "files", time.now, time.clock)
    one.put("a", b"1")
    one.save()
    time.go(store.REFRESH_S - 1)
    assert not one.is_due
    time.go(1)
    one.save()
    assert Store(path, "files", time.now).age_s(["a"]) == 0


def test_a_disk_that_is_full_is_told_once_and_costs_nothing(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, {"a": b"1"})
    time = Time()
    one = Store(path, "files", time.now, time.clock)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        one.put("a", b"2")
        for _ in range(3):
            one.save()
            time.go(pace.RETRY_S)
    assert recalled(path) == {"a": b"1"}
    assert [record.getMessage() for record in caplog.records] == [
        "the last good table is not kept: [Errno 28] No space left on device"
    ]
    assert one.get("a") == b"2"
    one.save()
    assert recalled(path) == {"a": b"2"}


def test_the_real_clock_is_the_default(path: Path) -> None:
    written(path)
    one = Store(path, "files")
    assert one.age_s(one.names()) < 60
    assert moment.age_s(moment.now(), moment.now()) < 60
