"""What only Istio's own build of Envoy has is left out for an Envoy that has it not. Pure.

istiod configures each Envoy as its own build: with filters that tell peers about each other for
metrics (istio.metadata_exchange, istio.stats) and that set ALPN (istio.alpn). Another Envoy
refuses every cluster and listener that has one. Envoy says in its first request what it has; an
Envoy that has a filter gets it, and then nothing here is touched. Left out are these only: a
filter that decides about security is never, and Envoy's refusal of it is told.

Whoever leaves the exchange out must not offer it: the ALPN istio-peer-exchange promises bytes in
front of a connection's own.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from interceptor.sidecar.envelope import Form

if TYPE_CHECKING:
    from envoy.config.cluster.v3.cluster_pb2 import Cluster
    from envoy.config.core.v3.base_pb2 import TransportSocket
    from envoy.config.listener.v3.listener_components_pb2 import FilterChain
    from envoy.config.listener.v3.listener_pb2 import Listener
    from google.protobuf.any_pb2 import Any

OPTIONAL = ("istio.metadata_exchange", "istio.stats", "istio.alpn")
"""Names of filters without which connections and their security are the same."""
EXCHANGE = "istio-peer-exchange"
_MARK = b"istio"
_PREFIX = "type.googleapis.com/"
_CLUSTER = f"{_PREFIX}envoy.config.cluster.v3.Cluster"
_LISTENER = f"{_PREFIX}envoy.config.listener.v3.Listener"
_HTTP = (
    f"{_PREFIX}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_TLS = f"{_PREFIX}envoy.extensions.transport_sockets.tls.v3."


class _Named(Protocol):
    name: str


_Filter = TypeVar("_Filter", bound=_Named)


@dataclass(frozen=True, slots=True)
class Fitting:
    """For one Envoy: ``missing`` are those of OPTIONAL that it has not."""

    missing: frozenset[str] = frozenset()

    def fit(self, form: Form, message: bytes) -> bytes:
        """A DeltaDiscoveryResponse or DiscoveryResponse as this Envoy can take it; the very
        bytes where nothing is left out, or where they are no such message: Envoy says so then."""
        if not self.missing or _MARK not in message:
            return message
        from google.protobuf.message import DecodeError

        try:
            return self._fit_response(form, message)
        except DecodeError:
            return message

    def _fit_response(self, form: Form, message: bytes) -> bytes:
        from envoy.service.discovery.v3 import discovery_pb2

        if form is Form.DELTA:
            delta = discovery_pb2.DeltaDiscoveryResponse.FromString(message)
            changed = [self._fit(each.resource) for each in delta.resources]
            return bytes(delta.SerializeToString()) if any(changed) else message
        whole = discovery_pb2.DiscoveryResponse.FromString(message)
        changed = [self._fit(each) for each in whole.resources]
        return bytes(whole.SerializeToString()) if any(changed) else message

    def _fit(self, resource: Any) -> bool:
        """Whether something had to go."""
        if _MARK not in resource.value:
            return False
        if resource.type_url == _CLUSTER:
            from envoy.config.cluster.v3 import cluster_pb2

            cluster = cluster_pb2.Cluster.FromString(resource.value)
            self._fit_cluster(cluster)
            fitted = cluster.SerializeToString()
        elif resource.type_url == _LISTENER:
            from envoy.config.listener.v3 import listener_pb2

            listener = listener_pb2.Listener.FromString(resource.value)
            self._fit_listener(listener)
            fitted = listener.SerializeToString()
        else:
            return False
        if fitted == resource.value:
            return False
        resource.value = fitted
        return True

    def _fit_cluster(self, cluster: Cluster) -> None:
        self._drop(cluster.filters)
        sockets = [each.transport_socket for each in cluster.transport_socket_matches]
        if cluster.HasField("transport_socket"):
            sockets.append(cluster.transport_socket)
        for socket in sockets:
            self._fit_socket(socket)

    def _fit_listener(self, listener: Listener) -> None:
        chains = list(listener.filter_chains)
        if listener.HasField("default_filter_chain"):
            chains.append(listener.default_filter_chain)
        for chain in chains:
            self._fit_chain(chain)

    def _fit_chain(self, chain: FilterChain) -> None:
        self._drop(chain.filters)
        for each in chain.filters:
            if each.typed_config.type_url == _HTTP:
                self._fit_http(each.typed_config)
        if chain.HasField("transport_socket"):
            self._fit_socket(chain.transport_socket)

    def _fit_http(self, config: Any) -> None:
        from envoy.extensions.filters.network.http_connection_manager.v3 import (
            http_connection_manager_pb2,
        )

        manager = http_connection_manager_pb2.HttpConnectionManager.FromString(config.value)
        self._drop(manager.http_filters)
        config.value = manager.SerializeToString()

    def _fit_socket(self, socket: TransportSocket) -> None:
        """TLS that offers the exchange, from now on without."""
        if "istio.metadata_exchange" not in self.missing:
            return
        config = socket.typed_config
        if not config.type_url.startswith(_TLS) or EXCHANGE.encode() not in config.value:
            return
        from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

        kinds = {
            f"{_TLS}UpstreamTlsContext": tls_pb2.UpstreamTlsContext,
            f"{_TLS}DownstreamTlsContext": tls_pb2.DownstreamTlsContext,
        }
        if (kind := kinds.get(config.type_url)) is None:
            return
        context = kind.FromString(config.value)
        offered = context.common_tls_context.alpn_protocols
        kept = [each for each in offered if each != EXCHANGE]
        del offered[:]
        offered.extend(kept)
        config.value = context.SerializeToString()

    def _drop(self, filters: MutableSequence[_Filter]) -> None:
        """Of a repeated field of filters, those that Envoy has not."""
        kept = [each for each in filters if each.name not in self.missing]
        if len(kept) != len(filters):
            del filters[:]
            filters.extend(kept)


def choose(form: Form, request: bytes) -> Fitting | None:
    """By what Envoy says of itself in the first request of a stream; None where it says nothing."""
    from envoy.service.discovery.v3 import discovery_pb2
    from google.protobuf.message import DecodeError

    is_delta = form is Form.DELTA
    kind = discovery_pb2.DeltaDiscoveryRequest if is_delta else discovery_pb2.DiscoveryRequest
    try:
        node = kind.FromString(request).node
    except DecodeError:
        return None
    if not node.extensions:
        return None
    return Fitting(frozenset(OPTIONAL) - {each.name for each in node.extensions})
