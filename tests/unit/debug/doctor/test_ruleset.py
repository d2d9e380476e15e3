"""Others' rules as nft and iptables-save tell them."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

from interceptor.debug.doctor import packet, ruleset
from interceptor.debug.doctor.packet import Packet, Ruleset

NEIGHBOURS = Path(__file__).parents[3] / "data" / "neighbours"
NFT = {
    "nftables": [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "f"}},
        {
            "chain": {
                "family": "inet",
                "table": "f",
                "name": "output",
                "type": "filter",
                "hook": "output",
                "prio": 0,
                "policy": "drop",
            }
        },
        {"chain": {"family": "inet", "table": "f", "name": "sub"}},
        {
            "set": {
                "family": "inet",
                "table": "f",
                "name": "good",
                "elem": [22, {"range": [90, 99]}],
            }
        },
    ]
}


def nft(*expressions: list[object], table: str = "f") -> Ruleset:
    """The chain above with rules."""
    rules = [
        {"rule": {"family": "inet", "table": table, "chain": "output", "handle": n, "expr": each}}
        for n, each in enumerate(expressions)
    ]
    return ruleset.parse_nft(json.dumps({"nftables": [*NFT["nftables"], *rules]}))


def fate(found: Ruleset, port: int, protocol: str = "tcp", device: str = "eth0") -> str:
    (base,) = found.bases("output", 4)
    own, other = ip_address("10.0.0.1"), ip_address("10.9.0.1")
    one = Packet(protocol, own, other, 40000, port, device)
    return next(each.verdict for each in packet.judge(found, base, one) if each.certain)


def match(left: object, right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}


def test_ports_ranges_sets_and_named_sets_of_nft_are_read() -> None:
    found = nft(
        [match(DPORT, {"set": [53, {"range": [80, 85]}]}), {"accept": None}],
        [match(DPORT, "@good"), {"accept": None}],
    )
    ports = (53, 81, 86, 22, 95, 100)
    assert [fate(found, port) for port in ports] == [
        "accept", "accept", "drop", "accept", "accept", "drop",
    ]  # fmt: skip
    assert fate(found, 53, "udp") == "drop"


def test_networks_devices_and_states_of_nft_are_read() -> None:
    daddr = {"payload": {"protocol": "ip", "field": "daddr"}}
    prefix = {"prefix": {"addr": "10.9.0.0", "len": 16}}
    assert fate(nft([match(daddr, prefix), {"reject": {}}]), 1) == "reject"
    lo = [match({"meta": {"key": "oifname"}}, "lo"), {"accept": None}]
    assert (fate(nft(lo), 1), fate(nft(lo), 1, device="lo")) == ("drop", "accept")
    state = match({"ct": {"key": "state"}}, ["established", "related"], "in")
    assert fate(nft([state, {"accept": None}]), 1) == "drop"


def test_a_verdict_map_is_a_rule_for_each_element() -> None:
    vmap = {"key": DPORT, "data": {"set": [[80, {"accept": None}], [443, {"reject": {}}]]}}
    found = nft([{"vmap": vmap}])
    assert [fate(found, port) for port in (80, 443, 81)] == ["accept", "reject", "drop"]


def test_our_own_table_and_those_of_iptables_are_left_out() -> None:
    ours = json.dumps(NFT).replace('"f"', '"interceptor"')
    assert not ruleset.parse_nft(ours).chains
    theirs = {"family": "ip", "table": "nat", "name": "OUTPUT", "hook": "output", "prio": -100}
    assert not ruleset.parse_nft(json.dumps({"nftables": [{"chain": theirs}]})).chains


SAVE = """
*filter
:INPUT ACCEPT [0:0]
:OUTPUT DROP [0:0]
:mine - [0:0]
-A OUTPUT -o lo -j ACCEPT
-A OUTPUT -p tcp -m tcp --dport 80:85 -m comment --comment "a b -j DROP" -j ACCEPT
-A OUTPUT -p tcp -m multiport --dports 22,443 -j mine
-A OUTPUT ! -d 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable
-A OUTPUT -j INTERCEPTOR_OUTPUT
-A INTERCEPTOR_OUTPUT -j DROP
-A mine -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""


def test_iptables_rules_are_read_chains_and_negations_included() -> None:
    found = ruleset.parse_save(SAVE, "iptables")
    assert [fate(found, port) for port in (80, 443, 8080)] == ["accept", "accept", "ours"]
    assert fate(found, 1, device="lo") == "accept"
    assert "INTERCEPTOR_OUTPUT" not in {name for _, name in found.chains}


def test_an_option_that_nobody_here_knows_makes_a_rule_uncertain() -> None:
    rule = "-A OUTPUT -m hashlimit --hashlimit-above 5 -j DROP"
    text = f"*filter\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"
    found = ruleset.parse_save(text, "iptables")
    (base,) = found.bases("output", 4)
    own = ip_address("10.0.0.1")
    said = list(packet.judge(found, base, Packet("udp", own, own, 1, 2, "lo")))
    assert [(each.verdict, each.certain) for each in said] == [("drop", False), ("accept", True)]


def test_families_are_those_of_the_program() -> None:
    assert not ruleset.parse_save(SAVE, "ip6tables").bases("output", 4)
    assert ruleset.parse_save(SAVE, "ip6tables-legacy").bases("output", 6)


def test_the_rules_of_real_firewalls_are_read_whole() -> None:
    for name in ("ufw.save", "docker-and-kubernetes.save"):
        text = (NEIGHBOURS / name).read_text()
        found = ruleset.parse_save(text, "iptables")
        written = sum(line.startswith("-A ") for line in text.splitlines())
        assert sum(len(chain.rules) for chain in found.chains.values()) == written, name


def test_rulesets_are_put_together() -> None:
    both = ruleset.merge([nft(), ruleset.parse_save(SAVE, "iptables")])
    assert [each.table for each in both.bases("output", 4)] == ["nft inet f", "iptables filter"]
