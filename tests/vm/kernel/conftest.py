"""Each Debian kernel is booted once; every test looks at a part of what its guest said."""

from __future__ import annotations

import pytest

from interceptor.host import bytecode
from interceptor.host.bytecode import Bytecode
from tests.vm.kernel import machine, scene
from tests.vm.kernel.machine import Guest, Kernel, Report


@pytest.fixture(scope="session")
def kernels() -> dict[str, Kernel]:
    return machine.read_kernels()


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    return Guest(tmp_path_factory.mktemp("guest"))


@pytest.fixture(scope="session")
def code() -> Bytecode:
    """What the package carries."""
    return bytecode.read()


@pytest.fixture(scope="session", params=scene.SUITES)
def report(
    request: pytest.FixtureRequest, kernels: dict[str, Kernel], guest: Guest, code: Bytecode
) -> Report:
    kernel = kernels[request.param]
    return guest.boot(kernel, scene.play(code, kernel.modules()))
