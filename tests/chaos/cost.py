"""What each fault may cost, by back end, for how long after it is undone. Pure.

The promises: rules are back within 2 s; a hung agent is noticed and DNS is back within 5 s;
a killed one costs names of others nothing, and with netfilter lets mesh names pass until it
is started again; a sidecar is started again after a back-off of 10 s at most.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos.schedule import Kind, Step
from tests.chaos.window import Effect

AWAY, CALL, BREAK = Effect.AWAY, Effect.CALL, Effect.BREAK
PASS = {Effect.PASS_UDP: 0.0, Effect.PASS_TCP: 0.0}
ASSERT_S, SIDECAR_S, WORKER_S = 2.0, 13.0, 5.0

ENVIRONMENT: Mapping[Kind, Mapping[Effect, float]] = {
    # After it the neighbours have to be found again, and Envoy's endpoints to be dialled anew.
    Kind.LINK_DOWN: {Effect.LOSE: 1.5, Effect.DIRECT: 3.0, CALL: 5.0},
    Kind.NO_CARRIER: {Effect.LOSE: 1.5, Effect.DIRECT: 3.0, CALL: 5.0},
    Kind.RESOLVER_RESTART: {Effect.LOSE: 1.0},
    Kind.UPLINK: {Effect.LOSE: 1.5},
}
"""The same with us as without us: the twin suffers it, too."""

DNS_RULES = {"nft-flush", "iptables-f", "iptables-all", "chain", "detach", "unpin", "pins", "nft"}
NAT_RULES = {"nft-flush", "iptables-f", "iptables-all", "chain", "nft", "nft-table", "nft-chain"}
TOUCHED = {
    "nftables": {"nft-flush", "nft", "nft-table", "nft-chain", "nft-set", "route", "iptables-all"},
    "iptables": {"nft-flush", "nft", "iptables-f", "iptables-all", "chain", "ipset", "route"},
    "ebpf": {"detach", "unpin", "pins", "link", "route"},
}
"""The removals that take something of a back end's away. Where the kernel has no nft_queue, DNS
of `nftables` is an iptables rule."""


STEERING = {"route", "link", "pins"}
"""With ebpf a connection is dialled by an alias. Where the route that makes IPv6's local, or the
program that brings aliases to their listener, is taken away, what dials one finds nobody."""


def removal(step: Step, backend: str) -> dict[Effect, float]:
    """Of FLUSH and FIREWALL. A connection through netfilter's NAT lives by the rule's hook:
    without any nat chain its packets are not translated until the chain is back."""
    if step.variant not in TOUCHED[backend]:
        return {}
    after_s = dict.fromkeys((Effect.PASS_UDP, Effect.PASS_TCP, CALL), ASSERT_S)
    if backend == "ebpf" and step.variant in STEERING:
        after_s[Effect.LOSE_TCP] = ASSERT_S
    if backend != "ebpf" and step.variant in NAT_RULES:
        after_s[BREAK] = ASSERT_S
    return after_s


def passing(backend: str) -> dict[Effect, float]:
    """While there is no DNS worker: the kernel's own answers go on."""
    udp = {} if backend == "ebpf" else {Effect.PASS_UDP: 1.0}
    return {Effect.PASS_TCP: 1.0} | udp


def stopping(backend: str, on_exit: str) -> dict[Effect, float]:
    """A clean stop until the next start is done: nothing is captured, unless rules are kept."""
    if on_exit == "keep":
        return passing(backend)
    return {Effect.PASS_UDP: 1.0, Effect.PASS_TCP: 1.0, CALL: 2.0, BREAK: 1.0}


def of(step: Step, backend: str) -> dict[Effect, float]:
    """What a fault may cost that is not an end of the agent's."""
    if step.kind in ENVIRONMENT:
        found = dict(ENVIRONMENT[step.kind])
        if step.kind is Kind.UPLINK and backend == "ebpf":
            found[Effect.PASS_UDP] = ASSERT_S  # from the moment that it is there
        return found
    match step.kind:
        case Kind.FLUSH | Kind.FIREWALL:
            return removal(step, backend)
        case Kind.WORKER_KILL | Kind.WORKER_HANG:
            return dict.fromkeys(passing(backend), WORKER_S) | {AWAY: WORKER_S}
        case Kind.DAEMON_HANG:
            return passing(backend) | {AWAY: 1.0}
        case Kind.SIDECAR_KILL:
            return {CALL: SIDECAR_S, BREAK: 0.5}
        case Kind.SIDECAR_HANG:
            return {CALL: 2.0}
        case Kind.DISK_FULL | Kind.DESCRIPTORS:
            return {AWAY: 2.0}
    return {}
