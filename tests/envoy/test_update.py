"""Changes of the mesh under load, and what Envoy refuses."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from interceptor.mesh.model import AppProtocol
from interceptor.sidecar import listener, resource
from interceptor.sidecar.claim import Vip
from interceptor.sidecar.resource import Kind as ResourceKind
from interceptor.sidecar.resource import Resource

pytestmark = [pytest.mark.root, pytest.mark.envoy]


@pytest.fixture(scope="module")
def servers(net):
    return net.serve(
        net.far,
        "http:h1:8080:10.77.0.2", "http:h2:8080:10.77.0.3",
        "tcp:t1:9000:10.77.0.2", "tcp:t2:9000:10.77.0.3",
    )  # fmt: skip


WEB = ("web.shop.svc.cluster.local", "10.96.0.10")
DB = ("db.shop.svc.cluster.local", "10.96.0.11")


class Load:
    """Requests without a pause, each on a new connection or all on one; failures are kept."""

    def __init__(self, world, keep_alive: bool) -> None:
        self.world, self.keep_alive = world, keep_alive
        self.names: list[str] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(10)

    def _run(self) -> None:
        connection = None
        while not self.stopping.is_set():
            connection = connection or self.world.connect("10.96.0.10", 80)
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
                answer = ""
                while not answer.endswith("}") and (data := connection.recv(4096)):
                    answer += data.decode()
                if not answer.startswith("HTTP/1.1 200"):
                    self.failures.append(answer or "connection closed")
                self.names.append(answer.rpartition('"name": "')[2][:2])
            except OSError as error:
                self.failures.append(str(error))
            if not self.keep_alive or self.failures:
                connection.close()
                connection = None
        if connection:
            connection.close()


@pytest.mark.parametrize("keep_alive", [True, False])
def test_an_endpoint_goes_and_comes_without_a_failed_request(
    world, servers, make_service, keep_alive
):
    both = make_service(*WEB, (("10.77.0.2", 8080), ("10.77.0.3", 8080)))
    one = make_service(*WEB, (("10.77.0.3", 8080),))
    world.mesh(both)
    with Load(world, keep_alive) as load:
        for _ in range(10):
            time.sleep(0.1)
            world.mesh(one)
            seen = len(load.names)
            time.sleep(0.1)
            assert set(load.names[seen + 1 :]) == {"h2"}, "at once, not some time later"
            world.mesh(both)
    assert load.failures == []
    assert set(load.names) == {"h1", "h2"}


def test_a_removed_endpoint_keeps_its_open_tcp_connections(world, servers, make_service):
    tcp = {"port": 3306, "protocol": AppProtocol.TCP}
    world.mesh(make_service(*DB, (("10.77.0.2", 9000),), **tcp))
    with world.connect("10.96.0.11", 3306) as connection:
        assert connection.recv(100).startswith(b"t1")
        world.mesh(make_service(*DB, (("10.77.0.3", 9000),), **tcp))
        with world.connect("10.96.0.11", 3306) as other:
            assert other.recv(100).startswith(b"t2")
        connection.sendall(b"still")
        assert connection.recv(100) == b"still"


def test_a_removed_service_drains_and_a_new_connection_passes_through(world, servers, make_service):
    tcp = {"port": 9000, "protocol": AppProtocol.TCP}
    world.mesh(make_service(*DB, (("10.77.0.2", 9000),), **tcp))
    with world.connect("10.96.0.11", 9000) as connection:
        assert connection.recv(100).startswith(b"t1")
        world.mesh()
        assert "10.96.0.11_9000" not in world.loop.call(world.admin.listeners)
        connection.sendall(b"still")
        assert connection.recv(100) == b"still"


def test_a_changed_cluster_never_loses_its_endpoints(world, servers, make_service):
    """A cluster that changes is made anew and must not wait for endpoints it had before."""
    host = make_service(*WEB, (("10.77.0.2", 8080),))
    world.mesh(host)
    with Load(world, keep_alive=False) as load:
        for protocol in (AppProtocol.TCP, AppProtocol.HTTP) * 3:
            port = replace(host.ports[0], protocol=protocol)
            world.mesh(replace(host, ports=(port,)))
            time.sleep(0.05)
    assert load.failures == []


def test_what_envoy_refuses_is_told_by_name_and_costs_nobody_else(world, servers, make_service):
    good = make_service(*WEB, (("10.77.0.2", 8080),))
    world.mesh(good)
    bad = make_service("bad.shop.svc.cluster.local", "10.96.0.12", (("10.77.0.2", 8080),))
    vip = Vip(bad.addresses[0], 80)
    message = listener.build_tcp(vip, listener.Target(bad.name, (), "x"), "/no/such/folder/log")
    refused: Resource = resource.encode(ResourceKind.LISTENER, vip.name, message)
    kinds = {kind: dict(items) for kind, items in world.snapshot.resources.items()}
    kinds[ResourceKind.LISTENER][vip.name] = refused
    world.loop.call(world.server.set, kinds)
    world.settle()
    (refusal,) = world.loop.call(world.server.status).refusals
    assert refusal.names == (vip.name,)
    assert "/no/such/folder/log" in refusal.reason
    assert world.get("http://10.96.0.10/")["name"] == "h1"
    world.loop.call(world.server.set, world.snapshot.resources)
    world.settle()
    assert world.loop.call(world.server.status).refusals == ()


def test_endpoints_that_envoy_knows_are_those_of_the_mesh(world, servers, make_service):
    world.mesh(make_service(*WEB, (("10.77.0.2", 8080, 3), ("10.77.0.3", 8080))))
    world.get("http://10.96.0.10/")
    name = "outbound|80||web.shop.svc.cluster.local"
    known = world.loop.call(world.admin.endpoints, name)
    assert sorted((item.address, item.port, item.weight, item.is_healthy) for item in known) == [
        ("10.77.0.2", 8080, 3, True),
        ("10.77.0.3", 8080, 1, True),
    ]
    assert sum(item.requests for item in known) == 1
    assert world.loop.call(world.admin.endpoints, "outbound|80||nobody") == []


def test_only_root_and_the_sidecar_may_connect_to_our_socket(world):
    socket = world.files.socket
    assert (socket.stat().st_mode & 0o777, socket.stat().st_gid) == (0o660, 1337)
    assert (socket.parent.stat().st_mode & 0o777, socket.parent.stat().st_gid) == (0o750, 1337)
