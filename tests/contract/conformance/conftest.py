"""One lab a back end, on which every case of the list runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.lab.world import Lab
from tests.contract.conformance import world
from tests.contract.conformance.case import Results
from tests.contract.conformance.stage import Stage

RESOLVE = Path(__file__).parents[2] / "netns" / "dns" / "resolve.c"
RESULTS = pytest.StashKey[Results]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", metavar="FILE", help="write what passed, as JSON")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The result file: back end → case → whether it passed."""
    file = session.config.getoption("--matrix", None)
    if file:
        results = session.config.stash.get(RESULTS, {})
        Path(file).write_text(json.dumps(results, indent=1) + "\n")


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Results:
    return request.config.stash.setdefault(RESULTS, {})


@pytest.fixture(scope="session")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """getaddrinfo of musl, which asks A and AAAA at once from one unconnected socket."""
    program = tmp_path_factory.mktemp("musl") / "resolve"
    argv = ["musl-gcc", "-static", "-O2", "-Wall", "-o", str(program), str(RESOLVE)]
    subprocess.run(argv, check=True)
    return program


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, musl: Path) -> Iterator[Stage]:
    """The lab of the back end that is its parameter."""
    with Lab.open(world.describe()) as lab:
        opened = Stage(request.param, lab, musl)
        try:
            yield opened
        finally:
            opened.leave()
