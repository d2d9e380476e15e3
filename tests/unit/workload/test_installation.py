"""What a cluster's documents say, and what none of them should."""

from __future__ import annotations

import pytest

from interceptor.errors import ConfigError
from interceptor.workload import installation
from interceptor.workload.installation import Istio


def test_a_revision_has_names_of_its_own() -> None:
    assert Istio().host == "istiod.istio-system.svc"
    assert Istio(revision="default").host == "istiod.istio-system.svc"
    assert Istio("mesh", "canary").host == "istiod-canary.mesh.svc"


def test_an_empty_mesh_has_the_usual_trust_domain() -> None:
    assert installation.parse_mesh("", "x").trust_domain == "cluster.local"


@pytest.mark.parametrize("text", ["[", "[]", "defaultConfig: 3"])
def test_what_is_no_mesh_configuration_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="x: "):
        installation.parse_mesh(text, "x")


def test_a_service_without_status_has_no_way_in() -> None:
    assert installation.choose_ingress({"spec": {}}) == ()
    assert installation.choose_ingress({"status": {"loadBalancer": {"ingress": None}}}) == ()
