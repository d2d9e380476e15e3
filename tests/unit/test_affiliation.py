"""How this VM belongs to its mesh."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor import affiliation
from interceptor.config import parse
from interceptor.workload.provider import Provider

CONFIG = """
agent: {run_dir: /run/x}
node: {name: db-1, namespace: shop, addresses: [192.0.2.9], locality: eu/a/b, labels: {app: db}}
identity: {provider: none, socket: /spire/socket}
"""


def test_envoy_is_who_we_are_to_the_control_plane() -> None:
    config = parse(CONFIG)
    found, member = affiliation.observe(config, lambda: None), affiliation.observe_member(config)
    assert found.node.id == member.id == "sidecar~192.0.2.9~db-1.shop~shop.svc.cluster.local"
    assert (found.node.cluster, found.node.locality) == ("db.shop", ("eu", "a", "b"))
    assert found.node.metadata == member.metadata
    assert (found.sds, found.dial) == (None, None)


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        (Provider.NONE, None),
        (Provider.SOCKET, Path("/spire/socket")),
        (Provider.ISTIOD, Path("/run/x/sidecar/sds.sock")),
        (Provider.LOCAL, Path("/run/x/sidecar/sds.sock")),
    ],
)
def test_certificates_come_from_whoever_has_them(provider: Provider, path: Path | None) -> None:
    assert affiliation.sds_socket(parse(CONFIG), provider) == path


def test_envoy_has_a_way_to_the_control_plane_where_that_configures_it() -> None:
    config = parse(CONFIG + "mesh: {source: istiod, istiod: {addresses: ['192.0.2.1:15010']}}\n")
    dial = affiliation.observe(config, lambda: None).dial
    assert dial is not None
    assert dial.address == "192.0.2.1:15010"
