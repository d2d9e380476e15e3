"""Everything fits on a small terminal, keys choose what is shown, a pipe gets all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.debug import board
from interceptor.debug.board import Screen, Sort
from interceptor.debug.boardhead import Tone
from interceptor.debug.top import NameRow
from tests.unit.debug import showcase


def texts(screen: Screen = Screen(), width: int = 80, height: int = 24) -> list[str]:  # noqa: B008
    return [line.text for line in board.render(showcase.view(), screen, width, height)]


@settings(deadline=None)
@given(width=st.integers(72, 200), height=st.integers(14, 80))
def test_it_is_as_high_as_the_terminal_and_never_wider(width: int, height: int) -> None:
    found = texts(width=width, height=height)
    assert len(found) == height
    assert max(map(len, found)) <= width
    assert "q quit" in found[-1]


def test_on_a_small_terminal_names_services_and_reasons_are_there() -> None:
    text = "\n".join(texts())
    for words in ("NAME", "reviews.bookinfo", "SERVICE", ":9080", "KIND", "no name of the mesh"):
        assert words in text, text


def test_a_larger_terminal_shows_more_names() -> None:
    def shown(height: int) -> int:
        return sum("host" in text and ".example" in text for text in texts(height=height))

    assert 0 < shown(24) < shown(40) < shown(60) == 30


def test_a_name_that_is_too_long_keeps_both_ends() -> None:
    long = NameRow("a" * 60 + ".very.long.example", 1.0, {"answer": 1}, None, None, "tcp", "")
    view = replace(showcase.view(), names=(long,))
    (row,) = [
        line.text for line in board.render(view, Screen(), 80, 24) if line.text.startswith("aaa")
    ]
    assert "…" in row
    assert "example" in row


def test_keys_choose_the_order() -> None:
    assert "reviews" in first(Screen())
    assert "host29.example" in first(board.press(Screen(), "l"))
    assert "host00.example" in first(board.press(Screen(), "n"))
    assert "reviews" in first(board.press(Screen(order=Sort.NAME), "r"))


def first(screen: Screen) -> str:
    """The first row of the first table."""
    found = texts(screen)
    return found[next(at for at, text in enumerate(found) if text.startswith("NAME")) + 1]


def test_a_filter_is_typed_and_kept_or_given_up() -> None:
    screen = Screen()
    for key in "/HOSX\x7fT1":
        screen = board.press(screen, key)
    assert (screen.wanted, screen.is_typing) == ("HOST1", True)
    assert "filter: HOST1_" in texts(screen)[-1]
    kept = board.press(screen, "\r")
    found = "\n".join(texts(kept))
    assert "host11.example" in found
    assert "reviews" not in found
    assert "filter 'HOST1'" in found
    assert board.press(kept, "\x1b").wanted == board.press(screen, "\x1b").wanted == ""


@pytest.mark.parametrize("key", ["q", "\x03", "\x04"])
def test_it_ends_when_it_is_told_to(key: str) -> None:
    assert board.press(Screen(), key).is_over
    assert not board.press(Screen(is_typing=True), "q").is_over, "a letter of the filter"


def test_a_pause_is_said_and_ends_by_the_same_key() -> None:
    paused = board.press(Screen(), "p")
    assert "PAUSED" in texts(paused)[-1]
    assert board.press(paused, " ") == Screen()


@settings(deadline=None)
@given(keys=st.text())
def test_no_key_breaks_anything(keys: str) -> None:
    screen = Screen()
    for key in keys:
        screen = board.press(screen, key)
    texts(screen)


def test_a_pipe_gets_whole_names_and_is_told_what_is_missing() -> None:
    found = [line.text for line in board.render_plain(showcase.view(), Screen(), 5)]
    assert "... and 26 more" in found
    assert any("reviews.bookinfo.svc.cluster.local " in text for text in found)
    assert not any("…" in text for text in found)


def test_a_service_that_fails_stands_out() -> None:
    found = board.render(showcase.view(), Screen(), 80, 24)
    assert next(line for line in found if ":9080" in line.text).tone is Tone.ALERT


def test_calls_are_shown_by_who_makes_them_where_that_is_wanted() -> None:
    row = NameRow("10.0.0.7:80", 3.0, {"pass": 6}, None, None, "ebpf", "rule", ("shop.service",))
    view = replace(showcase.view(), calls=(row,))

    def shown(screen: Screen) -> str:
        return "\n".join(line.text for line in board.render(view, screen, 120, 24))

    by_caller = board.press(Screen(), "c")
    assert "SERVICE" in shown(Screen())
    assert "CALLED" not in shown(Screen())
    assert "pass, ebpf by shop.service" in shown(by_caller)
    assert "SERVICE" not in shown(by_caller)
    assert board.press(by_caller, "c") == Screen()
    plain = "\n".join(line.text for line in board.render_plain(view, Screen(), 9))
    assert "SERVICE" in plain
    assert "CALLED" in plain


def test_less_than_a_millisecond_is_said_so() -> None:
    (row,) = showcase.view().services
    view = replace(showcase.view(), services=(replace(row, p50_s=0.0),))
    assert any("<1ms" in line.text for line in board.render(view, Screen(), 80, 24))


def test_without_a_sidecar_of_ours_the_called_destinations_are_shown() -> None:
    row = NameRow("10.0.0.7:80", 3.0, {"outbound": 6}, None, None, "nftables", "rule")
    view = replace(showcase.view(), services=(), calls=(row,))
    text = "\n".join(line.text for line in board.render(view, Screen(), 80, 24))
    assert "CALLED" in text
    assert "10.0.0.7:80" in text
