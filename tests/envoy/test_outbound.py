"""What an application on the VM reaches through a real Envoy."""

from __future__ import annotations

from collections import Counter

import pytest

from interceptor.mesh.model import AppProtocol, Kind, Resolution

pytestmark = [pytest.mark.root, pytest.mark.envoy]


@pytest.fixture(scope="module")
def servers(net):
    specs = []
    for index, (four, six) in enumerate(
        zip(("10.77.0.2", "10.77.0.3"), ("fd77::2", "fd77::3"), strict=True), 1
    ):
        for address in (four, six):
            specs += [f"http:h{index}:8080:{address}", f"tcp:t{index}:9000:{address}"]
    specs += ["http:far:8080:10.77.0.4", "tcp:far:9000:10.77.0.4", "http:self:15001:10.77.0.4"]
    return net.serve(net.far, *specs)


def test_a_service_is_reached_by_its_address_in_both_families(world, servers, make_service):
    world.mesh(
        make_service(
            "web.shop.svc.cluster.local",
            ("10.96.0.10", "2001:2::a"),
            (("10.77.0.2", 8080), ("fd77::3", 8080)),
        )
    )
    names = Counter(
        world.get(f"http://{address}/")["name"] for address in ["10.96.0.10", "[2001:2::a]"] * 4
    )
    assert set(names) == {"h1", "h2"}
    line = world.access_log("web.shop")[0]
    assert line["service"] == "web.shop.svc.cluster.local"
    assert line["upstream_cluster"] == "outbound|80||web.shop.svc.cluster.local"
    assert line["status"] == 200
    assert line["original_destination"] in ("10.96.0.10:80", "[2001:2::a]:80")
