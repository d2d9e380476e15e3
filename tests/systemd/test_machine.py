"""The machine itself: it is up when it says so, it is alone, and nothing of it stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from interceptor.host import command
from interceptor.lab import removal
from interceptor.lab.removal import LabFailed
from tests.systemd.machine import Image, Machine

pytestmark = [pytest.mark.root, pytest.mark.slow]

HIERARCHIES = (
    Path("/sys/fs/cgroup/systemd"),
    Path("/sys/fs/cgroup/unified"),
    Path("/sys/fs/cgroup"),
)


def traces(token: str) -> list[str]:
    """What on this machine bears the name of a lab."""
    found = command.run(["ip", "netns", "list"]).stdout.splitlines()
    found += Path("/proc/self/mounts").read_text().splitlines()
    found += [str(path) for top in HIERARCHIES if top.exists() for path in top.iterdir()]
    found += command.run(["ps", "-eo", "args"]).stdout.splitlines()
    found += [str(path) for path in removal.FOLDER.glob("*")]
    return [line for line in found if token in line]


@pytest.fixture
def machine(image: Image) -> Iterator[Machine]:
    with Machine.open(image) as opened:
        yield opened


def test_everything_of_a_machine_is_gone_once_it_is_closed(machine: Machine) -> None:
    token = machine.lab.token
    assert traces(token), "a look that finds nothing of a running machine is none"
    machine.close()
    assert traces(token) == []


def test_a_machine_that_does_not_boot_is_told_and_removed(image: Image) -> None:
    broken = replace(image, links={**image.links, "/usr/lib/systemd/systemd": "/bin/false"})
    with pytest.raises(LabFailed, match="did not come up"):
        Machine.open(broken)
    ours = [lab.token for lab in removal.list_labs() if lab.owner == os.getpid()]
    assert ours == []


def test_systemd_is_up_and_what_it_does_stays_in_the_machine(machine: Machine) -> None:
    assert machine.sh("systemctl is-system-running", check=False).strip() == "running"
    machine.write("/etc/written", "here\n")
    assert machine.sh("cat /etc/written") == "here\n"
    assert not Path("/etc/written").exists()
    machine.sh("nft add table inet here")
    assert "here" not in command.run(["nft", "list", "tables"]).stdout
    assert machine.sh("cat /proc/self/cgroup | grep ^0::").strip() == "0::/itest"
