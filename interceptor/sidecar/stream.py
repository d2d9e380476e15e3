"""One delta xDS stream, without the network: requests in, responses out.

What holds at any moment:

- at most one response of a type is on its way; changes meanwhile are merged
  into the next, so a slow Envoy costs nothing;
- a new service's cluster and endpoints are acknowledged before its listener is
  sent, and a listener is gone before its cluster goes: no connection ever finds
  a listener without a cluster;
- a refused resource is not sent again until it changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from interceptor.sidecar.resource import Catalogue, Key, Kind, Resource

RESPONSE_BYTES = 2 << 20  # a response closes when it has reached this size
ENDPOINT_WAIT_S = 2.0  # how long a listener waits for its clusters' endpoints
WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class Request:
    """DeltaDiscoveryRequest. ``error`` is the reason of a NACK, else empty."""

    kind: Kind
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """DeltaDiscoveryResponse."""

    kind: Kind
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Envoy said of one response after ``latency_s``: taken, or refused with a reason."""

    response: Response
    error: str
    latency_s: float


@dataclass(slots=True)
class _Subscription:
    """What Envoy wants of one type, what it has, and what it still has to get."""

    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)  # name → version
    upserts: dict[str, None] = field(default_factory=dict)  # in order of change
    removals: dict[str, None] = field(default_factory=dict)
    waiting: Response | None = None
    waiting_since_s: float = 0.0
    must_answer: bool = False
    is_answered: bool = False

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    @property
    def is_settled(self) -> bool:
        return self.waiting is None and not self.upserts

    def mark(self, name: str, resource: Resource | None) -> None:
        """Compare what Envoy has of ``name`` with what it should have."""
        self.upserts.pop(name, None)
        self.removals.pop(name, None)
        if not self.wants(name):
            return
        if resource is None:
            if name in self.sent:
                self.removals[name] = None
        elif self.sent.get(name) != resource.version:
            self.upserts[name] = None


class Stream:
    """The state of one stream. ``catalogue`` is read at each step, and changed by its owner."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.subscriptions: dict[Kind, _Subscription] = {}
        self._serial = 0
        self._awaited: set[str] = set()  # clusters whose endpoints Envoy has not confirmed yet
        self._awaited_until_s = 0.0

    def receive(self, request: Request, now_s: float) -> Verdict | None:
        """Take one request in. Returns what it says of an earlier response, if anything."""
        is_first = request.kind not in self.subscriptions
        subscription = self.subscriptions.setdefault(request.kind, _Subscription())
        verdict = self._settle(subscription, request, now_s)
        if is_first:
            subscription.sent.update(request.initial_versions)
            if request.kind is Kind.ENDPOINT:  # of clusters that changed while Envoy came back
                for name in self._awaited:
                    subscription.sent.pop(name, None)
            subscription.wildcard = not request.subscribe and request.kind is not Kind.ENDPOINT
            subscription.must_answer = subscription.wildcard and not request.initial_versions
            subscription.is_answered = bool(request.initial_versions)
        for name in request.unsubscribe:
            self._unsubscribe(subscription, name)
        for name in request.subscribe:
            self._subscribe(subscription, request, name)
        if subscription.wildcard and (is_first or WILDCARD in request.subscribe):
            self._mark(request.kind, (*self.catalogue[request.kind], *subscription.sent))
        return verdict

    def change(self, keys: Iterable[Key]) -> None:
        """Note that these resources of the catalogue were set or removed."""
        for kind, name in keys:
            if kind in self.subscriptions:
                self._mark(kind, (name,))

    def poll(self, now_s: float) -> list[Response]:
        """What may be sent now. To be asked after each request, change and `deadline_s`."""
        if self._awaited and now_s >= self._awaited_until_s:
            self._awaited.clear()
        return [
            *self._clusters(now_s),
            *self._respond(Kind.ENDPOINT, now_s),
            *self._listeners(now_s),
        ]

    def deadline_s(self) -> float | None:
        """When `poll` has to be asked again though nothing happened."""
        listeners = self.subscriptions.get(Kind.LISTENER)
        is_held = self._awaited and listeners is not None and listeners.upserts
        return self._awaited_until_s if is_held else None

    @property
    def is_configured(self) -> bool:
        """Whether Envoy has answered for its clusters and for its listeners."""
        return all(
            kind in self.subscriptions and self.subscriptions[kind].is_answered
            for kind in (Kind.CLUSTER, Kind.LISTENER)
        )

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to send and nothing to wait for."""
        return self.is_configured and all(
            item.is_settled and not item.removals for item in self.subscriptions.values()
        )

    def _clusters(self, now_s: float) -> list[Response]:
        listeners = self.subscriptions.get(Kind.LISTENER)
        may_remove = (  # an Envoy that comes back names its listeners only after its clusters
            listeners is not None and listeners.is_settled and not listeners.removals
        )
        responses = self._respond(Kind.CLUSTER, now_s, removals=may_remove)
        for response in responses:
            self._await_endpoints(response, now_s)
        return responses

    def _listeners(self, now_s: float) -> list[Response]:
        clusters = self.subscriptions.get(Kind.CLUSTER)
        is_ready = not self._awaited and (clusters is None or clusters.is_settled)
        return self._respond(Kind.LISTENER, now_s, upserts=is_ready)

    def _await_endpoints(self, response: Response, now_s: float) -> None:
        """Send the endpoints of changed clusters again: Envoy makes such a cluster anew and
        waits for endpoints that it does not ask for, as it is subscribed to them already."""
        endpoints = self.catalogue[Kind.ENDPOINT]
        awaited = [item.name for item in response.resources if item.name in endpoints]
        self._awaited.update(awaited)
        self._awaited_until_s = now_s + ENDPOINT_WAIT_S
        subscription = self.subscriptions.get(Kind.ENDPOINT)
        if subscription is not None:
            for name in awaited:
                subscription.sent.pop(name, None)
            self._mark(Kind.ENDPOINT, awaited)

    def _respond(
        self, kind: Kind, now_s: float, *, upserts: bool = True, removals: bool = True
    ) -> list[Response]:
        subscription = self.subscriptions.get(kind)
        if subscription is None or subscription.waiting is not None:
            return []
        chosen = self._choose(subscription, kind) if upserts else []
        removed = tuple(subscription.removals) if removals else ()
        if not chosen and not removed and not (subscription.must_answer and upserts):
            return []
        self._serial += 1
        response = Response(kind, str(self._serial), tuple(chosen), removed)
        for resource in chosen:
            del subscription.upserts[resource.name]
            subscription.sent[resource.name] = resource.version
        for name in removed:
            del subscription.removals[name]
            subscription.sent.pop(name, None)
        subscription.must_answer = False
        subscription.waiting = response
        subscription.waiting_since_s = now_s
        return [response]

    def _choose(self, subscription: _Subscription, kind: Kind) -> list[Resource]:
        chosen: list[Resource] = []
        size = 0
        for name in subscription.upserts:
            resource = self.catalogue[kind][name]
            chosen.append(resource)
            size += len(resource.body)
            if size >= RESPONSE_BYTES:
                break
        return chosen

    def _settle(
        self, subscription: _Subscription, request: Request, now_s: float
    ) -> Verdict | None:
        response = subscription.waiting
        if response is None or request.nonce != response.nonce:
            return None
        subscription.waiting = None
        subscription.is_answered = True
        names = {resource.name for resource in response.resources}
        if request.kind is Kind.ENDPOINT:
            # Not what Envoy gave up meanwhile: it will ask again for a cluster that came back.
            self._awaited -= names & subscription.names
        elif request.kind is Kind.CLUSTER and request.error:
            self._awaited -= names
        return Verdict(response, request.error, now_s - subscription.waiting_since_s)

    def _subscribe(self, subscription: _Subscription, request: Request, name: str) -> None:
        if name == WILDCARD:
            subscription.wildcard = True
            return
        subscription.names.add(name)
        if name not in request.initial_versions:
            subscription.sent.pop(name, None)
        self._mark(request.kind, (name,))
        is_held = name in request.initial_versions
        if not is_held and name not in self.catalogue[request.kind]:
            subscription.removals[name] = None  # or Envoy waits for its whole time limit

    def _unsubscribe(self, subscription: _Subscription, name: str) -> None:
        if name == WILDCARD:
            subscription.wildcard = False
            return
        subscription.names.discard(name)
        if not subscription.wildcard:
            subscription.sent.pop(name, None)
            subscription.upserts.pop(name, None)
            subscription.removals.pop(name, None)

    def _mark(self, kind: Kind, names: Iterable[str]) -> None:
        subscription = self.subscriptions[kind]
        for name in names:
            resource = self.catalogue[kind].get(name)
            if resource is None and kind is Kind.ENDPOINT:
                # Endpoints go with their cluster, after its listeners: Envoy sees to that itself.
                subscription.upserts.pop(name, None)
            else:
                subscription.mark(name, resource)
