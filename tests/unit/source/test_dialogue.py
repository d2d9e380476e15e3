"""Read back by Envoy's generated messages, which know nothing of our schema."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from interceptor.source.dialogue import HEALTH, Dialogue, Form, Node, NoResponse, Told
from interceptor.source.nds import TYPE

NODE = Node(
    "sidecar~10.0.0.1~vm.shop~shop.svc.cluster.local",
    "web.shop",
    ("eu", "a", "1"),
    {"NAMESPACE": "shop", "DNS_CAPTURE": "true", "LABELS": {"app": "web"}, "PORT": 15021},
)
REQUESTS = {
    Form.DELTA: discovery_pb2.DeltaDiscoveryRequest,
    Form.SOTW: discovery_pb2.DiscoveryRequest,
}


def response(
    form: Form, *values: bytes, nonce: str = "n1", outer: str = TYPE, inner: str = TYPE
) -> bytes:
    made: discovery_pb2.DeltaDiscoveryResponse | discovery_pb2.DiscoveryResponse
    if form is Form.DELTA:
        made = discovery_pb2.DeltaDiscoveryResponse(
            type_url=outer, nonce=nonce, system_version_info="v7"
        )
        for value in values:
            item = made.resources.add(name="nds", version="r1")
            item.resource.type_url, item.resource.value = inner, value
    else:
        made = discovery_pb2.DiscoveryResponse(type_url=outer, nonce=nonce, version_info="v7")
        for value in values:
            made.resources.add(type_url=inner, value=value)
    return made.SerializeToString()


@pytest.fixture(params=list(Form), ids=lambda form: form.name.lower())
def form(request: pytest.FixtureRequest) -> Form:
    chosen: Form = request.param
    return chosen


def test_the_first_message_tells_who_we_are_and_asks_for_every_name(form: Form) -> None:
    message = REQUESTS[form].FromString(Dialogue(form, NODE).begin())
    assert message.type_url == TYPE
    assert message.response_nonce == ""
    assert (message.node.id, message.node.cluster) == (NODE.id, NODE.cluster)
    assert json_format.MessageToDict(message.node.metadata) == {**NODE.metadata, "PORT": 15021.0}
    place = message.node.locality
    assert (place.region, place.zone, place.sub_zone) == NODE.locality
    names = message.resource_names_subscribe if form is Form.DELTA else message.resource_names
    assert list(names) == []


def test_a_response_is_acknowledged_by_its_nonce(form: Form) -> None:
    dialogue = Dialogue(form, NODE)
    told = dialogue.receive(response(form, b"table"))
    assert told == Told("n1", "v7", b"table")
    answer = REQUESTS[form].FromString(dialogue.accept(told))
    assert (answer.type_url, answer.response_nonce) == (TYPE, "n1")
    assert not answer.HasField("error_detail")
    assert not answer.HasField("node")
    if form is Form.SOTW:
        assert answer.version_info == "v7"


def test_a_refusal_bears_the_reason_and_the_version_that_stays(form: Form) -> None:
    dialogue = Dialogue(form, NODE)
    first = dialogue.receive(response(form, b"good"))
    assert first is not None
    dialogue.accept(first)
    told = Told("n2", "v8", b"bad")
    answer = REQUESTS[form].FromString(dialogue.refuse(told, "it is cut off"))
    assert (answer.response_nonce, answer.error_detail.message) == ("n2", "it is cut off")
    if form is Form.SOTW:
        assert answer.version_info == "v7"


def test_a_type_that_was_never_asked_for_is_passed_over(form: Form) -> None:
    other = response(form, b"", outer="type.googleapis.com/envoy.config.cluster.v3.Cluster")
    assert Dialogue(form, NODE).receive(other) is None


def test_a_resource_of_another_type_is_a_problem_by_name(form: Form) -> None:
    told = Dialogue(form, NODE).receive(response(form, b"x", inner="type.googleapis.com/x.Y"))
    assert told is not None
    assert "of type type.googleapis.com/x.Y instead of" in told.problem


def test_no_resource_says_nothing_and_several_are_one_table(form: Form) -> None:
    dialogue = Dialogue(form, NODE)
    empty = dialogue.receive(response(form))
    assert empty is not None
    assert (empty.table, empty.problem) == (None, "")
    both = dialogue.receive(response(form, b"one", b"two"))
    assert both is not None
    assert both.table == b"onetwo"


def test_bytes_that_are_no_response_are_told(form: Form) -> None:
    with pytest.raises(NoResponse, match="no discovery response"):
        Dialogue(form, NODE).receive(b"\xff\xff\xff")


@pytest.mark.parametrize("reason", ["", "the port is closed"])
def test_health_is_a_message_without_or_with_an_error(form: Form, reason: str) -> None:
    message = REQUESTS[form].FromString(Dialogue(form, NODE).health(reason))
    assert message.type_url == HEALTH
    assert message.HasField("error_detail") is bool(reason)
    if reason:
        assert (message.error_detail.code, message.error_detail.message) == (13, reason)
