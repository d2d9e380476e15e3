"""The authority of this host, opened by the daemon."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from interceptor import issuing
from interceptor.config import Config, parse
from interceptor.issuing import Issuing
from interceptor.workload import certificate, keystore


def configured(folder: Path, listen: str) -> Config:
    return parse(
        f"authority: {{dir: {folder / 'ca'}, listen: '{listen}'}}\n"
        f"agent: {{run_dir: {folder / 'run'}}}\n",
        "f",
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def make(folder: Path) -> None:
    now = certificate.now_s()
    keystore.save(folder / "ca", keystore.make("cluster.local", "ecdsa-p256", 60, now), now)


def test_without_an_address_it_is_nothing(tmp_path: Path) -> None:
    async def run() -> dict[str, object]:
        made = Issuing(configured(tmp_path, ""))
        await made.open()
        await made.close()
        return made.status()

    assert asyncio.run(run()) == {}


def test_an_authority_that_is_made_later_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "AGAIN_S", 0.05)
    port = free_port()

    async def run() -> None:
        made = Issuing(configured(tmp_path, f"127.0.0.1:{port}"), lambda: ())
        await made.open()
        assert "authority init" in str(made.status()["problem"])
        make(tmp_path)
        for _ in range(1500):
            if "problem" not in made.status():
                break
            await asyncio.sleep(0.02)
        assert made.status()["trust_domain"] == "cluster.local"
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        await made.close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 5)

    asyncio.run(run())
