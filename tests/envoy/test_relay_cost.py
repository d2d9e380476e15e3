"""What the way through us costs an Envoy, beside one that asks the control plane itself."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.sidecar import binary, bootstrap, fixture
from tests.envoy.test_relay import (
    ADDRESS,
    NODE,
    PATIENCE_S,
    VIP,
    Plane,
    entry,
    make_member,
    plane,
    servers,
    until,
)

pytestmark = [pytest.mark.root, pytest.mark.envoy]
__all__ = ["make_member", "plane", "servers"]  # fixtures

SERVICES = 1_000
ROUNDS = 20
ENDPOINTS = ("10.77.0.2", "10.77.0.3")


@pytest.fixture
def many(plane: Plane) -> Plane:
    documents = [
        json.loads(entry(f"svc-{number}", f"10.97.{number // 250}.{number % 250 + 1}", "10.77.0.2"))
        for number in range(SERVICES)
    ]
    plane.write("many.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    return plane


@pytest.fixture
def direct(net: Any, many: Plane, make_member: Any, tmp_path: Path) -> Iterator[str]:
    """An Envoy in the other namespace whose bootstrap names the control plane. Its node's id."""
    member = make_member()
    node = bootstrap.Node(NODE.format("direct"), "web.shop", metadata={"NAMESPACE": "shop"})
    place = bootstrap.Place(node, "", is_relayed=True)
    tree = json.loads(bootstrap.build(member.world.config, place))
    host, _, port = ADDRESS.partition(":")
    (cluster,) = (
        each for each in tree["static_resources"]["clusters"] if each["name"] == fixture.ADS
    )
    (locality,) = cluster["load_assignment"]["endpoints"]
    locality["lb_endpoints"][0]["endpoint"]["address"] = {
        "socket_address": {"address": host, "port_value": int(port)}
    }
    file = tmp_path / "direct.json"
    file.write_text(json.dumps(tree))
    program = str(binary.find(None))
    flags = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "error"]
    child = subprocess.Popen(["ip", "netns", "exec", net.far, program, "-c", str(file), *flags])
    try:
        yield node.id
    finally:
        child.kill()
        child.wait()


class Times:
    """When the control plane pushed, and when it had the answer, by its own clock."""

    def __init__(self, plane: Plane, node: str) -> None:
        self.plane, self.node = plane, node

    def acked(self, kind: str) -> list[float]:
        """Seconds from each push to its answer, oldest first."""
        pushed = {
            line["nonce"]: line["at_s"]
            for line in self.plane.lines("push", node=self.node, type=kind)
        }
        return [
            line["at_s"] - pushed[line["nonce"]]
            for line in self.plane.lines("ack", node=self.node, type=kind)
            if line["nonce"] in pushed
        ]

    @property
    def start_s(self) -> float:
        """From the node's first word to the answer for its listeners."""
        (begun,) = self.plane.lines("node", id=self.node)
        answered = self.plane.lines("ack", node=self.node, type="lds")
        return float(answered[0]["at_s"] - begun["at_s"])


def test_a_thousand_clusters_and_changes_of_one_take_hardly_longer_through_us(
    many: Plane, direct: str, make_member: Any
) -> None:
    straight = Times(many, direct)
    until(lambda: bool(straight.acked("lds")), "the direct Envoy's configuration")
    member = make_member()
    member.open()
    relayed = Times(many, member.node_id)
    until(lambda: bool(relayed.acked("lds")), "ours")
    active = "cluster_manager.active_clusters"
    until(lambda: member.admin.stats(active)[active] > SERVICES, "all clusters")
    before = [len(each.acked("eds")) for each in (straight, relayed)]
    for number in range(1, ROUNDS + 1):
        many.write("web.json", entry("web", VIP, ENDPOINTS[number % 2]))
        for each, count in zip((straight, relayed), before, strict=True):
            until(lambda e=each, c=count + number: len(e.acked("eds")) >= c, "an answer")
    times = [
        [1000 * value for value in each.acked("eds")[count:]]
        for each, count in zip((straight, relayed), before, strict=True)
    ]
    ours, theirs = statistics.median(times[1]), statistics.median(times[0])
    print(
        f"\n{SERVICES} services, start: direct {straight.start_s:.2f} s,"
        f" through us {relayed.start_s:.2f} s; one endpoint's change to its ACK, median of"
        f" {ROUNDS}: direct {theirs:.2f} ms, through us {ours:.2f} ms ({ours / theirs:.2f}x)"
    )
    assert ours < 4 * theirs + 20, "the bound of a loaded machine"
    assert relayed.start_s < 3 * straight.start_s + PATIENCE_S / 10
