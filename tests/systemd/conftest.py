"""Machines with real systemd. The trees they boot from are built once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.systemd import layer
from tests.systemd.machine import UNIT, Image, Machine

WANTED = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"


@pytest.fixture(scope="session")
def image() -> Image:
    """The packages are installed, nothing of them is enabled, and resolv.conf is a plain file."""
    plain = Image(layer.open_lower()).masked("systemd-resolved.service")
    return plain.hidden(WANTED)


@pytest.fixture
def boot() -> Iterator[Callable[[Image], Machine]]:
    """A maker of machines, all of which are gone after the test."""
    machines: list[Machine] = []

    def open_machine(image: Image) -> Machine:
        machines.append(Machine.open(image))
        return machines[-1]

    yield open_machine
    for machine in machines:
        machine.close()
