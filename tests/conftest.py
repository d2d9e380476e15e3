"""What all tests share: labs, and the rule that what cannot run fails instead of being skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from interceptor.lab import agent
from interceptor.lab.agent import Agent
from interceptor.lab.world import Lab

BACKENDS = ("iptables", "nftables")


@pytest.fixture(autouse=True)
def _root_where_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        pytest.fail("needs root, for network namespaces: run `sudo scripts/test`")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The demo's lab for one test, everything of it removed afterwards."""
    with Lab.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def module_lab() -> Iterator[Lab]:
    """The demo's lab for all tests of a file, which must not leave it changed."""
    with Lab.open() as opened:
        yield opened


@pytest.fixture(scope="module", params=BACKENDS)
def member(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """The demo's lab with a running agent on `vm`; tests leave its mesh as they found it."""
    with Lab.open() as opened:
        one = agent.prepare(opened, "vm", {"capture": {"backend": request.param}})
        one.start()
        yield one
        one.stop()
