"""Durations as people type them."""

from __future__ import annotations

import pytest

from interceptor.cli import duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("2m", 120), ("500ms", 0.5), ("1h", 3600), ("1.5", 1.5)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 day", "1e9s"])
def test_anything_else_says_what_is_legal(text: str) -> None:
    with pytest.raises(ValueError, match="legal: 60s"):
        duration.parse(text)
