"""The agent in the machine, through systemd; and an application that asks for names all along."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tests.vm.guest import peer
from tests.vm.guest.machine import Machine

UNIT = "interceptor.service"
CONFIG = "/etc/interceptor/interceptor.yaml"
BEFORE = "/var/lib/bench/before"
"""All that capture may touch, as text, before the installation."""

RESOLVE = f"getent ahostsv4 {peer.MESH_NAME}"
CALL = f"curl -sf --max-time 20 http://{peer.MESH_NAME}:{peer.WEB_PORT}/"


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of the asker. ``at_s``: of the machine's monotonic clock."""

    at_s: float
    name: str
    answer: str


def prop(machine: Machine, name: str, unit: str = UNIT) -> str:
    """What `systemctl show` says of a unit."""
    return machine.read(f"systemctl show --value -p {name} {unit}")


def wait_ready(machine: Machine) -> None:
    """Until names are answered and calls get through the sidecar."""
    machine.wait_until(f"systemctl is-active {UNIT} && {RESOLVE} | grep -q {peer.VIP} && {CALL}")


def configure(machine: Machine, text: str) -> None:
    """Other settings beside the mesh's files; restarts the agent."""
    machine.write(CONFIG, f"mesh: {{files: [/etc/interceptor/mesh]}}\n{text}\n")
    # Emulated, Envoy may not be ready within the time that a start gives it: it is tried again.
    machine.run(f"systemctl stop {UNIT}; systemctl start --no-block {UNIT}")
    wait_ready(machine)


def check_untouched(machine: Machine) -> None:
    """The host is as it was before anything of ours was installed."""
    machine.run(f"host-look >/run/now; diff -u {BEFORE} /run/now")


def start_asking(machine: Machine) -> None:
    names = f"{peer.MESH_NAME} {peer.OTHER_NAME}"
    line = f"exec /usr/bin/python3 /usr/local/lib/asker.py {names} >{peer.ASKER_LOG}"
    machine.run(f"systemd-run --quiet --unit=asker sh -c {line!r}")
    machine.wait_until(f"test $(wc -l <{peer.ASKER_LOG}) -gt 10")


def stop_asking(machine: Machine) -> list[Asked]:
    """All that was asked since the start."""
    text = machine.read(f"systemctl stop asker; cat {peer.ASKER_LOG}")
    lines = [line.split() for line in text.splitlines()]
    return [Asked(float(line[0]), *line[1:]) for line in lines if len(line) == 3]


def silence_s(asked: list[Asked], name: str, answer: str) -> float:
    """The longest time without that answer for the name."""
    times = [each.at_s for each in asked if each.name == name and each.answer == answer]
    times = [asked[0].at_s, *times, asked[-1].at_s]
    return max(after - before for before, after in pairwise(times))


def other_answers(asked: list[Asked], name: str, answer: str) -> list[Asked]:
    """What was not answered so, silence included."""
    return [each for each in asked if each.name == name and each.answer != answer]
