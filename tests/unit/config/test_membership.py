"""The keys of a member: what stands in the defaults, and what is refused."""

from __future__ import annotations

import pytest

from interceptor import config
from interceptor.config import Config
from interceptor.errors import ConfigError


def test_by_default_nobody_is_registered_and_nobody_issues() -> None:
    tree = Config()
    assert (tree.workload.group, tree.workload.probe, tree.authority.listen) == ("", None, "")
    assert tree.identity.provider == "auto"


def test_what_a_reboot_must_not_lose_is_beside_the_mesh_s_state() -> None:
    tree = Config()
    kept = (tree.identity.dir, tree.authority.dir, tree.mesh.istiod.token)
    assert all(path.is_relative_to(tree.mesh.state_dir) for path in kept)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("identity: {provider: vault}", "identity.provider"),
        ("identity: {renew_at: 1}", "identity.renew_at"),
        ("authority: {listen: 0.0.0.0}", "authority.listen"),
        ("workload: {probe: {exec: {command: []}}}", "workload.probe.exec.command"),
        ("workload: {probe: {http: {path: /}}}", "workload.probe.http.port"),
        ("dns: {forward_zones: {corp.example: [here]}}", "dns.forward_zones"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "f.yaml")
    assert key in str(caught.value)
