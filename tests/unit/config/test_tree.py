"""The configuration tree holds what other parts rely on."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from interceptor.config import Config, environment_keys


def test_the_tree_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Config().dns.ttl_s = 1  # type: ignore[misc]


def test_ssh_is_never_captured_by_default() -> None:
    assert 22 in Config().capture.inbound.exclude_ports


def test_every_leaf_has_one_environment_variable() -> None:
    keys = environment_keys()
    assert keys["INTERCEPTOR_CAPTURE_OUTBOUND_EXCLUDE_PORTS"] == "capture.outbound.exclude_ports"
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("agent", "listen", "0.0.0.0:15020"),
        ("agent", "listen", "15020"),
        ("agent", "listen", "127.0.0.1:0"),
        ("agent", "listen", "localhost:15020"),
        ("node", "namespace", "Has Space"),
        ("node", "domain", "a..b"),
    ],
)
def test_what_would_fail_later_is_refused_now(group: str, key: str, value: str) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({group: {key: value}})


@pytest.mark.parametrize("name", ["eth0 -j ACCEPT", 'a"b', "a'b", "x" * 16, "", "a\nb"])
def test_no_name_of_an_interface_or_cgroup_can_break_out_of_a_rule(name: str) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"capture": {"interfaces": {"exclude": [name]}}})
    if len(name) < 16:
        with pytest.raises(ValidationError):
            Config.model_validate({"capture": {"owners": {"exclude_cgroups": [name]}}})


def test_names_are_written_as_the_mesh_writes_them() -> None:
    parsed = Config.model_validate(
        {"node": {"domain": "Cluster.Local."}, "dns": {"own_zones": ["Mesh.Internal."]}}
    )
    assert (parsed.node.domain, parsed.dns.own_zones) == ("cluster.local", ("mesh.internal",))
    assert Config.model_validate({"agent": {"listen": "[::1]:9"}}).agent.listen == "[::1]:9"
