"""The files of a VM, held to facts of Istio's own agent: which keys, quoted how, for whom."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from interceptor import config, migration
from interceptor.errors import ConfigError
from interceptor.host import command
from interceptor.workload import authority, bundle
from interceptor.workload.bundle import Plane, Wish
from interceptor.workload.group import Group

GROUP = Group(
    "ratings",
    "vm",
    labels={"app": "ratings", "version": "v3"},
    ports={"http-web": 9080, "grpc": 3550},
    service_account="shop",
    network="vm-net",
    probe={"httpGet": {"path": "/health", "port": 9080}, "periodSeconds": 5},
)
PLANE = Plane(
    root=b"ROOT",
    token="TOKEN",
    discovery="istiod.istio-system.svc:15012",
    proxy={"meshId": "mesh1", "concurrency": 3, "proxyMetadata": {"PROXY": "kept"}},
    cluster="east",
    trust_domain="corp.example",
    ingress=("203.0.113.7",),
)

GOLDEN = """\
CANONICAL_REVISION='v3'
CANONICAL_SERVICE='ratings'
ISTIO_INBOUND_PORTS='3550,9080'
ISTIO_LOCAL_EXCLUDE_PORTS='22,15090,15021,15020'
ISTIO_METAJSON_LABELS='{"app":"ratings","service.istio.io/canonical-name":"ratings",\
"service.istio.io/canonical-revision":"v3","version":"v3"}'
ISTIO_META_AUTO_REGISTER_GROUP='ratings'
ISTIO_META_CLUSTER_ID='east'
ISTIO_META_DNS_CAPTURE='true'
ISTIO_META_MESH_ID='mesh1'
ISTIO_META_NETWORK='vm-net'
ISTIO_META_POD_PORTS='[{"name":"grpc","containerPort":3550,"protocol":""},\
{"name":"http-web","containerPort":9080,"protocol":""}]'
ISTIO_META_WORKLOAD_NAME='ratings'
ISTIO_NAMESPACE='vm'
ISTIO_SERVICE='ratings.vm'
ISTIO_SERVICE_CIDR='*'
POD_NAMESPACE='vm'
PROXY='kept'
SERVICE_ACCOUNT='shop'
TRUST_DOMAIN='corp.example'
"""


def test_cluster_env_has_what_istio_s_agent_reads() -> None:
    assert bundle.build(GROUP, PLANE, Wish(autoregister=True))["cluster.env"].decode() == GOLDEN


def test_mesh_yaml_keeps_the_mesh_s_own_settings_and_carries_the_probe() -> None:
    text = bundle.build(GROUP, PLANE, Wish())["mesh.yaml"]
    found = yaml.safe_load(text)["defaultConfig"]
    assert found["discoveryAddress"] == "istiod.istio-system.svc:15012"
    assert (found["meshId"], found["concurrency"]) == ("mesh1", 3)
    assert found["readinessProbe"] == dict(GROUP.probe)
    metadata = found["proxyMetadata"]
    assert metadata["PROXY"] == "kept"
    assert json.loads(metadata["ISTIO_METAJSON_LABELS"])["app"] == "ratings"
    assert "ISTIO_META_AUTO_REGISTER_GROUP" not in metadata
    assert all(isinstance(value, str) for value in metadata.values())


def test_the_other_files_are_what_was_given() -> None:
    files = bundle.build(GROUP, PLANE, Wish())
    assert files["root-cert.pem"] == b"ROOT"
    assert files["istio-token"] == b"TOKEN\n"
    assert files["hosts"] == b"203.0.113.7 istiod.istio-system.svc\n"
    assert set(files) == {"cluster.env", "mesh.yaml", "root-cert.pem", "istio-token", "hosts"}


def test_without_ports_everything_is_captured_inbound_and_dns_may_be_left_alone() -> None:
    files = bundle.build(Group("g", "vm"), PLANE, Wish(capture_dns=False))
    text = files["cluster.env"].decode()
    assert "ISTIO_INBOUND_PORTS='*'" in text
    assert "DNS_CAPTURE" not in text
    assert "POD_PORTS" not in text


@pytest.mark.parametrize(
    ("wish", "rewrites"),
    [(Wish(internal_ip="10.0.0.5"), False), (Wish(external_ip="10.0.0.5"), True)],
)
def test_an_address_given_is_the_vm_s(wish: Wish, rewrites: bool) -> None:
    text = bundle.build(GROUP, PLANE, wish)["cluster.env"].decode()
    assert "ISTIO_SVC_IP='10.0.0.5'" in text
    assert ("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION='true'" in text) is rewrites


def test_a_load_balancer_with_a_name_is_said_in_our_own_file() -> None:
    named = Plane(b"", "t", "istiod-canary.istio-system.svc:15012", ingress=("lb.example.com",))
    files = bundle.build(GROUP, named, Wish())
    assert bundle.parse_hosts(files["hosts"].decode()) == {}
    assert b"# " in files["hosts"]
    assert yaml.safe_load(files["interceptor.yaml"]) == {
        "mesh": {
            "istiod": {
                "addresses": ["lb.example.com:15012"],
                "server_name": "istiod-canary.istio-system.svc",
            }
        }
    }


def test_a_site_without_istiod_has_its_documents_and_its_authority_in_the_bundle() -> None:
    site = Plane(b"", "t", authority="10.0.0.9:15012", documents={"shop.yaml": b"kind: X"})
    files = bundle.build(GROUP, site, Wish())
    assert files["mesh/shop.yaml"] == b"kind: X"
    assert "discoveryAddress" not in yaml.safe_load(files["mesh.yaml"])["defaultConfig"]
    settings = yaml.safe_load(files["interceptor.yaml"])
    assert settings["mesh"] == {"source": "files", "istiod": {"server_name": authority.NAME}}
    assert settings["identity"] == {"provider": "istiod", "addresses": ["10.0.0.9:15012"]}


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))))
def test_any_printable_value_survives_our_reader_and_shlex(value: str) -> None:
    if not value.isprintable():
        return
    files = bundle.build(Group("g", "vm", labels={"note": value}), PLANE, Wish())
    text = files["cluster.env"].decode()
    read = migration.parse_environment(text, "cluster.env")
    assert json.loads(read["ISTIO_METAJSON_LABELS"])["note"] == value
    words = dict(word.partition("=")[::2] for word in shlex.split(text))
    assert words == read


def test_a_shell_reads_what_was_written() -> None:
    labels = {"note": """it's "$HOME" `id` \\ $(id)"""}
    files = bundle.build(Group("g", "vm", labels=labels), PLANE, Wish())
    script = 'set -a; eval "$(cat)"; printf %s "$ISTIO_METAJSON_LABELS"'
    said = command.run(["sh", "-euc", script], files["cluster.env"].decode()).stdout
    assert json.loads(said)["note"] == labels["note"]


def test_a_value_with_a_line_break_is_refused() -> None:
    plane = Plane(b"", "t", proxy={"proxyMetadata": {"BAD": "a\nISTIO_NAMESPACE=other"}})
    with pytest.raises(ConfigError, match="BAD"):
        bundle.build(GROUP, plane, Wish())


def test_our_own_bundle_makes_a_configuration_that_is_legal() -> None:
    files = bundle.build(GROUP, PLANE, Wish(autoregister=True))
    variables: dict[str, str] = {}
    for name in ("cluster.env", "mesh.yaml"):
        variables |= migration.parse_file(files[name].decode(), name)
    made = config.parse("", base=migration.migrate(variables).settings)
    assert (made.node.namespace, made.node.service_account) == ("vm", "shop")


FILES = {"cluster.env": b"a", "mesh.yaml": b"b", "mesh/x.yaml": b"c"}


def test_a_bundle_may_be_in_a_folder_of_an_archive() -> None:
    assert bundle.select(FILES) == (FILES, ())
    inside = {f"some-vm/{name}": data for name, data in FILES.items()}
    assert bundle.select(inside) == (FILES, ())


def test_what_else_is_there_is_named_and_left() -> None:
    found, rest = bundle.select({**FILES, "notes.txt": b"", "mesh/deep/y.yaml": b""})
    assert found == FILES
    assert rest == ("mesh/deep/y.yaml", "notes.txt")


def test_hosts_lines_are_read_by_name() -> None:
    text = "# x\n10.0.0.1 Istiod.istio-system.svc other # y\nfd00::1 istiod.istio-system.svc.\nno\n"
    assert bundle.parse_hosts(text) == {
        "istiod.istio-system.svc": ("10.0.0.1", "fd00::1"),
        "other": ("10.0.0.1",),
    }
