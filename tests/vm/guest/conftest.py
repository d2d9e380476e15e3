"""A machine a test, as the snapshot has it: agent installed, running, warm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.guest import setup
from tests.vm.guest.machine import Machine
from tests.vm.guest.setup import Saved


@pytest.fixture(scope="session")
def saved() -> Saved:
    return setup.open_saved()


@pytest.fixture
def machine(saved: Saved) -> Iterator[Machine]:
    opened = saved.open()
    try:
        yield opened
        # Shown with a failure only.
        print(opened.run("journalctl -b --no-pager | tail -60", check=False).stdout)
    finally:
        opened.close()
