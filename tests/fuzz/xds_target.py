"""Delta xDS as whoever has our socket may speak it: any requests in any order."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from interceptor.sidecar import ads
from interceptor.sidecar.resource import Kind, Resource
from interceptor.sidecar.stream import Response, Stream
from tests.fuzz.target import Target

KINDS = tuple(Kind)
CATALOGUE = {
    kind: {name: Resource(kind, name, "1", b"x" * 10) for name in ("a", "b", "c")} for kind in Kind
}


def cut(data: bytes) -> Iterable[bytes]:
    """Messages, each behind its length in one byte."""
    while data:
        yield data[1 : 1 + data[0]]
        data = data[1 + data[0] :]


def run(data: bytes) -> None:
    stream = Stream(CATALOGUE)
    on_the_way: dict[Kind, Response] = {}
    for now, raw in enumerate(cut(data)):
        try:
            message = discovery_pb2.DeltaDiscoveryRequest.FromString(raw)
        except DecodeError:
            continue
        if message.type_url.isdigit():  # short for a type that we serve
            message.type_url = KINDS[int(message.type_url) % len(KINDS)].value
        if message.type_url not in ads.KINDS:
            continue
        kind = ads.KINDS[message.type_url]
        before = on_the_way.get(kind)
        verdict = stream.receive(ads.decode(message), float(now))
        if verdict is not None:
            assert before is not None
            assert verdict.response == before, "an answer to something that was not sent"
            del on_the_way[kind]
        for response in stream.poll(float(now)):
            assert response.kind not in on_the_way, "two responses of one type on their way"
            on_the_way[response.kind] = response
            discovery_pb2.DeltaDiscoveryResponse.FromString(b"".join(ads.encode(response)))
        stream.change([(kind, "a"), (kind, "gone")])


def requests() -> Iterable[bytes]:
    made = []
    for number in range(3):
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=str(number))
        request.resource_names_subscribe.extend(["a", "*"][: number + 1])
        request.initial_resource_versions["b"] = "1"
        made.append(request.SerializeToString())
        ack = discovery_pb2.DeltaDiscoveryRequest(type_url=str(number), response_nonce="1")
        ack.resource_names_unsubscribe.append("b")
        made.append(ack.SerializeToString())
        ack.error_detail.message = "no"
        made.append(ack.SerializeToString())
    yield b"".join(bytes([len(each)]) + each for each in made)
    for each in made:
        yield bytes([len(each)]) + each


TARGETS = {"xds": Target(run, requests, ("interceptor.sidecar",))}
