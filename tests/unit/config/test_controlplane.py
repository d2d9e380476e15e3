"""Istio's settings of control plane and identity, each as the key of ours that it becomes."""

from __future__ import annotations

import pytest

from interceptor import config
from interceptor.config import Config, controlplane
from interceptor.errors import ConfigError


def translated(**variables: str) -> Config:
    return config.parse("", base=controlplane.translate(variables, set())[0])


def value(made: Config, key: str) -> str:
    found: object = made
    for part in key.split("."):
        found = getattr(found, part)
    return str(found)


@pytest.mark.parametrize(
    ("variable", "text", "key", "expected"),
    [
        ("ISTIOD_SAN", "istiod.x.svc", "mesh.istiod.server_name", "istiod.x.svc"),
        ("XDS_ROOT_CA", "./etc/root.pem", "mesh.istiod.root_cert", "/etc/root.pem"),
        ("ISTIO_DELTA_XDS", "false", "mesh.istiod.protocol", "sotw"),
        ("ISTIO_DELTA_XDS", "true", "mesh.istiod.protocol", "delta"),
        ("CA_ADDR", "ca.x:15012", "identity.addresses", "('ca.x:15012',)"),
        ("TRUST_DOMAIN", "corp.example", "identity.trust_domain", "corp.example"),
        ("OUTPUT_CERTS", "./etc/certs", "identity.output_dir", "/etc/certs"),
        ("SECRET_TTL", "24h0m0s", "identity.ttl_s", "86400"),
        ("SECRET_TTL", "90m", "identity.ttl_s", "5400"),
        ("SECRET_GRACE_PERIOD_RATIO", "0.3", "identity.renew_at", "0.7"),
        ("WORKLOAD_RSA_KEY_SIZE", "2048", "identity.key", "rsa-2048"),
        ("ECC_SIGNATURE_ALGORITHM", "ECDSA", "identity.key", "ecdsa-p256"),
        (
            *("WORKLOAD_IDENTITY_SOCKET_FILE", "spire.sock", "identity.socket"),
            "/var/run/secrets/workload-spiffe-uds/spire.sock",
        ),
        ("ISTIO_META_CLUSTER_ID", "east", "node.cluster", "east"),
        ("ISTIO_META_MESH_ID", "mesh1", "node.mesh_id", "mesh1"),
        ("ISTIO_META_AUTO_REGISTER_GROUP", "shop", "workload.group", "shop"),
        ("ISTIO_META_OWNER", "me", "node.metadata", "{'OWNER': 'me'}"),
        ("XDS_HEADER_x-tenant", "blue", "mesh.istiod.headers", "{'x-tenant': 'blue'}"),
    ],
)
def test_each_setting_has_its_key(variable: str, text: str, key: str, expected: str) -> None:
    assert value(translated(**{variable: text}), key) == expected


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SECRET_TTL", "soon"),
        ("SECRET_GRACE_PERIOD_RATIO", "half"),
        ("WORKLOAD_RSA_KEY_SIZE", "1024"),
        ("defaultConfig.readinessProbe", "[]"),
        ("defaultConfig.discoveryAddress", "istiod"),
    ],
)
def test_what_is_not_legal_is_refused_by_the_variable_s_name(variable: str, text: str) -> None:
    settings, _ = controlplane.translate({variable: text}, set())
    with pytest.raises(ConfigError, match=variable):
        config.parse("", base=settings)


def test_a_discovery_address_makes_istiod_the_source_and_who_also_issues_is_named_once() -> None:
    address = "istiod.istio-system.svc:15012"
    made = translated(**{"defaultConfig.discoveryAddress": address, "CA_ADDR": address})
    assert made.mesh.source == "istiod"
    assert made.mesh.istiod.addresses == (address,)
    assert made.identity.addresses == ()
    assert translated(CA_ADDR=address).mesh.source == "files"


def test_the_name_of_a_group_s_workload_is_not_this_vm_s() -> None:
    settings, done = controlplane.translate(
        {"ISTIO_META_AUTO_REGISTER_GROUP": "shop", "ISTIO_META_WORKLOAD_NAME": "shop"},
        {"ISTIO_META_WORKLOAD_NAME"},
    )
    assert settings["node.metadata"][0] == {"WORKLOAD_NAME": "shop"}
    assert "ISTIO_META_WORKLOAD_NAME" not in done


def test_metadata_that_somebody_else_translates_is_left() -> None:
    settings, _ = controlplane.translate({"ISTIO_META_NETWORK": "n"}, {"ISTIO_META_NETWORK"})
    assert "node.metadata" not in settings
