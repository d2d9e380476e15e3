"""The demo is what a newcomer runs first: it works, and ends with a lab that is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from interceptor.lab.world import environment

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]


def test_the_demo_shows_every_step_and_takes_everything_down() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "interceptor.lab.demo"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all as it should be" in done.stdout
    token = done.stdout.split("lab ")[1].split()[0]
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert token not in namespaces
