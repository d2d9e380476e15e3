"""What a bundle is made of, asked of a cluster or given; and orders that make no sense."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from interceptor.errors import ConfigError
from interceptor.workload import group, order
from interceptor.workload.order import Order
from tests.unit.workload import kubeapi, packed

EMPTY: dict[type | str, Any] = {"str": "", "bool": False, "int": 3600, "Path": Path("out")}


def blank(**given: Any) -> Order:
    """As without options."""
    values = {field.name: EMPTY.get(str(field.type)) for field in fields(Order)}
    return Order(**{**values, "ingress_service": "istio-eastwestgateway", **given})


@pytest.fixture
def offline(tmp_path: Path) -> Order:
    (tmp_path / "group.yaml").write_text(group.render(packed.GROUP))
    (tmp_path / "root.pem").write_bytes(b"ROOT")
    (tmp_path / "token").write_text("TOKEN\n")
    return blank(
        file=tmp_path / "group.yaml",
        root_cert=tmp_path / "root.pem",
        token_file=tmp_path / "token",
        discovery_address="istiod.x.svc:15012",
        ingress_ip="203.0.113.9",
    )


def test_what_is_given_is_taken(offline: Order, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("trustDomain: corp\ndefaultConfig: {meshId: m}\n")
    found, plane = order.observe(replace(offline, mesh_config=tmp_path / "mesh.yaml"))
    assert found == packed.GROUP
    assert (plane.root, plane.token.strip(), plane.trust_domain) == (b"ROOT", "TOKEN", "corp")
    assert (plane.discovery, plane.ingress) == ("istiod.x.svc:15012", ("203.0.113.9",))


def test_a_site_s_documents_go_with_it(offline: Order, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/shop.yaml").write_bytes(packed.SHOP)
    (tmp_path / "docs/notes.txt").write_text("no document")
    site = replace(offline, documents=tmp_path / "docs", discovery_address="")
    _, plane = order.observe(site)
    assert plane.documents == {"shop.yaml": packed.SHOP}
    assert plane.discovery == ""


def test_a_cluster_is_asked_for_everything(tmp_path: Path) -> None:
    with kubeapi.serve() as api:
        kubeapi.fill(api)
        wish = blank(
            name="ratings",
            namespace="vm",
            istio_namespace="istio-system",
            kubeconfig=api.kubeconfig(tmp_path),
        )
        found, plane = order.observe(wish)
    assert found.name == "ratings"
    assert plane.root == b"ROOT"
    assert (plane.cluster, plane.trust_domain) == ("east", "corp.example")
    assert (plane.discovery, plane.ingress) == ("istiod.istio-system.svc:15012", ("203.0.113.7",))
    assert plane.authority == ""


def test_another_revision_has_its_own_istiod_and_authority(tmp_path: Path) -> None:
    with kubeapi.serve() as api:
        kubeapi.fill(api)
        wish = blank(
            name="ratings",
            namespace="vm",
            istio_namespace="istio-system",
            revision="canary",
            kubeconfig=api.kubeconfig(tmp_path),
        )
        _, plane = order.observe(wish)
    assert plane.discovery == "istiod-canary.istio-system.svc:15012"
    assert plane.authority == plane.discovery


def test_every_option_that_is_wrong_or_missing_is_told_at_once() -> None:
    wish = blank(token="x", internal_ip="10.0.0.1", external_ip="somewhere", authority="ca:1")
    with pytest.raises(ConfigError) as refused:
        order.observe(wish)
    keys = [problem.key for problem in refused.value.problems]
    assert keys == [
        *("--internalIP", "--externalIP", "--file", "--file", "--root-cert"),
        "--discovery-address",
    ]
