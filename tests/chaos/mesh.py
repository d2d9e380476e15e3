"""The mesh of the chaos suite: its documents, and what is true of it at which time. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

FIXED = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: bookinfo}
spec:
  clusterIPs: [10.96.1.1, "fd96:1::1"]
  ports: [{name: http, port: 9080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, namespace: bookinfo, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 9080}]
endpoints: [{addresses: ["10.77.0.41"]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stream, namespace: bookinfo}
spec:
  hosts: [stream.mesh.internal]
  addresses: [192.0.2.50, "2001:db8::50"]
  resolution: STATIC
  ports: [{number: 7000, name: tcp-tell, protocol: TCP}]
  endpoints: [{address: 10.77.0.31}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild, namespace: bookinfo}
spec:
  hosts: ["*.wild.example"]
  addresses: [192.0.2.90, "2001:db8::90"]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.77.0.61}]
"""
"""What never changes."""

POOL = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: pool, namespace: bookinfo}}
spec:
  hosts: [pool.mesh.internal]
  addresses: [192.0.2.51]
  resolution: STATIC
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  endpoints: [{endpoints}]
"""
MOVING = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: h{number}, namespace: bookinfo}}
spec:
  hosts: [h{number}.move.example]
  addresses: [{address4}, "{address6}"]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 10.77.0.61}}]
"""
WRONG = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nspec: {hosts: 7, ports: here}\n"

WEB = "web.bookinfo.svc.cluster.local"
STREAM, POOL_HOST = "stream.mesh.internal", "pool.mesh.internal"
POOL_VIP = "192.0.2.51"
HOSTS = 8
GENERATIONS = 200
POOL_BACKENDS = {"10.77.0.41": "reviews-v1", "10.77.0.51": "reviews-v2"}
VIPS = {
    f"{WEB} A": "10.96.1.1",
    f"{WEB} AAAA": "fd96:1::1",
    "web.bookinfo A": "10.96.1.1",
    f"{STREAM} A": "192.0.2.50",
    f"{STREAM} AAAA": "2001:db8::50",
    "any.wild.example A": "192.0.2.90",
    f"{POOL_HOST} A": "192.0.2.51",
    f"{POOL_HOST} AAAA": "",
}
"""Lookup → the address that is always right; empty: the name has none of that family."""

OTHERS = {
    "www.corp.example A": "0 10.77.0.61",
    "www.corp.example AAAA": "0 fd77::61",
    "only4.corp.example A": "0 10.77.0.61",
    "only4.corp.example AAAA": "0",
    "alias.corp.example A": "0 10.77.0.61",
    "h1.move.example.else.example A": "0 198.51.100.7",
    "nobody.else.example A": "3",
    "nobody.else.example AAAA": "3",
}
"""Names that are not the mesh's, and what their server says."""

RECORDS = ("host-record=h1.move.example.else.example,198.51.100.7",)


def moving(number: int) -> str:
    """The host with that number."""
    return f"h{number}.move.example"


def addresses(number: int, generation: int) -> tuple[str, str]:
    """What a moving host is after so many moves: no other host ever is, and it not again."""
    low = (number << 8) + generation % GENERATIONS
    return (
        str(IPv4Address("198.19.0.0") + low),
        str(IPv6Address("2001:db8:19::") + low),
    )


def render_host(number: int, generation: int) -> str:
    """The document of a moving host."""
    address4, address6 = addresses(number, generation)
    return MOVING.format(number=number, address4=address4, address6=address6)


def render_pool(backends: tuple[str, ...]) -> str:
    """The document of the service whose endpoints change."""
    return POOL.format(endpoints=", ".join(f"{{address: {each}}}" for each in backends))


@dataclass(frozen=True, slots=True)
class Truth:
    """From ``since_s`` on a host has this ``generation``; None: there is no such host."""

    since_s: float
    generation: int | None


@dataclass(frozen=True, slots=True)
class Pool:
    """From ``since_s`` on the pool has these endpoints."""

    since_s: float
    backends: tuple[str, ...]


Late = Callable[[float], float]
"""From when something was changed to when everybody has to know."""


class History:
    """What the documents said of each moving host, and when."""

    def __init__(self, now_s: float) -> None:
        self._truths = {number: [Truth(now_s, 0)] for number in range(HOSTS)}
        self._pools = [Pool(now_s, tuple(POOL_BACKENDS))]
        self.wrong: set[int] = set()
        """Hosts whose document is wrong now: what it said last holds, over restarts, too."""
        self.changed_s = now_s

    @property
    def is_disturbed(self) -> bool:
        """Whether some host is not there, or its document wrong."""
        return bool(self.wrong) or any(self.now(number) is None for number in self._truths)

    def tell(self, number: int, now_s: float, generation: int | None) -> None:
        """The documents are being changed now."""
        self._truths[number].append(Truth(now_s, generation))
        self.changed_s = now_s

    def tell_pool(self, now_s: float, backends: tuple[str, ...]) -> None:
        """The pool's endpoints are being changed now."""
        self._pools.append(Pool(now_s, backends))
        self.changed_s = now_s

    def pool(self) -> tuple[str, ...]:
        """The pool's endpoints in force."""
        return self._pools[-1].backends

    def now(self, number: int) -> int | None:
        """The generation in force."""
        return self._truths[number][-1].generation

    def last(self, number: int) -> int:
        """The highest generation that there ever was."""
        known = [each.generation for each in self._truths[number]]
        return max(each for each in known if each is not None)

    def legal(self, asked: str, sent_s: float, ended_s: float, late: Late) -> set[str]:
        """What a lookup may be answered: all that was true until its answer, but for what was
        changed so long before its question that nobody may be `late` with it any more.

        As `Record.got`; ``pass`` where there may have been no such host.
        """
        name, kind = asked.split()
        number = int(name[1 : name.index(".")])
        found = set()
        for truth in _current(self._truths[number], sent_s, ended_s, late):
            if truth.generation is None:
                found.add("pass")
            else:
                found.add("0 " + addresses(number, truth.generation)[kind == "AAAA"])
        return found

    def backends(self, sent_s: float, ended_s: float, late: Late) -> set[str]:
        """Which backends of the pool may answer a call, told as `legal` tells it."""
        found = _current(self._pools, sent_s, ended_s, late)
        return {POOL_BACKENDS[each] for pool in found for each in pool.backends}


Changed = TypeVar("Changed", Truth, Pool)


def _current(changes: list[Changed], sent_s: float, ended_s: float, late: Late) -> list[Changed]:
    ends = [*(each.since_s for each in changes[1:]), math.inf]
    return [
        each
        for each, end_s in zip(changes, ends, strict=True)
        if each.since_s <= ended_s and (end_s >= sent_s or late(end_s) >= sent_s)
    ]
