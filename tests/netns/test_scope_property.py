"""What the installed rules do to a real packet is what `scope.decide` says: the kernel is asked.

For generated configurations and flows, on every back end and in both families.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from interceptor.capture import backend, fact, joined, scope
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Facts, Flow, Hook, Plan, Verdict, build
from interceptor.config import Config

pytestmark = pytest.mark.root

CASES = {
    "nftables": backend.Choice("nftables", "nftables", "nft", True, True),
    "iptables-nft": backend.Choice("iptables", "iptables", "nft", True),
    "iptables-legacy": backend.Choice("iptables", "iptables", "legacy", False),
    "apart": backend.Choice("nftables", "iptables", "legacy", True),
}
EXAMPLES = int(os.environ.get("SCOPE_EXAMPLES", "20"))
FLOWS = 24

UIDS, GIDS = (0, 1000, 1001, 1337), (0, 1000, 1337)
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

    def flow(self, plan: Plan, cgroup: str) -> Flow:
        """The same as `scope` sees it."""
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
            cgroup.rsplit("/", 1)[1] if self.in_cgroup else "",
            self.mark,
        )


def _link(destination: str) -> str:
    return "x0" if destination.startswith(("10.77.", "fd77:")) else "v0"


def _has_six(plan: Plan) -> bool:
    return any(route.destination == ip_network("::6/128") for route in plan.routes)


def some(values: tuple[object, ...]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), max_size=3, unique=True).map(tuple)


@st.composite
def configs(draw: st.DrawFn, cgroup: str) -> Config:
    """Configurations over a small world, in which everything meets everything."""
    nets = (ip_network("10.50.0.0/16"), ip_network("fd50::/32"), ip_network("10.0.0.0/8"))
    include = draw(st.booleans()) and draw(st.booleans())
    name = cgroup.rsplit("/", 1)[1]
    owners = {
        "exclude_uids": draw(some((1000, 1001))),
        "exclude_gids": draw(some((1000,))),
        "exclude_cgroups": draw(some((name, "no/such.slice"))),
        "include_uids": draw(some((1000, 0))) if include else (),
        "include_gids": draw(some((1000,))) if include else (),
        "include_cgroups": draw(some((name,))) if include else (),
    }
    inside = st.one_of(st.just("*"), some((22, 80, 443, 15021, 53)))
    capture = {
        "ipv6": draw(st.sampled_from((None, None, None, False))),
        "outbound": {
            "cidrs": draw(st.one_of(st.just("*"), some(nets))),
            "exclude_cidrs": draw(some((ip_network("10.50.9.0/24"), ip_network("fd50:0:9::/48")))),
            "ports": draw(some((443, 8080, 80))),
            "exclude_ports": draw(some((25, 80, 443))),
        },
        "inbound": {"mode": draw(st.sampled_from(("redirect", "tproxy"))), "ports": draw(inside)},
        "owners": owners,
        "interfaces": {"exclude": draw(some(("x0",))), "bridges": draw(some(("br0",)))},
    }
    servers = st.sampled_from(("all", "all", ("1.1.1.1", "127.0.0.53", "2606::1"), "resolv.conf"))
    dns = {"enabled": draw(st.integers(0, 5)) > 0, "servers": draw(servers)}
    mode = draw(st.sampled_from(("managed", "managed", "managed", "none")))
    return Config.model_validate({"capture": capture, "dns": dns, "sidecar": {"mode": mode}})


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    where = draw(st.sampled_from(("vm", "vm", "vm", "peer", "box")))
    protocol = draw(st.sampled_from(("tcp", "tcp", "tcp", "udp")))
    port = draw(st.sampled_from(PORTS)) if protocol == "tcp" else 53
    if where == "peer":
        return Trial(where, "tcp", draw(st.sampled_from(OWN)), port)
    if where == "box":
        return Trial(where, protocol, draw(st.sampled_from(OWN + FAR)), port)
    destination = draw(st.sampled_from(OWN + LOOPBACK + FAR + FAR))
    source, local = "", destination in OWN + LOOPBACK
    if local and draw(st.integers(0, 3)) == 0:
        source = "::6" if ":" in destination else "127.0.0.6"
    # Elsewhere TPROXY's mark leads nowhere: its route table delivers everything here.
    tproxy = (0x1DC2,) if local else ()
    mark = draw(st.sampled_from((0, 0, 0, 0, 0x1DC0, 7, *tproxy)))
    if draw(st.integers(0, 7)) == 0:
        return Trial(where, protocol, destination, port, mark=mark, source=source, in_cgroup=True)
    uid, gid = draw(st.sampled_from(UIDS)), draw(st.sampled_from(GIDS))
    return Trial(where, protocol, destination, port, uid, gid, mark, source)


def expected(trial: Trial, verdict: Verdict) -> str:
    """What the world says of a packet with that verdict."""
    if trial.protocol == "udp" and verdict is Verdict.DNS:
        return "queue"
    here = ip_address(trial.destination).is_loopback or trial.destination in OWN
    place = verdict.value if verdict is not Verdict.PASS else "refused" if here else "peer"
    if place == "refused" or trial.protocol == "udp":
        return place
    return f"{place} {trial.destination} {trial.port}"


def observed(world: Any, trial: Trial, cgroup: str) -> str:
    owner = {"uid": trial.uid, "gid": trial.gid, "mark": trial.mark, "source": trial.source}
    if trial.in_cgroup:
        owner["cgroup"] = cgroup
    send = world.tcp if trial.protocol == "tcp" else world.udp
    return str(send(trial.where, trial.destination, trial.port, **owner))


@pytest.fixture(scope="module", params=CASES)
def installed(request: pytest.FixtureRequest, world: Any) -> Iterator[Any]:
    """One back end in the VM, and a way to install a configuration's plan by it."""
    chosen = joined.build(CASES[request.param], Journal())

    def install(config: Config) -> Plan:
        facts: Facts = world.vm.call(fact.facts, config)
        plan = build(config, facts, [ip_address(address) for address in MESH])
        world.vm.call(chosen.apply, plan)
        return plan

    yield install
    world.vm.call(chosen.revert)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a lost packet makes shrinking endless
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_the_kernel_does_what_scope_says(
    data: st.DataObject, world: Any, installed: Any, cgroup: str
) -> None:
    config = data.draw(configs(cgroup), label="config")
    plan = installed(config)
    for trial in data.draw(st.lists(trials(), min_size=FLOWS, max_size=FLOWS), label="flows"):
        if trial.source == "::6" and not _has_six(plan):
            continue  # without the plan's route for it, nothing finds its way back to ::6
        decision = scope.decide(plan, trial.flow(plan, cgroup))
        fate = observed(world, trial, cgroup)
        assert fate == expected(trial, decision.verdict), f"{trial}: {decision}"
