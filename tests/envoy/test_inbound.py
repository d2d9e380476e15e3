"""What others reach on this VM through a real Envoy."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from interceptor.mesh.model import AppProtocol

pytestmark = [pytest.mark.root, pytest.mark.envoy]
VM4, VM6 = "10.77.0.1", "fd77::1"
SOURCES = ("127.0.0.6", "::6")


@pytest.fixture(scope="module")
def application(net):
    """Listens on every address of the VM, as applications do."""
    return net.serve(
        net.vm,
        "http:app:8080:0.0.0.0",
        "http:app6:8080:fd77::1",
        "http:app:8095:0.0.0.0",
        "http:app:8095:fd77::1",
        "tcp:db:9090:0.0.0.0",
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
        ["ip", "netns", "exec", world.net.far, "curl", "-sS", "-m", "1", f"telnet://{VM4}:9090"],
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


TPROXY_RULES = """
table inet sidecar_tproxy {
  chain prerouting {
    type filter hook prerouting priority -150;
    iifname "lo" meta mark 0x1dc2 ct mark set 0x1dc2
    iifname "eth0" tcp dport 8095 meta nfproto ipv4 tproxy ip to :15006 meta mark set 0x1dc2
    iifname "eth0" tcp dport 8095 meta nfproto ipv6 tproxy ip6 to :15006 meta mark set 0x1dc2
  }
  chain output {
    type route hook output priority -150;
    ct mark 0x1dc2 meta mark set 0x1dc2
  }
}
"""


@pytest.fixture
def transparent(net):
    """Rules by which packets for an application reach Envoy with nothing changed in them."""

    def vm(*argv: str, stdin: str | None = None) -> None:
        subprocess.run(["ip", "netns", "exec", net.vm, *argv], input=stdin, text=True, check=True)

    vm("nft", "-f", "-", stdin=TPROXY_RULES)
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        vm("ip", family, "rule", "add", "fwmark", "0x1dc2", "lookup", "15006")
        vm("ip", family, "route", "add", "local", everything, "dev", "lo", "table", "15006")
    yield
    vm("nft", "delete", "table", "inet", "sidecar_tproxy")
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        vm("ip", family, "rule", "del", "fwmark", "0x1dc2", "lookup", "15006")
        vm("ip", family, "route", "del", "local", everything, "dev", "lo", "table", "15006")


@pytest.mark.parametrize("keep", [False, True])
def test_by_tproxy_the_application_sees_the_client_where_asked(
    make_world, application, transparent, keep
):
    world = make_world("capture: {inbound: {mode: tproxy}}\n")
    world.set(keep_client=keep)
    world.start()
    four, six = (call(world, f"http://{host}:8095/")["peer"] for host in (VM4, f"[{VM6}]"))
    if keep:
        assert four == "10.77.0.2"
        assert six in ("fd77::2", "fd77::3", "fd77::4")
    else:
        assert (four, six) == SOURCES
    line = world.access_log(f"{VM4}:8095")[0]
    assert line["client"].startswith("10.77.0.2:")
    assert line["direction"] == "inbound"


CLIENT = f"""
import socket, sys
s = socket.create_connection(("{VM4}", 9090), 5)
f = s.makefile("rw")
print(f.readline(), end="", flush=True)
for line in sys.stdin:
    s.sendall(line.encode())
    print(f.readline(), end="", flush=True)
"""
