"""What a port carries, by Istio's convention.

``appProtocol`` beats the port's name; of a name the part before the first dash
counts (``http-web``), with ``grpc-web`` as the one exception. Names without a
known protocol are TCP: nothing is sniffed. Protocols that Envoy handles as a
stream of bytes here (mongo, mysql, redis) are TCP too.
"""

from __future__ import annotations

from interceptor.mesh.model import AppProtocol

KNOWN = {
    "http": AppProtocol.HTTP,
    "http2": AppProtocol.HTTP2,
    "grpc": AppProtocol.GRPC,
    "grpc-web": AppProtocol.HTTP,
    "https": AppProtocol.TLS,
    "tls": AppProtocol.TLS,
    "tcp": AppProtocol.TCP,
    "udp": AppProtocol.UDP,
    "mongo": AppProtocol.TCP,
    "mysql": AppProtocol.TCP,
    "redis": AppProtocol.TCP,
    "hbone": AppProtocol.TCP,
}
# Kubernetes' own names (KEP-3726), which Istio understands as well.
_APP_PROTOCOL = {
    "kubernetes.io/h2c": AppProtocol.HTTP2,
    "kubernetes.io/ws": AppProtocol.HTTP,
    "kubernetes.io/wss": AppProtocol.TLS,
}


def of_name(name: str) -> AppProtocol:
    """The protocol that a port's name gives."""
    name = name.lower()
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return AppProtocol.HTTP
    return KNOWN.get(name.partition("-")[0], AppProtocol.TCP)


def of_service_port(name: str, app_protocol: str, transport: str) -> AppProtocol:
    """The protocol of a core Service's port; ``transport`` is TCP or UDP."""
    if transport == "UDP":
        return AppProtocol.UDP
    given = app_protocol.lower()
    if given in _APP_PROTOCOL:
        return _APP_PROTOCOL[given]
    return of_name(given) if given else of_name(name)


def of_entry_port(name: str, protocol: str) -> AppProtocol:
    """The protocol of a ServiceEntry's port; the name counts where none is given."""
    return KNOWN.get(protocol.lower(), AppProtocol.TCP) if protocol else of_name(name)
