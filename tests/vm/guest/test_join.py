"""`interceptor join` on a virtual machine: a bundle, one command, a name that works; and back."""

from __future__ import annotations

import pytest

from interceptor.workload import bundle
from interceptor.workload.bundle import Plane, Wish
from interceptor.workload.group import Group
from tests.vm.guest import agent, peer
from tests.vm.guest.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

FILES = """
find /etc /var/lib/interceptor /lib/systemd /var/log/interceptor \\
    \\( -type f -printf '%p %m %U:%G %s %T@\\n' -o -type l -printf '%p %l\\n' \\
    -o -printf '%p %m %U:%G\\n' \\) 2>/dev/null | sort
find /etc -type f -exec sha256sum {} + | sort
"""


def place_bundle(machine: Machine) -> None:
    """In /root/vm, for a site without istiod: the peer's service stands in its documents."""
    plane = Plane(b"", "", documents={"shop.yaml": peer.MESH.encode()})
    group = Group("member", "default", labels={"app": "member"})
    for name, data in bundle.build(group, plane, Wish()).items():
        machine.write(f"/root/vm/{name}", data.decode())


def test_join_makes_names_work_over_a_reboot_and_leave_restores_the_machine(
    machine: Machine,
) -> None:
    """After a reboot the first application is captured; and what leave needs is on the disk."""
    place_bundle(machine)
    machine.run(f"systemctl disable --now {agent.UNIT}; rm -f /etc/interceptor/mesh/*")
    machine.run(f"rm -rf /var/lib/interceptor /var/log/interceptor {peer.FIRST_ANSWER}")
    before = machine.read(FILES)
    agent.check_untouched(machine)
    assert peer.NOT_THE_MESH in machine.read(agent.RESOLVE)

    said = machine.read("interceptor join /root/vm --yes --timeout 600", timeout_s=900)
    print(said)
    assert "this host is" in said
    assert peer.VIP in machine.read(agent.RESOLVE)
    assert machine.read(agent.CALL).startswith("shop")
    assert machine.read(f"systemctl is-enabled {agent.UNIT}") == "enabled"

    machine.reboot()
    machine.wait_until("systemctl is-active first")
    assert peer.VIP in machine.read(f"cat {peer.FIRST_ANSWER}")
    ready = int(agent.prop(machine, "ActiveEnterTimestampMonotonic"))
    first = int(agent.prop(machine, "ExecMainStartTimestampMonotonic", "first"))
    print(f"ready {ready / 1e6:.1f} s after the kernel, the first application {first / 1e6:.1f} s")
    assert ready < first
    agent.wait_ready(machine)

    print(machine.read("interceptor leave", timeout_s=600))
    assert machine.read(FILES) == before
    agent.check_untouched(machine)
    assert peer.NOT_THE_MESH in machine.read(agent.RESOLVE)
