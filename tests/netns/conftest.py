"""What root tests share: a world of namespaces, a cgroup."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.netns.world import World


@pytest.fixture(scope="module")
def world(namespaces: Callable[[str], Any]) -> Iterator[World]:
    """A VM, its peer and a container, for the tests of one file."""
    opened = World(namespaces)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def cgroup() -> Iterator[str]:
    """A cgroup2 of our own; its path in the file system."""
    from interceptor.host import probe

    path = f"{probe.cgroup_mount()}/itest-{os.getpid()}"
    os.mkdir(path)
    yield path
    os.rmdir(path)
