"""Containers behind a bridge: their queries meet us in PREROUTING, and are answered by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.netns.dns.conftest import Running, World

pytestmark = pytest.mark.root
SERVER4, SERVER6 = "10.99.0.1", "fd99::1"
CLIENT4, QUEUE = "10.99.0.2", 15053


@pytest.fixture(scope="module")
def container(world: World, plane: Running) -> str:
    """A namespace behind a bridge on the VM, which forwards and masquerades for it."""
    name = world.vm.replace("dv", "dc")
    link = f"c{name[2:]}"[:15]
    world.sh(f"ip netns add {name}")
    world._stack.callback(world.sh, f"ip netns del {name}")
    for line in (
        f"ip -n {world.vm} link add br0 type bridge",
        f"ip -n {world.vm} address add 10.55.0.1/24 dev br0",
        f"ip -n {world.vm} address add fd55::1/64 dev br0 nodad",
        f"ip -n {world.vm} link set br0 up",
        f"ip link add {link} netns {world.vm} type veth peer name eth0 netns {name}",
        f"ip -n {world.vm} link set {link} master br0",
        f"ip -n {world.vm} link set {link} up",
        f"ip -n {name} link set lo up",
        f"ip -n {name} address add 10.55.0.2/24 dev eth0",
        f"ip -n {name} address add fd55::2/64 dev eth0 nodad",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} route add default via 10.55.0.1",
        f"ip -n {name} route add default via fd55::1",
    ):
        world.sh(line)
    queue = f"-p udp --dport 53 -j NFQUEUE --queue-num {QUEUE} --queue-bypass"
    for line in (
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.br0.rp_filter=1",
        f"iptables-nft -t mangle -A PREROUTING -i br0 {queue}",
        f"ip6tables-nft -t mangle -A PREROUTING -i br0 {queue}",
        "iptables-nft -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
        "ip6tables-nft -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
        # As strict as hosts get: only what belongs to a known flow comes in.
        "iptables-nft -A FORWARD -o br0 -m conntrack ! --ctstate ESTABLISHED -j DROP",
    ):
        done = world.inside(world.vm, line)
        assert done.returncode == 0, done.stderr
    world.wait(
        lambda: all(
            world.inside(name, f"dig +tries=1 +time=1 @{server} www.other.test").returncode == 0
            for server in (SERVER4, SERVER6)
        )
    )
    return name


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_a_containers_mesh_queries_are_answered(
    world: World, plane: Running, container: str, server: str
) -> None:
    ask = f"dig +short +tries=1 +time=2 @{server}"
    assert world.inside(container, f"{ask} v4.bookinfo").stdout == "10.0.0.4\n"
    assert world.inside(container, f"{ask} AAAA reviews.bookinfo").stdout == "fd00::1\n"
    assert world.inside(container, f"{ask} www.other.test").stdout == "192.0.2.1\n"
    world.wait(lambda: plane.plane.counters.queries.get(("bridge", "answer", "A"), 0) >= 1, 3)


def test_an_answer_too_large_for_the_link_is_truncated(
    world: World, plane: Running, container: str
) -> None:
    ask = f"dig +ignore +tries=1 +time=2 +bufsize=4096 @{SERVER4} many.bookinfo"
    said = world.inside(container, ask).stdout
    assert "flags: qr aa tc rd ra" in said
    assert world.short("+bufsize=4096", "+ignore", "many.bookinfo")


def test_the_vm_itself_is_asked_through_the_bridge(
    world: World, plane: Running, container: str
) -> None:
    """Docker's own resolver sits on the bridge's address."""
    ask = "dig +short +tries=1 +time=2"
    for server in ("10.55.0.1", "fd55::1", CLIENT4):
        assert world.inside(container, f"{ask} @{server} v4.bookinfo").stdout == "10.0.0.4\n"
