"""What a real istiod says, byte for byte, as data for the tests that have none.

Run on istiod's host: ``python -m tests.interop.record ADDRESS:PORT sotw|delta NODE``, NODE
being JSON. Prints one JSON object: ``{"form", "answers": [{"type", "message"}]}``, a message
being the base64 of a DiscoveryResponse or DeltaDiscoveryResponse, in the order of arrival.
"""

from __future__ import annotations

import base64
import json
import queue
import sys
from collections.abc import Iterator

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import json_format

PREFIX = "type.googleapis.com/"
TYPES = (
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "istio.networking.nds.v1.NameTable",
)
NAMED = TYPES[1]  # asked for by name, not as a whole
QUIET_S = 5.0


def listen(address: str, form: str, node: str) -> list[tuple[str, bytes]]:
    """The first answer of each type."""
    is_delta = form == "delta"
    kind = discovery_pb2.DeltaDiscoveryRequest if is_delta else discovery_pb2.DiscoveryRequest
    wanted: queue.Queue[object] = queue.Queue()
    found: dict[str, bytes] = {}

    def ask(type_url: str, names: tuple[str, ...] = ()) -> None:
        one = kind(type_url=PREFIX + type_url)
        (one.resource_names_subscribe if is_delta else one.resource_names).extend(names)
        if not found and type_url == TYPES[0]:
            json_format.Parse(node, one.node)
        wanted.put(one)

    def requests() -> Iterator[object]:
        while True:
            yield wanted.get()

    ask(TYPES[0])
    with grpc.insecure_channel(address) as channel:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        call = stub.DeltaAggregatedResources if is_delta else stub.StreamAggregatedResources
        try:
            for answer in call(requests(), timeout=QUIET_S):
                name = answer.type_url.removeprefix(PREFIX)
                found.setdefault(name, answer.SerializeToString())
                if name == TYPES[0]:
                    ask(NAMED, tuple(clusters(answer, is_delta=is_delta)))
                    ask(TYPES[2])
                    ask(TYPES[3])
                if len(found) == len(TYPES):
                    break
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
    return list(found.items())


def clusters(answer: object, *, is_delta: bool) -> Iterator[str]:
    """Names of the clusters whose endpoints are asked for apart."""
    from envoy.config.cluster.v3 import cluster_pb2

    for each in answer.resources:  # type: ignore[attr-defined]
        one = cluster_pb2.Cluster.FromString((each.resource if is_delta else each).value)
        if one.type == cluster_pb2.Cluster.EDS:
            yield one.name


def main() -> None:
    address, form, node = sys.argv[1:]
    answers = [
        {"type": name, "message": base64.b64encode(message).decode()}
        for name, message in listen(address, form, node)
    ]
    print(json.dumps({"form": form, "answers": answers}, indent=1))


if __name__ == "__main__":
    main()
