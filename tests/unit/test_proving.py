"""Identity and secrets together: from an authority to a client of the socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from interceptor.config import parse
from interceptor.proving import Proving
from interceptor.workload import certificate, foreign, keystore
from tests.unit.workload.made import WHO


def test_without_an_identity_there_is_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        made = Proving(parse(f"identity: {{socket: {tmp_path}/none}}"))
        await made.open()
        assert (made.sds, made.pair(), made.status(), made.figures()) == (None, None, {}, {})
        await made.close()

    asyncio.run(go())


def test_nothing_large_is_imported_for_nothing() -> None:
    code = "import sys, interceptor.proving; print([n for n in ('grpc', 'cryptography', 'envoy')"
    words = [sys.executable, "-c", f"{code} if n in sys.modules])"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_client_of_the_socket_gets_what_the_authority_gave() -> None:
    with tempfile.TemporaryDirectory(prefix="prove", dir="/var/tmp") as name:
        folder = Path(name)
        now = certificate.now_s()
        keystore.save(folder / "ca", keystore.make("cluster.local", "ecdsa-p256", 86400, now), now)
        config = parse(
            f"""
node: {{namespace: shop, service_account: web}}
agent: {{run_dir: {folder}/run}}
authority: {{dir: {folder}/ca}}
identity: {{provider: local, dir: {folder}/identity}}
mesh: {{state_dir: {folder}/state, istiod: {{token: {folder}/none}}}}
sidecar: {{uid: {os.getuid()}, gid: {os.getgid()}}}
"""
        )

        async def go() -> None:
            made = Proving(config)
            await made.open()
            try:
                assert made.sds == folder / "run" / "sidecar" / "sds.sock"
                assert made.sds.parent.stat().st_mode & 0o777 == 0o750
                assert made.sds.stat().st_mode & 0o777 == 0o660
                found = foreign.follow(made.sds, certificate.now_s)
                async with asyncio.timeout(60):
                    seen = await anext(found)
                await found.aclose()  # type: ignore[attr-defined]
                assert seen.who == WHO
                assert made.pair() is not None
                status = made.status()
                assert (status["provider"], status["who"], status["alarms"]) == ("local", WHO, [])
                names = set(made.figures()["cert_expiry_seconds"])
                assert names == {("default",), ("ROOTCA",)}
            finally:
                await made.close()
            assert not made.sds.exists()

        asyncio.run(go())
