"""The very rule is found in what the kernel's tools print, and its counter with it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor import config
from interceptor.capture import installed, plan, scope
from interceptor.capture.plan import Facts, Flow, Hook
from interceptor.capture.rule import Rule

NFT = """\
table inet interceptor {
	set outbound4 {
		type ipv4_addr
		flags interval
	}

	chain queue_output {
		type filter hook output priority mangle; policy accept;
		th dport != 53 accept
		counter packets 9 bytes 540 queue flags bypass to 15053 comment "5: DNS to a captured server"
	}

	chain nat_output {
		type nat hook output priority -101; policy accept;
		th dport 9999 counter packets 4 bytes 240 accept comment "6: excluded outbound port"
		ip daddr @outbound4 counter packets 7 bytes 1 redirect to :15001 comment "7: mesh address, VIP or included CIDR"
		ip6 daddr @outbound6 counter packets 8 bytes 1 redirect to :15001 comment "7: mesh address, VIP or included CIDR"
		counter packets 5 bytes 1 accept comment "9: nothing asks for its capture"
	}
}
"""  # noqa: E501

SAVED = """\
*nat
:INTERCEPTOR_OUTPUT - [0:0]
[3:180] -A OUTPUT -p tcp -m comment --comment "interceptor: x" -j INTERCEPTOR_OUTPUT
[2:120] -A INTERCEPTOR_OUTPUT -p tcp -m tcp --dport 9999 -m comment --comment "6: excluded outbound port" -j RETURN
[1:60] -A INTERCEPTOR_OUTPUT -m set --match-set interceptor_outbound4 dst -m comment --comment "7: mesh address, VIP or included CIDR" -j REDIRECT --to-ports 15001
[6:60] -A INTERCEPTOR_PREROUTING -m comment --comment "7: mesh address, VIP or included CIDR" -j REDIRECT --to-ports 15001
COMMIT
*mangle
[5:300] -A INTERCEPTOR_DNS -m comment --comment "5: DNS to a captured server" -j NFQUEUE --queue-num 15053 --queue-bypass
COMMIT
"""  # noqa: E501


def flow(destination: str = "240.240.0.9", port: int = 9080, protocol: str = "tcp") -> Flow:
    source = "192.0.2.1" if "." in destination else "2001:db8::1"
    to = ip_address(destination)
    return Flow(Hook.OUTPUT, protocol, ip_address(source), to, port, uid=1000, gid=1000)


def rule(asked: Flow) -> Rule:
    built = plan.build(config.parse("capture: {outbound: {exclude_ports: [9999]}}"), Facts())
    found = scope.match(built, asked)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("asked", "count", "start"),
    [
        (flow(), 7, "inet interceptor nat_output: ip daddr @outbound4"),
        (flow("2001:2::9"), 8, "inet interceptor nat_output: ip6 daddr @outbound6"),
        (flow(port=9999), 4, "inet interceptor nat_output: th dport 9999"),
        (flow("192.0.2.9"), 5, "inet interceptor nat_output: counter"),
        (flow("192.0.2.53", 53, "udp"), 9, "inet interceptor queue_output: counter"),
    ],
)
def test_a_rule_of_nft_is_found_by_its_comment_chain_and_family(
    asked: Flow, count: int, start: str
) -> None:
    (line,) = installed.parse_nft(NFT, rule(asked), asked)
    assert line.count == count
    assert line.text.startswith(start)


@pytest.mark.parametrize(
    ("asked", "count"), [(flow(), 1), (flow(port=9999), 2), (flow("192.0.2.53", 53, "udp"), 5)]
)
def test_a_rule_of_iptables_is_found_by_its_comment_and_chain(asked: Flow, count: int) -> None:
    (line,) = installed.parse_saved(SAVED, rule(asked), asked)
    assert line.count == count


def test_a_rule_that_is_not_there_is_not_found() -> None:
    gone = replace(rule(flow()), why="another sentence")
    assert list(installed.parse_nft(NFT, gone, flow())) == []
    assert list(installed.parse_saved(SAVED, gone, flow())) == []


def test_programs_count_by_what_a_rule_leads_to() -> None:
    assert installed.result(rule(flow()), flow()) == "outbound"
    assert installed.result(rule(flow("192.0.2.9")), flow()) == "pass"
    sidecar = replace(flow(), uid=1337)
    assert installed.result(rule(sidecar), sidecar) == "exempt"
