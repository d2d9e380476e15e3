"""A call that is well, for tests that break one thing about it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from interceptor.capture import plan, scope
from interceptor.capture.plan import Facts, Flow, Hook
from interceptor.config import Config
from interceptor.debug.case import Asked, Case, Entry, Envoy, Installed, Resolver, Running, Upstream
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Locale, Port
from interceptor.mesh.table import MeshTable

NAME = "reviews.bookinfo.svc.cluster.local"
HTTP = Port("http", 9080, AppProtocol.HTTP)
REVIEWS = Host(
    NAME,
    "bookinfo",
    Kind.SERVICE,
    (ip_address("10.96.0.11"),),
    (HTTP,),
    (Endpoint(ip_address("10.77.0.41")), Endpoint(ip_address("10.77.0.51"))),
    origin="Service bookinfo/reviews",
)
FACTS = Facts(own_addresses=(ip_address("10.77.0.10"),), route_source4=ip_address("10.77.0.10"))
LOCALE = Locale(namespace="bookinfo")
ENVOY = Envoy(
    listens=True,
    answers=True,
    state="LIVE",
    listener="10.96.0.11_9080",
    upstreams=(Upstream("10.77.0.41", 9080, used=3), Upstream("10.77.0.51", 9080)),
)


def case(
    *hosts: Host,
    name: str = NAME,
    port: int = 9080,
    config: Config | None = None,
    locale: Locale = LOCALE,
    uid: int = 1000,
    **other: object,
) -> Case:
    """The call of ``name`` as `inquiry` makes a case of it, in a mesh of these hosts."""
    config = config or Config()
    table = MeshTable({host.name: host for host in hosts or (REVIEWS,)})
    found = Answers.build(table.hosts.values(), locale).resolve(name, "A")
    asked = Asked(f"{name}:{port}", "tcp", port, name)
    made = Case(config, asked, locale, table, found=found, facts=FACTS)
    if found.answers:
        built = plan.build(config, FACTS, table.addresses())
        to = ip_address(found.answers[-1].data)
        source = ip_address("10.77.0.10")
        flow = Flow(Hook.OUTPUT, "tcp", source, to, port, uid=uid, gid=uid)
        host = next(host for host in table.hosts.values() if host.name == found.host)
        served = next((each for each in host.ports if each.number == port), None)
        made = replace(
            made,
            plan=built,
            flow=flow,
            decision=scope.decide(built, flow),
            rule=scope.match(built, flow),
            called=(host, served),
            installed=Installed("nftables", (Entry("redirect to :15001", 3),)),
            envoy=ENVOY,
            running=Running(
                True,
                "",
                "nftables",
                len(table),
                sidecar="live",
                knows_host=True,
                told=tuple(str(address) for address in host.addresses),
            ),
            resolver=Resolver(("files", "dns")),
        )
    return replace(made, **other)  # type: ignore[arg-type]
