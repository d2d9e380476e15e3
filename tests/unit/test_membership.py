"""The parts of a member, and what becomes of the daemon where one of them fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from interceptor import membership
from interceptor.config import Config
from interceptor.membership import Membership


def test_with_the_defaults_nothing_is_done_and_nothing_imported() -> None:
    script = (
        "import asyncio, sys\n"
        "from interceptor.config import Config\n"
        "from interceptor.membership import Membership\n"
        "async def main():\n"
        "    one = Membership(Config(), lambda: None)\n"
        "    await one.open(); await one.withdraw(keep=False); await one.close()\n"
        "    print(len(asyncio.all_tasks()), one.status()['workload'])\n"
        "asyncio.run(main())\n"
        "heavy = ('grpc', 'cryptography', 'google', 'envoy', 'kubernetes')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 {}\n[]\n"


def test_a_managed_sidecar_that_is_not_there_yet_takes_no_calls(tmp_path: Path) -> None:
    async def main() -> str:
        return await Membership(Config(), lambda: None)._why_not_live()

    assert asyncio.run(main()) == "the sidecar is not there yet"


def test_without_a_sidecar_nobody_waits_for_one() -> None:
    async def main() -> str:
        config = Config.model_validate({"sidecar": {"mode": "none"}})
        return await Membership(config, lambda: None)._why_not_live()

    assert asyncio.run(main()) == ""


def test_somebody_else_s_sidecar_is_asked_at_its_admin_port() -> None:
    async def main() -> str:
        config = Config.model_validate({"sidecar": {"mode": "external", "admin_port": 1}})
        return await Membership(config, lambda: None)._why_not_live()

    assert asyncio.run(main()) == "the sidecar is away"


def test_a_part_that_fails_is_told_tried_again_and_takes_nobody_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even a package that is missing is the failure of one part only."""
    monkeypatch.setattr(membership, "AGAIN_S", 0.01)
    seen: list[object] = []

    async def main() -> None:
        one = Membership(Config(), lambda: None)
        mended = asyncio.Event()

        async def open_badly() -> None:
            if not seen:
                raise ModuleNotFoundError("No module named 'cryptography'")
            mended.set()

        monkeypatch.setattr(one.proving, "open", open_badly)
        await one.prepare()
        seen.append(one.status()["identity"])
        async with asyncio.timeout(30):
            await mended.wait()
        await asyncio.sleep(0)
        seen.append(one.status()["identity"])
        await one.withdraw(keep=False)
        await one.close()

    asyncio.run(main())
    assert seen == [{"problem": "ModuleNotFoundError: No module named 'cryptography'"}, {}]


def test_the_figures_are_those_of_health_and_entry(tmp_path: Path) -> None:
    async def main() -> membership.Figures:
        probe = {"exec": {"command": ["true"]}}
        tree = {"workload": {"group": "g", "entry": tmp_path / "own.yaml", "probe": probe}}
        one = Membership(Config.model_validate({"sidecar": {"mode": "none"}, **tree}), lambda: None)
        assert one.figures() == {}
        await one.open()
        async with asyncio.timeout(30):
            while not one.figures()["workload_probes"]["success",]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        found = one.figures()
        await one.withdraw(keep=False)
        return found

    found = asyncio.run(main())
    assert found["workload_healthy"] == {(): 1.0}
    assert found["workload_turns"] == {("healthy",): 1.0, ("unhealthy",): 0.0}
    assert found["workload_registered"] == {(): 0.0}
