"""Configurations over a small world, packets in it, and what `scope` makes of them there."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from interceptor.capture.plan import Facts, Flow, Hook, Place, Plan, Verdict, build
from interceptor.config import Config

UIDS, GIDS = (0, 0, 1000, 1000, 1001, 1001, 1337), (0, 0, 0, 1000, 1000, 1337)
MARKS = (*(0,) * 8, 7, 0x1DC0)
PORTS = (22, 25, 53, 80, 443, 8080, 15008, 15020, 15021)
OWN = ("10.0.0.2", "10.77.0.2", "172.30.0.1", "fd10::2", "fd77::2", "fd30::1")
LOOPBACK = ("127.0.0.1", "127.0.0.53", "127.9.9.9", "::1")
FAR = (
    *("10.0.0.1", "10.77.0.1", "10.50.0.1", "10.50.9.9", "10.60.0.1", "240.240.1.1", "1.1.1.1"),
    *("8.8.8.8", "fd10::1", "fd77::1", "fd50::1", "fd50:0:9::9", "fd60::1", "2001:2::7", "2606::1"),
)
MESH = ("10.60.0.1", "10.0.0.1", "10.0.0.2", "fd60::1", "fd10::2")


@dataclass(frozen=True, slots=True)
class Trial:
    """One packet to send: from where, to where, by whom."""

    where: str
    protocol: str
    destination: str
    port: int
    uid: int = 0
    gid: int = 0
    mark: int = 0
    source: str = ""
    in_cgroup: bool = False
    mapped: bool = False  # from an IPv6 socket, to ::ffff:a.b.c.d

    def flow(self, cgroup: str) -> Flow:
        """The same as `scope` sees it. ``cgroup``: where it is sent from, if from there."""
        address = ip_address(self.destination)
        local = address.is_loopback or self.destination in OWN
        if self.where != "vm":
            link = "br0" if self.where == "box" else _link(self.destination)
            return Flow(Hook.PREROUTING, self.protocol, address, address, self.port, link)
        return Flow(
            Hook.OUTPUT,
            self.protocol,
            ip_address(self.source or ("::2" if address.version == 6 else "10.0.0.2")),
            address,
            self.port,
            "lo" if local else _link(self.destination),
            self.uid,
            self.gid,
            cgroup if self.in_cgroup else "",
            self.mark,
        )


def planned(config: Config, facts: Facts) -> Plan:
    """The plan, with a mesh of some addresses."""
    return build(config, facts, [ip_address(address) for address in MESH])


def meshes() -> st.SearchStrategy[list[Place]]:
    """What a mesh may become while a plan is in force."""
    places = (*map(ip_address, (*MESH, "1.1.1.1", "10.50.9.9")), ip_network("fd50::/32"))
    return st.lists(st.sampled_from(places), max_size=4, unique=True)


def _link(destination: str) -> str:
    return "x0" if destination.startswith(("10.77.", "fd77:")) else "v0"


def has_six(plan: Plan) -> bool:
    return any(route.destination == ip_network("::6/128") for route in plan.routes)


def some(values: tuple[object, ...]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), max_size=3, unique=True).map(tuple)


def few(values: tuple[object, ...]) -> st.SearchStrategy[tuple[object, ...]]:
    """None, more often than not: what is left alone is soon the most."""
    return st.one_of(st.just(()), st.just(()), some(values))


@st.composite
def configs(draw: st.DrawFn, name: str) -> Config:
    """A small world, in which everything meets everything. ``name``: of a cgroup in it."""
    nets = (ip_network("10.50.0.0/16"), ip_network("fd50::/32"), ip_network("10.0.0.0/8"))
    include = draw(st.booleans()) and draw(st.booleans())
    owners = {
        "exclude_uids": draw(few((1000, 1001))),
        "exclude_gids": draw(few((1000,))),
        "exclude_cgroups": draw(few((name, "no/such.slice"))),
        "include_uids": draw(some((1000, 0))) if include else (),
        "include_gids": draw(some((1000,))) if include else (),
        "include_cgroups": draw(some((name,))) if include else (),
    }
    inside = st.one_of(st.just("*"), some((22, 80, 443, 15021, 53)))
    capture = {
        "enabled": draw(st.integers(0, 9)) < 9,
        "ipv6": draw(st.sampled_from((None, None, None, False))),
        "outbound": {
            "cidrs": draw(st.one_of(st.just("*"), some(nets))),
            "exclude_cidrs": draw(few((ip_network("10.50.9.0/24"), ip_network("fd50:0:9::/48")))),
            "ports": draw(some((443, 8080, 80))),
            "exclude_ports": draw(few((25, 80, 443))),
        },
        "inbound": {"mode": draw(st.sampled_from(("redirect", "tproxy"))), "ports": draw(inside)},
        "owners": owners,
        "interfaces": {"exclude": draw(some(("x0",))), "bridges": draw(some(("br0",)))},
    }
    named = ("1.1.1.1", "127.0.0.53", "2606::1")
    servers = st.sampled_from(("all", "all", "all", named, "resolv.conf"))
    dns = {"enabled": draw(st.integers(0, 5)) < 5, "servers": draw(servers)}
    mode = draw(st.sampled_from(("managed", "managed", "managed", "managed", "none")))
    agent = {"on_sidecar_loss": draw(st.sampled_from(("reject", "bypass")))}  # it is there
    return Config.model_validate(
        {"capture": capture, "dns": dns, "sidecar": {"mode": mode}, "agent": agent}
    )


@st.composite
def trials(draw: st.DrawFn, *, dual: bool = False) -> Trial:
    """``dual``: IPv6 sockets may send IPv4, too."""
    where = draw(st.sampled_from(("vm", "vm", "vm", "peer", "box")))
    protocol = draw(st.sampled_from(("tcp", "tcp", "tcp", "udp")))
    port = draw(st.sampled_from(PORTS)) if protocol == "tcp" else 53
    if where == "peer":
        return Trial(where, "tcp", draw(st.sampled_from(OWN)), port)
    places = OWN + FAR if where == "box" else OWN + LOOPBACK + FAR + FAR
    destination = draw(st.sampled_from(places))
    mapped = dual and ":" not in destination and draw(st.integers(0, 3)) == 0
    if where == "box":
        return Trial(where, protocol, destination, port, mapped=mapped)
    source, local = "", destination in OWN + LOOPBACK
    if local and draw(st.integers(0, 3)) == 0:
        source = "::6" if ":" in destination else "127.0.0.6"
    # Elsewhere TPROXY's mark leads nowhere: its route table delivers everything here.
    tproxy = (0x1DC2,) if local else ()
    mark = draw(st.sampled_from((*MARKS, *tproxy)))
    uid, gid, in_cgroup = 0, 0, draw(st.integers(0, 7)) == 0
    if not in_cgroup:
        uid, gid = draw(st.sampled_from(UIDS)), draw(st.sampled_from(GIDS))
    return Trial(where, protocol, destination, port, uid, gid, mark, source, in_cgroup, mapped)


def expected(trial: Trial, verdict: Verdict) -> str:
    """What the world says of a packet with that verdict."""
    here = ip_address(trial.destination).is_loopback or trial.destination in OWN
    place = verdict.value if verdict is not Verdict.PASS else "refused" if here else "peer"
    if place == "refused" or trial.protocol == "udp":
        return place
    return f"{place} {trial.destination} {trial.port}"
