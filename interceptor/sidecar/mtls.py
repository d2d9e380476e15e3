"""Mutual TLS between members: Envoy's transport sockets, with certificates from SDS.

What is on the wire is Istio's: SNI ``outbound_.9080_._.reviews.bookinfo.svc.cluster.local``,
ALPN ``istio``, one SPIFFE name a certificate. Of Istio's other ALPN name, ``istio-peer-exchange``,
neither side makes use: it promises a metadata exchange ahead of the bytes that we do not speak.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, config_source_pb2, grpc_service_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue

from interceptor.mesh import identity
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Port
from interceptor.sidecar.resource import pack
from interceptor.sidecar.setting import Settings

SDS_CLUSTER = "sds-grpc"  # of the bootstrap
CERTIFICATE, ROOT = "default", "ROOTCA"  # the secrets, as istiod's resources call them
ALPN = "istio"
HTTP2 = "h2"
# By which a client says that it speaks to a sidecar, and not to the application behind it.
SIDECAR_ALPN = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")

# Metadata of an endpoint by which its transport socket is chosen.
MATCH = "envoy.transport_socket_match"
MODE, ACCOUNT = "tlsMode", "identity"

LONGEST_SNI = 255  # bytes, by Envoy's rules
# Forward secrecy and authenticated encryption only; TLS 1.3 has no others. RFC 9325, section 4.2.
CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
# Longer without a secret, a listener answers with a reset, and Envoy with the rest goes on.
FETCH_S = 7


def is_used(host: Host, settings: Settings) -> bool:
    """Whether some endpoint of ``host`` is called by mutual TLS. As in Istio, none is that the
    mesh only knows of (location MESH_EXTERNAL)."""
    return bool(settings.trust_domain) and not host.mesh_external and any(_identities(host))


def secure(cluster: cluster_pb2.Cluster, host: Host, port: Port, settings: Settings) -> None:
    """Have ``cluster`` speak TLS to those endpoints of ``host`` that do, and plain to the others.

    A headless service's endpoint was chosen by the client, and Envoy does not
    know which one it is: there it is all of them or none.
    """
    is_http2 = port.protocol in (AppProtocol.HTTP2, AppProtocol.GRPC)
    alpn = (ALPN, HTTP2) if is_http2 else (ALPN,)
    name = f"outbound_.{port.number}_._.{host.name}"
    paths = sorted({path for path in _identities(host) if path})
    if cluster.type == cluster_pb2.Cluster.ORIGINAL_DST:
        if all(_identities(host)):
            names = _names(host, paths, settings)
            cluster.transport_socket.CopyFrom(_upstream(names, name, alpn))
        return
    # Of several names the last has no condition: an endpoint whose name came a
    # moment ahead of its cluster is refused, and not called in plain text.
    # Behind one gateway there may be several of them.
    is_shared = any(endpoint.gateways for endpoint in host.endpoints)
    is_one = bool(host.subject_alt_names) or is_shared
    groups = [paths] if is_one else [[path] for path in paths]
    for group in groups:
        match = {MODE: identity.MUTUAL}
        if group is not groups[-1]:
            match[ACCOUNT] = group[0]
        socket = _upstream(_names(host, group, settings), name, alpn)
        suffix = f"-{group[0]}" if ACCOUNT in match else ""
        cluster.transport_socket_matches.add(
            name=f"tlsMode-{identity.MUTUAL}{suffix}", match=_struct(match), transport_socket=socket
        )
    cluster.transport_socket_matches.add(
        name="tlsMode-disabled", match=Struct(), transport_socket=_PLAIN
    )


def metadata(endpoint: Endpoint) -> base_pb2.Metadata:
    """By what an endpoint's transport socket is found; empty for plain text."""
    found = base_pb2.Metadata()
    if endpoint.identity:
        found.filter_metadata[MATCH].CopyFrom(
            _struct({MODE: identity.MUTUAL, ACCOUNT: endpoint.identity})
        )
    return found


def downstream(trust_domain: str) -> base_pb2.TransportSocket:
    """For members of the trust domain, whoever they are; nobody comes in without a certificate."""
    prefix = string_pb2.StringMatcher(prefix=f"spiffe://{trust_domain}/")
    matcher = common_pb2.SubjectAltNameMatcher(
        san_type=common_pb2.SubjectAltNameMatcher.URI, matcher=prefix
    )
    return _socket(
        tls_pb2.DownstreamTlsContext(
            common_tls_context=_common([matcher], (ALPN,)),
            require_client_certificate=BoolValue(value=True),
        )
    )


def _identities(host: Host) -> list[str]:
    return [endpoint.identity for endpoint in host.endpoints]


def _names(host: Host, paths: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """Who may answer."""
    domain = settings.trust_domain
    return host.subject_alt_names or tuple(identity.uri(domain, path) for path in paths)


def _upstream(names: tuple[str, ...], sni: str, alpn: tuple[str, ...]) -> base_pb2.TransportSocket:
    context = tls_pb2.UpstreamTlsContext()
    context.CopyFrom(_nameless(names, alpn))
    if len(sni) <= LONGEST_SNI:
        context.sni = sni
    return _socket(context)


@lru_cache(maxsize=4096)
def _nameless(names: tuple[str, ...], alpn: tuple[str, ...]) -> tls_pb2.UpstreamTlsContext:
    """Not to be changed: an account's services share it."""
    return tls_pb2.UpstreamTlsContext(
        common_tls_context=_common([_exact(name) for name in names], alpn)
    )


def _exact(name: str) -> common_pb2.SubjectAltNameMatcher:
    kind = common_pb2.SubjectAltNameMatcher
    return kind(
        san_type=kind.URI if "://" in name else kind.DNS,
        matcher=string_pb2.StringMatcher(exact=name),
    )


def _common(
    names: Sequence[common_pb2.SubjectAltNameMatcher], alpn: tuple[str, ...]
) -> tls_pb2.CommonTlsContext:
    """Our certificate, and who the peer must be: of our root, and one of ``names``."""
    combined = tls_pb2.CommonTlsContext.CombinedCertificateValidationContext(
        default_validation_context=common_pb2.CertificateValidationContext(
            match_typed_subject_alt_names=names
        ),
        validation_context_sds_secret_config=_secret(ROOT),
    )
    return tls_pb2.CommonTlsContext(
        tls_params=common_pb2.TlsParameters(
            tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_2,
            tls_maximum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
            cipher_suites=CIPHERS,
        ),
        tls_certificate_sds_secret_configs=[_secret(CERTIFICATE)],
        combined_validation_context=combined,
        alpn_protocols=alpn,
    )


def _secret(name: str) -> secret_pb2.SdsSecretConfig:
    source = config_source_pb2.ApiConfigSource(
        api_type=config_source_pb2.ApiConfigSource.GRPC,
        transport_api_version=config_source_pb2.V3,
        set_node_on_first_message_only=True,
        grpc_services=[
            grpc_service_pb2.GrpcService(
                envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=SDS_CLUSTER)
            )
        ],
    )
    return secret_pb2.SdsSecretConfig(
        name=name,
        sds_config=config_source_pb2.ConfigSource(
            api_config_source=source,
            resource_api_version=config_source_pb2.V3,
            initial_fetch_timeout=Duration(seconds=FETCH_S),
        ),
    )


def _socket(
    context: tls_pb2.UpstreamTlsContext | tls_pb2.DownstreamTlsContext,
) -> base_pb2.TransportSocket:
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def _struct(fields: dict[str, str]) -> Struct:
    made = Struct()
    made.update(fields)
    return made


_PLAIN = base_pb2.TransportSocket(
    name="envoy.transport_sockets.raw_buffer", typed_config=pack(raw_buffer_pb2.RawBuffer())
)
INSPECTOR = listener_components_pb2.ListenerFilter(
    name="envoy.filters.listener.tls_inspector", typed_config=pack(tls_inspector_pb2.TlsInspector())
)
