"""From a bundle's bytes to a configuration and the other files; and what is refused."""

from __future__ import annotations

import json

import pytest
import yaml

from interceptor import config, joining
from interceptor.config import DEFAULT_PATH, Config
from interceptor.errors import ConfigError
from interceptor.joining import Ground, Joining
from interceptor.workload.bundle import Wish
from interceptor.workload.group import Group
from tests.unit.workload import packed
from tests.unit.workload.packed import NOW_S

Files = dict[str, bytes]


def decide(files: Files, present: str = "") -> Joining:
    return joining.decide(files, "/tmp/vm", Ground(present, NOW_S))


def written(found: Joining) -> Config:
    """The configuration as a daemon will read it."""
    (draft,) = (draft for draft in found.drafts if draft.path == DEFAULT_PATH)
    return config.parse(draft.data.decode())


def refusal(files: Files, present: str = "") -> str:
    with pytest.raises(ConfigError) as refused:
        decide(files, present)
    return "\n".join(map(str, refused.value.problems))


def test_a_cluster_s_bundle_makes_a_member_of_its_istiod() -> None:
    found = decide(packed.istio())
    made = written(found)
    assert made == found.config
    assert made.mesh.source == "istiod"
    # No line in /etc/hosts: the address is the bundle's, the name is TLS's.
    assert made.mesh.istiod.addresses == ("203.0.113.7:15012",)
    assert made.mesh.istiod.server_name == "istiod.istio-system.svc"
    assert (made.node.namespace, made.node.service_account) == ("vm", "shop")
    assert (made.node.network, made.node.cluster, made.node.mesh_id) == ("vm-net", "east", "mesh1")
    assert made.node.labels["app"] == "ratings"
    assert made.workload.group == "ratings"
    assert made.workload.probe is not None
    assert made.workload.probe.http is not None
    assert made.workload.probe.http.path == "/health"
    assert made.capture.inbound.ports == (9080,)


def test_token_and_root_go_to_where_the_daemon_reads_them() -> None:
    found = decide(packed.istio())
    places = {str(draft.path): draft for draft in found.drafts}
    token = places["/var/lib/interceptor/istio-token"]
    assert (token.mode, token.data.count(b".")) == (0o600, 2)
    assert b"BEGIN CERTIFICATE" in places["/etc/interceptor/root-cert.pem"].data
    assert all(b"eyJ" not in draft.data for draft in found.drafts if draft is not token)


def test_an_address_of_ipv6_is_in_brackets() -> None:
    files = {**packed.istio(), "hosts": b"fd00::7 istiod.istio-system.svc\n"}
    assert decide(files).config.mesh.istiod.addresses == ("[fd00::7]:15012",)


def test_without_an_address_the_name_stays_and_a_note_says_what_it_takes() -> None:
    found = decide({**packed.istio(), "hosts": b""})
    assert found.config.mesh.istiod.addresses == ("istiod.istio-system.svc:15012",)
    assert any("--ingressIP" in note for note in found.notes)
    assert not any("--ingressIP" in note for note in decide(packed.istio()).notes)


def test_a_load_balancer_with_a_name_is_asked_by_it() -> None:
    own = yaml.safe_dump(
        {"mesh": {"istiod": {"addresses": ["lb.example.com:15012"], "server_name": "istiod.x.svc"}}}
    )
    files = {**packed.istio(), "hosts": b"", "interceptor.yaml": own.encode()}
    istiod = decide(files).config.mesh.istiod
    assert istiod.addresses == ("lb.example.com:15012",)
    assert istiod.server_name == "istiod.x.svc"


def test_a_site_s_bundle_brings_its_documents() -> None:
    found = decide(packed.site(authority="198.51.100.9:15012"))
    made = written(found)
    assert made.mesh.source == "files"
    assert made.identity.provider == "istiod"
    assert made.identity.addresses == ("198.51.100.9:15012",)
    assert made.mesh.istiod.server_name == "interceptor-authority"
    places = {str(draft.path): draft.data for draft in found.drafts}
    assert places["/etc/interceptor/mesh/shop.yaml"] == packed.SHOP
    assert "documents in" in found.control_plane


def test_a_group_that_the_site_does_not_have_is_told_with_those_it_has() -> None:
    other = Group("payments", "vm", service_account="shop")
    text = refusal(packed.site(other))
    assert "vm/payments" in text
    assert "vm/ratings" in text


def test_what_this_host_had_configured_stays_where_the_bundle_says_nothing() -> None:
    present = "capture: {backend: nftables}\nnode: {namespace: old, labels: {old: '1'}}\n"
    made = decide(packed.istio(), present).config
    assert made.capture.backend == "nftables"
    assert made.node.namespace == "vm"
    assert "old" not in made.node.labels


def test_every_problem_of_every_file_is_told_at_once() -> None:
    files = packed.istio()
    files["cluster.env"] += b"ISTIO_INBOUND_PORTS='80,none'\n"
    files["istio-token"] = packed.bearer(NOW_S - 1).encode()
    files["root-cert.pem"] = b"nothing"
    del files["cluster.env"]
    assert "cluster.env: (missing)" in refusal(files)
    files["cluster.env"] = packed.istio()["cluster.env"]
    text = refusal(files)
    assert "expired" in text
    assert "root-cert.pem" in text


def test_settings_that_are_not_legal_are_told_by_key() -> None:
    files = packed.istio()
    files["cluster.env"] += b"ISTIO_INBOUND_PORTS='80,none'\n"
    assert "capture.inbound.ports" in refusal(files)
    assert "YAML" in refusal({**packed.istio(), "mesh.yaml": b"defaultConfig: ["})
    assert "dns.ttl_s" in refusal(packed.istio(), "dns: {ttl_s: never}\n")


def test_a_document_that_is_not_legal_is_told_by_its_line() -> None:
    files = packed.site()
    files["mesh/shop.yaml"] = packed.SHOP.replace(b"number: 8080", b"number: 808080")
    assert "spec.ports[0].number" in refusal(files)


def test_what_is_not_translated_stands_in_the_file() -> None:
    files = packed.istio()
    files["cluster.env"] += b"PILOT_UNKNOWN_THING='1'\n"
    found = decide(files)
    assert b"#   PILOT_UNKNOWN_THING: not translated" in found.drafts[0].data


def test_a_bundle_without_autoregistration_names_no_group() -> None:
    made = decide(packed.istio(wish=Wish())).config
    assert made.workload.group == ""
    # All members of the group bear that name: this VM is called by its own.
    assert made.node.name == ""
    assert made.node.metadata["WORKLOAD_NAME"] == "ratings"


def test_labels_are_json_in_the_bundle_and_stay_text() -> None:
    group = Group("g", "vm", labels={"version": "1.10", "on": "true"}, service_account="shop")
    made = decide(packed.istio(group)).config
    assert made.node.labels["version"] == "1.10"
    assert made.node.labels["on"] == "true"
    assert json.loads(json.dumps(dict(made.node.labels))) == dict(made.node.labels)
