"""Where a packet of a capture was seen: what its interface is called in the file."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.StrEnum):
    """What a vantage point shows. The values are the names' beginnings.

    UPLINK, BRIDGE and LOCAL are links as they are. ANSWERED: queries that were answered on this
    host, and their answers. APP: captured flows as the application has them. SIDECAR and AGENT:
    the same flows after redirection. OUT and IN: what the sidecar opens itself, to endpoints
    and to this host's own services.
    """

    UPLINK = "uplink"
    BRIDGE = "bridge"
    LOCAL = "local"
    ANSWERED = "answered"
    APP = "app"
    SIDECAR = "to-sidecar"
    AGENT = "to-agent"
    OUT = "sidecar out"
    IN = "sidecar in"


DESCRIPTIONS = {
    Role.UPLINK: "packets on a link of this host",
    Role.BRIDGE: "packets on a bridge with containers behind it",
    Role.LOCAL: "packets between processes of this host",
    Role.ANSWERED: "queries answered on this host, which reach no wire, and their answers",
    Role.APP: "captured connections as the application has them",
    Role.SIDECAR: "the same connections after redirection to the sidecar",
    Role.AGENT: "DNS over TCP after redirection to the agent",
    Role.OUT: "connections of the sidecar to endpoints",
    Role.IN: "connections of the sidecar to this host's services",
}


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """One vantage point. ``device`` is the link, where it matters."""

    role: Role
    device: str = ""

    @property
    def name(self) -> str:
        return f"{self.role} {self.device}".strip()


def parse(name: str) -> Viewpoint | None:
    """The vantage point that an interface's name in a file means; None: another program's."""
    for role in sorted(Role, key=len, reverse=True):
        if name == role or name.startswith(f"{role} "):
            return Viewpoint(role, name[len(role) + 1 :])
    return None
