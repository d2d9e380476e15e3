"""The tests' control plane against a client of gRPC's own stubs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from tests.controlplane import schema, urls
from tests.controlplane.plane import Plane, running
from tests.unit.controlplane.client import NODE, Client
from tests.unit.controlplane.conftest import entry

Connect = Callable[..., Client]


def names(answer: Any) -> dict[str, list[str]]:
    """The name table of an answer of either form."""
    assert answer.type_url == urls.NAMES
    (item,) = answer.resources
    value = item.resource.value if hasattr(item, "resource") else item.value
    table = schema.NameTable.FromString(value).table
    return {host: list(info.ips) for host, info in table.items()}


@pytest.mark.parametrize("form", ["delta", "sotw"])
def test_a_name_table_is_one_resource_and_a_change_is_the_whole_table(
    connect: Connect, plane: Plane, folder: Path, form: str
) -> None:
    client = connect(form)
    client.ask(urls.NAMES)
    assert names(client.take()) == {"one.mesh.internal": ["240.240.0.1"]}
    plane.record.wait("ack", type="nds")
    (folder / "two.yaml").write_text(entry("two", "240.240.0.2"))
    assert names(client.take()).keys() == {"one.mesh.internal", "two.mesh.internal"}


def test_names_of_a_file_stand_beside_the_documents(connect: Connect, folder: Path) -> None:
    client = connect()
    client.ask(urls.NAMES)
    client.take()
    (folder / "names.json").write_text('{"plain.test": ["192.0.2.1", "2001:db8::1"]}')
    assert names(client.take())["plain.test"] == ["192.0.2.1", "2001:db8::1"]


def test_delta_sends_what_changed_and_names_what_is_gone(connect: Connect, folder: Path) -> None:
    client = connect()
    client.ask(urls.CLUSTER)
    have = {item.name for item in client.take().resources}
    assert {"outbound|80||one.mesh.internal", "PassthroughCluster"} <= have
    (folder / "two.yaml").write_text(entry("two", "240.240.0.2"))
    assert [item.name for item in client.take().resources] == ["outbound|80||two.mesh.internal"]
    (folder / "two.yaml").unlink()
    answer = client.take()
    assert list(answer.removed_resources) == ["outbound|80||two.mesh.internal"]
    assert not answer.resources


def test_sotw_sends_all_clusters_and_only_the_endpoints_asked_for(
    connect: Connect, plane: Plane, folder: Path
) -> None:
    (folder / "two.yaml").write_text(entry("two", "240.240.0.2"))
    plane.look()
    client = connect("sotw")
    client.ask(urls.CLUSTER)
    assert len(client.take().resources) == 5
    cluster = "outbound|80||two.mesh.internal"
    client.ask(urls.ENDPOINT, cluster)
    assert len(client.take(cluster).resources) == 1
    (folder / "two.yaml").write_text(entry("two", "240.240.0.2", "10.77.0.62"))
    answer = client.take(cluster)
    assert answer.type_url == urls.ENDPOINT, "clusters are as they were"
    assert b"10.77.0.62" in answer.resources[0].value


def test_delta_subscribes_to_one_more_and_is_told_what_there_is_not(connect: Connect) -> None:
    client = connect()
    client.ask(urls.ENDPOINT, "outbound|80||one.mesh.internal")
    assert len(client.take().resources) == 1
    client.ask(urls.ENDPOINT, "nobody")
    answer = client.take()
    assert (len(answer.resources), list(answer.removed_resources)) == (0, ["nobody"])


def test_who_comes_back_is_sent_what_it_does_not_have(connect: Connect) -> None:
    first = connect()
    first.ask(urls.CLUSTER)
    held = {item.name: item.version for item in first.take().resources}
    first.close()
    second = connect()
    second.ask(urls.CLUSTER, initial_resource_versions={**held, "gone": "1"})
    answer = second.take()
    assert not answer.resources
    assert list(answer.removed_resources) == ["gone"]


def test_a_refusal_is_recorded_and_not_answered_and_a_stale_nonce_is_ignored(
    connect: Connect, plane: Plane, folder: Path
) -> None:
    client = connect("sotw")
    client.ask(urls.CLUSTER)
    answer = client.receive()
    client.ask(urls.CLUSTER, response_nonce="of yesterday", version_info="v0")
    plane.record.wait("stale", type="cds", nonce="of yesterday")
    error = status_pb2.Status(code=13, message="no such thing")
    client.ask(urls.CLUSTER, response_nonce=answer.nonce, error_detail=error)
    assert plane.record.wait("nack", type="cds")["error"] == "no such thing"
    (folder / "two.yaml").write_text(entry("two", "240.240.0.2"))
    assert len(client.take().resources) == len(answer.resources) + 1


def test_a_wrong_document_changes_nothing(connect: Connect, plane: Plane, folder: Path) -> None:
    client = connect()
    client.ask(urls.NAMES)
    client.take()
    (folder / "wrong.yaml").write_text("kind: ServiceEntry\nspec: {hosts: 7}\n")
    plane.record.wait("folder-refused")
    (folder / "wrong.yaml").write_text(entry("two", "240.240.0.2"))
    assert "two.mesh.internal" in names(client.take())


BAD_NODES: list[tuple[dict[str, Any] | None, str]] = [
    (None, "missing node information"),
    ({"id": "sidecar~10.0.0.1~vm.ns"}, "missing parts"),
    ({"id": "toaster~10.0.0.1~vm.ns~ns.svc.cluster.local"}, "invalid node type"),
    ({**NODE, "metadata": {"DNS_CAPTURE": True}}, "is a boolean"),
]


@pytest.mark.parametrize(("node", "reason"), BAD_NODES)
def test_a_node_that_istiod_would_refuse_is_refused(
    connect: Connect, node: dict[str, Any] | None, reason: str
) -> None:
    client = connect()
    client.ask(urls.NAMES, node=node)
    code, message = client.refused()
    assert code == "INVALID_ARGUMENT"
    assert reason in message


@pytest.mark.parametrize("ttl_s", [None, -10])
def test_over_tls_nobody_gets_in_without_a_valid_token(
    connect: Connect, plane: Plane, ttl_s: float | None
) -> None:
    token = "" if ttl_s is None else plane.authority.token(ttl_s=ttl_s)
    client = connect(token=token)
    client.ask(urls.NAMES)
    assert client.refused()[0] == "UNAUTHENTICATED"
    (line,) = plane.record.lines("stream")
    assert line["refused"]


def test_a_client_certificate_is_identity_enough(plane: Plane) -> None:
    pair = plane.authority.issue((plane.authority.spiffe("bookinfo", "reviews"),))
    credentials = grpc.ssl_channel_credentials(plane.authority.root_pem, pair.key, pair.certificate)
    with grpc.secure_channel(plane.address, credentials) as channel:
        grpc.channel_ready_future(channel).result(20)
        call = channel.stream_stream(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        )(iter(()))
        assert list(call) == []
    line = plane.record.wait("stream")
    assert (line["who"], line["by"]) == (("bookinfo", "reviews"), "certificate")


def test_plain_text_asks_nobody_for_a_name(folder: Path) -> None:
    with running(folder) as plane:
        client = Client(plane, token="")
        client.ask(urls.NAMES)
        assert "one.mesh.internal" in names(client.take())
        client.close()


def test_started_again_it_is_the_same_control_plane(folder: Path) -> None:
    (folder / "auto.yaml").write_text(entry("auto").replace("addresses: [240.240.0.1]", ""))
    seen = []
    for _ in range(2):
        with running(folder, tls=True) as plane:
            client = Client(plane)
            client.ask(urls.NAMES)
            seen.append((plane.authority.root_pem, names(client.take())))
            client.close()
    assert seen[0] == seen[1]
