from __future__ import annotations

from ipaddress import IPv4Network
from itertools import pairwise

from interceptor.lab.bench import connection


def test_ten_thousand_cidrs_do_not_touch_each_other() -> None:
    networks = sorted(IPv4Network(text) for text in connection.build_cidrs(connection.MANY))
    assert len(networks) == connection.MANY
    gaps = [int(b[0]) - int(a[-1]) for a, b in pairwise(networks)]
    assert min(gaps) > 1, "a set would merge what is adjacent"


def test_each_variant_has_a_host_of_its_own_beside_the_server() -> None:
    made = connection.setups(("ebpf", "nftables"))
    names = [host.name for host in connection.world(made).hosts]
    assert len(names) == len(set(names)) == len(made) + 1
    assert {"noagent", "direct", "ebpf-10k", "istio-10k", "svc"} <= set(names)


def test_every_row_compares_variants_that_there_are() -> None:
    names = {setup.name for setup in connection.setups(connection.BACKENDS)}
    for row in connection.PARTS[0].rows:
        assert {row.ours, row.theirs} <= names
        assert row.figure in connection.FIGURES
