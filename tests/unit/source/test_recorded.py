"""A real istiod's name table, recorded by tests/interop, in both forms of xDS."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from interceptor.source import nds

RECORDED = Path(__file__).parents[2] / "data/istiod"


def name_table(form: str) -> bytes:
    tree = json.loads((RECORDED / f"{form}.json").read_text())
    messages = {each["type"]: base64.b64decode(each["message"]) for each in tree["answers"]}
    message = messages["istio.networking.nds.v1.NameTable"]
    if form == "delta":
        return discovery_pb2.DeltaDiscoveryResponse.FromString(message).resources[0].resource.value
    return discovery_pb2.DiscoveryResponse.FromString(message).resources[0].value


@pytest.mark.parametrize("form", ["sotw", "delta"])
def test_a_real_name_table_is_read_with_all_its_hosts(form: str) -> None:
    table = nds.Register().parse(name_table(form))
    found = {name: [str(each) for each in host.addresses] for name, host in table.hosts.items()}
    assert found == {
        "kubernetes.default.svc.cluster.local": ["10.96.0.1"],
        "ratings.bookinfo.svc.cluster.local": ["10.96.3.8"],
        "mysql.vm.example": ["240.240.9.9"],
        "reviews.bookinfo.example": ["240.240.3.7"],
        # Without an address in its document: of istiod's own range.
        "auto.bookinfo.example": ["240.240.0.1"],
    }
    assert table.hosts["ratings.bookinfo.svc.cluster.local"].is_kubernetes
    assert not table.hosts["mysql.vm.example"].is_kubernetes
    assert not table.warnings
