"""Who is asked for names on this host, and whether their questions can be seen."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor.config import Config
from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.fact import Facts
from interceptor.host.nameservice import NameService
from interceptor.host.resolver import STUBS

ENCRYPTING = {
    "cloudflared": "DNS over HTTPS",
    "dnscrypt-proxy": "DNSCrypt or DNS over HTTPS",
    "stubby": "DNS over TLS",
    "https_dns_proxy": "DNS over HTTPS",
    "https-dns-proxy": "DNS over HTTPS",
    "doh-client": "DNS over HTTPS",
    "dnsproxy": "DNS over HTTPS",
    "warp-svc": "DNS over HTTPS",
    "nextdns": "DNS over HTTPS",
    "adguardhome": "DNS over HTTPS",
    "tailscaled": "DNS over HTTPS",
}
"""Programs (comm) that take queries in the clear and send them on encrypted."""
ROUTE = "`Domains=~{domain}` in /etc/systemd/resolved.conf.d/mesh.conf (with DNS=), " + (
    "or resolvectl domain LINK '~{domain}'"
)


def decide(facts: Facts, config: Config) -> Iterator[Check]:
    """All of it."""
    names = facts.names
    yield _servers(names, config)
    yield from _nsswitch(names, config)
    yield from _resolved(names, config)
    yield from _programs(facts)


def _servers(names: NameService, config: Config) -> Check:
    path = config.dns.resolv_conf
    who = ", ".join(map(str, names.servers)) or "127.0.0.1 (none is named)"
    seen = f"{path}{f' → {names.target}' if names.target else ''}: {who}"
    if names.search:
        seen += f"; search {' '.join(names.search)}"
    if names.options:
        seen += f"; options {' '.join(names.options)}"
    servers = config.dns.servers
    if not config.dns.enabled:
        why = "mesh names are not answered"
        return Check(Group.RESOLVER, "resolv.conf", State.WARNING, seen, why, "dns.enabled: true")
    if isinstance(servers, tuple) and not set(servers) & set(names.servers):
        why = "queries to these servers are not captured: dns.servers names others"
        return Check(Group.RESOLVER, "resolv.conf", State.FAULT, seen, why, "dns.servers: all")
    if set(names.servers) & set(STUBS):
        seen += " (the stub of systemd-resolved)"
    return Check(Group.RESOLVER, "resolv.conf", State.OK, seen)


def _nsswitch(names: NameService, config: Config) -> Iterator[Check]:
    seen = f"hosts: {' '.join(names.hosts)}"
    before_dns = _before(names.hosts, "dns")
    domain = config.node.domain
    if "dns" not in names.hosts and "resolve" not in names.hosts:
        why = "programs never ask a name server"
        cure = "hosts: files dns in /etc/nsswitch.conf"
        yield Check(Group.RESOLVER, "nsswitch", State.FAULT, seen, why, cure)
        return
    state, why, cure = State.OK, "", ""
    if f".{domain}".endswith(".local") and any(w.startswith("mdns") for w in before_dns):
        state = State.NOTE
        why = "names of two labels below .local are asked of the link (mDNS) first"
        cure = "put dns before mdns4_minimal in /etc/nsswitch.conf"
    yield Check(Group.RESOLVER, "nsswitch", state, seen, why, cure)
    if "resolve" in before_dns and names.resolved.runs:
        yield _by_socket(names, domain)


def _before(words: tuple[str, ...], name: str) -> tuple[str, ...]:
    return words[: words.index(name)] if name in words else words


def _by_socket(names: NameService, domain: str) -> Check:
    """nss-resolve: no packet leaves the program; resolved asks in its name."""
    seen = "programs ask systemd-resolved by its socket (nss-resolve)"
    routed = {each.removeprefix("~").strip(".") for each in names.resolved.domains}
    is_routed = any(domain == each or domain.endswith(f".{each}") for each in routed if each)
    if domain.endswith(".local") and not is_routed:
        why = f"resolved leaves names below .local to mDNS: *.{domain} is not found"
        cure = ROUTE.format(domain=domain)
        return Check(Group.RESOLVER, "nss-resolve", State.WARNING, seen, why, cure)
    return Check(Group.RESOLVER, "nss-resolve", State.OK, seen)


def _resolved(names: NameService, config: Config) -> Iterator[Check]:
    one = names.resolved
    if not one.runs:
        return
    seen = f"DNSOverTLS={one.over_tls} DNSSEC={one.dnssec}"
    if one.links:
        seen += f"; links {', '.join(one.links)}"
    uses_stub = bool(set(names.servers) & set(STUBS))
    by_socket = "resolve" in _before(names.hosts, "dns")
    strict = one.over_tls == "yes" or any("(yes)" in each for each in one.links)
    if not strict and one.over_tls == "no" and not one.links:
        yield Check(Group.RESOLVER, "systemd-resolved", State.OK, seen)
        return
    if by_socket or not uses_stub:
        state = State.FAULT if strict else State.WARNING
        why = "DNS over TLS: resolved's own queries are encrypted, nobody can answer them on their "
        why += "way; programs that ask it by nss-resolve do not find mesh names"
        cure = "DNSOverTLS=no, or hosts: files dns with the stub (127.0.0.53) in resolv.conf"
    else:
        state = State.NOTE
        why = "DNS over TLS: who asks the stub is answered; what resolved asks itself is not seen"
        cure = "nothing, while programs ask 127.0.0.53"
    yield Check(Group.RESOLVER, "DNS over TLS", state, seen, why, cure)


def _programs(facts: Facts) -> Iterator[Check]:
    """Local resolvers that encrypt, and caches before the resolver."""
    for comm in sorted({each.comm for each in facts.net.occupants if each.comm}):
        how = next((told for name, told in ENCRYPTING.items() if comm == name[:15]), "")
        if how:
            ports = sorted({each.port for each in facts.net.occupants if each.comm == comm})
            yield _encrypting(facts, comm, how, ports)
    for comm in sorted({each.comm or "somebody" for each in facts.net.encrypted}):
        to = [each for each in facts.net.encrypted if (each.comm or "somebody") == comm]
        seen = f"{comm} has a connection to {to[0].address} port 853"
        why = "what it asks there is encrypted: mesh names in it are not seen"
        cure = "have it ask port 53, or have the mesh's domain routed there"
        yield Check(Group.RESOLVER, "DNS over TLS", State.WARNING, seen, why, cure)
    if facts.names.has_nscd:
        why = "answers from before we started stay until they are too old"
        yield Check(Group.RESOLVER, "nscd", State.NOTE, "runs", why, "nscd --invalidate=hosts")


def _encrypting(facts: Facts, comm: str, how: str, ports: list[int]) -> Check:
    seen = f"{comm} listens on {', '.join(map(str, ports))} and asks by {how}"
    if 53 in ports and any(server.is_loopback for server in facts.names.servers):
        why = "queries to it on port 53 are answered for mesh names; what it sends on is not seen"
        return Check(
            Group.RESOLVER, how, State.NOTE, seen, why, "nothing, while programs ask port 53"
        )
    why = "programs that ask it elsewhere than on port 53 do not find mesh names"
    cure = "have it listen on port 53 of a loopback address"
    return Check(Group.RESOLVER, how, State.WARNING, seen, why, cure)
