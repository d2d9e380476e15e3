"""The rules that Istio's agent installs on a VM, to be measured against. Pure.

Written from their published behaviour: REDIRECT mode, all inbound ports but
the VM defaults, listed service CIDRs, DNS capture of every server.
"""

from __future__ import annotations

from collections.abc import Iterable

OWNER = 1337
OUTBOUND, INBOUND, TUNNEL, DNS = 15001, 15006, 15008, 15053
EXCLUDED = (22, 15090, 15021, 15020)
OWNERS = (f"--uid-owner {OWNER}", f"--gid-owner {OWNER}")


def _owner_rules(owner: str, spared: str) -> Iterable[str]:
    yield (
        f"-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp {spared} -m owner {owner} "
        "-j ISTIO_IN_REDIRECT"
    )
    yield f"-A ISTIO_OUTPUT -o lo -p tcp ! --dport 53 -m owner ! {owner} -j RETURN"
    yield f"-A ISTIO_OUTPUT -m owner {owner} -j RETURN"


def render_nat(cidrs: Iterable[str]) -> str:
    """The nat table, for iptables-restore."""
    lines = [
        "*nat",
        *(f":{chain} - [0:0]" for chain in CHAINS),
        f"-A ISTIO_INBOUND -p tcp --dport {TUNNEL} -j RETURN",
        f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {OUTBOUND}",
        f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {INBOUND}",
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        *(f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in EXCLUDED),
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
        "-A OUTPUT -j ISTIO_OUTPUT",
        "-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN",
        *_owner_rules(OWNERS[0], f"-m multiport ! --dports 53,{TUNNEL}"),
        *_owner_rules(OWNERS[1], f"! --dport {TUNNEL}"),
        "-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS",
        f"-A ISTIO_OUTPUT_DNS -p tcp --dport 53 -j REDIRECT --to-ports {DNS}",
        f"-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j REDIRECT --to-ports {DNS}",
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        *(f"-A ISTIO_OUTPUT -d {cidr} -j ISTIO_REDIRECT" for cidr in cidrs),
        "COMMIT",
        "",
    ]
    return "\n".join(lines)


CHAINS = (
    "ISTIO_INBOUND",
    "ISTIO_REDIRECT",
    "ISTIO_IN_REDIRECT",
    "ISTIO_OUTPUT",
    "ISTIO_OUTPUT_DNS",
)


def render_raw() -> str:
    """The raw table: conntrack zones that keep the two sides of DNS apart."""
    lines = [
        "*raw",
        ":ISTIO_OUTPUT_DNS - [0:0]",
        ":ISTIO_INBOUND - [0:0]",
        "-A OUTPUT -j ISTIO_OUTPUT_DNS",
        *(
            f"-A ISTIO_OUTPUT_DNS -p udp {match} -m owner {owner} -j CT --zone {zone}"
            for match, zone in (("--dport 53", 1), (f"--sport {DNS}", 2))
            for owner in OWNERS
        ),
        "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j CT --zone 2",
        "-A PREROUTING -j ISTIO_INBOUND",
        "-A ISTIO_INBOUND -p udp --sport 53 -j CT --zone 1",
        "COMMIT",
        "",
    ]
    return "\n".join(lines)
