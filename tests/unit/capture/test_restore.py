"""Texts of iptables-restore: golden files of every shape, and the way back from iptables-save."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from interceptor.capture import restore, xtables


@pytest.mark.parametrize("version", [4, 6])
def test_each_shape_has_its_text(make: Any, shape: str, version: int, golden: Any) -> None:
    chains = xtables.render(make(shape), version)
    golden(f"iptables_{shape}_v{version}.txt", restore.install(chains, restore.Saved()))


def test_without_ipset_the_elements_are_rules(make: Any, golden: Any) -> None:
    chains = xtables.render(make("default"), 4, ipset=False)
    golden("iptables_default_v4_without_ipset.txt", restore.install(chains, restore.Saved()))


def saved_of(chains: tuple[xtables.Chain, ...], foreign: str = "") -> restore.Saved:
    """What iptables-save would show of a host where the chains are."""
    tables = sorted({chain.table for chain in chains})
    out = []
    for table in tables:
        out.append(f"*{table}\n:OUTPUT ACCEPT [1:2]\n:PREROUTING ACCEPT [0:0]")
        here = [chain for chain in chains if chain.table == table]
        out += [f":{chain.name} - [0:0]" for chain in here]
        for one in reversed(xtables.in_order(here)):
            out += [f"-A {one.hook} {jump}" for jump in one.jumps]
        out += [f"-A {chain.name} {rule}" for chain in here for rule in chain.rules]
        out.append(foreign + "COMMIT")
    return restore.parse("\n".join(out) + "\n")


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_installed_is_recognised(make: Any, shape: str, version: int) -> None:
    chains = xtables.render(make(shape), version)
    assert restore.observed(saved_of(chains)) == restore.listing(chains)


def test_a_second_install_moves_the_jumps_and_flushes_the_chains(make: Any) -> None:
    chains = xtables.render(make("tcp_only_ipv4"), 4)
    text = restore.install(chains, saved_of(chains))
    assert text.count("\n-D OUTPUT ") == text.count("\n-I OUTPUT 1 ") == 1
    assert ":INTERCEPTOR_OUTPUT - [0:0]\n" in text


def test_a_chain_that_a_new_plan_lacks_goes(make: Any) -> None:
    before = xtables.render(make("default"), 4)
    text = restore.install(xtables.render(make("tcp_only_ipv4"), 4), saved_of(before))
    assert "-X INTERCEPTOR_DNS\n" in text
    assert text.index("-D OUTPUT") < text.index("-X INTERCEPTOR_DNS")


def test_removal_takes_ours_and_leaves_the_others(make: Any) -> None:
    chains = xtables.render(make("everything"), 4)
    foreign = "-A OUTPUT -p udp -j DOCKER\n-A DOCKER -m comment --comment INTERCEPTOR_OUTPUT -j X\n"
    text = restore.remove(saved_of(chains, foreign))
    assert "DOCKER" not in text
    assert text.count("-D ") == sum(len(chain.jumps) for chain in chains)
    assert {line for line in text.splitlines() if line.startswith("-X")} == {
        f"-X {chain.name}" for chain in chains
    }


def test_of_a_host_without_us_nothing_is_removed() -> None:
    assert (
        restore.remove(restore.parse("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j X\nCOMMIT\n")) == ""
    )


def test_the_undo_of_some_chains_is_their_removal(make: Any) -> None:
    chains = xtables.render(make("everything"), 4)
    undo, removal = restore.undo(chains), restore.remove(saved_of(chains))
    assert sorted(undo.splitlines()) == sorted(removal.splitlines())


def test_only_what_was_not_there_is_marked_as_new(make: Any) -> None:
    chains = xtables.render(make("tcp_only_ipv4"), 4)

    def markers(saved: restore.Saved) -> set[str]:
        text = restore.install(chains, saved)
        return {line[1:].split()[0] for line in text.splitlines() if line.startswith(":")} - {
            chain.name for chain in chains
        }

    assert markers(restore.Saved(bases=frozenset())) == {
        "INTERCEPTOR_NEW_TABLE",
        "INTERCEPTOR_NEW_OUTPUT",
    }
    there = restore.parse("*nat\nCOMMIT\n", frozenset({("nat", "PREROUTING")}))
    assert markers(there) == {"INTERCEPTOR_NEW_OUTPUT"}
    assert markers(restore.parse("*nat\nCOMMIT\n", frozenset({("nat", "OUTPUT")}))) == set()
    assert markers(restore.Saved(bases=None)) == set()


def test_what_was_new_is_swept_unless_somebody_uses_it() -> None:
    text = (
        "*nat\n:OUTPUT ACCEPT [0:0]\n:INTERCEPTOR_NEW_TABLE - [0:0]\n"
        ":INTERCEPTOR_NEW_OUTPUT - [0:0]\n:INTERCEPTOR_OUTPUT - [0:0]\n"
        "-A OUTPUT -p tcp -j INTERCEPTOR_OUTPUT\n{}COMMIT\n"
    )
    bases = frozenset({("nat", "OUTPUT")})
    swept = restore.sweep(restore.parse(text.format(""), bases), 4)
    unmarked = (
        "delete chain ip nat INTERCEPTOR_NEW_OUTPUT\ndelete chain ip nat INTERCEPTOR_NEW_TABLE\n"
    )
    assert swept == f"delete chain ip nat OUTPUT\n{unmarked}delete table ip nat\n"
    used = restore.parse(text.format("-A OUTPUT -j X\n"), bases)
    assert restore.sweep(used, 4) == restore.unmark(used, 4) == unmarked
    beside = restore.parse(text.format(""), bases | {("nat", "INPUT")})
    assert restore.sweep(beside, 4) == f"delete chain ip nat OUTPUT\n{unmarked}"


def test_markers_outlive_the_removal_so_that_a_sweep_can_be_made_up_for() -> None:
    text = (
        "*nat\n:OUTPUT ACCEPT [0:0]\n:INTERCEPTOR_NEW_TABLE - [0:0]\n"
        ":INTERCEPTOR_OUTPUT - [0:0]\n-A OUTPUT -p tcp -j INTERCEPTOR_OUTPUT\nCOMMIT\n"
    )
    removal = restore.remove(restore.parse(text, frozenset()))
    assert "-X INTERCEPTOR_OUTPUT" in removal
    assert "NEW_TABLE" not in removal
    assert "-X INTERCEPTOR_NEW_TABLE" in restore.remove(restore.parse(text)), "legacy has no sweep"


def test_markers_that_a_firewall_flushed_are_put_back_and_count_in_the_sweep(make: Any) -> None:
    chains = xtables.render(make("tcp_only_ipv4"), 4)
    before = restore.parse(restore.install(chains, restore.Saved(bases=frozenset())), frozenset())
    assert before.markers() == {("nat", "INTERCEPTOR_NEW_TABLE"), ("nat", "INTERCEPTOR_NEW_OUTPUT")}
    bases = frozenset({("nat", "OUTPUT")})
    flushed = restore.parse("*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", bases)
    assert "NEW_" not in restore.install(chains, flushed), "somebody else's, for all we know"
    flushed = replace(flushed, once=before.markers())
    assert restore.parse(restore.install(chains, flushed)).markers() == before.markers()
    assert restore.sweep(flushed, 4) == "delete chain ip nat OUTPUT\ndelete table ip nat\n"
    assert restore.sweep(replace(flushed, bases=frozenset()), 4) == "delete table ip nat\n"
    assert restore.sweep(replace(flushed, once=frozenset()), 4) == ""


def test_base_chains_are_read_from_nft() -> None:
    listing = """{"nftables": [{"metainfo": {}},
      {"chain": {"family": "ip", "table": "nat", "name": "OUTPUT", "handle": 1, "hook": "output"}},
      {"chain": {"family": "ip", "table": "nat", "name": "DOCKER", "handle": 2}},
      {"chain": {"family": "ip6", "table": "nat", "name": "INPUT", "hook": "input"}}]}"""
    assert restore.parse_bases(listing, 4) == {("nat", "OUTPUT")}
    assert restore.parse_bases("", 4) == frozenset()


def test_a_refused_text_can_be_tried_line_by_line() -> None:
    assert restore.singly("*nat\n-F X\nCOMMIT\n*mangle\n-X Y\nCOMMIT\n") == (
        ("nat", "-F X"),
        ("mangle", "-X Y"),
    )
