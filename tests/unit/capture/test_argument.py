"""One rule as iptables takes it."""

from __future__ import annotations

import shlex
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture.argument import Dialect, lines, quote
from interceptor.capture.rule import (
    Cgroup,
    Condition,
    Destination,
    DestinationLocal,
    DestinationSet,
    Hook,
    Interface,
    Mark,
    Owner,
    OwnerKind,
    Port,
    Rule,
    SetName,
    Source,
    Verdict,
)

DIALECT = Dialect(4, True, ("udp", "tcp"), frozenset({"a/b"}))


def of(*conditions: Condition, protocol: str = "", dialect: Dialect = DIALECT) -> list[str]:
    rule = Rule(4, Hook.OUTPUT, Verdict.PASS, "why", conditions, protocol)
    remark = ' -m comment --comment "interceptor 4: why" -j RETURN'
    return [
        line.removesuffix(remark) if line != remark.strip() else ""
        for line in lines(rule, dialect, "-j RETURN", False)
    ]


def test_pieces_stand_in_the_order_of_iptables_save() -> None:
    conditions = (
        Mark(7),
        Port((80,)),
        Interface(("lo",)),
        Destination((ip_network("10.0.0.0/8"),)),
        Source((ip_network("127.0.0.6/32"),), negate=True),
    )
    assert of(*conditions, protocol="tcp") == [
        "! -s 127.0.0.6/32 -d 10.0.0.0/8 -o lo -p tcp -m mark --mark 0x7 -m tcp --dport 80"
    ]


def test_several_values_are_several_lines() -> None:
    assert of(Owner(OwnerKind.UID, (5, 6))) == ["-m owner --uid-owner 5", "-m owner --uid-owner 6"]
    assert of(Port((53,))) == ["-p udp -m udp --dport 53", "-p tcp -m tcp --dport 53"]


def test_none_of_several_is_one_line() -> None:
    assert of(Owner(OwnerKind.GID, (5, 6), True)) == [
        "-m owner ! --gid-owner 5 -m owner ! --gid-owner 6"
    ]


def test_ports_come_fifteen_at_a_time() -> None:
    many = tuple(range(100, 117))
    assert [line.count(",") for line in of(Port(many), protocol="tcp")] == [14, 1]
    (line,) = of(Port(many, negate=True), protocol="tcp")
    assert line.count("multiport ! --dports") == 2


def test_a_cgroup_that_does_not_exist_holds_nobody() -> None:
    assert of(Cgroup(("a/b", "no/such"))) == ["-m cgroup --path a/b"]
    assert of(Cgroup(("no/such",))) == []
    assert of(Cgroup(("no/such",), negate=True)) == [""]


def test_sets_are_looked_up_or_written_out() -> None:
    condition = DestinationSet(SetName.OUTBOUND)
    assert of(condition) == ["-m set --match-set interceptor_outbound4 dst"]
    networks = (ip_network("10.0.0.0/8"), ip_network("10.9.9.9/32"))
    out = Dialect(4, True, ("tcp",), frozenset(), lambda name: networks)
    assert of(condition, dialect=out) == ["-d 10.0.0.0/8", "-d 10.9.9.9/32"]
    empty = Dialect(4, True, ("tcp",), frozenset(), lambda name: ())
    assert of(condition, dialect=empty) == ["-d 0.0.0.0/32"]


def test_the_kernel_says_what_is_local() -> None:
    assert of(DestinationLocal(negate=True)) == ["-m addrtype ! --dst-type LOCAL"]


def test_what_one_rule_cannot_say_is_refused() -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("11.0.0.0/8"))
    with pytest.raises(ValueError, match="one network"):
        of(Destination(networks, negate=True))


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_a_quoted_comment_is_one_word_again(text: str) -> None:
    assert shlex.split(quote(text).replace("\\'", "'")) == [text]
