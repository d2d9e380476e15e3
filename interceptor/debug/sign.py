"""Signs in an observation of what a mesh would break or change: each tells its cases. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from interceptor.debug import draft, firstword
from interceptor.debug.draft import DNS_OVER_TLS, Draft, Wish
from interceptor.debug.observed import Call, Observation

OURS = {
    15000: "Envoy's statistics",
    15001: "outbound",
    15006: "inbound",
    15008: "HBONE",
    15020: "the agent's health and metrics",
    15021: "readiness",
    15053: "DNS over TCP",
    15090: "Envoy's Prometheus",
}
LONGEST_IN_KERNEL = 128
"""bpf/README.md: longer names are not answered by the programs."""
_RESOLVER_NAMES = (
    *("dns.google", "one.one.one.one", "cloudflare-dns.com", "quad9.net", "nextdns.io"),
    *("opendns.com", "adguard-dns.com", "dns.sb", "dns0.eu", "mullvad.net"),
)
_RESOLVER_ADDRESSES = frozenset(
    (
        *("1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "149.112.112.112"),
        *("2606:4700:4700::1111", "2001:4860:4860::8888", "2620:fe::fe"),
    )
)


def who(call: Call) -> str:
    """Whose calls they are."""
    names = ", ".join(owner for owner, _ in call.owners)
    return f" by {names}" if names else ""


def place(call: Call) -> str:
    """Name and address, as far as there are any."""
    address = f"[{call.address}]" if ":" in call.address else call.address
    return f"{call.name} ({address}:{call.port})" if call.name else f"{address}:{call.port}"


def _tcp(found: Observation, wish: Wish) -> Iterator[Call]:
    yield from draft.wanted(found, wish)


def encrypted_dns(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for call in found.calls:
        names = (call.name, *call.said)
        known = any(name.endswith(_RESOLVER_NAMES) or name.startswith("doh.") for name in names)
        if call.port == DNS_OVER_TLS:
            under = "TLS" if call.transport == "tcp" else "QUIC"
            yield f"{place(call)}{who(call)}: DNS over {under}"
        elif call.port == 443 and (known or call.address in _RESOLVER_ADDRESSES):
            yield f"{place(call)}{who(call)}: DNS over HTTPS"


def sidecar_like(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    yield from found.sidecar_like


def taken(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for one in found.listening:
        if one.port in OURS and one.transport == "tcp":
            yield f"{one.port} ({OURS[one.port]}) is {one.owner or 'somebody'}'s"


def literal(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if not call.name:
            yield f"{place(call)}{f' {call.protocol}' if call.protocol else ''}{who(call)}"


def bound(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for call in found.calls:
        for device in call.devices:
            yield f"{place(call)}{who(call)}, bound to {device}"
    for one in found.listening:
        for device in one.devices:
            yield f"port {one.port} of {one.owner or 'somebody'}, bound to {device}"


def illegal(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if call.name and not draft.is_legal(call.name):
            yield f"{place(call)}{who(call)}"


def long_names(_found: Observation, drafted: Draft, _wish: Wish) -> Iterator[str]:
    for service in drafted.services:
        if len(service.host) > LONGEST_IN_KERNEL:
            yield f"{service.host} ({len(service.host)} characters)"


def quic(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for call in found.calls:
        if call.protocol == "quic" and call.port != DNS_OVER_TLS:
            yield f"{place(call)}{who(call)}"


def datagrams(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for call in found.calls:
        if call.transport == "udp" and call.protocol not in ("quic", "multicast"):
            yield f"{place(call)}{who(call)}"


def multicast(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for call in found.calls:
        if call.protocol == "multicast":
            yield f"{place(call)}{who(call)}"


def ftp(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if call.protocol == "ftp":
            yield f"{place(call)}{who(call)}"


def predating(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for call in found.calls:
        if call.before:
            yield f"{call.before} to {place(call)}{who(call)}"
    for visit in found.visits:
        if visit.before and visit.peer:
            yield f"{visit.before} from {visit.peer} to port {visit.port}"


def server_first(_found: Observation, drafted: Draft, _wish: Wish) -> Iterator[str]:
    for service in drafted.services:
        for port in service.ports:
            if firstword.is_server_first(port.heard):
                yield f"{service.host}:{port.number} is {port.heard}: named {port.name}"
    for served in drafted.served:
        if firstword.is_server_first(served.port.heard):
            yield f"port {served.port.number} here is {served.port.heard}: named {served.port.name}"


def unclear(_found: Observation, drafted: Draft, _wish: Wish) -> Iterator[str]:
    for service in drafted.services:
        for port in service.ports:
            if "/" in port.heard:
                yield f"{service.host}:{port.number} speaks {port.heard}: written as TCP"
            elif not port.sure:
                yield f"{service.host}:{port.number}: not recognised, taken for {port.protocol}"


def proxied(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if call.protocol == firstword.PROXY:
            yield f"{place(call)}{who(call)}"


def said(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if call.name and call.said:
            yield f"{place(call)}{who(call)} says {', '.join(call.said)}"


def unasked(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if call.evidence in ("sni", "host"):
            yield f"{place(call)}{who(call)}, known by its {call.evidence.upper()} alone"


def static(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if call.evidence == "hosts":
            yield f"{place(call)}{who(call)}"


def shadowed(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    names = dict.fromkeys(call.name for call in _tcp(found, wish))
    names |= dict.fromkeys(row.name for row in found.asked)
    for name in names:
        if name in wish.known:
            yield f"{name}: {wish.known[name]}"


def ipv6_only(found: Observation, drafted: Draft, _wish: Wish) -> Iterator[str]:
    asked = {row.name: row.addresses for row in found.asked}
    for service in drafted.services:
        known = (*service.addresses, *asked.get(service.host, ()))
        if all(ip_address(address).version == 6 for address in known):
            yield f"{service.host} ({', '.join(service.addresses)})"


def unanswered(found: Observation, _drafted: Draft, wish: Wish) -> Iterator[str]:
    for call in _tcp(found, wish):
        if call.count and not call.answered and not call.before:
            yield f"{place(call)}{who(call)}, {call.count} times"


def containers(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for device, count in found.forwarded:
        yield f"{count} connections by {device or 'a device'}"
    ports = {one.port for one in found.listening}
    for visit in found.visits:
        if found.live and visit.answered and visit.peer and visit.port not in ports:
            yield f"port {visit.port} is published for one: no process of this VM listens there"


def agent(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    if found.agent:
        yield f"interceptor's daemon (pid {found.agent})"


def srv(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    for row in found.asked:
        if "SRV" in row.types:
            yield row.name


def clients_address(_found: Observation, drafted: Draft, _wish: Wish) -> Iterator[str]:
    for served in drafted.served:
        if served.peers:
            yield f"port {served.port.number}{f' of {served.owner}' if served.owner else ''}"


def wildcards(_found: Observation, drafted: Draft, _wish: Wish) -> Iterator[str]:
    for suffix, hosts in drafted.wildcards:
        yield f"{suffix} for {', '.join(hosts)}"


def incomplete(found: Observation, _drafted: Draft, _wish: Wish) -> Iterator[str]:
    if found.lost:
        yield f"{found.lost} packets came quicker than they could be read"
    if found.left_out:
        yield f"{found.left_out} names or kinds of calls beyond what is kept"
    if not found.live:
        yield "a capture knows no sockets: no owners, and of what is served only what was called"
