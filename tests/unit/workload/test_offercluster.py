"""Services of VMs in a cluster: the client library against the tests' API server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor.errors import InterceptorError
from interceptor.workload import cluster, offercluster
from interceptor.workload.cluster import Cluster
from interceptor.workload.offer import Offered
from tests.unit.workload import kubeapi
from tests.unit.workload.kubeapi import Api
from tests.unit.workload.test_offer import SHOP
from tests.unit.workload.test_offerfile import VM2, quiet


@pytest.fixture
def api() -> Iterator[Api]:
    with kubeapi.serve() as one:
        yield one


@pytest.fixture
def store(api: Api, tmp_path: Path) -> Cluster:
    return cluster.open_cluster(api.kubeconfig(tmp_path))


def names(api: Api) -> list[str]:
    return sorted("/".join(path.split("/")[-2:]) for path in api.objects)


def test_a_service_is_applied_and_removed_again(api: Api, store: Cluster) -> None:
    offercluster.register(store, SHOP, quiet)
    assert names(api) == [
        "serviceentries/shop",
        "workloadentries/shop-vm1",
        "workloadentries/shop-vm1-2",
    ]
    offercluster.register(store, replace(SHOP, weight=9), quiet)
    offercluster.register(store, VM2, quiet)
    told: list[str] = []
    offercluster.deregister(store, "vm", "shop", "vm1", told.append)
    assert names(api) == ["serviceentries/shop", "workloadentries/shop-vm2"]
    offercluster.deregister(store, "vm", "shop", "vm2", quiet)
    assert names(api) == []
    with pytest.raises(InterceptorError, match="by nobody"):
        offercluster.deregister(store, "vm", "shop", "vm2", quiet)


def test_what_others_have_is_not_overwritten(api: Api, store: Cluster) -> None:
    offercluster.register(store, SHOP, quiet)
    with pytest.raises(InterceptorError, match="offered by vm1"):
        offercluster.register(store, replace(VM2, ports=(Offered("tcp", 1, 1),)), quiet)
    foreign = replace(SHOP, name="pay", host="pay.test", addresses=(ip_address("10.0.0.9"),))
    api.put(f"{kubeapi.ISTIO}/vm/serviceentries/pay", spec={"hosts": ["pay.test"]})
    with pytest.raises(InterceptorError, match="somebody else"):
        offercluster.register(store, foreign, quiet)
    del api.objects[f"{kubeapi.ISTIO}/vm/serviceentries/pay"]
    api.put(f"{kubeapi.ISTIO}/vm/workloadentries/pay-vm1", spec={"address": "10.0.0.8"})
    with pytest.raises(InterceptorError, match="was not registered by vm1"):
        offercluster.register(store, foreign, quiet)
    assert api.objects[f"{kubeapi.ISTIO}/vm/workloadentries/pay-vm1"]["spec"] == {
        "address": "10.0.0.8"
    }
