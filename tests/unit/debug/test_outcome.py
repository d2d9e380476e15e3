"""The access log is followed while somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from interceptor.debug import outcome
from interceptor.debug.event import Event
from interceptor.debug.flows import Flows
from interceptor.debug.outcome import Outcome
from interceptor.errors import InterceptorError
from interceptor.host.process import Process
from tests.unit.debug.test_accessline import TCP


def line(**changed: object) -> bytes:
    return orjson.dumps(TCP | changed) + b"\n"


class Log:
    """A log, its source, and what was told; each `look` is one of the source's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[Event] = []
        self.flows = Flows()
        self.source = Outcome(str(path), self.flows)

    def write(self, *lines: bytes) -> None:
        with self.path.open("ab") as file:
            file.writelines(lines)

    def run(self, *steps: Callable[[], object]) -> list[str]:
        """The hosts that were told while listening, a look after each step."""

        async def listen() -> None:
            await self.source.open(self.told.append)
            for step in steps:
                step()
                self.source._look()
                self.source._look()
            await self.source.close()

        asyncio.run(listen())
        return [event.host for event in self.told]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setattr(outcome, "LOOK_S", 60.0)
    return Log(tmp_path / "access.log")


def test_what_is_written_while_somebody_listens_is_told(log: Log) -> None:
    log.write(line(service="before"))
    assert log.run(lambda: log.write(line(service="a"), line(service="b"))) == ["a", "b"]
    log.write(line(service="after"))
    assert log.run(lambda: None) == ["a", "b"]


def test_a_line_that_comes_in_pieces_is_one(log: Log) -> None:
    whole = line(service="a")
    assert log.run(lambda: log.write(whole[:9]), lambda: log.write(whole[9:])) == ["a"]


def test_rotation_loses_nothing(log: Log) -> None:
    def rotate() -> None:
        log.write(line(service="old"))
        log.path.rename(log.path.with_suffix(".1"))
        log.path.write_bytes(line(service="new"))

    assert log.run(lambda: log.write(line(service="a")), rotate, lambda: None) == [
        *("a", "old", "new"),
    ]


def test_a_log_that_is_emptied_or_made_later_is_followed(log: Log) -> None:
    def empty() -> None:
        log.path.write_bytes(b"")

    steps = (lambda: log.write(line(service="a")), empty, lambda: log.write(line(service="b")))
    assert log.run(*steps) == ["a", "b"]


def test_who_called_is_known_from_whoever_saw_the_connection_begin(log: Log) -> None:
    log.flows.note(("10.77.0.10", 4000), ("240.240.0.7", 3306), Process(7, "mysql"))
    log.run(lambda: log.write(line(), line(client="10.77.0.10:4001")))
    assert [(event.pid, event.comm) for event in log.told] == [(7, "mysql"), (0, "")]


def test_what_cannot_be_read_is_counted(log: Log) -> None:
    assert log.run(lambda: log.write(b"odd\n", line(start_time="x"))) == []
    assert log.source.left_out == 2


def test_a_log_that_is_no_file_is_refused_and_none_is_no_harm() -> None:
    with pytest.raises(InterceptorError, match="access_log"):
        asyncio.run(Outcome("/dev/null", Flows()).open(lambda _: None))
    source = Outcome("", Flows())
    asyncio.run(source.open(lambda _: None))
    asyncio.run(source.close())
