"""Who stands at our hooks, in what the host's tools printed (Debian 12: nft 1.0.6, ufw 0.36)."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.capture import neighbour
from interceptor.capture.neighbour import Neighbour
from interceptor.host.tc import ETH_P_ALL_BE, Filter, Hook

DATA = Path(__file__).parents[2] / "data" / "neighbours"


def read(name: str) -> str:
    return (DATA / name).read_text()


def test_tables_of_others_are_named_and_placed_by_their_priority() -> None:
    found = neighbour.decide_tables(neighbour.parse_bases(read("firewalld-chains.json")))
    assert found == (
        Neighbour(
            "output, type nat, priority -90",
            "nft table inet firewalld, chain nat_OUTPUT",
            "firewalld",
            "after",
        ),
        Neighbour(
            "prerouting, type filter, priority -140",
            "nft table inet firewalld, chain mangle_PREROUTING",
            "firewalld",
            "before",
        ),
        Neighbour(
            "output, type route, priority -300", "nft table ip mine, chain early", "", "before"
        ),
    )


def test_where_we_have_no_table_nobody_stands_before_or_after() -> None:
    bases = [
        base for base in neighbour.parse_bases(read("firewalld-chains.json")) if not base.is_ours
    ]
    assert {each.place for each in neighbour.decide_tables(bases)} == {""}


def test_rules_of_others_in_the_built_in_chains_stand_before_or_after_our_jumps() -> None:
    found = neighbour.parse_save(read("docker-and-kubernetes.save"), "iptables")
    assert [each.text() for each in found] == [
        "somebody: iptables MARK (mangle OUTPUT)",
        "Docker: iptables DOCKER (nat PREROUTING)",
        "Docker: iptables DOCKER (nat OUTPUT, before ours)",
        "Kubernetes: iptables KUBE-SERVICES (nat OUTPUT, after ours)",
        "somebody: iptables DNAT (nat OUTPUT, after ours)",
    ]


def test_a_firewall_of_many_chains_is_told_of_once_a_hook() -> None:
    found = neighbour.parse_save(read("ufw.save"), "iptables")
    assert [each.text() for each in found] == [
        "ufw: iptables ufw-before-logging-output (filter OUTPUT)"
    ]


def test_a_host_with_nobody_has_no_neighbours() -> None:
    assert neighbour.decide_tables(neighbour.parse_bases("")) == ()
    assert neighbour.parse_save("", "iptables") == ()
    assert neighbour.parse_filters((), {}) == ()


def filter_named(name: str, priority: int, index: int = 2) -> Filter:
    return Filter(index, Hook.EGRESS, priority, 1, "bpf", ETH_P_ALL_BE, 0, name, 9, "00")


def test_filters_of_others_on_a_device_are_told_and_ours_are_not() -> None:
    ours = filter_named("interceptor_dns_egress", 2)
    found = neighbour.parse_filters(
        [
            filter_named("shaper", 1),
            ours,
            filter_named("cil_to_netdev", 3),
            filter_named("x", 1, 7),
        ],
        {2: "eth0"},
    )
    assert [each.text() for each in found] == [
        "somebody: bpf filter shaper (tc eth0 egress, priority 1, before ours)",
        "Cilium: bpf filter cil_to_netdev (tc eth0 egress, priority 3, after ours)",
        "somebody: bpf filter x (tc 7 egress, priority 1)",
    ]


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("firewalld", "firewalld"),
        ("OUTPUT_direct", "firewalld"),
        ("ufw6-before-output", "ufw"),
        ("DOCKER-USER", "Docker"),
        ("KUBE-PROXY-CANARY", "Kubernetes"),
        ("cali-OUTPUT", "Calico"),
        ("cali:tc:1", "Calico"),
        ("CILIUM_OUTPUT_nat", "Cilium"),
        ("cil_from_netdev", "Cilium"),
        ("LIBVIRT_OUT", "libvirt"),
        ("libvirt_network", "libvirt"),
        ("ISTIO_OUTPUT", "Istio"),
        ("NETAVARK-HOSTPORT-DNAT", "Podman"),
        ("ts-postrouting", "Tailscale"),
        ("f2b-sshd", "fail2ban"),
        ("wg-quick-wg0", "wg-quick"),
        ("MASQUERADE", ""),
        ("DNAT", ""),
        ("output", ""),
    ],
)
def test_names_tell_whose_something_is(name: str, owner: str) -> None:
    assert neighbour.owner(name) == owner
