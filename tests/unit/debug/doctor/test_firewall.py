"""Firewalls before us, behind us and in our way."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor import config
from interceptor.debug.doctor import firewall, ruleset
from interceptor.debug.doctor.check import Check, State
from interceptor.debug.doctor.fact import Facts, Host, Net
from interceptor.debug.doctor.packet import Ruleset
from interceptor.host.nameservice import NameService
from interceptor.host.routechoice import Choice

OWN, SERVER = ip_address("10.0.0.1"), ip_address("10.0.0.53")
WAY = Choice(ip_address("240.240.0.1"), OWN, "eth0")
CONFIG = config.parse("capture: {inbound: {ports: [8080]}}")


def facts(backend: str, rules: Ruleset, neighbours: tuple[str, ...] = ()) -> Facts:
    return Facts(
        host=Host(backends=(backend, backend)),
        net=Net(addresses=(OWN,), usual=(OWN,), ways=(("VIPs (IPv4)", WAY),)),
        names=NameService(servers=(SERVER,)),
        ruleset=rules,
        neighbours=neighbours,
    )


def save(table: str, *rules: str, policy: str = "ACCEPT") -> Ruleset:
    hooks = {rule.split()[1] for rule in rules} | {"OUTPUT"}
    heads = [f":{hook} {policy} [0:0]" for hook in sorted(hooks)]
    return ruleset.parse_save("\n".join([f"*{table}", *heads, *rules, "COMMIT"]), "iptables")


def faults(backend: str, rules: Ruleset) -> dict[str, Check]:
    found = firewall.decide(facts(backend, rules), CONFIG)
    return {each.name: each for each in found if each.state is State.FAULT}


@pytest.mark.parametrize("backend", ["nftables", "iptables", "ebpf"])
def test_without_rules_of_others_all_is_well(backend: str) -> None:
    (check,) = firewall.decide(facts(backend, Ruleset()), CONFIG)
    assert (check.state, check.seen) == (State.OK, "none")


def test_outgoing_traffic_that_is_denied_catches_what_was_redirected() -> None:
    rules = save(
        "filter",
        "-A OUTPUT -o lo -j ACCEPT",
        "-A OUTPUT -p udp -m udp --dport 53 -j ACCEPT",
        policy="DROP",
    )
    found = faults("nftables", rules)
    assert set(found) == {"DNS answer (IPv4)", "redirected call (IPv4)"}
    assert "policy drop" in found["redirected call (IPv4)"].seen
    assert "127.0.0.1 port 15001" in found["redirected call (IPv4)"].cure
    assert not faults("ebpf", rules), "programs stand outside of it"


def test_a_redirect_that_comes_before_ours_is_named() -> None:
    rules = save("mangle", "-A OUTPUT -p tcp -j DROP")
    (check,) = faults("nftables", rules).values()
    assert check.name == "call to a VIP (IPv4)"
    assert "iptables mangle OUTPUT, output priority -150" in check.seen


def test_a_redirect_behind_ours_takes_nothing_from_us() -> None:
    assert not faults("nftables", save("nat", "-A OUTPUT -p tcp -j REDIRECT --to-ports 9"))


def test_a_rule_before_our_jump_in_the_same_chain_takes_packets_past_us() -> None:
    rules = save("nat", "-A OUTPUT -p tcp -j ACCEPT", "-A OUTPUT -p tcp -j INTERCEPTOR_OUTPUT")
    (check,) = faults("iptables", rules).values()
    assert "past our rules" in check.seen
    assert "-p tcp -j ACCEPT" in check.seen
    behind = save("nat", "-A OUTPUT -p tcp -j INTERCEPTOR_OUTPUT", "-A OUTPUT -p tcp -j ACCEPT")
    assert not faults("iptables", behind)


def test_a_query_that_is_dropped_never_reaches_the_program() -> None:
    found = faults("ebpf", save("filter", "-A OUTPUT -p udp --dport 53 -j REJECT"))
    assert set(found) == {"DNS query (IPv4)"}


def test_inbound_the_port_is_another_with_a_redirect() -> None:
    rules = save("filter", "-A INPUT -p tcp --dport 15006 -j DROP")
    assert set(faults("nftables", rules)) == {"captured call from others (IPv4)"}
    assert not faults("ebpf", rules)


def test_what_may_apply_is_a_note() -> None:
    rules = save("filter", "-A OUTPUT -m set --match-set x dst -j ACCEPT", policy="DROP")
    found = list(firewall.decide(facts("ebpf", rules), CONFIG))
    assert {each.state for each in found} == {State.FAULT}
    rules = save("nat", "-A OUTPUT -m set --match-set x dst -j DNAT --to 10.0.0.9")
    rules = Ruleset({key: replace(each, priority=-200) for key, each in rules.chains.items()})
    states = {each.state for each in firewall.decide(facts("nftables", rules), CONFIG)}
    assert states == {State.NOTE}


def test_another_mesh_s_agent_is_a_fault() -> None:
    line = "Istio: iptables ISTIO_OUTPUT (nat OUTPUT)"
    found = list(firewall.decide(facts("ebpf", Ruleset(), (line,)), CONFIG))
    assert (found[0].name, found[0].state) == ("Istio", State.FAULT)


def test_neighbours_that_do_no_harm_are_named() -> None:
    line = "Docker: iptables DOCKER (nat OUTPUT)"
    found = list(firewall.decide(facts("ebpf", Ruleset(), (line,)), CONFIG))
    assert (found[0].name, found[0].state, found[0].seen) == ("neighbours", State.OK, line)
