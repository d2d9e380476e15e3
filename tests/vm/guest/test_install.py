"""`apt install` of our packages on a stock Debian 12, where nothing of ours has run before."""

from __future__ import annotations

import pytest

from tests.vm.guest import agent, peer
from tests.vm.guest.machine import Machine
from tests.vm.guest.setup import Saved

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

LOADED_BY_NEED = {"cls_bpf", "sch_ingress", "nf_tables", "nfnetlink"}
DAEMON_RSS_KIB = 120 << 10  # design.md §12


def test_modules_are_loaded_by_need_on_a_host_that_had_none(saved: Saved) -> None:
    before, after = set(saved.record.modules_before), set(saved.record.modules_after)
    print("loaded:", *sorted(after - before))
    assert not LOADED_BY_NEED & before
    assert {"cls_bpf", "sch_ingress"} <= after


def test_the_installed_service_answers_and_carries_calls(machine: Machine) -> None:
    assert machine.read(f"systemctl is-active {agent.UNIT}; systemctl is-enabled {agent.UNIT}") == (
        "active\nenabled"
    )
    assert peer.VIP in machine.read(agent.RESOLVE)
    assert peer.OTHER_ADDRESS in machine.read(f"getent ahostsv4 {peer.OTHER_NAME}")
    assert machine.read(agent.CALL).startswith("shop")
    assert machine.read("uname -r").startswith("6.1.")
    assert '"ebpf"' in machine.read("interceptor status --json")


def test_the_daemon_is_small(machine: Machine) -> None:
    rss = machine.read(f"ps -o rss=,args= -p $(systemctl show --value -p MainPID {agent.UNIT})")
    began, ready = (
        int(agent.prop(machine, name))
        for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    )
    print(f"resident: {rss} (KiB); from start to ready: {(ready - began) / 1e6:.1f} s")
    assert int(rss.split()[0]) < DAEMON_RSS_KIB


def test_purging_the_packages_leaves_the_host_as_it_was(machine: Machine) -> None:
    machine.run("apt-get purge -y interceptor interceptor-envoy")
    agent.check_untouched(machine)
    assert peer.NOT_THE_MESH in machine.read(agent.RESOLVE)
    assert machine.read("pgrep -x envoy || echo none") == "none"
    for path in ("/usr/bin/interceptor", "/run/interceptor", "/var/lib/interceptor"):
        machine.run(f"test ! -e {path}")
