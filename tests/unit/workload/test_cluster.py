"""A cluster asked through its API: the real client library, TLS, and an API server of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.errors import ConfigError, InterceptorError
from interceptor.workload import bearer, cluster
from interceptor.workload.cluster import Cluster, NotThere
from interceptor.workload.installation import Istio
from tests.unit.workload import kubeapi, packed
from tests.unit.workload.kubeapi import Api


@pytest.fixture
def api() -> Iterator[Api]:
    with kubeapi.serve() as one:
        kubeapi.fill(one)
        yield one


@pytest.fixture
def opened(api: Api, tmp_path: Path) -> Cluster:
    return cluster.open_cluster(api.kubeconfig(tmp_path))


def test_a_group_is_read_with_its_probe(opened: Cluster) -> None:
    found = opened.read_group("ratings", "vm")
    assert (found.labels, found.ports, found.service_account) == (
        {"app": "ratings"},
        {"http": 9080},
        "shop",
    )
    assert found.probe == {"tcpSocket": {"port": 9080}}


def test_an_older_istio_s_group_is_read_by_its_version(api: Api, opened: Cluster) -> None:
    api.versions = {"v1beta1"}
    assert opened.read_group("ratings", "vm").name == "ratings"


def test_a_group_that_is_not_there_is_told_with_those_that_are(opened: Cluster) -> None:
    with pytest.raises(ConfigError, match="vm/payments: one of: ratings"):
        opened.read_group("payments", "vm")


def test_mesh_root_and_cluster_id_are_read(opened: Cluster) -> None:
    assert opened.read_root("vm") == b"ROOT"
    mesh = opened.read_mesh(Istio())
    assert (mesh.trust_domain, mesh.proxy) == (
        "corp.example",
        {"meshId": "mesh1", "concurrency": 3},
    )
    assert opened.read_cluster_id(Istio()) == "east"
    assert opened.read_cluster_id(Istio(revision="canary")) == "Kubernetes"
    assert opened.read_mesh(Istio(revision="canary")).trust_domain == "cluster.local"


def test_a_token_is_asked_for_istiod_s_audience_and_lifetime(api: Api, opened: Cluster) -> None:
    claims = bearer.decode(opened.make_token("shop", "vm", 7200))
    assert (claims.namespace, claims.service_account) == ("vm", "shop")
    (body,) = (body for _, path, body in api.asked if path.endswith("/token"))
    assert body["spec"] == {"audiences": ["istio-ca"], "expirationSeconds": 7200}


def test_what_is_not_there_is_told_in_the_api_s_words(opened: Cluster) -> None:
    with pytest.raises(NotThere, match="ServiceAccount vm/nobody: serviceaccounts 'nobody' not"):
        opened.make_token("nobody", "vm", 3600)
    with pytest.raises(NotThere, match="ConfigMap other/istio-ca-root-cert"):
        opened.read_root("other")


@pytest.mark.parametrize(
    ("ingress", "external", "expected"),
    [
        ([{"ip": "203.0.113.7"}, {"ip": "fd00::7"}], (), ("203.0.113.7", "fd00::7")),
        ([{"hostname": "lb.example.com"}], (), ("lb.example.com",)),
        ([{"hostname": "lb.example.com", "ip": "203.0.113.7"}], (), ("203.0.113.7",)),
        ([], ("198.51.100.4",), ("198.51.100.4",)),
        ([], (), ()),
    ],
)
def test_the_way_in_is_an_address_or_a_name(
    api: Api,
    opened: Cluster,
    ingress: list[dict[str, str]],
    external: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    kubeapi.gateway(api, *ingress, external=external)
    assert opened.read_ingress("istio-eastwestgateway", "istio-system") == expected


def test_no_gateway_is_no_way_in(opened: Cluster) -> None:
    assert opened.read_ingress("other", "istio-system") == ()


def test_the_context_is_honoured_and_one_that_is_unknown_is_told(api: Api, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path)
    with pytest.raises(InterceptorError, match="does not answer"):
        cluster.open_cluster(path, "gone").read_root("vm")
    with pytest.raises(InterceptorError, match="--kubeconfig"):
        cluster.open_cluster(path, "nowhere")


def test_who_may_not_is_told_and_nothing_of_the_token(api: Api, tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match="401: Unauthorized") as refused:
        cluster.open_cluster(api.kubeconfig(tmp_path, "wrong")).read_root("vm")
    assert "wrong" not in str(refused.value)


def test_a_server_of_another_authority_is_not_believed(api: Api, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path)
    (tmp_path / "ca.pem").write_bytes(packed.root())
    with pytest.raises(InterceptorError, match="CERTIFICATE_VERIFY_FAILED"):
        cluster.open_cluster(path).read_root("vm")


def test_in_a_pod_the_pod_s_own_account_is_used(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes.config import incluster_config

    (tmp_path / "token").write_text(kubeapi.TOKEN)
    (tmp_path / "ca.crt").write_bytes(api.root)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert cluster.open_cluster().read_root("vm") == b"ROOT"


def test_documents_are_made_replaced_listed_and_removed(api: Api, opened: Cluster) -> None:
    def entry(address: str, **metadata: str) -> dict[str, object]:
        labels = {"app": "shop"}
        return {
            "kind": "WorkloadEntry",
            "metadata": {"name": "shop-vm", "namespace": "vm", "labels": labels, **metadata},
            "spec": {"address": address},
        }

    opened.apply("workloadentries", entry("10.0.0.1"))
    assert opened.read("workloadentries", "vm", "shop-vm")["spec"] == {"address": "10.0.0.1"}
    with pytest.raises(InterceptorError, match="409"):
        opened.apply("workloadentries", entry("10.0.0.2"))
    with pytest.raises(InterceptorError, match="has been modified"):
        opened.apply("workloadentries", entry("10.0.0.2", resourceVersion="0"))
    metadata = opened.read("workloadentries", "vm", "shop-vm")["metadata"]
    assert isinstance(metadata, dict)
    version = str(metadata["resourceVersion"])
    opened.apply("workloadentries", entry("10.0.0.2", resourceVersion=version))
    (listed,) = opened.list_entries("vm", "app=shop")
    assert listed["spec"] == {"address": "10.0.0.2"}
    assert opened.list_entries("vm", "app=other") == []
    opened.remove("workloadentries", "vm", "shop-vm")
    opened.remove("workloadentries", "vm", "shop-vm")
    assert not [path for path in api.objects if path.endswith("shop-vm")]
