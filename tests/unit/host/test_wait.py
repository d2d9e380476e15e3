"""Waiting for the real kernel: descriptors, connections, files."""

from __future__ import annotations

import asyncio
import os
import socket
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
        changes = wait.file_changes(path, 0.01)
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
