"""The files that are written: legal for us, in form for Istio, and honest in their comments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor import assembly, config
from interceptor.debug import draft, manifest
from interceptor.debug.draft import Wish
from interceptor.debug.observed import Call, Listening, Observation, Visit
from interceptor.mesh.model import AppProtocol, Host
from interceptor.mesh.table import MeshTable

WISH = Wish(namespace="shop", app="till")
SEEN = Observation(
    host="till-7.corp.example",
    addresses=("10.0.0.5", "2001:db8::5"),
    seconds=60,
    calls=(
        Call("198.51.100.7", 443, "tcp", "pay.example", "dns", "tls", 3, 3, owners=(("till", 3),)),
        Call("198.51.100.8", 80, "tcp", "pay.example", "dns", "http", 1, 1),
        Call("198.51.100.9", 3306, "tcp", "db.pay.example", "dns", "mysql", 2, 2, 1),
        Call("10.0.0.9", 5432, "tcp", "ledger", "hosts", "postgres", 1, 1),
        Call("203.0.113.4", 9000, count=1),
        Call("9.9.9.9", 853, count=1),
        Call("198.51.100.10", 443, "tcp", "a.cdn.example.com", "dns", "tls", 1, 0),
        Call("198.51.100.11", 443, "tcp", "b.cdn.example.com", "dns", "tls", 1, 1),
    ),
    listening=(Listening(8080, addresses=("0.0.0.0",), owner="till.service (java)"),),
    visits=(Visit(8080, "10.0.0.77", protocol="http", count=5),),
)


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def load(folder: Path, found: Observation, wish: Wish = WISH) -> tuple[MeshTable, config.Config]:
    """The written files, read by our own parsers."""
    drafted = draft.build(found, wish)
    files = [str(folder / name) for name in ("serviceentries.yaml", "workloadgroup.yaml")]
    (folder / "serviceentries.yaml").write_text(manifest.entries(drafted, found, wish))
    (folder / "workloadgroup.yaml").write_text(manifest.workload(drafted, found, wish))
    text = manifest.settings(drafted, found, wish, files)
    flags = {"mesh.state_dir": str(folder / "state"), "dns.search": []}
    settings = config.parse(text, "config.yaml", flags=flags)
    return assembly.load_table(settings), settings


def host(table: MeshTable, name: str) -> Host:
    return table.hosts[name]


def test_what_is_written_is_what_the_mesh_then_knows(tmp_path: Path) -> None:
    table, settings = load(tmp_path, SEEN)
    assert table.warnings == ()
    pay = host(table, "pay.example")
    assert [(port.number, port.protocol) for port in pay.ports] == [
        (80, AppProtocol.HTTP),
        (443, AppProtocol.TLS),
    ]
    assert pay.virtual
    assert pay.namespace == "shop"
    assert host(table, "db.pay.example").ports[0].protocol is AppProtocol.TCP
    assert settings.node.labels == {"app": "till"}
    assert settings.node.name == "till-7"
    assert settings.capture.inbound.ports == (8080,)


def test_a_name_of_etc_hosts_is_captured_by_its_address(tmp_path: Path) -> None:
    ledger = host(load(tmp_path, SEEN)[0], "ledger")
    assert [str(address) for address in ledger.addresses] == ["10.0.0.9"]
    assert [str(endpoint.address) for endpoint in ledger.endpoints] == ["10.0.0.9"]


def test_this_vm_is_an_endpoint_of_what_it_serves(tmp_path: Path) -> None:
    table, _ = load(tmp_path, SEEN)
    served = host(table, "till.shop.svc.cluster.local")
    assert [str(endpoint.address) for endpoint in served.endpoints] == ["10.0.0.5"]
    assert served.ports[0].protocol is AppProtocol.HTTP
    (group,) = table.groups
    assert (group.name, group.namespace, group.ports) == ("till", "shop", (("http-8080", 8080),))


def test_addresses_without_a_name_are_captured_and_resolvers_by_tls_are_not(
    tmp_path: Path,
) -> None:
    outbound = load(tmp_path, SEEN)[1].capture.outbound
    assert [str(network) for network in outbound.cidrs] == ["203.0.113.4/32"]
    assert [str(network) for network in outbound.exclude_cidrs] == ["9.9.9.9/32"]


def test_the_form_is_istios() -> None:
    """Keys and words of Istio's own types, beyond what we ask for ourselves."""
    drafted = draft.build(SEEN, WISH)
    found = documents(manifest.entries(drafted, SEEN, WISH))
    assert len(found) == 5
    for document in found:
        assert document["apiVersion"] == "networking.istio.io/v1"
        assert document["kind"] == "ServiceEntry"
        assert document["metadata"].keys() == {"name", "namespace"}
        spec = document["spec"]
        assert spec.keys() <= {
            *("hosts", "addresses", "ports", "location", "resolution", "endpoints", "exportTo"),
        }
        assert spec["resolution"] in ("DNS", "STATIC")
        for port in spec["ports"]:
            assert port.keys() == {"number", "name", "protocol"}
            assert port["protocol"] in ("HTTP", "HTTPS", "GRPC", "TLS", "TCP")
    kinds = [document["kind"] for document in documents(manifest.workload(drafted, SEEN, WISH))]
    assert kinds == ["WorkloadGroup", "WorkloadEntry", "ServiceEntry"]


def test_a_wildcard_is_offered_and_not_chosen() -> None:
    drafted = draft.build(SEEN, WISH)
    text = manifest.entries(drafted, SEEN, WISH)
    assert not any("*" in str(document["spec"]["hosts"]) for document in documents(text))
    offered = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    start = offered.index("apiVersion: networking.istio.io/v1")
    wildcard = yaml.safe_load("\n".join(offered[start:]))
    assert wildcard["spec"]["hosts"] == ["*.cdn.example.com"]
    assert wildcard["spec"]["resolution"] == "NONE"


def test_no_two_documents_of_a_kind_bear_one_name() -> None:
    """The one that is applied later would replace the other."""
    call = Call("198.51.100.7", 80, "tcp", "till-served", "dns", "http", 1, 1)
    found = replace(SEEN, calls=(*SEEN.calls, call))
    drafted = draft.build(found, WISH)
    texts = manifest.entries(drafted, found, WISH), manifest.workload(drafted, found, WISH)
    names = [(one["kind"], one["metadata"]["name"]) for text in texts for one in documents(text)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("address", ["fd77::", "fd77::10", "10.0.0.5"])
def test_the_workloads_name_is_legal_whatever_its_address(tmp_path: Path, address: str) -> None:
    found = replace(SEEN, addresses=(address,))
    assert load(tmp_path, found)[0].warnings == ()


def test_of_what_bears_no_name_there_is_no_wildcard() -> None:
    calls = tuple(
        Call("198.51.100.7", port, "tcp", f"{host}.db.example", "dns", spoken, 1, 1)
        for host, port, spoken in (("a", 3306, "mysql"), ("b", 3306, "mysql"))
    )
    found = Observation(calls=calls)
    assert "*" not in manifest.entries(draft.build(found, WISH), found, WISH)


def test_comments_tell_what_an_entry_is_based_on() -> None:
    text = manifest.entries(draft.build(SEEN, WISH), SEEN, WISH)
    assert "# called 4 times, by till (3)" in text
    assert "# seen at 198.51.100.7, 198.51.100.8" in text
    assert "1 connections open before" in text
    assert "# it never answered" in text
    workload = manifest.workload(draft.build(SEEN, WISH), SEEN, WISH)
    assert "# 8080: till.service (java), called by 10.0.0.77 (5)" in workload


def test_nothing_seen_makes_legal_files_as_well(tmp_path: Path) -> None:
    table, settings = load(tmp_path, Observation(), Wish())
    assert len(table) == 0
    assert settings.node.name == "vm"


@pytest.mark.parametrize(
    ("hostname", "app", "expected"),
    [
        ("Web_01.corp", "", "web-01"),
        ("x", "My App", "my-app"),
        ("", "", "vm"),
        ("a" * 80, "", "a" * 63),
        ("---", "", "vm"),
    ],
)
def test_the_app_is_named_by_a_label(hostname: str, app: str, expected: str) -> None:
    assert manifest.app_name(Observation(host=hostname), Wish(app=app)) == expected


LABELS = st.text("abcxyz0189-", min_size=1, max_size=12).map(lambda text: f"a{text}z")
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
CALLS = st.builds(
    Call,
    address=st.ip_addresses().map(str).filter(lambda text: text not in ("0.0.0.0", "::")),
    port=st.integers(1, 65535),
    name=st.one_of(st.just(""), NAMES),
    evidence=st.sampled_from(["dns", "sni", "hosts"]),
    protocol=st.sampled_from(["", "http", "tls", "grpc", "mysql", "proxy"]),
    count=st.integers(0, 5),
    answered=st.integers(0, 1),
    owners=st.lists(st.tuples(st.text(max_size=8), st.integers(1, 3)), max_size=2).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(CALLS, max_size=8),
    st.lists(st.builds(Listening, st.integers(1, 65535), addresses=st.just(("::",))), max_size=4),
    st.text(max_size=20),
)
def test_whatever_was_seen_the_files_are_legal(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[Call],
    listening: list[Listening],
    hostname: str,
) -> None:
    found = Observation(
        host=hostname,
        addresses=("10.0.0.5",),
        calls=tuple(calls),
        listening=tuple({one.port: one for one in listening}.values()),
    )
    table, _ = load(tmp_path_factory.mktemp("files"), found, Wish())
    assert {call.name for call in draft.wanted(found, Wish()) if call.name} <= table.hosts.keys()
