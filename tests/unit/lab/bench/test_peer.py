from __future__ import annotations

import re
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
import yaml

from interceptor.lab.bench import peer

LISTEN = IPv4Address("127.0.0.1")


@pytest.mark.parametrize("kind", peer.PEERS)
def test_every_server_is_given_every_name_once(kind: str) -> None:
    files = peer.PEERS[kind].render("/folder", LISTEN, 5353, 30)
    text = "".join(files.values())
    for name, address in peer.names(30):
        assert text.count(name) == 1
        assert sum(str(address) in re.split(r'[ "]', line) for line in text.splitlines()) == 1


@pytest.mark.parametrize("kind", peer.PEERS)
def test_every_server_listens_where_it_is_told_only(kind: str) -> None:
    config = next(iter(peer.PEERS[kind].render("/folder", LISTEN, 5353, 1).values()))
    places = [line for line in config.splitlines() if "127.0.0.1" in line or "5353" in line]
    assert 1 <= len(places) <= 2
    assert "0.0.0.0" not in config.replace("access-control: 0.0.0.0/0", "")


def test_names_are_spelt_as_the_load_generator_spells_them() -> None:
    assert peer.name(7) == peer.PATTERN.replace("######", "000007")
    assert [b - a for (_, x), (_, y) in pairwise(peer.names(3)) for a, b in [(int(x), int(y))]] == [
        1,
        1,
    ]


def test_an_upstream_without_names_of_the_mesh_has_no_zone_of_theirs() -> None:
    assert list(peer.zones(0)) == ["corp.example"]
    assert peer.ZONE in peer.zones(1)


def test_knots_configuration_is_the_yaml_that_it_reads() -> None:
    config = peer.render_knot("/folder", LISTEN, 53, 2)["knot.conf"]
    tree = yaml.safe_load(config)
    assert tree["server"]["listen"] == "127.0.0.1@53"
    assert {zone["domain"] for zone in tree["zone"]} == {peer.ZONE, "corp.example"}


def test_responses_are_not_rate_limited() -> None:
    assert "rrl-ratelimit: 0" in peer.render_nsd("/folder", LISTEN, 53, 1)["nsd.conf"]
