"""Matches of nft's JSON."""

from __future__ import annotations

from ipaddress import ip_network

from interceptor.capture import nftmatch
from interceptor.capture.nfttext import statement
from interceptor.capture.rule import (
    Cgroup,
    Condition,
    Destination,
    DestinationLocal,
    DestinationSet,
    Interface,
    Owner,
    OwnerKind,
    Port,
    SetName,
)

OUT = nftmatch.Where(6, True, frozenset({"a/b"}), "/sys/fs/cgroup/unified")


def text(condition: Condition, where: nftmatch.Where = OUT) -> list[str]:
    return [statement(match) for match in nftmatch.alternatives(condition, where)]


def test_each_condition_is_one_match() -> None:
    assert text(Interface(("lo",))) == ['meta oifname "lo"']
    assert text(Interface(("b", "a")), nftmatch.Where(0, False)) == ['meta iifname { "a", "b" }']
    assert text(Destination((ip_network("fd00::/8"),), True)) == ["ip6 daddr != fd00::/8"]
    assert text(DestinationSet(SetName.DNS)) == ["ip6 daddr @dns6"]
    assert text(DestinationLocal(True)) == ["fib daddr type != local"]
    assert text(Port((2, 1), True)) == ["th dport != { 1, 2 }"]
    assert text(Owner(OwnerKind.GID, (5,))) == ["meta skgid 5"]


def test_a_cgroup_is_matched_at_its_level_below_the_mount() -> None:
    assert text(Cgroup(("/a/b", "no/such"))) == ['socket cgroupv2 level 2 "unified/a/b"']
