"""What a capture takes from each link: filter expressions, as pcap-filter(7) has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from interceptor.debug.viewpoint import Role
from interceptor.host.layout import ALIAS4_NETWORKS, ALIAS6_NETWORK
from interceptor.mesh.model import Address

THROUGH = ("127.0.0.6", "::6")  # the sidecar's own addresses towards this host's services


def render(
    role: Role, ports: Iterable[int], own: Iterable[Address], wanted: str, *, everything: bool
) -> str:
    """The filter of a link. ``ports`` are those that captured connections are redirected to,
    ``own`` this host's addresses, ``wanted`` what the user adds."""
    found = "" if everything else _ours(role, ports, own)
    if found and wanted:
        return f"({found}) and ({wanted})"
    return found or wanted


def _ours(role: Role, ports: Iterable[int], own: Iterable[Address]) -> str:
    if role is not Role.LOCAL:
        return "udp port 53 or tcp"
    networks = [f"net {network}" for network in (*ALIAS4_NETWORKS, ALIAS6_NETWORK)]
    hosts = [f"host {address}" for address in THROUGH]
    listeners = [f"tcp port {port}" for port in sorted(ports)]
    # What comes back of a redirected connection has the address that was called for its source;
    # and a transparent sidecar calls this host's services by its clients' addresses.
    here = [f"host {address}" for address in own if not address.is_loopback]
    source, target = (
        " or ".join(
            [f"{end} net 127.0.0.0/8", f"{end} host ::1", *(f"{end} {one}" for one in here)]
        )
        for end in ("src", "dst")
    )
    back = f"(tcp and not (({source}) and ({target})))"
    return " or ".join(("port 53", *listeners, *networks, *hosts, back))
