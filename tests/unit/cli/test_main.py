"""Wrong usage and wrong configuration end with 2, and say why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    "argv",
    [
        ("resolve",),
        ("resolve", "x", "--type", "NOPE"),
        ("explain", "tcp", "no-port"),
        ("explain", "tcp", "a:1", "--from", "nowhere"),
        ("run", "--confirm", "soon"),
        ("no-such-command",),
        ("resolve", "x", "--config", "/nonexistent.yaml"),
        ("resolve", "x", "--nametable", "/nonexistent.json"),
    ],
)
def test_wrong_usage_and_configuration_end_with_2(run: Run, argv: tuple[str, ...]) -> None:
    code, _, err = run(*argv)
    assert code == 2
    assert err
