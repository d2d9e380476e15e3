"""What would break, or be other than before, once an observed VM is in a mesh. Pure.

`sign` finds the cases; here stands what they mean and what to do.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from interceptor.debug import sign
from interceptor.debug.draft import Draft, Wish
from interceptor.debug.observed import Observation


class Weight(enum.Enum):
    """How much it matters, the worst first."""

    BREAKS = "breaks"
    CHANGES = "changes"
    KNOW = "know"


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing to know. ``cases`` name who and where; ``cure`` what to do."""

    topic: str
    weight: Weight
    title: str
    cases: tuple[str, ...]
    cure: str


@dataclass(frozen=True, slots=True)
class _Kind:
    topic: str
    weight: Weight
    title: str
    cure: str
    look: Callable[[Observation, Draft, Wish], Iterable[str]]


def build(found: Observation, drafted: Draft, wish: Wish) -> tuple[Concern, ...]:
    """Every concern that there is a case of, the worst first."""
    concerns = []
    for kind in _KINDS:
        if cases := tuple(dict.fromkeys(kind.look(found, drafted, wish))):
            concerns.append(Concern(kind.topic, kind.weight, kind.title, cases, kind.cure))
    return tuple(concerns)


_BREAKS = (
    _Kind(
        "encrypted-dns",
        Weight.BREAKS,
        "Names are asked over TLS, HTTPS or QUIC",
        "Such a query cannot be read, so that mesh names are not answered to it. Let the program "
        "ask the resolver of resolv.conf, by port 53; for systemd-resolved set DNSOverTLS=no.",
        sign.encrypted_dns,
    ),
    _Kind(
        "sidecar-uid",
        Weight.BREAKS,
        "Processes run as the sidecar's user or group",
        "Their traffic is taken for the sidecar's and never captured. Give them another user, or "
        "the sidecar (sidecar.uid, sidecar.gid).",
        sign.sidecar_like,
    ),
    _Kind(
        "ports-taken",
        Weight.BREAKS,
        "Ports of the mesh are taken",
        "Move the program, or the mesh's port (sidecar.*_port, agent.listen, dns.tcp_port); "
        "where it is an earlier agent, stop that one first.",
        sign.taken,
    ),
    _Kind(
        "illegal-names",
        Weight.BREAKS,
        "Names that no mesh takes for a host",
        "A ServiceEntry's host has letters, digits and dashes only, 63 a label, 253 in all. They "
        "are left out and go on past the mesh; ask for another name of that service.",
        sign.illegal,
    ),
    _Kind(
        "bound-device",
        Weight.BREAKS,
        "Sockets are bound to a device",
        "With netfilter they do not reach a service's VIP; with capture.backend: ebpf they do. "
        "Else unbind them, or except them (capture.owners, capture.interfaces.exclude).",
        sign.bound,
    ),
    _Kind(
        "ftp",
        Weight.BREAKS,
        "FTP is spoken",
        "Its data connections go to ports that no ServiceEntry names. Leave the server out "
        "(--exclude), or use SFTP or HTTPS.",
        sign.ftp,
    ),
)
_CHANGES = (
    _Kind(
        "literal-address",
        Weight.CHANGES,
        "Called by address, without a name",
        "They are captured by capture.outbound.cidrs and passed on as they are: no routing, no "
        "identity of the peer, and as a service nobody sees them. Give them a name, or a "
        "ServiceEntry with these addresses.",
        sign.literal,
    ),
    _Kind(
        "etc-hosts",
        Weight.CHANGES,
        "Names from /etc/hosts",
        "No query is made for them, so that they keep their addresses; their ServiceEntries have "
        "these as endpoints. Remove the lines when the mesh is to choose the endpoint.",
        sign.static,
    ),
    _Kind(
        "proxy",
        Weight.CHANGES,
        "A forward proxy is called",
        "What it calls in their name is hidden from the mesh, and is no entry here. Call mesh "
        "services without it (no_proxy).",
        sign.proxied,
    ),
    _Kind(
        "quic",
        Weight.CHANGES,
        "QUIC (UDP) is spoken",
        "Only TCP is captured: these go past the sidecar. Clients fall back to TCP where QUIC is "
        "switched off, or its port is closed by a firewall.",
        sign.quic,
    ),
    _Kind(
        "udp",
        Weight.CHANGES,
        "UDP services are called",
        "Of UDP only DNS is the mesh's. A name that is written as a ServiceEntry gets a VIP, which "
        "carries TCP alone: leave names out that are called by UDP as well (--exclude).",
        sign.datagrams,
    ),
    _Kind(
        "multicast",
        Weight.CHANGES,
        "Multicast is sent",
        "It stays as it is, outside of the mesh; names found by mDNS are none of the mesh's.",
        sign.multicast,
    ),
    _Kind(
        "open-before",
        Weight.CHANGES,
        "Connections that were open before the watch began",
        "Capture leaves open connections alone: they go past the sidecar until they are made "
        "anew. Restart the programs after `interceptor run`.",
        sign.predating,
    ),
    _Kind(
        "other-name",
        Weight.CHANGES,
        "Requests bear another name than the one that was asked",
        "The mesh goes by the name that was asked (by its VIP); HTTP routes go by the Host field. "
        "Where both matter, write the other name's entry, too.",
        sign.said,
    ),
    _Kind(
        "client-address",
        Weight.CHANGES,
        "Programs here will see another client address",
        "Through the sidecar clients come from 127.0.0.6. Where a program looks at the address "
        "(pg_hba.conf, allow lists, logs): capture.inbound.mode: tproxy keeps it.",
        sign.clients_address,
    ),
    _Kind(
        "containers",
        Weight.CHANGES,
        "Containers of this VM call, or are called",
        "They are not captured unless their bridge stands in capture.interfaces.bridges; what "
        "they call and serve is not in these files.",
        sign.containers,
    ),
)
_KNOW = (
    _Kind(
        "agent-at-work",
        Weight.KNOW,
        "An agent captured already while this was watched",
        "What it captures is seen as the sidecar's own calls, to the endpoints that it chose. "
        "Watch before the agent starts, or take from this what it does not capture.",
        sign.agent,
    ),
    _Kind(
        "server-first",
        Weight.KNOW,
        "The server speaks first",
        "A sidecar that waits for the client's first bytes would wait for ever. Their ports are "
        "named tcp-..., which says so; leave it like that.",
        sign.server_first,
    ),
    _Kind(
        "unclear-protocol",
        Weight.KNOW,
        "What is spoken is not clear",
        "TCP is always right, and shows connections only. Write HTTP, GRPC or HTTPS where you "
        "know better.",
        sign.unclear,
    ),
    _Kind(
        "known-already",
        Weight.KNOW,
        "The mesh has these names already",
        "They are left out of serviceentries.yaml; from now on the mesh answers them. Where its "
        "host is not the same service, its name shadows yours: rename one.",
        sign.shadowed,
    ),
    _Kind(
        "not-asked",
        Weight.KNOW,
        "Called by names that nobody was seen asking for",
        "They were asked before the watch began, or by a way that cannot be answered (a socket "
        "of nss-resolve or nscd, DNS over TLS). Watch for longer; `interceptor doctor` tells more.",
        sign.unasked,
    ),
    _Kind(
        "unanswered",
        Weight.KNOW,
        "Never answered",
        "They fail today already. Remove the entry where nobody needs it.",
        sign.unanswered,
    ),
    _Kind(
        "ipv6-only",
        Weight.KNOW,
        "Reached by IPv6 alone",
        "The name gets an IPv4 VIP, too, and the sidecar calls the service by IPv6: that needs "
        "capture.ipv6 left on and an IPv6 route for the sidecar.",
        sign.ipv6_only,
    ),
    _Kind(
        "srv",
        Weight.KNOW,
        "SRV records are asked",
        "Names of others go on untouched, and so do their SRV answers; the hosts that they name "
        "are in the files where they were called.",
        sign.srv,
    ),
    _Kind(
        "long-names",
        Weight.KNOW,
        "Names of more than 128 characters",
        "The ebpf back end's programs do not answer them; netfilter's DNS worker does.",
        sign.long_names,
    ),
    _Kind(
        "wildcards",
        Weight.KNOW,
        "One wildcard may stand for several hosts",
        "It is in serviceentries.yaml as a comment. A wildcard is not answered by the mesh: right "
        "for HTTP and TLS to addresses that are captured anyhow.",
        sign.wildcards,
    ),
    _Kind(
        "incomplete",
        Weight.KNOW,
        "Not everything was seen",
        "Watch again, for longer or in a calmer hour; --append adds runs up.",
        sign.incomplete,
    ),
)
_KINDS = (*_BREAKS, *_CHANGES, *_KNOW)
TOPICS = tuple(kind.topic for kind in _KINDS)
