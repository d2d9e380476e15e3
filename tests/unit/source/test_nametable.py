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


def text(**hosts: str) -> str:
    return json.dumps({"table": {f"{host}.example": {"ips": [ip]} for host, ip in hosts.items()}})


def at(path: Path | None) -> config.Mesh:
    return config.Mesh(source="nametable", nametable=path)


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
