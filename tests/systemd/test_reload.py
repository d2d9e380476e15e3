"""`systemctl reload` under real systemd: one process, one Envoy, another configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from interceptor.lab.removal import wait_until
from tests.systemd import load, neighbour
from tests.systemd.machine import UNIT, Image, Machine

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.timeout(900)]
CONFIG = "/etc/interceptor/interceptor.yaml"


def ttl(machine: Machine) -> str:
    words = machine.sh(f"dig {load.MESH} A +noall +answer", check=False).split()
    return words[1] if len(words) > 1 else ""


def test_a_reload_keeps_process_and_envoy_and_a_mistake_changes_nothing(
    image: Image, boot: Callable[[Image], Machine]
) -> None:
    machine = boot(replace(image, settings={"capture": {"backend": "nftables"}}))
    load.open_control(machine)
    machine.start()
    main, envoy = machine.properties(UNIT, "MainPID"), machine.sh("pidof envoy")
    machine.sh(f"printf '\\ndns: {{ttl_s: 7}}\\n' >>{CONFIG}")
    machine.systemctl("reload", UNIT)
    wait_until(lambda: ttl(machine) == "7", "the new configuration", 20)
    wait_until(lambda: not neighbour.failures(machine), "mesh and other names", 10)
    # It answers before it says READY=1: Envoy is adopted in between.
    after = {**main, "NRestarts": "0", "ActiveState": "active"}
    wait_until(lambda: machine.properties(UNIT, *after) == after, "the end of the reload", 20)
    assert machine.sh("pidof envoy") == envoy

    machine.sh(f"printf 'nonsense: 1\\n' >>{CONFIG}")
    machine.systemctl("reload", UNIT)
    wait_until(lambda: "nonsense" in machine.sh("interceptor status --json", check=False), "it", 20)
    assert ttl(machine) == "7"
    assert machine.properties(UNIT, "MainPID") == main
    assert machine.properties(UNIT, "WatchdogUSec") == {"WatchdogUSec": "3s"}
