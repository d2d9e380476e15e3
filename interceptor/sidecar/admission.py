"""Whom the listener on 15006 lets in: strict, permissive, or plain text, port by port.

A permissive port has two chains. A client that begins with TLS and says by ALPN that it means the
sidecar gets the one that asks for its certificate; everybody else gets the other, TLS of the
application's own included.
"""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from google.protobuf.duration_pb2 import Duration

from interceptor.mesh.policy import Mode
from interceptor.sidecar import mtls
from interceptor.sidecar.setting import Settings

TLS = "tls"  # of FilterChainMatch.transport_protocol, as the TLS inspector finds it

# How long a client may be silent before it is taken for one of a protocol in which the server
# speaks first. Long enough for a ClientHello that was lost three times.
SILENT_S = 3


def secure(listener: listener_pb2.Listener, settings: Settings) -> None:
    """Have each chain of ``listener`` ask for what the policy of its port says.

    Its own two ports lead nowhere and stay as they are. The default chain is for
    every port that no service has.
    """
    own = (settings.outbound_port, settings.inbound_port)
    policy, default = settings.policy, listener.default_filter_chain
    plain = list(listener.filter_chains)
    have = {chain.filter_chain_match.destination_port.value for chain in plain}
    for port, _ in policy.ports:
        if port not in have:
            plain.append(_copy(default, f"port-{port}", port))
    socket = mtls.downstream(settings.trust_domain)
    del listener.filter_chains[:]
    is_secret = policy.mode is not Mode.DISABLE
    for chain in plain:
        port = chain.filter_chain_match.destination_port.value
        mode = Mode.DISABLE if port in own else policy.of(port)
        is_secret = is_secret or mode is not Mode.DISABLE
        listener.filter_chains.extend(_chains(chain, mode, socket))
    if policy.mode is Mode.STRICT:
        default.transport_socket.CopyFrom(socket)
    elif policy.mode is Mode.PERMISSIVE:
        listener.filter_chains.append(_only_members(default, socket))
    if is_secret:
        # A strict listener has no use for it. But Envoy changes chains in place, and of a listener
        # that differs in anything else it ends every connection.
        listener.listener_filters.append(mtls.INSPECTOR)
        listener.listener_filters_timeout.CopyFrom(Duration(seconds=SILENT_S))
        listener.continue_on_listener_filters_timeout = True


def _chains(
    chain: listener_components_pb2.FilterChain, mode: Mode, socket: base_pb2.TransportSocket
) -> list[listener_components_pb2.FilterChain]:
    """The chains by which one port is served."""
    if mode is Mode.DISABLE:
        return [chain]
    if mode is Mode.PERMISSIVE:
        return [_only_members(chain, socket), chain]
    strict = listener_components_pb2.FilterChain()
    strict.CopyFrom(chain)
    strict.transport_socket.CopyFrom(socket)
    return [strict]


def _only_members(
    chain: listener_components_pb2.FilterChain, socket: base_pb2.TransportSocket
) -> listener_components_pb2.FilterChain:
    """``chain`` for those who begin by TLS and mean the sidecar."""
    made = listener_components_pb2.FilterChain()
    made.CopyFrom(chain)
    made.name = f"{chain.name or 'passthrough'}-mtls"
    made.filter_chain_match.transport_protocol = TLS
    made.filter_chain_match.application_protocols.extend(mtls.SIDECAR_ALPN)
    made.transport_socket.CopyFrom(socket)
    return made


def _copy(
    default: listener_components_pb2.FilterChain, name: str, port: int
) -> listener_components_pb2.FilterChain:
    """The default chain for one port that has a policy of its own."""
    made = listener_components_pb2.FilterChain()
    made.CopyFrom(default)
    made.name = name
    made.filter_chain_match.destination_port.value = port
    return made
