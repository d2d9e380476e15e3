"""What only a machine of one's own can suffer: another date, a full disk."""

from __future__ import annotations

import pytest

from tests.vm.guest import agent, peer
from tests.vm.guest.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]


def test_the_clock_may_jump_a_day_forward_and_back(machine: Machine) -> None:
    """Leases, signs of life and ages go by clocks that do not jump."""
    daemon = agent.prop(machine, "MainPID")
    agent.start_asking(machine)
    for change in ("+1 day", "-1 day"):
        machine.run(f"date -s '{change}'; sleep 15")
        assert machine.read(agent.CALL).startswith("shop")
    asked = agent.stop_asking(machine)
    assert agent.other_answers(asked, peer.OTHER_NAME, peer.OTHER_ADDRESS) == []
    assert agent.other_answers(asked, peer.MESH_NAME, peer.VIP) == []
    assert agent.prop(machine, "MainPID") == daemon
    assert agent.prop(machine, "NRestarts") == "0"
    age_s = machine.read(
        "curl -s 127.0.0.1:15020/metrics | sed -n 's/^interceptor_table_age_seconds //p'"
    )
    assert 0 <= float(age_s) < 86_400


def test_a_full_disk_costs_nobody_a_name_and_a_killed_daemon_starts_on_it(
    machine: Machine,
) -> None:
    machine.run(
        "fallocate -l $(df --output=avail -B1 / | tail -n 1) /full || :\n"
        "dd if=/dev/zero of=/rest bs=4k 2>/dev/null || :\n"
        "! sh -c 'head -c 10000 /dev/zero >/var/lib/interceptor/probe' 2>/dev/null"
    )
    agent.start_asking(machine)
    machine.run(f"kill -9 $(systemctl show --value -p MainPID {agent.UNIT})")
    machine.wait_until(f"test $(systemctl show --value -p NRestarts {agent.UNIT}) -ge 1")
    agent.wait_ready(machine)
    asked = agent.stop_asking(machine)
    assert agent.other_answers(asked, peer.OTHER_NAME, peer.OTHER_ADDRESS) == []
    assert agent.other_answers(asked, peer.MESH_NAME, peer.VIP) == []
    machine.run("rm -f /full /rest /var/lib/interceptor/probe")
    machine.run(f"systemctl stop {agent.UNIT}")
    agent.check_untouched(machine)
