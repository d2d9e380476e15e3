"""What exportTo keeps from this VM is found by its name, and what it shows is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.config import Mesh, Node
from interceptor.source import hidden

DOCUMENTS = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: store}
spec:
  hosts: [db.example]
  exportTo: ["."]
  ports: [{number: 3306, name: tcp, protocol: TCP}]
  resolution: NONE
---
apiVersion: v1
kind: Service
metadata:
  name: cart
  namespace: store
  annotations: {networking.istio.io/exportTo: "."}
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: open, namespace: store}
spec: {clusterIP: 10.96.0.8, ports: [{name: http, port: 80}]}
"""


@pytest.mark.parametrize(
    ("name", "viewer", "found"),
    [
        ("db.example", "vm", ("store",)),
        ("db.example", "store", ()),
        ("cart.store.svc.cluster.local", "vm", ("store",)),
        ("cart.store", "vm", ("store",)),
        ("open.store", "vm", ()),
        ("nobody.example", "vm", ()),
    ],
)
def test_a_hidden_host_is_found_in_its_namespace(
    tmp_path: Path, name: str, viewer: str, found: tuple[str, ...]
) -> None:
    (tmp_path / "a.yaml").write_text(DOCUMENTS)
    (tmp_path / "broken.yaml").write_text("kind: [")
    assert hidden.observe(Mesh(files=(tmp_path,)), Node(namespace=viewer), name) == found


SIDECAR = """\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: vm}
spec: {egress: [{hosts: ["./*", store/cart.store.svc.cluster.local]}]}
"""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("open.store", "store/open.store.svc.cluster.local"),
        ("open.store.svc.cluster.local", "store/open.store.svc.cluster.local"),
        ("cart.store", ""),  # by exportTo, which `observe` tells
        ("db.example", ""),
        ("nobody.example", ""),
    ],
)
def test_a_host_that_a_sidecar_leaves_out_is_told_with_what_would_show_it(
    tmp_path: Path, name: str, wanted: str
) -> None:
    (tmp_path / "a.yaml").write_text(DOCUMENTS)
    (tmp_path / "b.yaml").write_text(SIDECAR)
    found = hidden.observe_sidecar(Mesh(files=(tmp_path,)), Node(namespace="vm"), name)
    assert (found.wanted if found else "") == wanted
    if found is not None:
        assert found.sidecar == "Sidecar vm/default (b.yaml)"
        assert found.cure == f"add {wanted} to the egress hosts of Sidecar vm/default"
    assert hidden.observe_sidecar(Mesh(files=(tmp_path,)), Node(namespace="shop"), name) is None
