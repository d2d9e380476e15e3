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


def test_load_is_shared_by_weight(world, servers, make_service):
    world.mesh(
        make_service(
            "web.shop.svc.cluster.local",
            "10.96.0.10",
            (("10.77.0.2", 8080, 80), ("10.77.0.3", 8080, 20)),
        )
    )
    code, answers = world.curl(*["http://10.96.0.10/"] * 200)
    assert code == 0, answers
    assert answers.count('"h1"') == pytest.approx(160, abs=8)
    assert answers.count('"h2"') == pytest.approx(40, abs=8)


def test_tcp_goes_through_by_its_port_and_is_logged_by_name(world, servers, make_service):
    world.mesh(
        make_service(
            "db.shop.svc.cluster.local",
            ("10.96.0.11", "2001:2::b"),
            (("10.77.0.2", 9000),),
            port=3306,
            protocol=AppProtocol.TCP,
        )
    )
    for address in ("10.96.0.11", "2001:2::b"):
        with world.connect(address, 3306) as connection:
            assert connection.recv(100).startswith(b"t1 10.77.0.1")
            connection.sendall(b"ping")
            assert connection.recv(100) == b"ping"
    assert {line["service"] for line in world.access_log("3306")} == {"db.shop.svc.cluster.local"}


def test_hosts_that_share_an_address_are_told_apart_by_the_host_header(
    world, servers, make_service
):
    world.mesh(
        make_service("one.shop.svc.cluster.local", "10.96.0.12", (("10.77.0.2", 8080),)),
        make_service("two.shop.svc.cluster.local", "10.96.0.12", (("10.77.0.3", 8080),)),
    )

    def name(host: str) -> str:
        return world.get("http://10.96.0.12/", "-H", f"Host: {host}")["name"]

    assert name("two.shop.svc.cluster.local") == "h2"
    assert name("two:80") == "h2"
    assert name("ONE.shop") == "h1"
    assert name("10.96.0.12") == "h1"
    assert world.access_log("two.shop")[0]["service"] == "two.shop.svc.cluster.local"


def test_an_unknown_destination_passes_through(world, servers):
    assert world.get("http://10.77.0.4:8080/")["name"] == "far"
    line = world.access_log("10.77.0.4:8080")[0]
    assert (line["upstream_cluster"], line["service"]) == ("PassthroughCluster", "-")


def test_an_unknown_destination_is_dropped_where_configured(make_world, servers):
    world = make_world("  unknown_destinations: blackhole\n")
    world.start()
    code, _ = world.curl("http://10.77.0.4:8080/")
    assert code in (52, 56)  # closed or reset, whichever curl meets first
    assert world.access_log("10.77.0.4:8080")[0]["upstream_cluster"] == "BlackHoleCluster"


@pytest.mark.parametrize("port", [15001, 15006])
def test_our_own_ports_as_destinations_lead_nowhere_and_not_in_circles(world, servers, port):
    code, _ = world.curl(f"http://10.77.0.4:{port}/")  # captured, to 15001
    assert code in (52, 56)
    code, _ = world.curl(f"http://127.0.0.1:{port}/")  # straight at the listener
    assert code in (52, 56)
    stats = world.stats("PassthroughCluster;.upstream_cx_total")
    assert sum(stats.values()) == 0


def test_old_http_clients_are_served(world, servers, make_service):
    world.mesh(make_service("web.shop.svc.cluster.local", "10.96.0.10", (("10.77.0.2", 8080),)))
    answer = world.get("http://10.96.0.10/", "--http1.0")
    assert answer["name"] == "h1"
    with world.connect("10.96.0.10", 80) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.0 200")


def test_a_service_without_endpoints_says_so(world, servers, make_service):
    world.mesh(
        make_service("web.shop.svc.cluster.local", "10.96.0.10"),
        make_service(
            "db.shop.svc.cluster.local", "10.96.0.11", port=3306, protocol=AppProtocol.TCP
        ),
    )
    code, text = world.curl("-o", "/dev/null", "-w", "%{http_code}", "http://10.96.0.10/")
    assert (code, text) == (0, "503")
    with world.connect("10.96.0.11", 3306) as connection:
        assert connection.recv(100) == b""


def test_endpoints_by_name_are_resolved(world, servers, make_service):
    """/etc/hosts is what c-ares asks first, so that no DNS server is needed here."""
    world.mesh(
        make_service(
            "api.example.com",
            "240.240.0.5",
            (("localhost", 8085),),
            kind=Kind.SERVICE_ENTRY,
            resolution=Resolution.DNS,
        )
    )
    local = world.net.serve(world.net.vm, "http:local:8085:127.0.0.1")
    try:
        assert world.get("http://240.240.0.5/")["name"] == "local"
    finally:
        world.net.end(local)


@pytest.mark.parametrize("protocol", [AppProtocol.HTTP, AppProtocol.TCP])
def test_a_headless_service_is_reached_at_the_endpoint_that_was_dialled(
    world, servers, make_service, protocol
):
    world.mesh(
        make_service(
            "db.shop.svc.cluster.local",
            ("10.77.0.3", "10.77.0.4"),
            (("10.77.0.3", 8080), ("10.77.0.4", 8080)),
            port=8080,
            kind=Kind.HEADLESS,
            protocol=protocol,
        )
    )
    for _ in range(5):
        assert world.get("http://10.77.0.4:8080/")["name"] == "far"
    line = world.access_log("db.shop")[0]
    assert line["service"] == "db.shop.svc.cluster.local"
    assert line["upstream_cluster"] == "outbound|8080||db.shop.svc.cluster.local"
    assert line["upstream_host"] == "10.77.0.4:8080"


def test_resolution_none_keeps_the_address_that_was_dialled(world, servers, make_service):
    world.mesh(
        make_service(
            "api.example.com",
            "10.77.0.4",
            port=8080,
            kind=Kind.SERVICE_ENTRY,
            resolution=Resolution.NONE,
        )
    )
    assert world.get("http://10.77.0.4:8080/")["name"] == "far"
    assert world.access_log("api.example.com")[0]["service"] == "api.example.com"


def test_http2_reaches_a_grpc_port_as_http2(world, servers, make_service):
    """The server speaks HTTP/1 only: that it refuses shows what Envoy spoke."""
    world.mesh(
        make_service(
            "rpc.shop.svc.cluster.local",
            "10.96.0.10",
            (("10.77.0.2", 8080),),
            protocol=AppProtocol.GRPC,
        )
    )
    code, text = world.curl(
        "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
        "http://10.96.0.10/",
    )  # fmt: skip
    assert (code, text) in ((0, "2 502"), (0, "2 503"))
    assert world.stats(r"rpc\.shop.*upstream_cx_http2_total").popitem()[1] >= 1


def test_envoy_runs_as_the_sidecars_user(world, servers):
    from pathlib import Path

    status = Path(f"/proc/{world.sidecar.pid}/status").read_text()
    assert "Uid:\t1337\t1337\t1337\t1337" in status
    assert "Gid:\t1337\t1337\t1337\t1337" in status
    assert "Groups:\t \n" in status or "Groups:\t\n" in status


def test_readiness_and_prometheus_answer_one_path_each(world, servers, make_service):
    world.mesh(make_service("web.shop.svc.cluster.local", "10.96.0.10", (("10.77.0.2", 8080),)))
    world.get("http://10.96.0.10/")
    code, text = world.curl("http://[::1]:15021/healthz/ready")
    assert (code, text.strip()) == (0, "LIVE")
    code, text = world.curl(
        "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:15021/quitquitquit"
    )
    assert text == "404"
    code, text = world.curl("http://127.0.0.1:15090/stats/prometheus")
    wanted = (
        'envoy_cluster_upstream_cx_total{cluster_name="outbound|80||web.shop.svc.cluster.local"} 1'
    )
    assert wanted in text.splitlines()
    code, text = world.curl(
        "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:15090/config_dump"
    )
    assert text == "404"
