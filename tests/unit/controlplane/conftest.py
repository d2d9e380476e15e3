"""A folder of a mesh, a control plane on it, and independent clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.plane import Plane, running
from tests.unit.controlplane.client import Client

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %(name)s, namespace: bookinfo}
spec:
  hosts: [%(name)s.mesh.internal]
  addresses: [%(vip)s]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: %(endpoint)s}]
"""


def entry(name: str, vip: str = "240.240.0.1", endpoint: str = "10.77.0.61") -> str:
    return ENTRY % {"name": name, "vip": vip, "endpoint": endpoint}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mesh"
    made.mkdir()
    (made / "one.yaml").write_text(entry("one"))
    return made


@pytest.fixture
def plane(folder: Path) -> Iterator[Plane]:
    with running(folder, tls=True, grace_s=0.3) as made:
        yield made


@pytest.fixture
def connect(plane: Plane) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def open_client(*arguments: Any, **more: Any) -> Client:
        made.append(Client(plane, *arguments, **more))
        return made[-1]

    yield open_client
    for client in made:
        client.close()
