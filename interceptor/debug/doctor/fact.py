"""What a doctor has seen of a host, as values. What nobody could look at is empty or None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from interceptor.debug.doctor.packet import Ruleset
from interceptor.host.credential import Credential
from interceptor.host.feature import Feature
from interceptor.host.nameservice import NameService
from interceptor.host.occupant import Occupant
from interceptor.host.routechoice import Choice

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One back end. ``version`` is its program's, ``lacks`` what stands between it and this host;
    empty: nothing."""

    name: str
    version: str = ""
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """Kernel and machine. ``chosen`` are the lines that say which back end it is and why,
    ``backends`` those of TCP and DNS; ``refusal`` why there is none.

    ``headers``, ``bcc`` are empty where there are none (nobody but builders needs them).
    """

    kernel: str = ""
    machine: str = ""
    mechanisms: tuple[Mechanism, ...] = ()
    backends: tuple[str, str] = ("", "")
    chosen: tuple[str, ...] = ()
    refusal: str = ""
    features: tuple[Feature, ...] = ()
    features_error: str = ""
    cgroup_mount: str = ""
    has_cgroup: bool = True
    has_bpffs: bool = True
    tcx: bool | None = None
    headers: str = ""
    bcc: str = ""
    credential: Credential = field(default_factory=Credential)


@dataclass(frozen=True, slots=True)
class Net:
    """Addresses and the ways out. ``sysctls``: by their names with slashes; ``ways``: what the
    kernel would do with a packet to a VIP range, a CIDR or the resolver. ``usual``: the addresses
    of the default routes. ``encrypted``: connections to port 853 (DNS over TLS) of others."""

    addresses: tuple[Address, ...] = ()
    usual: tuple[Address, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    ways: tuple[tuple[str, Choice], ...] = ()
    rules: tuple[str, ...] = ()
    occupants: tuple[Occupant, ...] = ()
    encrypted: tuple[Occupant, ...] = ()


@dataclass(frozen=True, slots=True)
class Envoy:
    """The sidecar's program. ``error`` says why there is none."""

    path: str = ""
    version: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """A folder that the daemon writes to, and what is free there. Unit: bytes."""

    key: str
    path: str
    free: int


@dataclass(frozen=True, slots=True)
class Ailment:
    """Why a call to ``target`` does not go where it should: ``cause`` is a word of
    debug.finding's, ``next`` the command to run now."""

    target: str
    cause: str
    why: str
    cure: str = ""
    next: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. ``neighbours`` are others at our hooks, in words; ``status`` is the daemon's
    tree, None where none runs (``status_error`` says why); ``synchronised``: whether somebody
    keeps the clock right; ``mesh_problems`` are what is wrong with the mesh's documents,
    ``ailments`` with calls to its hosts."""

    host: Host = Host()
    net: Net = Net()
    names: NameService = field(default_factory=NameService)
    ruleset: Ruleset = field(default_factory=Ruleset)
    neighbours: tuple[str, ...] = ()
    envoy: Envoy = Envoy()
    rooms: tuple[Room, ...] = ()
    year: int = 0
    synchronised: bool | None = None
    status: Mapping[str, object] | None = None
    status_error: str = ""
    mesh_hosts: int = 0
    mesh_problems: tuple[str, ...] = ()
    mesh_warnings: tuple[str, ...] = ()
    ailments: tuple[Ailment, ...] = ()
