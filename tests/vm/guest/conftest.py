"""A machine a test, as the snapshot has it: agent installed, running, warm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.guest import setup
from tests.vm.guest.machine import Machine
from tests.vm.guest.setup import Saved

LONGEST = ("test_join", "test_service", "test_backend")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, lest one of them is left to run alone."""
    last = len(LONGEST)
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, last))


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
