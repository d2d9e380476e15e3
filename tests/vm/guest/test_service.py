"""What systemd does to the agent: stop, kill, hang, upgrade. (test_join has the reboot.)"""

from __future__ import annotations

import pytest

from tests.vm.guest import agent, bench, peer
from tests.vm.guest.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

HANG_LIMIT_S = 5  # design.md §7

LIVE = f"""\
import socket, time
one = socket.create_connection(("{peer.VIP}", {peer.LINE_PORT}), 60)
one.settimeout(60)
lines = one.makefile("rwb")
while True:
    lines.write(b"%d\\n" % time.monotonic_ns())
    lines.flush()
    if not lines.readline():
        raise SystemExit("closed")
    time.sleep(0.2)
"""


def start_living(machine: Machine) -> None:
    """A connection through the sidecar that says something all along, and must not end."""
    machine.write("/run/live.py", LIVE)
    machine.run("systemd-run --quiet --unit=live /usr/bin/python3 /run/live.py")


def check_alive(machine: Machine) -> None:
    machine.run("sleep 2; systemctl is-active live || { journalctl -u live; exit 1; }")


def test_a_stop_puts_the_host_back_and_a_start_captures_again(machine: Machine) -> None:
    machine.run(f"systemctl stop {agent.UNIT}")
    agent.check_untouched(machine)
    assert peer.NOT_THE_MESH in machine.read(agent.RESOLVE)
    machine.run(f"systemctl start {agent.UNIT}")
    agent.wait_ready(machine)


def test_a_killed_daemon_comes_back_and_nobody_notices(machine: Machine) -> None:
    first = agent.prop(machine, "MainPID")
    start_living(machine)
    agent.start_asking(machine)
    machine.run(f"kill -9 {first}")
    machine.wait_until(f"test $(systemctl show --value -p NRestarts {agent.UNIT}) -ge 1")
    agent.wait_ready(machine)
    asked = agent.stop_asking(machine)
    assert agent.prop(machine, "MainPID") != first
    assert agent.other_answers(asked, peer.OTHER_NAME, peer.OTHER_ADDRESS) == []
    assert agent.other_answers(asked, peer.MESH_NAME, peer.VIP) == []
    check_alive(machine)


def test_names_resolve_again_soon_after_every_process_of_the_agent_hangs(machine: Machine) -> None:
    """With the back end that asks a process of ours for every name."""
    agent.configure(machine, "capture: {backend: nftables}")
    agent.start_asking(machine)
    first = agent.prop(machine, "MainPID")
    machine.run(
        f"kill -STOP {first} $(pgrep -P {first} | xargs -r ps -o pid=,comm= -p |"
        " awk '$2 != \"envoy\" {print $1}')"
    )
    machine.wait_until(f"test $(systemctl show --value -p NRestarts {agent.UNIT}) -ge 1")
    agent.wait_ready(machine)
    asked = agent.stop_asking(machine)
    silence = agent.silence_s(asked, peer.OTHER_NAME, peer.OTHER_ADDRESS)
    wrong = {each.answer for each in asked} - {peer.OTHER_ADDRESS, peer.VIP, peer.NOT_THE_MESH}
    print(f"longest silence for a name of others {silence:.1f} s")
    assert silence < HANG_LIMIT_S * machine.slowness
    assert wrong <= {"TimeoutError"}


def test_an_upgrade_loses_no_connection_and_no_query(machine: Machine) -> None:
    start_living(machine)
    agent.start_asking(machine)
    envoy = machine.read("pgrep -x envoy")
    machine.run(f"apt-get install -y {bench.MOUNT}/packages/next/interceptor_*.deb", timeout_s=600)
    agent.wait_ready(machine)
    asked = agent.stop_asking(machine)
    assert bench.NEXT_VERSION in machine.read("interceptor --version")
    assert machine.read("pgrep -x envoy") == envoy
    check_alive(machine)
    assert agent.other_answers(asked, peer.OTHER_NAME, peer.OTHER_ADDRESS) == []
    assert agent.other_answers(asked, peer.MESH_NAME, peer.VIP) == []
