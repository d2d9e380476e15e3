"""`interceptor trace` on the lines of a daemon that is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner, Result

from interceptor.cli.group import interceptor_command
from interceptor.debug import control, selection
from interceptor.debug import event as events
from interceptor.debug.event import Event, Kind
from interceptor.debug.selection import MAXIMUM_RATE, RATE, Selection
from interceptor.errors import InterceptorError

QUERY = Event(
    0.0, Kind.DNS, "tcp", "answer", name="a.test", qtype="A", answers=("10.0.0.1",), host="a.test"
)
Tree = dict[str, object]


class Daemon:
    """What is streamed until Ctrl-C, and what was asked for."""

    def __init__(self, *lines: Tree, is_ended: bool = False) -> None:
        self.lines, self.is_ended = lines, is_ended
        self.wanted = Selection()

    def stream(self, run_dir: Path, page: str) -> Iterator[Tree]:
        self.wanted = selection.decode(parse_qsl(urlsplit(page).query))
        yield from self.lines
        if not self.is_ended:
            raise KeyboardInterrupt


def run(monkeypatch: pytest.MonkeyPatch, daemon: Daemon, *words: str) -> Result:
    monkeypatch.setattr(control, "stream", daemon.stream)
    return CliRunner().invoke(interceptor_command, ["trace", *words])


LINES: tuple[Tree, ...] = (
    {"left_out": 0},
    events.encode(QUERY),
    {"left_out": 3},
    {"left_out": 0},
)


def test_an_event_is_a_line_and_what_was_left_out_is_said_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run(monkeypatch, Daemon(*LINES))
    assert result.exit_code == 0
    assert result.stdout == events.render(QUERY) + "\n"
    assert result.stderr.splitlines() == [
        f"trace: 3 left out (at most {RATE} a second: --rate)",
        "trace: 3 were left out in all",
    ]


def test_json_is_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Daemon(*LINES), "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert told[1] == {"left_out": 3}
    assert events.decode(told[0]) == QUERY
    assert len(told) == 2


def test_a_source_that_cannot_tell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    note: Tree = {"left_out": 0, "note": "no worker"}
    assert run(monkeypatch, Daemon(note)).stderr == "trace: no worker\n"
    assert json.loads(run(monkeypatch, Daemon(note), "--json").stdout) == note


def test_a_summary_is_printed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(*LINES)
    result = run(monkeypatch, daemon, "--summary")
    assert result.stdout.startswith("1 decisions, 3 left out\n")
    assert daemon.wanted.rate == MAXIMUM_RATE
    tree = json.loads(run(monkeypatch, daemon, "--summary", "--json").stdout)
    assert (tree["names"], tree["left_out"]) == ({"a.test A": 1}, 3)


@pytest.mark.parametrize("words", [(), ("--json",), ("--summary",)])
def test_ctrl_c_ends_it_with_what_was_found(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    result = run(monkeypatch, Daemon(*LINES), *words)
    assert result.exit_code == 0
    assert "a.test" in result.stdout


@pytest.mark.parametrize("words", [(), ("--json",), ("--summary",)])
def test_a_daemon_that_ends_is_an_error_that_keeps_what_was_found(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    result = run(monkeypatch, Daemon(*LINES, is_ended=True), *words)
    assert isinstance(result.exception, InterceptorError)
    assert "trace again" in str(result.exception)
    assert "a.test" in result.stdout


@pytest.mark.parametrize("words", [("--count", "1"), ("--duration", "1s")])
def test_an_end_that_was_asked_for_is_none(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    assert run(monkeypatch, Daemon(*LINES, is_ended=True), *words).exit_code == 0


def test_every_option_reaches_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon()
    words = "--name a* --name b --pid 7 --unit shop --service s --verdict pass --verdict answer"
    run(monkeypatch, daemon, *words.split(), "--rate", "5", "--duration", "2m", "--count", "9")
    assert daemon.wanted == Selection(
        ("a*", "b"), (7,), ("shop",), ("s",), ("pass", "answer"), 5, 120.0, 9
    )


@pytest.mark.parametrize(
    "words", [("--verdict", "yes"), ("--rate", "0"), ("--count", "0"), ("--duration", "soon")]
)
def test_a_wrong_option_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    assert run(monkeypatch, Daemon(), *words).exit_code == 2
