"""What others reach on this VM through a real Envoy."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from interceptor.mesh.model import AppProtocol

pytestmark = [pytest.mark.root, pytest.mark.envoy]
VM4, VM6 = "10.77.0.1", "fd77::1"


@pytest.fixture(scope="module")
def application(net):
    """Listens on every address of the VM, as applications do."""
    return net.serve(
        net.vm, "http:app:8080:0.0.0.0", "http:app6:8080:fd77::1", "tcp:db:9090:0.0.0.0"
    )


def call(world, url: str) -> dict[str, str]:
    done = subprocess.run(
        ["ip", "netns", "exec", world.net.far, "curl", "-sS", "-m", "5", url],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def test_an_application_sees_inbound_connections_from_the_sidecars_source(world, application):
    assert call(world, f"http://{VM4}:8080/")["peer"] == "127.0.0.6"
    assert call(world, f"http://[{VM6}]:8080/")["peer"] == "::6"
    line = world.access_log(f"{VM4}:8080")[0]
    assert line["direction"] == "inbound"
    assert line["upstream_cluster"] == "InboundPassthroughCluster"
    assert line["client"].startswith("10.77.0.2:")


def test_a_service_of_this_vm_is_logged_by_its_name(world, application, make_service):
    world.mesh(
        make_service(
            "db.shop.svc.cluster.local",
            "10.96.0.20",
            ((VM4, 9090),),
            port=3306,
            protocol=AppProtocol.TCP,
        )
    )
    done = subprocess.run(
        ["ip", "netns", "exec", world.net.far, "curl", "-sS", "-m", "5", f"telnet://{VM4}:9090"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.startswith("db 127.0.0.6"), done
    line = world.access_log("inbound|9090||db.shop.svc.cluster.local")[0]
    assert line["service"] == "db.shop.svc.cluster.local"


def test_calling_oneself_by_the_services_address_works(world, application, make_service):
    world.mesh(make_service("me.shop.svc.cluster.local", "10.96.0.21", ((VM4, 8080),)))
    assert world.get("http://10.96.0.21/")["name"] == "app"


def test_inbound_to_our_own_port_leads_nowhere(world, application):
    code = subprocess.run(
        ["ip", "netns", "exec", world.net.far, "curl", "-sS", "-m", "5", f"http://{VM4}:15006/"],
        capture_output=True,
    ).returncode
    assert code in (52, 56)
    assert sum(world.stats("InboundPassthroughCluster;.upstream_cx_total").values()) == 0


def test_a_service_that_comes_leaves_open_inbound_connections_alone(
    world, application, make_service
):
    relay = subprocess.Popen(
        ["ip", "netns", "exec", world.net.far, "python3", "-c", CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert relay.stdout is not None
        assert relay.stdin is not None
        assert relay.stdout.readline().startswith("db 127.0.0.6")
        world.mesh(make_service("me.shop.svc.cluster.local", "10.96.0.21", ((VM4, 8080),)))
        time.sleep(0.2)
        relay.stdin.write("still\n")
        relay.stdin.flush()
        assert relay.stdout.readline() == "still\n"
    finally:
        relay.kill()
        relay.communicate()


CLIENT = f"""
import socket, sys
s = socket.create_connection(("{VM4}", 9090), 5)
f = s.makefile("rw")
print(f.readline(), end="", flush=True)
for line in sys.stdin:
    s.sendall(line.encode())
    print(f.readline(), end="", flush=True)
"""
