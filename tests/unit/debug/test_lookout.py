"""A lookout reads what a daemon serves, over the real control socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import pytest

from interceptor.debug import http
from interceptor.debug.http import Pages
from interceptor.debug.lookout import Lookout
from interceptor.debug.metrics import Snapshot, render
from interceptor.debug.selection import Selection
from interceptor.debug.top import View
from interceptor.errors import InterceptorError
from tests.unit.debug import showcase

Wait = Callable[[float], bool]


class Daemon:
    """What the lookout asks for; each scrape finds ten more queries."""

    def __init__(self, run_dir: Path) -> None:
        self.scrapes = 0
        self._run_dir = run_dir
        self._loop = asyncio.new_event_loop()
        self._ends = asyncio.Event()

    async def trace(self, _wanted: Selection) -> AsyncGenerator[bytes, None]:
        yield b'{"left_out": 0}\n'
        while not self._ends.is_set():
            yield orjson.dumps(showcase.query("reviews.bookinfo"), option=orjson.OPT_APPEND_NEWLINE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), 0.02)

    def metrics(self) -> bytes:
        self.scrapes += 1
        queries = {("tcp", "answer", "A"): self.scrapes * 10.0}
        return render(Snapshot({"interceptor_dns_queries": queries}))

    def serve(self, is_up: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(is_up))
        self._loop.close()

    async def _serve(self, is_up: threading.Event) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pages = Pages(
            ready=lambda: (True, "ready"),
            metrics=self.metrics,
            status=lambda: showcase.STATUS,
            name_table=dict,
            sidecar=lambda: {"clusters": [{"cluster": "outbound|80||a", "requests": 1}]},
            confirm=lambda: True,
            trace=self.trace,
        )
        listeners = await http.serve(pages, f"127.0.0.1:{port}", self._run_dir / "control.sock")
        is_up.set()
        await self._ends.wait()
        await listeners.close()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)


@contextmanager
def running(run_dir: Path) -> Iterator[Daemon]:
    daemon, is_up = Daemon(run_dir), threading.Event()
    thread = threading.Thread(target=daemon.serve, args=(is_up,))
    thread.start()
    assert is_up.wait(5)
    try:
        yield daemon
    finally:
        daemon.end()
        thread.join(5)
        assert not thread.is_alive()


def pause(_passed_s: float) -> bool:
    threading.Event().wait(0.1)
    return True


def views(run_dir: Path, count: int, wait: Wait = pause, *, follows: bool = True) -> list[View]:
    with Lookout(run_dir, follows=follows) as lookout:
        return list(lookout.views(wait, count))


def test_names_are_of_the_stream_and_rates_of_the_figures(tmp_path: Path) -> None:
    with running(tmp_path):
        found = views(tmp_path, 3)
    assert len(found) == 3
    assert "reviews.bookinfo" in {row.name for view in found for row in view.names}
    for view in found:
        (row,) = view.queries
        assert row.what == ("tcp", "answer")
        assert row.rate * view.span_s == pytest.approx(10)
        assert view.services[0].name == "a:80"
        assert view.status["version"] == "1.2.3"


def test_without_the_stream_the_daemon_is_not_asked_for_it(tmp_path: Path) -> None:
    with running(tmp_path):
        (view,) = views(tmp_path, 1, follows=False)
    assert (view.names, view.notes) == ((), ())
    assert view.queries


def test_no_daemon_at_the_beginning_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match="interceptor run"):
        views(tmp_path, 1)


def test_a_daemon_that_goes_is_told_of_and_found_again(tmp_path: Path) -> None:
    found: list[View] = []
    with Lookout(tmp_path) as lookout:
        with running(tmp_path):
            coming = lookout.views(pause)
            found.append(next(coming))
        found.append(next(coming))
        with running(tmp_path):
            found.append(next(coming))
    assert [bool(view.problem) for view in found] == [False, True, False]
    assert "no daemon answers" in found[1].problem
    (row,) = found[2].queries
    assert row.rate > 0, "a counter that began anew counts from nothing"


def test_it_ends_when_nobody_waits_any_more(tmp_path: Path) -> None:
    with running(tmp_path):
        assert views(tmp_path, 0, lambda _passed_s: False) == []
