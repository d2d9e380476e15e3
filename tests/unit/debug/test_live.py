"""The terminal's loop: views are drawn, keys act at once, a pause holds the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from interceptor.debug.board import Screen
from interceptor.debug.boardhead import Line
from interceptor.debug.live import Live
from interceptor.debug.top import View
from tests.unit.debug import showcase


class Paper:
    """A terminal whose user presses what is written down, one group of keys a turn."""

    def __init__(self, *keys: str) -> None:
        self.size = (80, 24)
        self.drawn: list[list[str]] = []
        self._keys = list(keys)

    def draw(self, lines: Iterable[Line]) -> None:
        self.drawn.append([line.text for line in lines])

    def recv(self, timeout_s: float) -> list[str]:
        assert timeout_s > 0
        return list(self._keys.pop(0)) if self._keys else ["q"]


class Fixed:
    """A lookout that sees another version at each look."""

    def views(self, wait: Callable[[float], bool], limit: int = 0) -> Iterator[View]:
        view, number = showcase.view(), 0
        while wait(0.0):
            number += 1
            yield replace(view, status={**view.status, "version": f"v{number}"})
            if number == limit:
                return


def show(paper: Paper, limit: int = 0) -> list[list[str]]:
    lookout: Any = Fixed()
    terminal: Any = paper
    Live(lookout, terminal, Screen()).run(0.2, limit)
    return paper.drawn


def test_each_view_is_drawn_until_the_user_has_seen_enough() -> None:
    drawn = show(Paper("", "", ""))
    assert [page[0].split()[1] for page in drawn] == ["v1", "v2", "v3", "v3"]


def test_it_ends_after_so_many_views() -> None:
    assert len(show(Paper("", "", "", "", ""), limit=2)) == 2


def test_a_key_is_drawn_at_once() -> None:
    drawn = show(Paper("", "n"))
    assert "[by rate]" in drawn[0][-1]
    assert "[by name]" in drawn[1][-1]


def test_a_pause_holds_the_view_and_says_so() -> None:
    drawn = show(Paper("", "p", "", "p", ""))
    assert [page[0].split()[1] for page in drawn[:3]] == ["v1", "v1", "v1"]
    assert "PAUSED" in drawn[2][-1]
    assert drawn[-1][0].split()[1] != "v1"


def test_a_terminal_of_another_size_is_drawn_anew() -> None:
    class Growing(Paper):
        def recv(self, timeout_s: float) -> list[str]:
            keys = super().recv(timeout_s)
            self.size = (80, self.size[1] + 1)
            return keys

    drawn = show(Growing("", "", ""))
    assert len(drawn[-1]) > len(drawn[0])
