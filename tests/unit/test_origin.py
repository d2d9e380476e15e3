"""Where the table of a command comes from; the daemon's is tested by tests/netns."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from interceptor import config, origin
from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.source.event import Loaded
from tests.controlplane.plane import running


def settings(folder: Path, port: int, group: str = "web") -> Config:
    istiod = {
        "addresses": [f"localhost:{port}"],
        "root_cert": str(folder / "root.pem"),
        "token": str(folder / "token"),
        "connect_timeout_ms": 2000,
    }
    mesh = {"source": "istiod", "state_dir": str(folder), "istiod": istiod}
    node = {"addresses": ["10.9.0.1"], "labels": {"app": "web"}}
    workload = {"group": group}
    return config.parse(json.dumps({"mesh": mesh, "node": node, "workload": workload}))


async def follow(found: Config) -> None:
    """Until the first table is there, as the daemon does."""
    source = origin.open_source(found)
    assert source.upstream is not None
    loaded = asyncio.Event()

    async def read() -> None:
        async for event in source.events:
            assert isinstance(event, Loaded)
            loaded.set()

    task = asyncio.create_task(read())
    async with asyncio.timeout(20):
        await loaded.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_command_asks_the_control_plane_and_then_takes_what_a_daemon_wrote_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "names.json").write_text('{"a.test": ["10.0.0.1"]}')
    with running(folder, tls=True) as plane:
        (tmp_path / "root.pem").write_bytes(plane.authority.root_pem)
        (tmp_path / "token").write_text(plane.authority.token())
        found = settings(tmp_path, plane.port)
        assert list(origin.load_table(found).hosts) == ["a.test"]
        assert "asked now" in caplog.text
        node = plane.record.lines("stream")
        assert "AUTO_REGISTER_GROUP" not in str(node), "a question registers nobody"

        asyncio.run(follow(settings(tmp_path, plane.port, group="")))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert list(origin.load_table(found).hosts) == ["a.test"]
    assert "s old, from" in caplog.text


def test_without_either_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(InterceptorError, match="no name table from the control plane: localhost:1"):
        origin.load_table(settings(tmp_path, 1))


def test_the_node_is_the_members(tmp_path: Path) -> None:
    node = origin.node(settings(tmp_path, 1))
    assert node.id.startswith("sidecar~10.9.0.1~")
    assert node.metadata["AUTO_REGISTER_GROUP"] == "web"
