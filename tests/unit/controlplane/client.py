"""A client of ADS on gRPC's generated stubs: nothing in it is ours or the control plane's."""

from __future__ import annotations

import os
import queue
from typing import Any

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

NODE = {
    "id": "sidecar~10.77.0.10~vm.bookinfo~bookinfo.svc.cluster.local",
    "metadata": {"NAMESPACE": "bookinfo", "INSTANCE_IPS": "10.77.0.10", "DNS_CAPTURE": "true"},
}
WAIT_S = 20


class Client:
    """One channel and one stream. ``form``: delta or sotw."""

    def __init__(self, plane: Any, form: str = "delta", *, token: str | None = None) -> None:
        options = (("grpc.max_receive_message_length", -1), ("grpc.max_metadata_size", 1 << 20))
        if plane.is_secure:
            credentials = grpc.ssl_channel_credentials(plane.authority.root_pem)
            self.channel = grpc.secure_channel(plane.address, credentials, options)
        else:
            self.channel = grpc.insecure_channel(plane.address, options)
        token = plane.authority.token() if token is None else token
        metadata = [("authorization", f"Bearer {token}")] if token else []
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(self.channel)
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.form = form
        method = (
            stub.DeltaAggregatedResources if form == "delta" else stub.StreamAggregatedResources
        )
        self.call = method(iter(self._queue.get, None), metadata=metadata, timeout=WAIT_S)

    def ask(self, url: str, *names: str, node: Any = NODE, **more: Any) -> None:
        if self.form == "delta":
            self._queue.put(
                discovery_pb2.DeltaDiscoveryRequest(
                    type_url=url, node=node, resource_names_subscribe=names, **more
                )
            )
        else:
            self._queue.put(
                discovery_pb2.DiscoveryRequest(
                    type_url=url, node=node, resource_names=names, **more
                )
            )

    def receive(self) -> Any:
        return next(self.call)

    def take(self, *names: str) -> Any:
        """The next answer, acknowledged."""
        answer = self.receive()
        more = {} if self.form == "delta" else {"version_info": answer.version_info}
        self.ask(answer.type_url, *names, response_nonce=answer.nonce, **more)
        return answer

    def refused(self) -> tuple[str, str]:
        """How the stream ended, which it must."""
        try:
            answer = self.receive()
        except StopIteration:
            return "OK", ""
        except grpc.RpcError:
            return self.call.code().name, self.call.details()
        raise AssertionError(f"it was answered: {answer.type_url}")

    def close(self) -> None:
        self.call.cancel()
        self._queue.put(None)
        self.channel.close()
