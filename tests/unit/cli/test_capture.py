"""`capture`: what it takes for an order, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.host import command

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "'-w'"),
        (("-w", "-", "--ring-files", "3"), "a file name where there is a ring"),
        (("-w", "x", "--max-size", "10q"), "legal: 500k, 10m, 1g"),
        (("-w", "x", "--max-size", "0"), "legal: 500k, 10m, 1g"),
        (("-w", "x", "--ring-size", "10k"), "64k or more"),
        (("-w", "x", "-i", "nosuch0"), "one of lo"),
        (("-w", "x", "--filter", "port domains"), "legal: a filter"),
        (("-w", "x", "--duration", "soon"), "not a duration"),
    ],
)
def test_a_wrong_order_is_refused_with_what_is_legal(
    run: Run, configuration: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, err = run("capture", *words, "--config", str(configuration))
    assert code == 2
    assert said in err
    assert not Path("x").exists()


def test_scapy_rich_and_sockets_are_not_loaded_for_help() -> None:
    code = (
        "import sys; from interceptor.cli import group; group.call(['capture', '--help']);"
        "heavy = ('scapy', 'rich', 'interceptor.recording');"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = command.run([sys.executable, "-c", code]).stdout
    assert out.endswith("[]\n")
