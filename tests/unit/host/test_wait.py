"""Waiting for the real kernel: descriptors, connections, files."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.host import tcptable, wait


def test_readable_returns_when_something_is_written() -> None:
    async def main() -> None:
        ours, theirs = os.pipe()
        try:
            waiting = asyncio.create_task(wait.readable(ours))
            await asyncio.sleep(0)
            assert not waiting.done()
            os.write(theirs, b"x")
            await asyncio.wait_for(waiting, 2)
        finally:
            os.close(ours)
            os.close(theirs)

    asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_open_connection_is_seen_until_it_is_closed(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert not tcptable.has_sockets(port, tcptable.ESTABLISHED)
        with socket.create_connection((host, port)):
            accepted, _ = server.accept()
            assert tcptable.has_sockets(port, tcptable.ESTABLISHED)
            assert asyncio.run(wait.drained(port, 0.2)) is False
            accepted.close()
        assert asyncio.run(wait.drained(port, 2)) is True


def test_a_stamp_changes_when_a_link_points_elsewhere(tmp_path: Path) -> None:
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    assert wait.stamp(link) is None
    one.write_text("a")
    two.write_text("a")
    link.symlink_to(one)
    before = wait.stamp(link)
    link.unlink()
    link.symlink_to(two)
    assert before is not None
    assert wait.stamp(link) not in (before, None)


def test_each_exchange_of_a_file_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"

    async def main() -> list[str]:
        told = []
        changes = wait.file_changes(path, look_s=0.01)
        for text in ("a", "ab"):
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            path.write_text(text)
            await asyncio.wait_for(waiting, 2)
            told.append(text)
        await changes.aclose()  # type: ignore[attr-defined]
        return told

    assert asyncio.run(main()) == ["a", "ab"]


def test_a_file_is_told_of_once_it_is_written_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")

    async def main() -> str:
        changes = wait.file_changes(path, look_s=0.1)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.02)
        for length in range(0, 24, 8):  # a slow writer
            path.write_text("nameserver 192.0.2.22222"[:length])
            await asyncio.sleep(0.05)
        path.write_text("nameserver 192.0.2.222\n")
        await asyncio.wait_for(waiting, 2)
        await changes.aclose()  # type: ignore[attr-defined]
        return path.read_text()

    assert asyncio.run(main()) == "nameserver 192.0.2.222\n"


def test_any_of_several_files_is_told_of_whatever_it_is_a_link_to(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    one, two = tmp_path / "resolv.conf", tmp_path / "upstream"
    one.symlink_to(folder / "stub-resolv.conf")

    async def main() -> None:
        changes = wait.file_changes(one, two, look_s=0.01)

        async def told(change: Callable[[], object]) -> None:
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            change()
            await asyncio.wait_for(waiting, 2)

        def appear() -> None:
            folder.mkdir()
            (folder / "stub-resolv.conf").write_text("nameserver 127.0.0.53\n")

        def exchange() -> None:
            (tmp_path / "new").symlink_to(two)
            (tmp_path / "new").rename(one)

        await told(appear)
        await told(lambda: (folder / "stub-resolv.conf").write_text("nameserver 127.0.0.54\n"))
        await told(lambda: two.write_text("nameserver 192.0.2.1\n"))
        await told(exchange)
        await told(one.unlink)
        await changes.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())


def test_the_links_are_looked_at_once_before_anything_changes() -> None:
    async def main() -> None:
        changes = wait.link_changes()
        await asyncio.wait_for(anext(changes), 2)
        await changes.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())


def test_a_listener_is_told_of_as_it_comes_and_goes() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]

        async def main() -> list[bool]:
            changes = wait.listening_changes(port, 0.01)
            told = [await anext(changes)]
            one.listen()
            told.append(await asyncio.wait_for(anext(changes), 2))
            one.close()
            told.append(await asyncio.wait_for(anext(changes), 2))
            await changes.aclose()  # type: ignore[attr-defined]
            return told

        assert asyncio.run(main()) == [False, True, False]


def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await asyncio.sleep(30)

    async def work() -> None:
        tasks = {asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(30))}
        await asyncio.sleep(0)
        await wait.cancelled(tasks)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(work())
