"""Calls of the demo, each told from the query to the endpoint that answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from interceptor.errors import InterceptorError
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until


class Deviation(InterceptorError):
    """Something was other than the demo promises."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: from which host, to whom, over which family, and who may answer."""

    host: str
    name: str
    port: int
    family: int
    expected: tuple[str, ...]
    is_http: bool = True

    @property
    def title(self) -> str:
        return f"{self.host}: {self.name}:{self.port} over IPv{self.family}"


REVIEWS = ("reviews-v1", "reviews-v2")
CALLS = (
    Call("vm", "reviews.bookinfo.svc.cluster.local", 9080, 4, REVIEWS),
    Call("vm", "reviews.bookinfo.svc.cluster.local", 9080, 6, REVIEWS),
    Call("vm", "reviews", 9080, 4, REVIEWS),
    Call("vm", "details.bookinfo", 9080, 4, ("details-v1",)),
    Call("vm", "ratings.mesh.internal", 9080, 6, ("ratings-v1", "ratings-v2")),
    Call("vm", "web.bookinfo.svc.cluster.local", 8080, 4, ("web-0", "web-1")),
    Call("vm", "web-1.web.bookinfo.svc.cluster.local", 8080, 6, ("web-1",)),
    Call("vm", "partner.bookinfo.svc.cluster.local", 80, 4, ("partner-api",)),
    Call("vm", "any.thing.wild.example", 80, 4, ("wildcard",)),
    Call("vm", "mysql.vm.svc.cluster.local", 3306, 4, ("mysql-vm2",), False),
    Call("vm", "mysql.vm.svc.cluster.local", 3306, 6, ("mysql-vm2",), False),
    Call("vm2", "reviews.bookinfo.svc.cluster.local", 9080, 4, REVIEWS),
    Call("vm2", "mysql", 3306, 4, ("mysql-vm2",), False),
)

# A client that waits to be spoken to, as a MySQL client does; it says from where it was reached.
GREETED = """
import socket, sys
family = {4: socket.AF_INET, 6: socket.AF_INET6}[int(sys.argv[3])]
kind, address = socket.SOCK_STREAM, socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), family)[0][4]
with socket.socket(family, kind) as s:
    s.settimeout(5)
    s.connect(address)
    print(s.makefile().readline(), end="")
"""


def texts(value: object) -> list[str]:
    """A JSON array of strings."""
    if not isinstance(value, list):
        raise Deviation(f"no array: {value!r}")
    return [str(each) for each in value]


def _ask(agent: Agent, call: Call) -> str:
    """What an application hears: the first line of the answer."""
    if call.is_http:
        url = f"http://{call.name}:{call.port}/"
        argv = ["curl", f"-{call.family}", "-sS", "--max-time", "5", url]
    else:
        argv = ["/usr/bin/python3", "-c", GREETED, call.name, str(call.port), str(call.family)]
    done = agent.lab.run(agent.host, argv, check=False)
    if not done:
        raise Deviation(f"{call.title}: {done.stderr.strip()}")
    return done.stdout.strip()


def _addresses(agent: Agent, call: Call) -> list[str]:
    """What the resolver of the host's own libc says."""
    database = f"ahostsv{call.family}"
    done = agent.lab.run(agent.host, ["getent", database, call.name], check=False)
    found = [line.split()[0] for line in done.stdout.splitlines()]
    if not found:
        raise Deviation(f"{call.title}: getent {database} knows no address")
    return list(dict.fromkeys(found))


def run(agent: Agent, call: Call) -> Iterator[str]:
    """Make one call, and tell its way. Raises Deviation."""
    yield call.title
    kind = "A" if call.family == 4 else "AAAA"
    addresses = _addresses(agent, call)
    resolved = agent.read("resolve", call.name, "--type", kind)
    yield f"   query     {kind} {call.name}"
    yield f"   answer    {', '.join(addresses)}: {resolved['why']}"
    target = f"[{addresses[0]}]" if ip_address(addresses[0]).version == 6 else addresses[0]
    fate = agent.read("explain", "tcp", f"{target}:{call.port}")
    if fate["verdict"] != "outbound":
        raise Deviation(f"{call.title}: explain says {fate['verdict']}: {fate['why']}")
    yield f"   rule      {fate['rule']}: {fate['why']}; to {fate['to']}"
    yield f"             {texts(fate['rule_text'])[-1]}"
    yield f"   cluster   {fate['cluster']}: {', '.join(texts(fate['endpoints']))}"
    heard = _ask(agent, call)
    name = re.split(r"[ :\n]", heard, maxsplit=1)[0]
    if name not in call.expected:
        raise Deviation(f"{call.title}: {heard!r} answered, and not one of {call.expected}")
    yield f"   endpoint  {heard}"


def other(agent: Agent) -> Iterator[str]:
    """A name of nobody in the mesh: asked of the upstream, and called without the sidecar."""
    name, lab = "www.corp.example", agent.lab
    resolved = agent.read("resolve", name)
    if resolved["verdict"] != "pass":
        raise Deviation(f"resolve {name} says {resolved['verdict']}")
    asked = lab.log("dns", "dnsmasq").count(f"] {name} ")
    heard = lab.run(
        agent.host, ["curl", "-sS", "--max-time", "5", f"http://{name}/"]
    ).stdout.strip()
    if heard != name:
        raise Deviation(f"{name} was answered by {heard!r}")
    more = lab.log("dns", "dnsmasq").count(f"] {name} ") - asked
    if more < 1:
        raise Deviation(f"the upstream DNS server was not asked for {name}")
    fate = agent.read("explain", "tcp", "10.77.0.61:80")
    if fate["verdict"] != "pass":
        raise Deviation(f"explain says {fate['verdict']} for {name}")
    yield f"{name}: {more} queries at the upstream server, as the application sent them"
    yield f"10.77.0.61:80: {fate['verdict']}, rule {fate['rule']}: {fate['why']}"


def logged(agent: Agent, since: int) -> Iterator[str]:
    """What the sidecar of ``agent`` wrote of its calls, after the first ``since`` lines.

    Envoy writes its log once a second.
    """
    wait_until(lambda: len(agent.access_log()) > since, f"the access log of {agent.host}", 5)
    for line in agent.access_log()[since:]:
        entry = json.loads(line)
        way = f"{entry.get('upstream_cluster')} -> {entry.get('upstream_host')}"
        yield f"{agent.host} {entry.get('direction')}: {entry.get('service')}: {way}"
