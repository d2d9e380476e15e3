"""One delta stream, against an Envoy that checks what it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.sidecar import stream
from interceptor.sidecar.resource import Catalogue, Kind, Resource, diff
from interceptor.sidecar.stream import Request, Response, Stream

NAMES = ("a", "b", "c")


def catalogue(services: dict[str, int]) -> Catalogue:
    """A cluster, its endpoints and a listener for each service; the number is its version."""
    return {
        kind: {
            name: Resource(kind, name, str(version), b"x" * 10)
            for name, version in services.items()
        }
        for kind in Kind
    }


@dataclass
class Envoy:
    """Subscribes as Envoy does, and fails the test when an order would break traffic."""

    stream: Stream
    have: dict[Kind, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    subscribed: set[str] = field(default_factory=set)
    queue: list[Request] = field(default_factory=list)
    on_the_way: list[Response] = field(default_factory=list)
    now_s: float = 0.0

    def connect(self) -> None:
        have = self.have
        self.queue = [
            Request(kind, initial_versions=have[kind]) for kind in (Kind.CLUSTER, Kind.LISTENER)
        ]
        if self.subscribed:
            names = tuple(self.subscribed)
            self.queue.append(Request(Kind.ENDPOINT, names, initial_versions=have[Kind.ENDPOINT]))

    def step(self) -> bool:
        """Deliver one message in one direction; whether there was any."""
        if self.queue:
            self.stream.receive(self.queue.pop(0), self.now_s)
        elif self.on_the_way:
            self.take(self.on_the_way.pop(0))
        else:
            return False
        self.poll()
        return True

    def poll(self) -> None:
        self.on_the_way += self.stream.poll(self.now_s)

    def settle(self) -> None:
        self.poll()
        for _ in range(1000):
            if not self.step():
                return
        raise AssertionError("the two talk for ever")

    def take(self, response: Response) -> None:
        have = self.have[response.kind]
        for name in response.removed:
            if response.kind is Kind.CLUSTER:
                assert name not in self.have[Kind.LISTENER], "a listener lost its cluster"
                self.subscribed.discard(name)
                self.have[Kind.ENDPOINT].pop(name, None)
                self.queue.append(Request(Kind.ENDPOINT, unsubscribe=(name,)))
            have.pop(name, None)
        for resource in response.resources:
            if response.kind is Kind.LISTENER:
                assert resource.name in self.have[Kind.CLUSTER], "a listener without its cluster"
                assert resource.name in self.have[Kind.ENDPOINT], "a cluster without endpoints"
            if response.kind is Kind.CLUSTER and resource.name not in self.subscribed:
                self.subscribed.add(resource.name)
                self.queue.append(Request(Kind.ENDPOINT, (resource.name,)))
            if response.kind is not Kind.ENDPOINT or resource.name in self.subscribed:
                have[resource.name] = resource.version
        self.queue.append(Request(response.kind, nonce=response.nonce))


def serve(services: dict[str, int]) -> Envoy:
    envoy = Envoy(Stream(catalogue(services)))
    envoy.connect()
    envoy.settle()
    return envoy


def publish(envoy: Envoy, services: dict[str, int]) -> None:
    new = catalogue(services)
    change = diff(envoy.stream.catalogue, new)
    envoy.stream.catalogue = new
    envoy.stream.change([item.key for item in change.upserted] + list(change.removed))
    envoy.poll()


def expected(services: dict[str, int]) -> dict[Kind, dict[str, str]]:
    return {kind: {name: str(value) for name, value in services.items()} for kind in Kind}


def test_envoy_gets_everything_at_first() -> None:
    envoy = serve({"a": 1, "b": 1})
    assert envoy.have == expected({"a": 1, "b": 1})
    assert envoy.stream.is_settled
    assert envoy.stream.is_configured


SERVICES = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2))


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.tuples(SERVICES, st.integers(0, 8)), min_size=1, max_size=6))
def test_envoy_ends_with_what_the_mesh_has_in_whatever_order_things_happen(
    moments: list[tuple[dict[str, int], int]],
) -> None:
    envoy = serve(moments[0][0])
    for services, steps in moments[1:]:
        publish(envoy, services)
        for _ in range(steps):
            envoy.step()
    envoy.settle()
    envoy.now_s += stream.ENDPOINT_WAIT_S
    envoy.settle()
    assert envoy.have == expected(moments[-1][0])
    assert envoy.stream.is_settled


@given(SERVICES, SERVICES)
def test_an_envoy_that_comes_back_gets_only_what_changed(
    before: dict[str, int], after: dict[str, int]
) -> None:
    envoy = serve(before)
    fresh = Envoy(Stream(catalogue(after)), envoy.have, envoy.subscribed)
    fresh.connect()
    sent: list[Response] = []
    while fresh.step():
        sent += [item for item in fresh.on_the_way if item not in sent]
    assert fresh.have == expected(after)
    if before == after and before:
        assert sent == []


def test_a_cluster_that_changed_while_envoy_was_away_gets_its_endpoints_again() -> None:
    """Though Envoy has that very version of them: it makes the cluster anew, without any."""
    mixed = dict(catalogue({"a": 1}))
    mixed[Kind.CLUSTER] = catalogue({"a": 2})[Kind.CLUSTER]
    one = Stream(mixed)
    one.receive(Request(Kind.CLUSTER, initial_versions={"a": "1"}), 0)
    assert [item.kind for item in one.poll(0)] == [Kind.CLUSTER]
    one.receive(Request(Kind.ENDPOINT, ("a",), initial_versions={"a": "1"}), 0)
    assert [item.kind for item in one.poll(0)] == [Kind.ENDPOINT]


def test_the_empty_mesh_is_an_answer_too() -> None:
    """Without it Envoy would wait for its first configuration and never be ready."""
    one = Stream(catalogue({}))
    one.receive(Request(Kind.CLUSTER), 0)
    (response,) = one.poll(0)
    assert (response.resources, response.removed) == ((), ())


def test_a_second_change_waits_for_the_first_answer_and_is_merged() -> None:
    envoy = serve({"a": 1})
    publish(envoy, {"a": 2})
    publish(envoy, {"a": 3})
    publish(envoy, {"a": 4})
    kinds = [item.kind for item in envoy.on_the_way]
    assert kinds.count(Kind.ENDPOINT) == 1
    envoy.settle()
    assert envoy.have == expected({"a": 4})


def test_what_was_refused_is_not_sent_again_until_it_changes() -> None:
    one = Stream(catalogue({"a": 1}))
    one.receive(Request(Kind.CLUSTER), 0)
    (response,) = one.poll(0)
    verdict = one.receive(Request(Kind.CLUSTER, nonce=response.nonce, error="bad"), 1.5)
    assert verdict is not None
    assert (verdict.response, verdict.error, verdict.latency_s) == (response, "bad", 1.5)
    assert one.poll(0) == []
    one.catalogue = catalogue({"a": 2})
    one.change([(Kind.CLUSTER, "a")])
    assert [item.version for item in one.poll(0)[0].resources] == ["2"]


def test_an_answer_to_an_older_response_is_none_to_this_one() -> None:
    one = Stream(catalogue({"a": 1}))
    one.receive(Request(Kind.CLUSTER), 0)
    one.poll(0)
    assert one.receive(Request(Kind.CLUSTER, nonce="other"), 0) is None
    assert not one.is_configured


def test_a_listener_waits_for_its_endpoints_but_not_for_ever() -> None:
    one = Stream(catalogue({}))
    for kind in (Kind.CLUSTER, Kind.LISTENER):
        one.receive(Request(kind), 0)
    for response in one.poll(0):
        one.receive(Request(response.kind, nonce=response.nonce), 0)
    one.catalogue = catalogue({"a": 1})
    one.change([(kind, "a") for kind in Kind])
    (clusters,) = one.poll(10)
    assert clusters.kind is Kind.CLUSTER
    one.receive(Request(Kind.CLUSTER, nonce=clusters.nonce), 10)
    assert one.poll(10) == []  # Envoy never asks for the endpoints
    assert one.deadline_s() == 10 + stream.ENDPOINT_WAIT_S
    (listeners,) = one.poll(10 + stream.ENDPOINT_WAIT_S)
    assert listeners.kind is Kind.LISTENER
    assert one.deadline_s() is None


def test_a_name_that_nobody_bears_is_said_to_be_gone() -> None:
    one = Stream(catalogue({"a": 1}))
    one.receive(Request(Kind.ENDPOINT, ("a", "nobody")), 0)
    (response,) = one.poll(0)
    assert [item.name for item in response.resources] == ["a"]
    assert response.removed == ("nobody",)


def test_a_large_set_is_sent_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RESPONSE_BYTES", 20)
    one = Stream(catalogue(dict.fromkeys("abcde", 1)))
    one.receive(Request(Kind.CLUSTER), 0)
    sizes = []
    while responses := one.poll(0):
        sizes.append(len(responses[0].resources))
        one.receive(Request(Kind.CLUSTER, nonce=responses[0].nonce), 0)
    assert sizes == [2, 2, 1]
