"""The parts of a member, and what becomes of the daemon where one of them fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

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
