"""What passes between Envoy and its control plane, and what Envoy says of it."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from interceptor.sidecar.envelope import Form
from interceptor.sidecar.passage import Passage

LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def request(form: Form, nonce: str = "", error: str = "", url: str = LDS) -> bytes:
    kind = (
        discovery_pb2.DeltaDiscoveryRequest
        if form is Form.DELTA
        else discovery_pb2.DiscoveryRequest
    )
    message = kind(type_url=url, response_nonce=nonce)
    if error:
        message.error_detail.message = error
    return message.SerializeToString()


def response(
    form: Form, nonce: str, *names: str, removed: tuple[str, ...] = (), url: str = LDS
) -> bytes:
    if form is Form.DELTA:
        delta = discovery_pb2.DeltaDiscoveryResponse(
            type_url=url, nonce=nonce, removed_resources=removed
        )
        for name in names:
            delta.resources.add(name=name)
        return delta.SerializeToString()
    bodies = [any_pb2.Any(value=b"\x0a" + bytes([len(name)]) + name.encode()) for name in names]
    return discovery_pb2.DiscoveryResponse(
        type_url=url, nonce=nonce, resources=bodies
    ).SerializeToString()


@pytest.mark.parametrize("form", Form)
def test_requests_responses_and_answers_are_counted_by_kind(form: Form) -> None:
    passage = Passage()
    passage.begin()
    passage.ask(form, request(form), 1.0)
    passage.tell(form, response(form, "1", "a"), 2.0)
    assert not passage.is_quiet
    passage.ask(form, request(form, "1"), 2.5)
    passage.ask(form, request(form, "1"), 3.0)  # as a subscription to more names repeats it
    assert dict(passage.counts) == {
        ("asked", "LISTENER"): 3, ("sent", "LISTENER"): 1, ("acked", "LISTENER"): 1,
    }  # fmt: skip
    assert list(passage.latencies_s) == [0.5]
    assert passage.is_quiet
    assert passage.answered == {"LISTENER"}
    assert passage.refusals == ()


@pytest.mark.parametrize("form", Form)
def test_a_refusal_bears_the_name_that_its_reason_has(form: Form) -> None:
    passage = Passage()
    passage.tell(form, response(form, "1", "good", "bad_80"), 1.0)
    told = passage.ask(form, request(form, "1", "Error adding listener(s) bad_80: no filter"), 1.1)
    assert told is not None
    (refusal,) = passage.refusals
    assert refusal == told
    assert (refusal.kind, refusal.names) == ("LISTENER", ("bad_80",))
    assert refusal.reason == "Error adding listener(s) bad_80: no filter"
    assert refusal.cure == ""
    assert passage.counts["refused", "LISTENER"] == 1


@pytest.mark.parametrize("form", Form)
def test_a_refusal_that_names_nobody_is_of_all_that_was_told(form: Form) -> None:
    passage = Passage()
    passage.tell(form, response(form, "1", "a", "b"), 1.0)
    passage.ask(form, request(form, "1", "out of memory"), 1.1)
    assert passage.refusals[0].names == ("a", "b")


def test_a_refusal_of_a_response_that_is_no_longer_known_is_told_all_the_same() -> None:
    passage = Passage()
    passage.ask(Form.DELTA, request(Form.DELTA, "lost", "no such thing"), 1.0)
    (refusal,) = passage.refusals
    assert (refusal.names, refusal.reason) == ((), "no such thing")


@pytest.mark.parametrize("form", Form)
def test_a_refusal_is_over_once_the_resource_is_taken(form: Form) -> None:
    passage = Passage()
    passage.tell(form, response(form, "1", "a", "b"), 1.0)
    passage.ask(form, request(form, "1", "bad: b"), 1.1)
    passage.tell(form, response(form, "2", "a", "b"), 2.0)
    passage.ask(form, request(form, "2"), 2.1)
    assert passage.refusals == ()


def test_other_resources_of_a_delta_leave_a_refusal_as_it_is() -> None:
    passage = Passage()
    passage.tell(Form.DELTA, response(Form.DELTA, "1", "b"), 1.0)
    passage.ask(Form.DELTA, request(Form.DELTA, "1", "bad: b"), 1.1)
    passage.tell(Form.DELTA, response(Form.DELTA, "2", "a"), 2.0)
    passage.ask(Form.DELTA, request(Form.DELTA, "2"), 2.1)
    assert len(passage.refusals) == 1
    passage.tell(Form.DELTA, response(Form.DELTA, "3", removed=("b",)), 3.0)
    passage.ask(Form.DELTA, request(Form.DELTA, "3"), 3.1)
    assert passage.refusals == ()


def test_endpoints_of_other_clusters_leave_a_refusal_as_it_is_in_both_forms() -> None:
    passage = Passage()
    passage.tell(Form.SOTW, response(Form.SOTW, "1", "b", url=EDS), 1.0)
    passage.ask(Form.SOTW, request(Form.SOTW, "1", "bad: b", url=EDS), 1.1)
    passage.tell(Form.SOTW, response(Form.SOTW, "2", "a", url=EDS), 2.0)
    passage.ask(Form.SOTW, request(Form.SOTW, "2", url=EDS), 2.1)
    assert [refusal.names for refusal in passage.refusals] == [("b",)]


def test_a_new_stream_tells_everything_again_so_old_refusals_end_with_its_first_answer() -> None:
    passage = Passage()
    passage.tell(Form.DELTA, response(Form.DELTA, "1", "b"), 1.0)
    passage.ask(Form.DELTA, request(Form.DELTA, "1", "bad: b"), 1.1)
    passage.begin()
    assert len(passage.refusals) == 1  # Envoy still does not have it
    passage.tell(Form.DELTA, response(Form.DELTA, "1", "a"), 2.0)
    passage.ask(Form.DELTA, request(Form.DELTA, "1"), 2.1)
    assert passage.refusals == ()


def test_an_envoy_that_is_not_istio_s_is_told_of() -> None:
    passage = Passage()
    passage.tell(Form.DELTA, response(Form.DELTA, "1", "virtualInbound"), 1.0)
    reason = "Didn't find a registered implementation for 'istio.stats' with type URL: ''"
    passage.ask(Form.DELTA, request(Form.DELTA, "1", reason), 1.1)
    assert "Istio's own build" in passage.refusals[0].cure


def test_an_endless_reason_is_cut() -> None:
    passage = Passage()
    passage.tell(Form.DELTA, response(Form.DELTA, "1", "a"), 1.0)
    passage.ask(Form.DELTA, request(Form.DELTA, "1", "x" * 100_000), 1.1)
    assert len(passage.refusals[0].reason) < 3000


def test_responses_that_nobody_answers_are_not_kept_for_ever() -> None:
    passage = Passage()
    for number in range(1000):
        passage.tell(Form.DELTA, response(Form.DELTA, str(number), "a"), 1.0)
    assert sum(map(len, passage._sent.values())) == 2
