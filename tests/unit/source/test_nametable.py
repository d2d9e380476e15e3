from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from interceptor import config
from interceptor.errors import ConfigError
from interceptor.source import nametable
from interceptor.source.event import Loaded, Rejected
from interceptor.source.store import NAME, Store


def text(**hosts: str) -> str:
    return json.dumps({"table": {f"{host}.example": {"ips": [ip]} for host, ip in hosts.items()}})


def at(path: Path | None) -> config.Mesh:
    state_dir = (path or Path("/nowhere")).parent / "state"
    return config.Mesh(source="nametable", nametable=path, state_dir=state_dir)


def test_the_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(text(a="10.0.0.1"))
    assert set(nametable.load(at(path)).hosts) == {"a.example"}


@pytest.mark.parametrize("name", [None, "none.json"])
def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        nametable.load(at(tmp_path / name if name else None))
    assert [problem.key for problem in caught.value.problems] == ["mesh.nametable"]


def test_changes_are_differences_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table.json"

    async def main() -> None:
        async with aclosing(nametable.watch(at(path))) as events:
            assert isinstance(await anext(events), Rejected)  # not there yet
            path.write_text(text(a="10.0.0.1", b="10.0.0.2"))
            first = await anext(events)
            assert isinstance(first, Loaded)
            path.write_text(text(a="10.0.0.1", b="10.0.0.3"))
            second = await anext(events)
            assert isinstance(second, Loaded)
            assert [host.name for host in second.difference.upserted] == ["b.example"]
            assert second.table.hosts["a.example"] is first.table.hosts["a.example"]
            path.write_text(text(a="10.0.0.300"))
            assert isinstance(await anext(events), Rejected)
            path.unlink()
            assert isinstance(await anext(events), Rejected)
            path.write_text(text(a="10.0.0.1", b="10.0.0.3"))
            mended = await anext(events)
            assert isinstance(mended, Loaded)
            assert not mended.difference

    asyncio.run(asyncio.wait_for(main(), 20))


# --- the last good table


async def first_loaded(mesh: config.Mesh) -> tuple[Loaded, bool]:
    """The first table of a daemon, and whether something was wrong before it."""
    async with aclosing(nametable.watch(mesh)) as events:
        event = await anext(events)
        if isinstance(event, Rejected):
            loaded = await anext(events)
            assert isinstance(loaded, Loaded)
            return loaded, True
        return event, False


@pytest.mark.parametrize("now", [None, "{", text(), "", text(a="10.0.0.300")])
def test_a_daemon_that_starts_without_a_table_takes_the_last_good_one(
    tmp_path: Path, now: str | None
) -> None:
    path = tmp_path / "table.json"
    path.write_text(text(a="10.0.0.1"))
    asyncio.run(first_loaded(at(path)))
    path.unlink()
    if now is not None:
        path.write_text(now)
    loaded, was_wrong = asyncio.run(first_loaded(at(path)))
    assert was_wrong
    assert set(loaded.table.hosts) == {"a.example"}
    assert (loaded.standing.held, loaded.standing.recalled) == (1, 1)
    path.write_text(text(b="10.0.0.2"))
    loaded, was_wrong = asyncio.run(first_loaded(at(path)))
    assert not was_wrong
    assert set(loaded.table.hosts) == {"b.example"}
    assert loaded.standing.held == 0


def test_a_table_that_loses_all_hosts_does_not_count_unless_that_is_allowed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.json"
    path.write_text(text(a="10.0.0.1"))
    page = nametable.Page(at(path))
    assert isinstance(page.look(frozenset())[0], Loaded)
    path.write_text(text())
    (event,) = page.look(frozenset((str(path),)))
    assert isinstance(event, Rejected)
    assert (event.problems[0].key, event.standing.held) == ("table", 1)
    page = nametable.Page(at(path).model_copy(update={"allow_empty": True}))
    (event,) = page.look(frozenset())
    assert isinstance(event, Loaded)
    assert len(event.table) == 0


def test_what_a_refused_table_last_said_is_recalled_without_a_daemon(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(text(a="10.0.0.1"))
    page = nametable.Page(at(path), Store(at(path).state_dir / NAME, "nametable"))
    page.look(frozenset())
    page.save(is_last=True)
    assert nametable.recall(at(path))[1] == ()
    path.write_text("{")
    table, problems = nametable.recall(at(path))
    assert set(table.hosts) == {"a.example"}
    assert [problem.where for problem in problems] == [str(path)]
