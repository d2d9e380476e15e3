"""A bar is drawn on standard error, and is gone at the end."""

from __future__ import annotations

import pytest

from interceptor.cli.progress import bar


def test_a_bar_takes_what_is_done_and_leaves_standard_output_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bar("reading", 100) as advance:
        advance(50)
        advance(100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading" not in captured.err.splitlines()[-1:]
