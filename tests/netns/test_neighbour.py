"""Beside those who share a VM's network with us, in plain namespaces: what is theirs works as
it did, what is ours too, through their reload, and `clean` leaves what they would see without us.

Those that systemd runs (firewalld, ufw, nftables.service, systemd-resolved) are in tests/systemd.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import service, snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

NAME, OTHER = "reviews.bookinfo.svc.cluster.local", "www.corp.example"
ADDRESS, OTHERS_ADDRESS = "10.96.0.11", "10.77.0.61"
RESOLVER, LOCAL_RESOLVER = "10.77.0.53", "127.0.0.1"
Start = Callable[..., Agent]


@pytest.fixture(params=["iptables", "nftables", "ebpf"])
def backend(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
def start(lab: Lab, backend: str) -> Iterator[Start]:
    """A maker of a running agent on the VM."""
    started: list[Agent] = []

    def one(over: dict[str, object] | None = None, **capture: object) -> Agent:
        whole = {"capture": {"backend": backend, **capture}, **(over or {})}
        started.append(lab_agent.prepare(lab, "vm", whole))
        started[-1].start()
        return started[-1]

    yield one
    for agent in started:
        agent.stop()
        agent.run("clean")


def sh(lab: Lab, script: str, host: str = "vm") -> str:
    return lab.run(host, ["sh", "-euc", script]).stdout


def dig(lab: Lab, name: str = NAME, *words: str) -> str:
    argv = ["dig", "+short", "+tries=1", "+timeout=1", *words, name]
    return lab.run("vm", argv, check=False).stdout.strip()


def curl(lab: Lab, url: str, host: str = "vm") -> str:
    argv = ["curl", "--silent", "--max-time", "5", url]
    return lab.run(host, argv, check=False).stdout.strip()


def expect_mesh(lab: Lab) -> None:
    """A mesh service is called by its name, through the sidecar: nobody else has its address."""
    assert dig(lab) == ADDRESS
    assert dig(lab, NAME, "+tcp") == ADDRESS
    assert curl(lab, f"http://{NAME}:9080/").startswith("reviews")
    assert dig(lab, OTHER) == OTHERS_ADDRESS
    assert dig(lab, OTHER, "+tcp") == OTHERS_ADDRESS
    assert curl(lab, f"http://{OTHER}/") == OTHER


def expect_clean(lab: Lab, agent: Agent, before: snapshot.Snapshot) -> None:
    assert agent.stop() == 0, agent.log()
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""


# --- a container runtime: a bridge, and published ports by DNAT

DOCKER = """
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.30.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.30.0.2:80
COMMIT
*filter
:DOCKER-USER - [0:0]
:DOCKER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.30.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"""
DOCKER_AGAIN = """
*nat
-F DOCKER
-D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-D OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-I PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-I OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.30.0.2:80
COMMIT
"""
BRIDGE = """
ip link add docker0 type bridge; ip address add 172.30.0.1/16 dev docker0; ip link set docker0 up
ip link add veth0 type veth peer name eth0 netns {container}
ip link set veth0 master docker0; ip link set veth0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
"""
CONTAINER = """
ip address add 172.30.0.2/16 dev eth0; ip link set eth0 up; ip route add default via 172.30.0.1
"""


def add_container(lab: Lab, namespaces: Callable[[str], Any]) -> Any:
    """A container that serves HTTP on port 80, published on the VM's port 8088."""
    container = namespaces("container")
    sh(lab, BRIDGE.format(container=container.name))
    container.sh(CONTAINER)
    container.web = container.call(
        lab_agent.command.start, [sys.executable, "-m", service.__name__, "http:box:80:172.30.0.2"]
    )
    lab.run("vm", ["iptables-restore"], DOCKER)
    wait_until(lambda: curl(lab, "http://172.30.0.2/") == "box", "the container's server")
    return container


def expect_published(lab: Lab, container: Any) -> None:
    """By the VM itself, and by another machine; and the container still has its own network."""
    assert curl(lab, "http://10.77.0.10:8088/") == "box"
    assert curl(lab, "http://10.77.0.10:8088/", "svc1") == "box"
    ask = f"dig +short +tries=1 +timeout=2 @{RESOLVER} {{}}"
    assert container.sh(ask.format(OTHER)).strip() == OTHERS_ADDRESS
    assert container.sh(ask.format(NAME)).strip() == "", "it has not opted in"


def test_published_ports_of_containers_work_beside_us_and_through_their_rewrite(
    lab: Lab, start: Start, namespaces: Callable[[str], Any]
) -> None:
    container = add_container(lab, namespaces)
    try:
        before = snapshot.observe(lab, "vm")
        agent = start(inbound={"ports": [8080]})
        expect_published(lab, container)
        expect_mesh(lab)
        lab.run("vm", ["iptables-restore", "--noflush"], DOCKER_AGAIN)
        expect_published(lab, container)
        wait_until(lambda: dig(lab) == ADDRESS, "our rules again", 2)
        expect_mesh(lab)
        assert agent.stop() == 0, agent.log()
        # Their jumps moved to the front by their own doing; else all is as it was.
        lab.run("vm", ["iptables-restore"], DOCKER)
        assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""
        expect_published(lab, container)
    finally:
        container.web.stop()


# --- somebody else's filter in clsact

FOREIGN = """
tc qdisc add dev eth0 clsact
tc filter add dev eth0 egress pref {pref} bpf bytecode "1,6 0 0 4294967295," classid 1:1
"""
"""It takes every packet, and sends it on its way: no filter behind it is asked."""


@pytest.mark.parametrize("pref", [1, 7])
def test_a_foreign_filter_keeps_its_place(lab: Lab, start: Start, pref: int) -> None:
    sh(lab, FOREIGN.format(pref=pref))
    before = snapshot.observe(lab, "vm")
    agent = start()
    expect_mesh(lab)
    assert "flowid 1:1" in sh(lab, "tc filter show dev eth0 egress")
    expect_clean(lab, agent, before)


def test_a_filter_that_is_exchanged_under_our_eyes_stays_exchanged(lab: Lab, start: Start) -> None:
    """As Cilium's agent does at its restart: clsact goes with all filters, and comes again."""
    sh(lab, FOREIGN.format(pref=1))
    before = snapshot.observe(lab, "vm")
    agent = start()
    sh(lab, "tc qdisc del dev eth0 clsact")
    sh(lab, FOREIGN.format(pref=1))
    wait_until(lambda: dig(lab) == ADDRESS, "our filter again", 2)
    expect_mesh(lab)
    expect_clean(lab, agent, before)


# --- a VPN in the manner of wg-quick: everything but its own packets by another table

POLICY_ROUTES = """
ip link add wg0 type veth peer name peer0 netns {peer}
ip address add 10.88.0.2/24 dev wg0; ip link set wg0 up
ip address add fd88::2/64 dev wg0 nodad
ip route add default via 10.88.0.1 dev wg0 table 51820
ip -6 route add default via fd88::1 dev wg0 table 51820
for family in -4 -6; do
    ip $family rule add not fwmark 51820 table 51820
    ip $family rule add table main suppress_prefixlength 0
done
"""
PEER = """
ip address add 10.88.0.1/24 dev peer0; ip address add fd88::1/64 dev peer0 nodad
ip address add 203.0.113.53/32 dev lo; ip link set peer0 up
"""


def test_policy_routes_of_a_vpn_stay_in_force(
    lab: Lab, start: Start, namespaces: Callable[[str], Any], backend: str
) -> None:
    # Where there is TPROXY it has a policy rule of its own beside the VPN's.
    mode = "redirect" if backend == "ebpf" else "tproxy"
    peer = namespaces("peer")
    sh(lab, POLICY_ROUTES.format(peer=peer.name))
    peer.sh(PEER)
    words = [sys.executable, "-m", service.__name__, "http:beyond:80:203.0.113.53"]
    web = peer.call(lab_agent.command.start, words)
    try:
        wait_until(lambda: curl(lab, "http://203.0.113.53/") == "beyond", "the VPN's far end")
        before = snapshot.observe(lab, "vm")
        agent = start(inbound={"ports": [8080], "mode": mode})
        expect_mesh(lab)
        assert curl(lab, "http://203.0.113.53/") == "beyond"
        # A resolver behind the VPN gets the mesh's names as little as any other.
        assert dig(lab, NAME, "@203.0.113.53") == ADDRESS
        expect_clean(lab, agent, before)
    finally:
        web.stop()


# --- resolvers


def link_local(lab: Lab, host: str) -> str:
    words = sh(lab, "ip -6 -o address show dev eth0 scope link", host).split()
    return words[3].partition("/")[0]


@pytest.fixture
def resolv_conf(lab: Lab) -> Path:
    """The VM's own: what is bound over /etc/resolv.conf there."""
    return Path("/etc/netns") / lab.namespace("vm") / "resolv.conf"


def test_a_resolver_on_a_link_local_address_with_a_zone(
    lab: Lab, start: Start, resolv_conf: Path
) -> None:
    address = link_local(lab, "dns")
    resolv_conf.write_text(f"nameserver {address}%eth0\nsearch corp.example\n")
    agent = start({"dns": {"servers": "resolv.conf"}})
    resolve = [sys.executable, "-c", "import socket, sys; print(socket.gethostbyname(sys.argv[1]))"]
    assert lab.run("vm", [*resolve, NAME]).stdout.strip() == ADDRESS
    assert lab.run("vm", [*resolve, "www"]).stdout.strip() == OTHERS_ADDRESS
    assert curl(lab, f"http://{NAME}:9080/").startswith("reviews")
    # Queries to a server that is not in resolv.conf are nobody's business.
    assert dig(lab, NAME, f"@{RESOLVER}") == ""
    assert agent.stop() == 0


def test_a_caching_dnsmasq_on_loopback_is_no_loop_and_keeps_its_clients(
    lab: Lab, start: Start, resolv_conf: Path, tmp_path: Path
) -> None:
    log = tmp_path / "dnsmasq.log"
    log.touch()
    log.chmod(0o666)
    argv = ["dnsmasq", "--keep-in-foreground", "--user=root", "--no-resolv", "--pid-file=",
            f"--server={RESOLVER}", f"--listen-address={LOCAL_RESOLVER}", "--bind-interfaces",
            "--log-queries", f"--log-facility={log}"]  # fmt: skip
    resolv_conf.write_text(f"nameserver {LOCAL_RESOLVER}\nsearch corp.example\n")
    server = lab.start("vm", argv, "local-dnsmasq")
    wait_until(lambda: dig(lab, OTHER) == OTHERS_ADDRESS, "dnsmasq on loopback")
    assert dig(lab) == "", "and so the name is in its cache as one that does not exist"
    agent = start()
    expect_mesh(lab)
    before = log.read_text().count(NAME)
    expect_mesh(lab)
    assert log.read_text().count(NAME) == before, "a mesh name came as far as the cache"
    server.stop()
    assert dig(lab) == ADDRESS
    server = lab.start("vm", argv, "local-dnsmasq")
    wait_until(lambda: dig(lab, OTHER) == OTHERS_ADDRESS, "dnsmasq again")
    agent.kill()
    assert dig(lab, OTHER) == OTHERS_ADDRESS
    agent.start()
    expect_mesh(lab)
    server.stop()
