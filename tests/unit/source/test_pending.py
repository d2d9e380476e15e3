from __future__ import annotations

from interceptor.source.pending import SETTLE_S, Pending

ONE, TWO = (1, 1, 1), (2, 2, 2)


def test_a_change_is_over_when_it_has_lasted() -> None:
    pending = Pending()
    assert not pending.is_over("a", ONE, 0.0, is_whole=False)
    assert not pending.is_over("a", TWO, SETTLE_S, is_whole=False)  # still being written
    assert len(pending) == 1
    assert pending.is_over("a", TWO, 2 * SETTLE_S, is_whole=False)
    assert len(pending) == 0


def test_a_change_is_over_when_its_writer_is_done() -> None:
    assert Pending().is_over("a", ONE, 0.0, is_whole=True)


def test_a_file_that_is_gone_must_be_gone_for_a_while() -> None:
    pending = Pending()
    assert not pending.is_over("a", None, 0.0, is_whole=False)
    pending.keep(set())  # it is back as it was
    assert len(pending) == 0
    assert not pending.is_over("a", None, 1.0, is_whole=False)
    assert pending.is_over("a", None, 1.0 + SETTLE_S, is_whole=False)
