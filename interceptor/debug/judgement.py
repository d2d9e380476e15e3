"""What is said of a packet: the decision about it, from live events, else from table and plan.

Pure: table, plan and events are handed over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from interceptor.capture import scope
from interceptor.capture.plan import Flow, Plan, Verdict
from interceptor.capture.rule import Hook
from interceptor.debug.event import Event, Kind, end
from interceptor.debug.rebuild import End
from interceptor.mesh import outcome
from interceptor.mesh.model import Host
from interceptor.mesh.outcome import Resolution

KEPT = 20_000  # events that wait for their packets
FRESH_S = 10.0  # how far an event's time and its packet's may lie apart: ports are used again

Resolve = Callable[[str, str], Resolution]
_Key = tuple[str, int, str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """``verdict`` is a word of design §10, "" where nothing is known; ``text`` the comment, or
    of a query the reason; ``name`` and ``host`` are what the packet is about, for those who
    want only some; ``who`` is the process as far as it is known, to stand behind a comment."""

    verdict: str
    text: str
    name: str = ""
    host: str = ""
    who: str = ""


UNKNOWN = Told("", "")


@dataclass(slots=True)
class Judgement:
    """``plan`` and ``resolve`` are None where the mesh table could not be loaded."""

    plan: Plan | None
    hosts: Iterable[Host]
    resolve: Resolve | None
    _called: dict[bytes, str] = field(default_factory=dict)
    _served: dict[End, list[str]] = field(default_factory=dict)
    _heard: OrderedDict[_Key, Event] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        for host in self.hosts:
            for address in host.addresses:
                self._called.setdefault(address.packed, host.name)
            for endpoint in host.endpoints:
                if not isinstance(endpoint.address, str):
                    for port in host.ports:
                        place = endpoint.address.packed, endpoint.port(port)
                        self._served.setdefault(place, []).append(host.name)

    def hear(self, event: Event) -> None:
        """Keep an event until its packet comes."""
        if event.kind is Kind.DNS:
            key = (event.source, event.source_port, event.name, event.qtype)
        else:
            key = (event.source, event.source_port, event.destination, str(event.port))
            if not event.rule and key in self._heard:
                return  # the sidecar's word about it: how it went, not why
        self._heard[key] = event
        self._heard.move_to_end(key)
        if len(self._heard) > KEPT:
            self._heard.popitem(last=False)

    def _event(self, key: _Key, time_s: float) -> Event | None:
        event = self._heard.get(key)
        return event if event and abs(event.time_s - time_s) < FRESH_S else None

    def query(self, client: End, name: str, qtype: int, time_s: float) -> Told:
        """The fate of a query: its verdict, and why. What was answered the packet tells."""
        kind = outcome.type_name(qtype)
        event = self._event((text(client[0]), client[1], name, kind), time_s)
        if event is not None:
            return Told(event.verdict, event.why or event.plane, name, event.host, who(event))
        if self.resolve is None or not name or not qtype:
            return Told("", "", name)
        found = self.resolve(name, kind)
        return Told(found.verdict.value, found.why, name, found.host)

    def outbound(self, source: End, destination: End, uid: int | None, time_s: float) -> Told:
        """The fate of a connection that a process of this host opens."""
        key = (text(source[0]), source[1], text(destination[0]), str(destination[1]))
        event = self._event(key, time_s)
        if event is not None and event.rule:
            told = self._say(event.verdict, event.rule, event.why, destination, event.to)
            return _signed(told, who(event) or _user(uid))
        return _signed(self._decide(Hook.OUTPUT, source, destination, "uplink", uid), _user(uid))

    def inbound(self, source: End, destination: End, device: str) -> Told:
        """The fate of a connection that arrives on a device."""
        return self._decide(Hook.PREROUTING, source, destination, device, None)

    def _decide(
        self, hook: Hook, source: End, destination: End, device: str, uid: int | None
    ) -> Told:
        if self.plan is None:
            return self._say("", 0, "", destination, "")
        to = ip_address(destination[0])
        flow = Flow(
            hook, "tcp", ip_address(source[0]), to, destination[1], device, uid=uid, gid=uid
        )
        found = scope.decide(self.plan, flow)
        steering = self.plan.steering
        port = {
            Verdict.OUTBOUND: str(steering.outbound_port),
            Verdict.INBOUND: str(steering.inbound_port),
            Verdict.DNS: str(steering.dns_port),
        }.get(found.verdict, "")
        return self._say(found.verdict.value, found.rule, found.why, destination, port)

    def _say(self, verdict: str, rule: int, why: str, destination: End, to: str) -> Told:
        host = self._called.get(destination[0], "")
        if verdict == Verdict.INBOUND.value and not host:
            host = next(iter(self._served.get(destination, ())), "")
        what = f"VIP of {host}" if host and verdict == Verdict.OUTBOUND.value else why
        if not verdict:
            return Told("", "", host=host)
        said = f"{verdict} rule {rule}: {what}" + (f" → {to}" if to else "")
        return Told(verdict, said, host=host)

    def upstream(self, destination: End) -> Told:
        """What a connection of the sidecar leads to."""
        place = end(text(destination[0]), destination[1])
        hosts = self._served.get(destination, ())
        if hosts:
            return Told(
                "sidecar", f"sidecar to {place}, endpoint of {', '.join(hosts)}", "", hosts[0]
            )
        return Told("sidecar", f"sidecar to {place}, no endpoint of the mesh table")

    def service(self, place: End) -> Told:
        """What the sidecar calls on this host itself."""
        host = next(iter(self._served.get(place, ())), "")
        what = f"{host}, served here" if host else "this host's own service"
        return Told("sidecar", f"sidecar to {what}, port {place[1]}", host=host)

    def is_endpoint(self, destination: End) -> bool:
        return destination in self._served


def _signed(told: Told, process: str) -> Told:
    """With the process in the comment."""
    return replace(told, text=told.text + process, who=process) if told.text else told


def who(event: Event) -> str:
    """The process of an event, in the words that `replay` reads again; "" where none is known."""
    name = f"; {event.comm}[{event.pid}]" if event.comm else ""
    return name + _user(event.uid)


def _user(uid: int | None) -> str:
    return "" if uid is None else f"; uid {uid}"


def text(address: bytes) -> str:
    return str(ip_address(address))
