"""Keys come one by one; what a terminal sends for other keys is none."""

from __future__ import annotations

import pytest

from interceptor.debug import terminal
from interceptor.debug.boardhead import Tone


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"/ab\r", ["/", "a", "b", "\r"]),
        (b"\x1b", ["\x1b"]),
        (b"\x1b[A", []),
        (b"", ["\x04"]),
        ("ü".encode(), ["ü"]),
    ],
)
def test_bytes_are_keys(data: bytes, keys: list[str]) -> None:
    assert terminal.decode(data) == keys


def test_every_tone_has_a_style() -> None:
    assert set(terminal.STYLES) == set(Tone)
