"""Addresses, routes, and settings of the kernel's network that change what we do."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor.config import Config
from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.fact import Address, Facts, Net
from interceptor.host import sysctl
from interceptor.host.routechoice import Choice

STRICT = 1  # ip-sysctl: rp_filter, source validation by reversed path
RP_FILTER = "net/ipv4/conf/*/rp_filter"
SYSCTLS = (
    RP_FILTER,
    "net/ipv6/conf/*/disable_ipv6",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/tcp_fastopen",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
)
"""What `decide` reads."""


def decide(facts: Facts, config: Config) -> Iterator[Check]:
    """All of it."""
    net = facts.net
    is_ebpf = facts.host.backends[0] == "ebpf"
    yield _addresses(net, config)
    yield _ipv6(net, config)
    yield _rp_filter(net)
    yield from _forwarding(net, config)
    yield from _rules(net)
    for title, choice in net.ways:
        yield _way(title, choice, net, config)
    if not is_ebpf:
        yield from _tracking(net)


def _addresses(net: Net, config: Config) -> Check:
    named = config.node.addresses
    own = ", ".join(map(str, net.addresses)) or "none"
    strangers = [address for address in named if address not in net.addresses]
    if strangers:
        seen = f"node.addresses {', '.join(map(str, strangers))}; this host has {own}"
        why = "others would call an address that is not this host's"
        return Check(Group.NETWORK, "addresses", State.WARNING, seen, why, "node.addresses")
    if not net.addresses:
        why = "nobody else can be reached"
        return Check(Group.NETWORK, "addresses", State.WARNING, own, why, "ip address add")
    return Check(Group.NETWORK, "addresses", State.OK, own)


def _ipv6(net: Net, config: Config) -> Check:
    off = sysctl.of_devices(net.sysctls, "net/ipv6/conf/*/disable_ipv6")
    wanted = config.capture.ipv6 is True
    why = "mesh names still have AAAA answers; programs that insist on IPv6 fail"
    cure = "sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0"
    if not off:
        state = State.FAULT if wanted else State.NOTE
        seen = "this kernel was started without IPv6"
        return Check(Group.NETWORK, "IPv6", state, seen, why, "boot without ipv6.disable=1")
    blocked = sorted(device for device, value in off.items() if value == "1")
    if {"all", "lo"} & set(blocked):
        state = State.FAULT if wanted else State.NOTE
        seen = f"disabled on {', '.join(blocked)}: only IPv4 is captured"
        return Check(Group.NETWORK, "IPv6", state, seen, why, cure)
    if blocked:
        seen = f"on, but disabled on {', '.join(blocked)}"
        cure = f"sysctl -w net.ipv6.conf.{blocked[0]}.disable_ipv6=0"
        return Check(Group.NETWORK, "IPv6", State.NOTE, seen, why, cure)
    return Check(Group.NETWORK, "IPv6", State.OK, "on")


def _rp_filter(net: Net) -> Check:
    """Ours passes it: what we answer or redirect comes by the way that it would have come."""
    values = sysctl.of_devices(net.sysctls, RP_FILTER)
    every = int(values.get("all", "0"))
    # The larger of a device's own value and that of all counts (ip-sysctl).
    strict = sorted(
        device
        for device, value in values.items()
        if device not in ("all", "default", "lo") and max(every, int(value)) == STRICT
    )
    if not strict or (len(strict) == 1 and not net.rules):
        seen = f"strict on {strict[0]}" if strict else "not strict"
        return Check(Group.NETWORK, "rp_filter", State.OK, seen)
    # The way back is looked up without marks and without the device that a socket is bound to.
    seen = f"strict on {', '.join(strict)}"
    if net.rules:
        state = State.WARNING
        seen += f", with policy routing ({net.rules[0]})"
    else:
        state = State.NOTE
    why = "answers that come by another device than the main table's way back are dropped"
    cure = "sysctl -w net.ipv4.conf.all.rp_filter=2 (loose)"
    return Check(Group.NETWORK, "rp_filter", state, seen, why, cure)


def _forwarding(net: Net, config: Config) -> Iterator[Check]:
    four = net.sysctls.get("net/ipv4/ip_forward") == "1"
    six = net.sysctls.get("net/ipv6/conf/all/forwarding") == "1"
    on = [name for name, is_on in (("IPv4", four), ("IPv6", six)) if is_on]
    bridges = config.capture.interfaces.bridges
    seen = f"forwards {' and '.join(on)}" if on else "does not forward"
    if bridges and not four:
        why = f"containers behind {', '.join(bridges)} reach nobody"
        cure = "sysctl -w net.ipv4.ip_forward=1"
        yield Check(Group.NETWORK, "forwarding", State.FAULT, seen, why, cure)
    elif on and not bridges:
        why = "what containers send is not captured unless their bridge is named"
        cure = "capture.interfaces.bridges"
        yield Check(Group.NETWORK, "forwarding", State.OK, seen, why, cure)


def _rules(net: Net) -> Iterator[Check]:
    if not net.rules:
        yield Check(Group.NETWORK, "policy routing", State.OK, "none but the kernel's own")
        return
    more = f" and {len(net.rules) - 3} more" if len(net.rules) > 3 else ""
    seen = "; ".join(net.rules[:3]) + more
    why = "a VPN or somebody's routing may send VIPs and resolvers another way than the main table"
    yield Check(Group.NETWORK, "policy routing", State.NOTE, seen, why, "ip rule; ip route get VIP")


def _way(title: str, choice: Choice, net: Net, config: Config) -> Check:
    name = f"way to {title}"
    if choice.error:
        ours = title.startswith("VIPs")
        state = State.OK if ours else State.WARNING
        why = "we add a route of our own" if ours else "what is captured there is not reached"
        seen = f"{choice.destination}: {choice.error}"
        return Check(Group.NETWORK, name, state, seen, why, "" if ours else "ip route add")
    seen = f"{choice.destination} by {choice.device}, from {choice.source}"
    wanted = _wanted(choice.destination, net, config)
    off = choice.device == "lo" and not title.startswith(("VIPs", "resolver"))
    if wanted and choice.source not in wanted and not off and not choice.destination.is_loopback:
        why = f"programs and Envoy use another address than {', '.join(map(str, wanted))}"
        cure = "ip route change ... src ADDRESS, or node.addresses"
        return Check(Group.NETWORK, name, State.NOTE, seen, why, cure)
    return Check(Group.NETWORK, name, State.OK, seen)


def _wanted(destination: Address, net: Net, config: Config) -> tuple[Address, ...]:
    version = destination.version
    named = config.node.addresses or net.usual
    return tuple(address for address in named if address.version == version)


def _tracking(net: Net) -> Iterator[Check]:
    """Redirects live in the table of tracked connections."""
    try:
        count = int(net.sysctls["net/netfilter/nf_conntrack_count"])
        limit = int(net.sysctls["net/netfilter/nf_conntrack_max"])
    except (KeyError, ValueError):
        return
    seen = f"{count} of {limit} tracked connections"
    if limit and count * 10 > limit * 8:
        why = "when it is full new connections are dropped, captured or not"
        cure = f"sysctl -w net.netfilter.nf_conntrack_max={limit * 2}, or capture.backend: ebpf"
        yield Check(Group.NETWORK, "conntrack", State.WARNING, seen, why, cure)
    else:
        yield Check(Group.NETWORK, "conntrack", State.OK, seen)
